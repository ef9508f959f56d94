//! WAL as `pg_waldump` shows it: a record's line, which records to show, statistics. For tools that dump
//! WAL; where the bytes come from and where the text goes is theirs.
//!
//! All of it is in the form of the WAL's own major version: [`record_line`] gives the text that
//! `pg_waldump` of that version gives, byte for byte.

mod blocks;
mod filter;
mod image_file;
mod line;
mod stats;

pub use blocks::BlockStyle;
pub use filter::Filter;
pub use image_file::image_file_name;
pub use line::record_line;
pub use stats::{Stats, StatsBy};

use crate::record::Record;

/// A record's length in two parts, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLength {
    /// Its page images, as they are stored.
    pub images: u32,
    /// All else, with the record's header.
    pub rest: u32,
}

impl RecordLength {
    /// The length of a record (`XLogRecGetLen`, access/transam/xlogstats.c).
    #[inline]
    pub fn of(record: &Record<'_>) -> RecordLength {
        let images = record.blocks().iter().filter_map(|block| block.image);
        // They are part of the record, whose length is a u32.
        let images = images.map(|image| image.bytes.len() as u32).sum();
        RecordLength {
            images,
            rest: record.header.total_length.saturating_sub(images),
        }
    }
}
