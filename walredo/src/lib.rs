//! Redo of WAL records on single pages, as PostgreSQL 14 to 18 do it.

#![forbid(unsafe_code)]

mod checksum;
mod error;
mod page;
mod redo;

pub use checksum::{page_checksum, set_checksum};
pub use error::{Fault, RecordId, RedoError};
pub use page::{header_plausible, heap_free_space, page_lsn};
