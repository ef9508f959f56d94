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
//! - [`describe`] puts what a record holds into the words of `pg_waldump`; [`dump`] makes whole lines,
//!   filters and statistics of it.
//! - [`effects`] says which pages a record touches, named or not, and what it changes besides. The
//!   record bodies behind that are in [`rmgr`], a module per resource manager.
//! - [`record_boundary`] turns any position into the boundary between records that it means.
//! - The vocabulary of all crates above is here too: [`Lsn`], [`BlockTag`], [`PageKey`], [`PgVersion`].
//!
//! Positions follow Postgres: a record's `end` is where the next one's space begins, before any page
//! header, and is the LSN of the page versions that the record makes.
//!
//! # Which way in
//!
//! | there is | and you want | take |
//! |---|---|---|
//! | a segment file, a stream | all records in order | [`StreamDecoder`] |
//! | files that can be read anywhere | some records, or to go on later | [`RecordReader`] over a [`WalSource`] |
//! | bytes in memory | the same | [`RecordReader`] over a [`WalSlice`] |
//! | a position from a log or a person | the record boundary there | [`record_boundary`], [`first_record`] |
//! | a [`Record`] | pages and images | [`Record::blocks`], [`BlockImage::restore`] |
//! | a [`Record`] | typed content | [`rmgr::RecordBody::decode`] |
//! | a [`Record`] | a line of text | [`dump::record_line`] |
//!
//! The version is recognised from the first page, the segment size from the first page of a segment.
//!
//! # Example: which relations did a WAL file touch?
//!
//! ```
//! use std::collections::BTreeSet;
//! use std::error::Error;
//! use walrecord::{DecoderOptions, PageHeader, RelFileLocator, StreamDecoder};
//!
//! fn relations(segment: &[u8]) -> Result<BTreeSet<RelFileLocator>, Box<dyn Error>> {
//!     let start = PageHeader::parse(segment)?.address;
//!     let mut decoder = StreamDecoder::new(start, DecoderOptions::default());
//!     decoder.push(start, segment)?;
//!     let mut found = BTreeSet::new();
//!     while let Some(raw) = decoder.next_record()? {
//!         let record = raw.decode()?;
//!         found.extend(record.blocks().iter().map(|block| block.tag.rel));
//!     }
//!     Ok(found)
//! }
//!
//! // What is no WAL is refused, and the error says why.
//! let error = relations(&[0; 8192]).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "magic 0x0000 belongs to no supported version (14 to 18)"
//! );
//! ```
//!
//! # Example: lines as `pg_waldump` prints them, while WAL arrives
//!
//! ```
//! use std::error::Error;
//! use walrecord::describe::Text;
//! use walrecord::dump::{BlockStyle, record_line};
//! use walrecord::{DecoderOptions, Lsn, Record, StreamDecoder};
//!
//! /// Takes in what a server sent and gives the position up to which records are whole.
//! fn take_in(
//!     decoder: &mut StreamDecoder,
//!     at: Lsn,
//!     bytes: &[u8],
//!     text: &mut Text,
//! ) -> Result<Lsn, Box<dyn Error>> {
//!     decoder.push(at, bytes)?;
//!     while let Some(raw) = decoder.next_record()? {
//!         let mut record = Record::default();
//!         raw.decode_into(&mut record)?;
//!         record_line(&record, BlockStyle::Short, text)?;
//!     }
//!     Ok(decoder.position())
//! }
//!
//! let start: Lsn = "0/3000000".parse()?;
//! let mut decoder = StreamDecoder::new(start, DecoderOptions::default());
//! let mut text = Text::new();
//! // Nothing is whole yet: more bytes are needed.
//! assert_eq!(take_in(&mut decoder, start, &[0x10, 0xD1], &mut text)?, start);
//! // Bytes that do not follow are refused.
//! assert!(take_in(&mut decoder, start, &[0], &mut text).is_err());
//! # Ok::<(), Box<dyn Error>>(())
//! ```

// A module of the tests is shared with fuzzing, and names this crate as they do.
#[cfg(any(test, fuzzing))]
extern crate self as walrecord;

mod boundary;
mod crc;
pub mod describe;
pub mod dump;
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
pub use effects::{Effect, EffectContext, EffectError, MetaEffect, PageTouch, concerns, effects};
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
pub use rmgr::{Rmgr, RmgrId, RmgrNameError};
pub use rules::RedoRules;
pub use segment::{SegmentId, SegmentNameError, WalSlice};
pub use source::{ReadError, RecordReader, WalSource};
pub use stream::{DecoderOptions, StreamDecoder, UnverifiedRecord};
pub use types::*;
