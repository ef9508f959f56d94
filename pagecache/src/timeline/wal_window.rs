//! Records by their start, read from WAL files.

use std::convert::Infallible;
use std::error::Error;
use std::hint::black_box;

use walrecord::{DecoderOptions, Lsn, PgVersion, RawRecord, RecordReader, WalSlice};

use super::shared::Shared;
use crate::error::StoreError;
use crate::wal::WalStore;

/// A record so many bytes behind the one before, or nearer, is taken for one of many in a row.
const NEAR: u64 = 8 << 10;

/// Bytes of WAL that are read at a time while records are near to each other.
const STRETCH: usize = 16 << 10;

/// Fetches records from the WAL files of a timeline and of those that it branches from, one at a time. What records
/// did to one page often stands close together, oldest first: then one read of a file gives many.
pub(crate) struct RecordFetcher<'a> {
    shared: &'a Shared,
    /// Of the timeline, its ancestor, the ancestor's ancestor, as far as they were asked.
    readers: Vec<RecordReader<&'a WalStore>>,
    /// Where the record before was.
    last: (usize, Lsn),
    stretch: Stretch,
}

/// A stretch of the WAL of the timeline so many ancestors up.
#[derive(Default)]
struct Stretch {
    ancestors: usize,
    start: Lsn,
    bytes: Vec<u8>,
}

impl<'a> RecordFetcher<'a> {
    pub(crate) fn new(shared: &'a Shared) -> RecordFetcher<'a> {
        RecordFetcher {
            shared,
            readers: Vec::new(),
            last: (0, Lsn::MAX),
            stretch: Stretch::default(),
        }
    }

    /// The bytes of the record that starts at `start`, in the WAL of the timeline so many ancestors up.
    pub(crate) fn fetch(&mut self, start: Lsn, ancestors: usize) -> Result<&[u8], StoreError> {
        while self.readers.len() <= ancestors {
            let mut up = std::iter::successors(Some(self.shared), |shared| {
                shared.ancestor.as_ref().map(|ancestor| &*ancestor.shared)
            });
            let shared = up.nth(self.readers.len()).unwrap_or(self.shared);
            let options = shared.decoder_options();
            self.readers.push(RecordReader::new(&shared.wal, options));
        }
        let reader = &mut self.readers[ancestors];
        let (before, last) = std::mem::replace(&mut self.last, (ancestors, start));
        let is_near = before == ancestors && start.checked_sub(last).is_some_and(|gap| gap <= NEAR);
        if is_near && !self.stretch.holds(start, ancestors) {
            self.stretch.load(reader.source(), start, ancestors);
        }
        let bad = |source: Box<dyn Error + Send + Sync>| StoreError::BadRecord {
            start,
            end: start,
            source,
        };
        if self.stretch.holds(start, ancestors)
            && let Some(version) = reader.known().version
        {
            let record = self.stretch.slice().record_in_page(start, version);
            if let Some(record) = record.map_err(|source| bad(source.into()))? {
                return Ok(record.bytes);
            }
        }
        let record = reader.read(start).map_err(|source| bad(source.into()))?;
        Ok(record.bytes)
    }
}

impl Stretch {
    fn holds(&self, start: Lsn, ancestors: usize) -> bool {
        let offset = start.checked_sub(self.start);
        self.ancestors == ancestors && offset.is_some_and(|it| it < self.bytes.len() as u64)
    }

    /// Nothing, if it cannot be read: whoever reads the record alone is told.
    fn load(&mut self, wal: &WalStore, start: Lsn, ancestors: usize) {
        self.bytes.resize(STRETCH, 0);
        let read = wal.read_at(start, &mut self.bytes).unwrap_or(0);
        self.bytes.truncate(read);
        (self.start, self.ancestors) = (start, ancestors);
    }

    fn slice(&self) -> WalSlice<'_> {
        WalSlice {
            start: self.start,
            bytes: &self.bytes,
        }
    }
}

/// A stretch of WAL in memory, for reading records of it in any order.
pub(crate) struct WalWindow {
    start: Lsn,
    bytes: Vec<u8>,
}

impl WalWindow {
    /// Loads `[start, end)`, from the beginning of the page that holds `start`, into `bytes`, whose
    /// content does not matter: only memory that was used before costs nothing.
    pub(crate) fn load(
        wal: &WalStore,
        start: Lsn,
        end: Lsn,
        mut bytes: Vec<u8>,
    ) -> Result<WalWindow, StoreError> {
        let start = start.page_start();
        bytes.resize(usize::try_from(end - start).unwrap_or(usize::MAX), 0);
        let mut filled = 0;
        while filled < bytes.len() {
            let at = start + filled as u64;
            let read = wal
                .read_at(at, &mut bytes[filled..])
                .map_err(StoreError::io("reading WAL at", at.to_string()))?;
            if read == 0 {
                bytes.truncate(filled);
                break;
            }
            filled += read;
        }
        Ok(WalWindow { start, bytes })
    }

    /// The memory, for the next window.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// To read records from it, each by its start.
    pub(crate) fn records(&self, version: PgVersion, options: DecoderOptions) -> WindowRecords<'_> {
        let slice = WalSlice {
            start: self.start,
            bytes: &self.bytes,
        };
        WindowRecords {
            slice,
            version,
            crossing: RecordReader::new(slice, options),
        }
    }
}

/// Records of a [`WalWindow`], in any order. Nothing is copied but records that cross pages.
pub(crate) struct WindowRecords<'a> {
    slice: WalSlice<'a>,
    version: PgVersion,
    crossing: RecordReader<WalSlice<'a>>,
}

/// Bytes that a processor fetches from memory together.
const CACHE_LINE: u64 = 64;

impl WindowRecords<'_> {
    /// Has the processor fetch the beginnings of records: all of them in the time of one or two, while whoever reads
    /// one after the other waits for each.
    pub(crate) fn fetch(&self, starts: impl Iterator<Item = Lsn>) {
        let byte = |lsn: Lsn| {
            let offset = usize::try_from(lsn.checked_sub(self.slice.start)?).ok()?;
            self.slice.bytes.get(offset).copied()
        };
        let seen = starts.fold(0, |seen, start| {
            seen ^ byte(start).unwrap_or(0) ^ byte(start + CACHE_LINE).unwrap_or(0)
        });
        black_box(seen);
    }

    /// The record that starts at `start`, checked.
    pub(crate) fn read(
        &mut self,
        start: Lsn,
    ) -> Result<RawRecord<'_>, walrecord::ReadError<Infallible>> {
        match self.slice.record_in_page(start, self.version)? {
            Some(raw) => Ok(raw),
            None => self.crossing.read(start),
        }
    }
}
