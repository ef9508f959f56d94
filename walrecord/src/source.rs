//! Records by position: from anything that gives WAL bytes at a position, one record by its start or
//! one after the other.

use crate::error::WalError;
use crate::page::{LONG_PAGE_HEADER_SIZE, PageContext, PageHeader, WAL_PAGE_SIZE};
use crate::record::RawRecord;
use crate::stream::{DecoderOptions, StreamDecoder};
use crate::types::{Lsn, PgTimelineId};

/// The most that is read ahead at a time, bytes. Larger reads save nothing on a local file.
const MAX_READ_AHEAD: usize = 128 << 10;

/// The most that is read first after a jump, bytes: most records fit, and a page is eight times that.
const FIRST_READ: usize = 1 << 10;

/// Where WAL bytes can be read by position.
pub trait WalSource {
    /// What can go wrong with a read.
    type Error;

    /// Fills the front of `buf` with the bytes at `lsn` and gives their number. Fewer than asked for:
    /// the rest is not there (yet), or not in one piece; the reader asks again at the position
    /// after. Zero: nothing is there.
    ///
    /// # Errors
    /// If the bytes should be there but cannot be read. Bytes that do not exist are not an error.
    fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> Result<usize, Self::Error>;
}

impl<S: WalSource + ?Sized> WalSource for &S {
    type Error = S::Error;

    fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> Result<usize, S::Error> {
        (**self).read_at(lsn, buf)
    }
}

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError<E> {
    /// The source failed.
    #[error("WAL at {at} cannot be read")]
    Source {
        /// Where the read began.
        at: Lsn,
        /// What the source said.
        source: E,
    },
    /// The bytes are not WAL, or damaged.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The WAL in the source does not reach there.
    #[error("the WAL at hand holds no whole record at {0}")]
    Missing(Lsn),
}

/// Reads records from a [`WalSource`], checked as [`StreamDecoder`] checks them. Reuses one buffer.
#[derive(Debug)]
pub struct RecordReader<S> {
    source: S,
    decoder: StreamDecoder,
    read_ahead: usize,
}

impl<S: WalSource> RecordReader<S> {
    /// A reader that is not positioned yet. The version may be left out of the options if the pages in
    /// which reading begins are in the source with their headers.
    ///
    /// # Panics
    /// As [`StreamDecoder::new`].
    pub fn new(source: S, options: DecoderOptions) -> RecordReader<S> {
        RecordReader {
            source,
            decoder: StreamDecoder::new(Lsn::INVALID, options),
            read_ahead: 0,
        }
    }

    /// The source.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Makes `start` the next place to read: where a record starts, or a page boundary. If a page
    /// starts inside a record, [`RecordReader::next_record`] passes over the rest of that record.
    ///
    /// # Errors
    /// If the version is still unknown and the header of the page cannot be read.
    pub fn seek(&mut self, start: Lsn) -> Result<(), ReadError<S::Error>> {
        self.decoder.restart(start);
        // Little first: whoever jumps about wants one record, and most are small.
        self.read_ahead = FIRST_READ.min(WAL_PAGE_SIZE - start.page_offset() as usize);
        if self.decoder.version().is_none() && start.page_offset() != 0 {
            let page = start.page_start();
            let mut bytes = [0; LONG_PAGE_HEADER_SIZE];
            let got = read_full(&self.source, page, &mut bytes)?;
            self.decoder.learn_page(page, &bytes[..got])?;
        }
        Ok(())
    }

    /// Reads the record that starts at `start`; a page boundary stands for the place behind the
    /// page's header. Goes on with [`RecordReader::next_record`] from there.
    ///
    /// # Errors
    /// If no whole, sound record starts there, or the source fails.
    pub fn read(&mut self, start: Lsn) -> Result<RawRecord<'_>, ReadError<S::Error>> {
        let behind_header = start.page_offset() == 0 && !self.page_continues(start)?;
        self.seek(start)?;
        let record = self.next_record()?.ok_or(ReadError::Missing(start))?;
        if record.start == start || behind_header {
            Ok(record)
        } else {
            Err(WalError::NotARecordStart(start).into())
        }
    }

    /// Whether the page at `page` begins with the rest of a record. That rest can be so short that the next
    /// record's distance does not tell.
    fn page_continues(&self, page: Lsn) -> Result<bool, ReadError<S::Error>> {
        let mut bytes = [0; LONG_PAGE_HEADER_SIZE];
        let got = read_full(&self.source, page, &mut bytes)?;
        let header = PageHeader::parse(&bytes[..got]);
        Ok(header.is_ok_and(|header| header.continues.is_some()))
    }

    /// Reads the next record, or none if the source does not hold the whole of it (yet): the same
    /// place is tried again by the next call.
    ///
    /// # Errors
    /// If what stands there is no sound record, or the source fails.
    pub fn next_record(&mut self) -> Result<Option<RawRecord<'_>>, ReadError<S::Error>> {
        while !self.decoder.advance()? {
            let source = &self.source;
            let mut at = Lsn::INVALID;
            let got = if self.decoder.ended() {
                0
            } else {
                let read = |lsn, buf: &mut [u8]| {
                    at = lsn;
                    source.read_at(lsn, buf)
                };
                self.decoder
                    .fill(self.read_ahead, read)
                    .map_err(|source| ReadError::Source { at, source })?
            };
            if got == 0 {
                // What stood there as zeros may be WAL the next time.
                self.decoder.unread();
                return Ok(None);
            }
            self.read_ahead = (self.read_ahead.max(WAL_PAGE_SIZE) * 2).min(MAX_READ_AHEAD);
        }
        Ok(Some(self.decoder.record()))
    }

    /// The end of the last record read; the place sought if there was none since.
    pub fn position(&self) -> Lsn {
        self.decoder.position()
    }

    /// Where the last record read starts, if there was one since the last seek.
    pub fn previous(&self) -> Option<Lsn> {
        self.decoder.previous()
    }

    /// The Postgres timeline of the last page begun, if one was since the last seek.
    pub fn timeline(&self) -> Option<PgTimelineId> {
        self.decoder.timeline()
    }

    /// What is known of the WAL: given, or told by its pages.
    pub fn known(&self) -> DecoderOptions {
        DecoderOptions {
            segment_size: self.decoder.segment_size(),
            system_identifier: self.decoder.system_identifier(),
            version: self.decoder.version(),
        }
    }
}

/// Reads until `buf` is full or nothing more is there; gives how much was read.
pub(crate) fn read_full<S: WalSource>(
    source: &S,
    lsn: Lsn,
    buf: &mut [u8],
) -> Result<usize, ReadError<S::Error>> {
    let mut got = 0;
    while got < buf.len() {
        let Some(at) = lsn.checked_add(got as u64) else {
            break;
        };
        let more = source
            .read_at(at, &mut buf[got..])
            .map_err(|source| ReadError::Source { at, source })?;
        if more == 0 {
            break;
        }
        got = (got + more).min(buf.len());
    }
    Ok(got)
}

/// What a source has at a page's place.
pub(crate) enum PageAt {
    /// Nothing, or less than a header.
    Absent,
    /// Zeros: unused, or not written yet.
    Zeros,
    /// A page with this header.
    Page(PageHeader),
}

/// Reads the header of the page at `page`.
pub(crate) fn read_page_header<S: WalSource>(
    source: &S,
    page: Lsn,
    context: &PageContext,
) -> Result<PageAt, ReadError<S::Error>> {
    let mut bytes = [0; LONG_PAGE_HEADER_SIZE];
    let got = read_full(source, page, &mut bytes)?;
    let bytes = &bytes[..got];
    match PageHeader::size_of(bytes) {
        Some(_) if bytes.iter().all(|byte| *byte == 0) => Ok(PageAt::Zeros),
        Some(size) if bytes.len() >= size => PageHeader::parse_at(page, bytes, context)
            .map(PageAt::Page)
            .map_err(|error| WalError::Page { at: page, error }.into()),
        _ => Ok(PageAt::Absent),
    }
}
