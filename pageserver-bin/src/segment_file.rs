//! What all who read directories of WAL segments ask of a file: whether its name is a segment's, and what
//! its first page says. Which files belong together, and what a missing one means, each decides.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};
use walrecord::{LONG_PAGE_HEADER_SIZE, PageHeader, PgVersion};

/// What a segment file says of all around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentFacts {
    pub(crate) version: PgVersion,
    pub(crate) system_identifier: u64,
    /// Bytes.
    pub(crate) segment_size: u32,
}

impl SegmentFacts {
    /// Reads the header of the first page.
    ///
    /// # Errors
    /// If the file cannot be read, or does not begin as a segment of a supported version does.
    pub(crate) fn read(file: File) -> Result<SegmentFacts> {
        let mut bytes = Vec::new();
        file.take(LONG_PAGE_HEADER_SIZE as u64)
            .read_to_end(&mut bytes)?;
        let header = PageHeader::parse(&bytes)?;
        let segment = header
            .segment
            .context("it does not begin with a segment's header")?;
        Ok(SegmentFacts {
            version: header.version,
            system_identifier: segment.system_identifier,
            segment_size: segment.segment_size,
        })
    }
}

/// Whether a file name is that of a segment of some size (`IsXLogFileName`,
/// access/xlog_internal.h).
pub(crate) fn is_segment_name(name: &str) -> bool {
    name.len() == 24
        && name
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte))
}
