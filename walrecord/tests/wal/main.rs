//! The decoders against WAL: of real servers, written by hand, and damaged.

mod common;
mod damage; // Damaged WAL.
mod edges; // Rare cases of framing, and every error.
mod framing; // How records lie in pages, on real WAL.
mod truth; // What records hold, against `pg_waldump`.
mod writer;
