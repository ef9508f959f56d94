//! Records by their start, read from WAL files.

use std::convert::Infallible;

use walrecord::{DecoderOptions, Lsn, PgVersion, RawRecord, RecordReader, WalSlice};

use super::shared::Shared;
use crate::error::StoreError;
use crate::wal::WalStore;

/// Fetches records from the WAL files of a timeline and of those that it branches from, one at a time.
pub(crate) struct RecordFetcher<'a> {
    shared: &'a Shared,
    /// Of the timeline, its ancestor, the ancestor's ancestor, as far as they were asked.
    readers: Vec<RecordReader<&'a WalStore>>,
}

impl<'a> RecordFetcher<'a> {
    pub(crate) fn new(shared: &'a Shared) -> RecordFetcher<'a> {
        RecordFetcher {
            shared,
            readers: Vec::new(),
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
        let record = self.readers[ancestors].read(start);
        let record = record.map_err(|source| StoreError::BadRecord {
            start,
            end: start,
            source: Box::new(source),
        })?;
        Ok(record.bytes)
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

impl WindowRecords<'_> {
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
