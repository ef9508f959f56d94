//! The write-ahead log of PostgreSQL 14 to 18, decoded: from bytes, cut anywhere, to what each record
//! does to which page.
//!
//! It is not a client, a store or redo: it owns no files and no sockets, and changes no page. Bytes come
//! in as slices or through [`WalSource`], and whatever they are, they lead to records or to a
//! typed error with its position, never to a panic or to more memory than bytes came in.
//!
//! # How the pieces fit
//!
//! - [`StreamDecoder`] takes a stream as it comes from a server and gives whole, checked records
//!   ([`RawRecord`]). [`RecordReader`] does the same for one record by its position, or onward from
//!   there. Both know pages ([`PageHeader`]) and what crosses them.
//! - [`RawRecord::decode`] gives a [`Record`]: header, block references ([`BlockRef`]) with images
//!   ([`BlockImage`]) and data, main data.
//! - [`effects`] says which pages a record touches, named or not, and what it changes besides. The
//!   record bodies behind that are in [`rmgr`], a module per resource manager.
//! - [`record_boundary`] turns any position into the boundary between records that it means.
//! - The vocabulary of all crates above is here too: [`Lsn`], [`BlockTag`], [`PageKey`], [`PgVersion`].
//!
//! Positions follow Postgres: a record's `end` is where the next one's space begins, before any page
//! header, and is the LSN of the page versions that the record makes.
//!
//! # Example
//!
//! ```
//! use walrecord::{DecoderOptions, Lsn, RecordError, StreamDecoder, WalError};
//!
//! # #[derive(Debug)]
//! # enum Error { Wal(WalError), Record(RecordError) }
//! # impl From<WalError> for Error { fn from(error: WalError) -> Error { Error::Wal(error) } }
//! # impl From<RecordError> for Error { fn from(error: RecordError) -> Error { Error::Record(error) } }
//! /// Takes in what a server sent and gives the position up to which records are whole.
//! fn take_in(decoder: &mut StreamDecoder, at: Lsn, bytes: &[u8]) -> Result<Lsn, Error> {
//!     decoder.push(at, bytes)?;
//!     while let Some(raw) = decoder.next_record()? {
//!         let record = raw.decode()?;
//!         for block in record.blocks() {
//!             println!("{}: {} at {}", record.end, record.header.rmgr, block.tag);
//!         }
//!     }
//!     Ok(decoder.position())
//! }
//!
//! let start: Lsn = "0/3000000".parse().unwrap();
//! let mut decoder = StreamDecoder::new(start, DecoderOptions::default());
//! // Nothing is whole yet: more bytes are needed.
//! assert_eq!(take_in(&mut decoder, start, &[0x10, 0xD1]).unwrap(), start);
//! // Bytes that do not follow are refused.
//! assert!(take_in(&mut decoder, start, &[0]).is_err());
//! ```

// A module of the tests is shared with fuzzing, and names this crate as they do.
#[cfg(any(test, fuzzing))]
extern crate self as walrecord;

mod boundary;
pub mod describe;
mod effects;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod image;
mod page;
mod pglz;
mod reader;
mod record;
pub mod rmgr;
mod rules;
mod segment;
mod source;
mod stream;
mod types;

pub use boundary::{Boundary, first_record, record_boundary};
pub use effects::{Effect, EffectContext, EffectError, MetaEffect, PageTouch, effects};
pub use error::WalError;
pub use image::{BlockImage, ImageCompression, ImageError};
pub use page::{
    LONG_PAGE_HEADER_SIZE, PageContext, PageError, PageHeader, SHORT_PAGE_HEADER_SIZE,
    SegmentHeader, WAL_PAGE_SIZE, is_segment_size,
};
pub use reader::{Reader, Truncated};
pub use record::{
    BlockRef, MAX_BLOCK_ID, MAX_RECORD_SIZE, RECORD_HEADER_SIZE, RawRecord, Record, RecordError,
    RecordHeader,
};
pub use rmgr::{Rmgr, RmgrId};
pub use rules::RedoRules;
pub use segment::{SegmentId, SegmentNameError, WalSlice};
pub use source::{ReadError, RecordReader, WalSource};
pub use stream::{DecoderOptions, StreamDecoder};
pub use types::*;
