//! Makes the payload of a data block.

use std::ops::Range;

use walrecord::Lsn;

use super::data::{DataBlock, KEY_ENTRY, ROW, Row, TRAILER, encode_row};
use super::page_image::{self, Form};
use crate::layer::EntryKind;
use crate::layer::format::Position;

/// Collects versions in order until the block is full.
#[derive(Debug, Default)]
pub(in crate::layer) struct DataBuilder {
    /// The values, and in [`DataBuilder::finish`] the tables behind them.
    payload: Vec<u8>,
    keys: Vec<u8>,
    rows: Vec<u8>,
    first: Option<Position>,
    continued: bool,
}

impl DataBuilder {
    /// Begins a key: what is added from now on are versions of it. `first` is the first of them that goes into this block.
    /// `continued`: the block before ends with others. Only the first key of a block can be.
    pub(in crate::layer) fn begin_key(&mut self, first: Position, continued: bool) {
        if self.first.is_none() {
            self.continued = continued;
        }
        let first_row = count(&self.rows, ROW);
        self.keys.extend_from_slice(&first.key.to_bytes());
        self.keys.extend_from_slice(&first_row.to_le_bytes());
        self.first.get_or_insert(first);
    }

    /// Adds a version above all others, of the key that was begun.
    #[inline]
    pub(in crate::layer) fn push(&mut self, lsn: Lsn, kind: EntryKind, value: &[u8]) {
        let form = match kind {
            EntryKind::Image => page_image::store(value, &mut self.payload),
            _ => {
                self.payload.extend_from_slice(value);
                Form::Plain
            }
        };
        let row = encode_row(lsn, kind as u8 | (form as u8) << 4, self.payload.len());
        self.rows.extend_from_slice(&row);
    }

    /// Adds versions of the key that was begun, all above all others, as another block has them, until the payload has
    /// `size` bytes: at least the first. Returns how many.
    pub(in crate::layer) fn push_rows(
        &mut self,
        block: DataBlock<'_>,
        rows: Range<Row>,
        size: usize,
    ) -> usize {
        let from = block.value_start(rows.start);
        let at = self.payload.len();
        let mut taken = rows.start..rows.start;
        for row in rows {
            let end = at + (block.value_end(row) - from);
            let row_there = encode_row(block.lsn(row), block.tag(row), end);
            self.rows.extend_from_slice(&row_there);
            taken.end = row + 1;
            if end + self.keys.len() + self.rows.len() + TRAILER >= size {
                break;
            }
        }
        self.payload.extend_from_slice(block.stored(taken.clone()));
        taken.len()
    }

    /// Bytes of the payload if it were finished now.
    pub(in crate::layer) fn size(&self) -> usize {
        self.payload.len() + self.keys.len() + self.rows.len() + TRAILER
    }

    /// The first version, or none if the block is empty.
    pub(in crate::layer) fn first(&self) -> Option<Position> {
        self.first
    }

    /// The payload. The next block goes into `spare`, whose content does not matter.
    pub(in crate::layer) fn finish(&mut self, mut spare: Vec<u8>) -> Vec<u8> {
        self.payload.extend_from_slice(&self.keys);
        self.payload.extend_from_slice(&self.rows);
        for word in [
            count(&self.keys, KEY_ENTRY),
            count(&self.rows, ROW),
            u32::from(self.continued),
        ] {
            self.payload.extend_from_slice(&word.to_le_bytes());
        }
        self.keys.clear();
        self.rows.clear();
        self.first = None;
        spare.clear();
        std::mem::replace(&mut self.payload, spare)
    }
}

fn count(table: &[u8], entry: usize) -> u32 {
    u32::try_from(table.len() / entry).expect("a payload is bounded")
}
