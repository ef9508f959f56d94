//! Tests on WAL that a real PostgreSQL wrote, against what it says or recovers itself. All are
//! ignored: the WAL must be made first, as each module tells.

mod consistency;
mod damage;
mod recovery;
mod support;
