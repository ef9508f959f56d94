//! Checks everything in a layer file: every checksum, every structure, and that they agree.

use std::cell::Cell;

use walrecord::Lsn;

use super::block::DataBlock;
use super::footer::{FOOTER_SIZE, HEADER_SIZE, check_header};
use super::format::{Position, bytes_at};
use super::index::{Index, IndexEntry};
use super::reader::Caching;
use super::{Damage, Layer, LayerError};
use crate::key::Key;

/// Bytes read at once for the checksum of the file.
const READ_SIZE: u64 = 1 << 20;

/// What the data blocks so far hold.
struct Seen {
    entries: u64,
    keys: u64,
    blocks: u64,
    min_lsn: Lsn,
    max_lsn: Lsn,
    first: Option<Position>,
    last: Option<Position>,
    /// Where the last block ended; none if it could not be read.
    end: Option<u64>,
    /// Every block could be read.
    is_whole: bool,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen {
            entries: 0,
            keys: 0,
            blocks: 0,
            min_lsn: Lsn::MAX,
            max_lsn: Lsn::INVALID,
            first: None,
            last: None,
            end: Some(HEADER_SIZE as u64),
            is_whole: true,
        }
    }
}

impl Seen {
    /// Takes note of a block, or many, that could not be read.
    fn skip(&mut self) {
        self.last = None;
        self.end = None;
        self.is_whole = false;
    }
}

/// Something wrong with a layer file.
#[derive(Debug)]
pub(crate) struct LayerFinding {
    /// What, and where in the file.
    pub(crate) error: LayerError,
    /// The first key of the block that it is about, if it is about one.
    pub(crate) from_key: Option<Key>,
}

impl Layer {
    /// Reads the whole file and checks everything in it. Blocks that are in the cache are taken
    /// from there for the structure, but the checksum covers every byte of the file.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self) -> Result<(), LayerError> {
        let mut first = None;
        self.examine(&mut |finding| {
            first.get_or_insert(finding.error);
        });
        first.map_or(Ok(()), Err)
    }

    /// Checks everything as [`Layer::verify`] does, goes on behind what is wrong, and reports each thing.
    pub(crate) fn examine(&self, report: &mut dyn FnMut(LayerFinding)) {
        let sound = Cell::new(true);
        let mut report = |error, from_key| {
            sound.set(false);
            report(LayerFinding { error, from_key });
        };
        if let Err(error) = self.verify_header() {
            report(error, None);
        }
        let mut seen = Seen::default();
        let mut index_end = self.footer.index_offset;
        for top in 0..self.top().len() {
            let entry = self.top().entry(top);
            let in_place = self.expect(
                index_end,
                "offset of an index block",
                index_end,
                entry.offset,
            );
            index_end = entry.end();
            let index = in_place.and_then(|()| self.index(top, Caching::Pass));
            let payload = match index {
                Ok(payload) => payload,
                Err(error) => {
                    report(error, Some(entry.first.key));
                    seen.skip();
                    continue;
                }
            };
            let index = Index::trusted(&payload);
            for number in 0..index.len() {
                let entry = index.entry(number);
                if let Err(error) = self.verify_data(&entry, &mut seen) {
                    report(error, Some(entry.first.key));
                    seen.skip();
                }
            }
        }
        // Of blocks that could not be read the totals say nothing.
        if seen.is_whole {
            let ends = self.expect(
                index_end,
                "end of the index",
                self.footer.top_offset,
                index_end,
            );
            if let Err(error) = ends.and_then(|()| self.verify_totals(&seen)) {
                report(error, None);
            }
        }
        // It covers what is reported already, and cannot tell where the damage is.
        if sound.get()
            && let Err(error) = self.verify_body()
        {
            report(error, None);
        }
    }

    fn verify_header(&self) -> Result<(), LayerError> {
        let header = bytes_at(&self.file.read(0, HEADER_SIZE)?, 0);
        check_header(&header, &self.footer).map_err(|damage| self.file.damaged(0, damage))
    }

    fn verify_body(&self) -> Result<(), LayerError> {
        let end = self.file.len - FOOTER_SIZE as u64;
        let mut found = 0;
        let mut offset = 0;
        while offset < end {
            let len = READ_SIZE.min(end - offset);
            found = crc32c::crc32c_append(found, &self.file.read(offset, len as usize)?);
            offset += len;
        }
        let expected = self.footer.body_checksum;
        if found == expected {
            Ok(())
        } else {
            Err(self.file.damaged(0, Damage::Checksum { expected, found }))
        }
    }

    fn verify_data(&self, entry: &IndexEntry, seen: &mut Seen) -> Result<(), LayerError> {
        if let Some(end) = seen.end {
            self.expect(end, "offset of a data block", end, entry.offset)?;
        }
        let payload = self.data(entry, Caching::Pass)?;
        let block = DataBlock::trusted(&payload);
        let at = entry.offset;
        if seen.last.is_some_and(|last| last >= block.first()) {
            let damage = block.first().out_of_order("first version of a block");
            return Err(self.file.damaged(at, damage));
        }
        let continued = seen.last.is_some_and(|last| last.key == block.first().key);
        if seen.end.is_some() {
            let found = block.continued().into();
            self.expect(at, "block flags", continued.into(), found)?;
        }
        for index in 0..block.key_count() {
            let key = block.key(index);
            if self.filter.as_ref().is_some_and(|f| !f.may_contain(&key)) {
                return Err(self.file.damaged(at, Damage::NotInFilter { key }));
            }
            let rows = block.rows_of(index);
            seen.min_lsn = seen.min_lsn.min(block.lsn(rows.start));
            seen.max_lsn = seen.max_lsn.max(block.lsn(rows.end - 1));
        }
        seen.entries += block.row_count() as u64;
        seen.keys += block.key_count() as u64 - u64::from(continued);
        seen.blocks += 1;
        seen.first.get_or_insert(block.first());
        seen.last = Some(block.last());
        seen.end = Some(entry.end());
        Ok(())
    }

    fn verify_totals(&self, seen: &Seen) -> Result<(), LayerError> {
        let footer = &self.footer;
        let at = self.file.len - FOOTER_SIZE as u64;
        let end = seen.end.unwrap_or(footer.index_offset);
        self.expect(at, "end of the data", footer.index_offset, end)?;
        self.expect(at, "entries", footer.entries, seen.entries)?;
        self.expect(at, "keys", footer.keys, seen.keys)?;
        self.expect(at, "data blocks", footer.data_blocks, seen.blocks)?;
        self.expect(at, "smallest LSN", footer.min_lsn.get(), seen.min_lsn.get())?;
        self.expect(at, "largest LSN", footer.max_lsn.get(), seen.max_lsn.get())?;
        let ends = [
            ("first key", footer.first_key, seen.first),
            ("last key", footer.last_key, seen.last),
        ];
        for (what, key, found) in ends {
            let found = found.expect("an index has an entry, a block a version");
            Position { key, ..found }
                .expect(what, found)
                .map_err(|damage| self.file.damaged(at, damage))?;
        }
        Ok(())
    }

    fn expect(
        &self,
        offset: u64,
        field: &'static str,
        expected: u64,
        found: u64,
    ) -> Result<(), LayerError> {
        Damage::unless_equal(field, expected, found)
            .map_err(|damage| self.file.damaged(offset, damage))
    }
}
