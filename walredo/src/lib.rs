//! Redo of WAL records on single pages, byte for byte as PostgreSQL 14 to 18 do it.
//!
//! [`redo`] takes the version of a page before a record and makes the version after. It is a pure
//! function on byte slices: no I/O, no threads, no state, no allocation on the common path, no
//! `unsafe`. Which pages a record touches is not asked here but of [`walrecord::effects`]; which page
//! versions exist, and in which order records come, is the store's business.
//!
//! - Truth is stock recovery of the same base with the same WAL: bytes that nothing points at (the
//!   hole between line pointers and items, alignment padding) are as recovery leaves them, too. Only
//!   `pd_checksum` is carried along as it comes: [`set_checksum`] computes it when a page leaves.
//! - What differs between servers comes with [`walrecord::RedoRules`].
//! - Pages and records are hostile: whatever they hold, the answer is a page, or a [`RedoError`] that
//!   names page, record and what was found; never a panic.
//! - One module per resource manager, on shared page primitives; what they have in common (images,
//!   initialisation, the `pd_lsn` test) is in one place. All of Postgres's that change pages are here: XLOG,
//!   Heap, Heap2, Btree, Hash, Gin, Gist, SPGist, BRIN, Sequence, Generic, and the status logs (SLRUs)
//!   behind Transaction, CLOG, MultiXact and CommitTs. What an extension's changes is
//!   [`RedoError::Unsupported`], unless the record replaces the page whole.
//! - [`Verifier`] replays WAL written with `wal_consistency_checking` and compares; [`mask()`] is for
//!   it alone.
//!
//! ```
//! use walrecord::{Lsn, PageKey, Record, RedoRules, ZERO_PAGE};
//! use walredo::{Applied, RedoError, redo};
//!
//! /// The version of a page at `upto`, from the records that touched it, oldest first.
//! fn rebuild(
//!     key: PageKey,
//!     history: &[Record<'_>],
//!     upto: Lsn,
//!     rules: &RedoRules,
//! ) -> Result<walrecord::Page, RedoError> {
//!     let mut page = ZERO_PAGE;
//!     for record in history.iter().filter(|record| record.end <= upto) {
//!         match redo(&mut page, record, &key, rules)? {
//!             Applied::Changed | Applied::Skipped => {}
//!             Applied::NoBase => eprintln!("{key}: no version before {}", record.start),
//!         }
//!     }
//!     Ok(page)
//! }
//! ```

#![forbid(unsafe_code)]

mod brin;
mod btree;
mod checksum;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod generic;
mod gin;
mod gist;
mod hash;
mod heap;
mod heap2;
mod mask;
mod page;
mod redo;
mod sequence;
mod slru;
mod spgist;
#[cfg(test)]
mod testing;
mod tuple;
mod verify;
mod vm;
mod xlog;

pub use checksum::{clear_checksum, page_checksum, set_checksum, stored_checksum};
pub use error::{Fault, RecordId, RecordKind, RedoError};
pub use mask::mask;
pub use page::{free_space_category, header_plausible, heap_free_space, is_new, is_zero, page_lsn};
pub use redo::{Applied, redo};
pub use verify::{
    Base, BlockCounts, Difference, Disagreement, Findings, Share, Verifier, VerifyOptions,
};
