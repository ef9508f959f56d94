//! The write-ahead log of PostgreSQL 14 to 18, decoded.

mod effects;
mod image;
mod reader;
mod record;
pub mod rmgr;
mod rules;
mod types;

pub use effects::{Effect, EffectContext, EffectError, MetaEffect, PageTouch, effects};
pub use image::{BlockImage, ImageCompression};
pub use reader::{Reader, Truncated};
pub use record::{
    BlockRef, MAX_BLOCK_ID, MAX_RECORD_SIZE, RECORD_HEADER_SIZE, RawRecord, Record, RecordError,
    RecordHeader,
};
pub use rmgr::{Rmgr, RmgrId};
pub use rules::RedoRules;
pub use types::*;
