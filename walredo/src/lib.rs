//! Redo of WAL records on single pages, as PostgreSQL 14 to 18 do it.

#![forbid(unsafe_code)]

mod btree;
mod checksum;
mod error;
mod generic;
mod heap;
mod heap2;
mod mask;
mod page;
mod redo;
mod sequence;
mod slru;
#[cfg(test)]
mod testing;
mod tuple;
mod verify;
mod vm;
mod xlog;

pub use checksum::{clear_checksum, page_checksum, set_checksum, stored_checksum};
pub use error::{Fault, RecordId, RecordKind, RedoError};
pub use mask::mask;
pub use page::{header_plausible, heap_free_space, is_new, is_zero, page_lsn};
pub use redo::{Applied, redo};
pub use verify::{BlockCounts, Difference, Verifier};
