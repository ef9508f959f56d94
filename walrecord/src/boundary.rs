//! Where records begin and end: the one place that turns a position someone gives into the boundary
//! between records that it means.

use crate::page::{PageContext, WAL_PAGE_SIZE};
use crate::source::{PageAt, ReadError, RecordReader, WalSource, read_page_header};
use crate::stream::DecoderOptions;
use crate::types::Lsn;

/// A boundary between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// Where the record before it ends. At a page boundary this is the page boundary, not the place
    /// behind the page header, as in Postgres's `EndRecPtr`.
    pub end: Lsn,
    /// Where that record starts: the `prev` link of a record written at the boundary.
    pub last_start: Lsn,
}

/// The boundary that `lsn` means: the end of the last whole record that ends at or below it.
///
/// A position inside a record, or in the unused rest of a segment, means the end of the record before;
/// one in or just behind a page header the same as the page boundary, if a record ends there.
///
/// Pages are walked back until one has the start of such a record. The source must hold the pages from
/// there up to `lsn`; the page of `lsn` itself may still be missing.
///
/// # Errors
/// [`ReadError::Missing`] if the source holds no such record, or does not reach to `lsn`; else if
/// the WAL there is damaged or the source fails.
///
/// # Panics
/// If segments cannot have the given size, see [`crate::is_segment_size`].
pub fn record_boundary<S: WalSource>(
    source: S,
    segment_size: u32,
    lsn: Lsn,
) -> Result<Boundary, ReadError<S::Error>> {
    let options = DecoderOptions {
        segment_size: Some(segment_size),
        ..DecoderOptions::default()
    };
    let context = PageContext {
        segment_size: Some(segment_size),
        ..PageContext::default()
    };
    // A record that ends at or below `lsn` has no byte there or beyond. The limit also saves reading
    // a long record that reaches beyond.
    let below = Below {
        source: &source,
        limit: lsn,
    };
    let mut reader = RecordReader::new(below, options);
    let last_page = lsn.page_start();
    let mut page = last_page;
    loop {
        match read_page_header(&source, page, &context)? {
            PageAt::Page(header) => {
                if let Some(first) = header.first_record().filter(|first| *first < lsn)
                    && let Some(boundary) = last_record(&mut reader, first, lsn)?
                {
                    return Ok(boundary);
                }
            }
            PageAt::Zeros => {}
            PageAt::Absent if page == last_page => {}
            PageAt::Absent => return Err(ReadError::Missing(lsn)),
        }
        let before = page.get().checked_sub(WAL_PAGE_SIZE as u64);
        page = Lsn::new(before.ok_or(ReadError::Missing(lsn))?);
    }
}

/// Where the first record that begins in the page of `lsn` or later begins: behind the page header and
/// the rest of an earlier record. None if the source does not reach there.
///
/// # Errors
/// If a page header is wrong or the source fails.
pub fn first_record<S: WalSource>(source: S, lsn: Lsn) -> Result<Option<Lsn>, ReadError<S::Error>> {
    let mut page = lsn.page_start();
    loop {
        let PageAt::Page(header) = read_page_header(&source, page, &PageContext::default())? else {
            return Ok(None);
        };
        if let Some(first) = header.first_record() {
            return Ok(Some(first));
        }
        match page.checked_add(WAL_PAGE_SIZE as u64) {
            Some(next) => page = next,
            None => return Ok(None),
        }
    }
}

/// The last record from `first` on that ends at or below `lsn`.
fn last_record<S: WalSource>(
    reader: &mut RecordReader<S>,
    first: Lsn,
    lsn: Lsn,
) -> Result<Option<Boundary>, ReadError<S::Error>> {
    reader.seek(first)?;
    let mut last = None;
    while let Some(record) = reader.next_record()? {
        // A record that ends a segment ends above its last byte.
        if record.end > lsn {
            break;
        }
        last = Some(Boundary {
            end: record.end,
            last_start: record.start,
        });
    }
    Ok(last)
}

/// A source cut off at a position.
struct Below<S> {
    source: S,
    limit: Lsn,
}

impl<S: WalSource> WalSource for Below<S> {
    type Error = S::Error;

    fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> Result<usize, S::Error> {
        let left = usize::try_from(self.limit.saturating_sub(lsn)).unwrap_or(usize::MAX);
        let count = left.min(buf.len());
        self.source.read_at(lsn, &mut buf[..count])
    }
}
