//! The payload of a data block: values, then a table of keys, a table of versions, and counts.

use std::ops::Range;

use walrecord::{Lsn, Reader};

use super::page_image::{self, Form, PageBuffer};
use crate::key::{KEY_SIZE, Key};
use crate::layer::format::{Position, bytes_at, key_bytes_at, lsn_at, u32_at};
use crate::layer::{Damage, EntryKind, EntryRef};

/// Bytes of an entry of the key table: the key, and its first row.
pub(super) const KEY_ENTRY: usize = KEY_SIZE + 4;

/// Bytes of a row: LSN, kind and form, end of the value.
pub(super) const ROW: usize = 8 + 1 + 4;
const ROW_TAG: usize = 8;
const ROW_END: usize = 9;

/// A row whose value ends at `end` of the payload.
///
/// # Panics
/// If a payload is not so long.
#[inline]
pub(super) fn encode_row(lsn: Lsn, tag: u8, end: usize) -> [u8; ROW] {
    let end = u32::try_from(end).expect("a payload is bounded");
    let mut row = [0; ROW];
    row[..ROW_TAG].copy_from_slice(&lsn.get().to_le_bytes());
    row[ROW_TAG] = tag;
    row[ROW_END..].copy_from_slice(&end.to_le_bytes());
    row
}

/// Bytes behind the tables: number of keys, number of rows, flags.
pub(super) const TRAILER: usize = 12;

/// The first key of the block has versions in the block before.
const CONTINUED: u32 = 1;

/// The payload of a data block, checked: what it says of itself is true.
#[derive(Clone, Copy, Debug)]
pub(in crate::layer) struct DataBlock<'a> {
    values: &'a [u8],
    keys: &'a [u8],
    rows: &'a [u8],
    continued: bool,
}

/// The number of a version in its block.
pub(in crate::layer) type Row = usize;

impl<'a> DataBlock<'a> {
    /// Checks everything in a payload that a reader relies on.
    pub(in crate::layer) fn check(payload: &'a [u8]) -> Result<DataBlock<'a>, Damage> {
        let block = DataBlock::split(payload)?;
        let rows = block.row_count();
        let mut before: Option<Key> = None;
        for index in 0..block.key_count() {
            let bytes = bytes_at(block.keys, index * KEY_ENTRY);
            let key = Key::from_bytes(&bytes)?;
            let first = block.first_row(index);
            if before.is_some_and(|before| before >= key) {
                let lsn = Lsn::INVALID;
                return Err(Position { key, lsn }.out_of_order("keys of a block"));
            }
            // The first key starts with the first row, and every key has a row.
            let (min, max) = match index.checked_sub(1) {
                Some(before) => (block.first_row(before) + 1, rows - 1),
                None => (0, 0),
            };
            let bounds = min as u64..=max as u64;
            Damage::unless_within("first row of a key", bounds, first as u64)?;
            before = Some(key);
        }
        for index in 0..block.key_count() {
            block.check_rows(index)?;
        }
        let end = block.value_end(rows - 1);
        Damage::unless_equal("end of the values", block.values.len() as u64, end as u64)?;
        Ok(block)
    }

    /// The payload of a block that passed [`DataBlock::check`] before.
    pub(in crate::layer) fn trusted(payload: &'a [u8]) -> DataBlock<'a> {
        DataBlock::split(payload).expect("the payload was checked when it was read")
    }

    fn split(payload: &'a [u8]) -> Result<DataBlock<'a>, Damage> {
        let tables = payload.len().saturating_sub(TRAILER);
        let mut r = Reader::new(&payload[tables..]);
        let keys = r.u32("number of keys")?;
        let rows = r.u32("number of versions")?;
        let flags = r.u32("block flags")?;
        let most = (tables / (KEY_ENTRY + ROW)) as u64;
        Damage::unless_within("number of keys", 1..=most, keys.into())?;
        let rows_bytes = tables - keys as usize * KEY_ENTRY;
        let most = (rows_bytes / ROW) as u64;
        Damage::unless_within("number of versions", keys.into()..=most, rows.into())?;
        Damage::unless_within("block flags", 0..=CONTINUED.into(), flags.into())?;
        let values = rows_bytes - rows as usize * ROW;
        let (values, rest) = payload.split_at(values);
        let (keys, rest) = rest.split_at(keys as usize * KEY_ENTRY);
        Ok(DataBlock {
            values,
            keys,
            rows: &rest[..rows as usize * ROW],
            continued: flags == CONTINUED,
        })
    }

    fn check_rows(&self, key: usize) -> Result<(), Damage> {
        let rows = self.rows_of(key);
        for row in rows.clone() {
            let start = self.value_start(row);
            let end = self.value_end(row);
            Damage::unless_within(
                "end of a value",
                start as u64..=self.values.len() as u64,
                end as u64,
            )?;
            let tag = self.rows[row * ROW + ROW_TAG];
            let unknown = Damage::Bounds {
                field: "kind and form of a version",
                min: 0,
                max: 0x2F,
                found: tag.into(),
            };
            let kind = EntryKind::from_u8(tag & 0xF).ok_or(unknown)?;
            let form = Form::from_u8(tag >> 4).ok_or(unknown)?;
            match kind {
                EntryKind::Image => page_image::check(form, &self.values[start..end])?,
                _ if form != Form::Plain => return Err(unknown),
                _ => {}
            }
            if row > rows.start && self.lsn(row - 1) >= self.lsn(row) {
                let position = Position {
                    key: self.key(key),
                    lsn: self.lsn(row),
                };
                return Err(position.out_of_order("versions of a key"));
            }
        }
        Ok(())
    }

    /// Distinct keys; at least one.
    pub(in crate::layer) fn key_count(&self) -> usize {
        self.keys.len() / KEY_ENTRY
    }

    /// Versions; at least one.
    pub(in crate::layer) fn row_count(&self) -> Row {
        self.rows.len() / ROW
    }

    /// Whether the first key has versions in the block before.
    pub(in crate::layer) fn continued(&self) -> bool {
        self.continued
    }

    /// The key of that number.
    pub(in crate::layer) fn key(&self, index: usize) -> Key {
        Key::from_raw(&bytes_at(self.keys, index * KEY_ENTRY))
    }

    /// The first version.
    pub(in crate::layer) fn first(&self) -> Position {
        Position {
            key: self.key(0),
            lsn: self.lsn(0),
        }
    }

    /// The last version.
    pub(in crate::layer) fn last(&self) -> Position {
        Position {
            key: self.key(self.key_count() - 1),
            lsn: self.lsn(self.row_count() - 1),
        }
    }

    /// The versions of the key of that number, oldest first.
    pub(in crate::layer) fn rows_of(&self, index: usize) -> Range<Row> {
        let end = if index + 1 < self.key_count() {
            self.first_row(index + 1)
        } else {
            self.row_count()
        };
        self.first_row(index)..end
    }

    /// Those of them that are not above `upto`.
    pub(in crate::layer) fn rows_upto(&self, index: usize, upto: Lsn) -> Range<Row> {
        let rows = self.rows_of(index);
        let (mut low, mut high) = (rows.start, rows.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.lsn(middle) <= upto {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        rows.start..low
    }

    /// The number of the first key at or above `key`, and whether it is that.
    pub(in crate::layer) fn search(&self, key: &Key) -> (usize, bool) {
        let wanted = key.to_bytes();
        let (mut low, mut high) = (0, self.key_count());
        while low < high {
            let middle = low + (high - low) / 2;
            match key_bytes_at(self.keys, middle * KEY_ENTRY).cmp(&wanted[..]) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return (middle, true),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        (low, false)
    }

    /// The version of that number.
    pub(in crate::layer) fn entry<'b>(
        &self,
        key: Key,
        row: Row,
        buffer: &'b mut PageBuffer,
    ) -> EntryRef<'b>
    where
        'a: 'b,
    {
        let tag = self.tag(row);
        let kind = self.kind(row);
        let stored = &self.values[self.value_start(row)..self.value_end(row)];
        let value = match kind {
            EntryKind::Image => {
                let form = Form::from_u8(tag >> 4).expect("checked when the block was read");
                page_image::restore(form, stored, buffer)
            }
            _ => stored,
        };
        EntryRef {
            key,
            lsn: self.lsn(row),
            kind,
            value,
        }
    }

    /// What the version of that number is.
    pub(in crate::layer) fn kind(&self, row: Row) -> EntryKind {
        let tag = self.tag(row);
        EntryKind::from_u8(tag & 0xF).expect("checked when the block was read")
    }

    /// The LSN of the version of that number.
    pub(in crate::layer) fn lsn(&self, row: Row) -> Lsn {
        lsn_at(self.rows, row * ROW)
    }

    /// The stored bytes of versions that lie side by side.
    pub(in crate::layer) fn stored(&self, rows: Range<Row>) -> &'a [u8] {
        match rows.end.checked_sub(1) {
            Some(last) if rows.start <= last => {
                &self.values[self.value_start(rows.start)..self.value_end(last)]
            }
            _ => &[],
        }
    }

    /// Kind and form of a version, as they stand in its row.
    pub(super) fn tag(&self, row: Row) -> u8 {
        self.rows[row * ROW + ROW_TAG]
    }

    fn first_row(&self, index: usize) -> Row {
        u32_at(self.keys, index * KEY_ENTRY + KEY_SIZE) as usize
    }

    /// Where the stored bytes of a version end.
    pub(super) fn value_end(&self, row: Row) -> usize {
        u32_at(self.rows, row * ROW + ROW_END) as usize
    }

    /// Where they begin.
    pub(super) fn value_start(&self, row: Row) -> usize {
        match row.checked_sub(1) {
            Some(before) => self.value_end(before),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::DataBuilder;
    use super::*;

    /// Two keys, the first with two versions.
    fn payload() -> Vec<u8> {
        let mut builder = DataBuilder::default();
        for (key, lsn) in [(1, 8), (1, 16), (2, 8)] {
            let (key, lsn) = (Key::file(key), Lsn::new(lsn));
            if lsn == Lsn::new(8) {
                builder.begin_key(Position { key, lsn }, false);
            }
            builder.push(lsn, EntryKind::Value, b"value");
        }
        builder.finish(Vec::new())
    }

    const KEYS: usize = 3 * 5;
    const ROWS: usize = KEYS + 2 * KEY_ENTRY;

    fn damage(at: usize, byte: u8) -> Damage {
        let mut payload = payload();
        assert_ne!(payload[at], byte);
        payload[at] = byte;
        DataBlock::check(&payload).unwrap_err()
    }

    #[test]
    fn each_rule_of_a_payload_is_checked() {
        DataBlock::check(&payload()).unwrap();
        let second_key = KEYS + KEY_ENTRY;
        let order = |what: &str, found| match found {
            Damage::Order { what: found, .. } => assert_eq!(found, what),
            other => panic!("{other}"),
        };
        order("keys of a block", damage(second_key + KEY_SIZE - 1, 1));
        order("versions of a key", damage(ROWS + ROW, 8));
        let field = |name: &str, found| match found {
            Damage::Bounds { field, .. } | Damage::Mismatch { field, .. } => {
                assert_eq!(field, name);
            }
            other => panic!("{other}"),
        };
        field("first row of a key", damage(KEYS + KEY_SIZE, 1));
        field("first row of a key", damage(second_key + KEY_SIZE, 0));
        field("first row of a key", damage(second_key + KEY_SIZE, 3));
        field("end of a value", damage(ROWS + ROW_END, 11));
        field("end of a value", damage(ROWS + 2 * ROW + ROW_END, 16));
        field("end of the values", damage(ROWS + 2 * ROW + ROW_END, 14));
        field("kind and form of a version", damage(ROWS + ROW_TAG, 6));
        field("kind and form of a version", damage(ROWS + ROW_TAG, 0x25));
        field("length of a page", damage(ROWS + ROW_TAG, 1));
        let trailer = ROWS + 3 * ROW;
        field("number of keys", damage(trailer, 0));
        field("number of versions", damage(trailer + 4, 1));
        field("block flags", damage(trailer + 8, 2));
        assert!(matches!(damage(KEYS, 0), Damage::Key(_)));
    }
}
