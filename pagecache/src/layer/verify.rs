//! Checks everything in a layer file: every checksum, every structure, and that they agree.

use walrecord::Lsn;

use super::block::DataBlock;
use super::footer::{FOOTER_SIZE, HEADER_SIZE, check_header};
use super::format::{Position, bytes_at};
use super::index::{Index, IndexEntry};
use super::reader::Caching;
use super::{Damage, Layer, LayerError};

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
    /// Where the last block ended.
    end: u64,
}

impl Layer {
    /// Reads the whole file and checks everything in it. Blocks that are in the cache are taken
    /// from there for the structure, but the checksum covers every byte of the file.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self) -> Result<(), LayerError> {
        let header = bytes_at(&self.file.read(0, HEADER_SIZE)?, 0);
        check_header(&header, self.footer.kind).map_err(|damage| self.file.damaged(0, damage))?;
        self.verify_body()?;
        let mut seen = Seen {
            entries: 0,
            keys: 0,
            blocks: 0,
            min_lsn: Lsn::MAX,
            max_lsn: Lsn::INVALID,
            first: None,
            last: None,
            end: HEADER_SIZE as u64,
        };
        let mut index_end = self.footer.index_offset;
        for top in 0..self.top().len() {
            let entry = self.top().entry(top);
            self.expect(
                index_end,
                "offset of an index block",
                index_end,
                entry.offset,
            )?;
            index_end = entry.end();
            let payload = self.index(top, Caching::Pass)?;
            let index = Index::trusted(&payload);
            for number in 0..index.len() {
                self.verify_data(&index.entry(number), &mut seen)?;
            }
        }
        self.expect(
            index_end,
            "end of the index",
            self.footer.top_offset,
            index_end,
        )?;
        self.verify_totals(&seen)
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
        self.expect(seen.end, "offset of a data block", seen.end, entry.offset)?;
        let payload = self.data(entry, Caching::Pass)?;
        let block = DataBlock::trusted(&payload);
        let at = entry.offset;
        if seen.last.is_some_and(|last| last >= block.first()) {
            let damage = block.first().out_of_order("first version of a block");
            return Err(self.file.damaged(at, damage));
        }
        let continued = seen.last.is_some_and(|last| last.key == block.first().key);
        self.expect(
            at,
            "block flags",
            continued.into(),
            block.continued().into(),
        )?;
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
        seen.end = entry.end();
        Ok(())
    }

    fn verify_totals(&self, seen: &Seen) -> Result<(), LayerError> {
        let footer = &self.footer;
        let at = self.file.len - FOOTER_SIZE as u64;
        self.expect(at, "end of the data", footer.index_offset, seen.end)?;
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
