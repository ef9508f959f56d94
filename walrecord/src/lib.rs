//! The write-ahead log of PostgreSQL 14 to 18, decoded.

mod boundary;
mod effects;
mod error;
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
pub use effects::{Effect, EffectContext, MetaEffect, PageTouch};
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
