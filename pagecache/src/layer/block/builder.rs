//! Makes the payload of a data block.

use super::data::{KEY_ENTRY, ROW, TRAILER};
use super::page_image::{self, Form};
use crate::key::Key;
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
    last_key: Option<Key>,
    continued: bool,
}

impl DataBuilder {
    /// Adds a version above all others.
    pub(in crate::layer) fn push(&mut self, position: Position, kind: EntryKind, value: &[u8]) {
        if self.last_key != Some(position.key) {
            let first_row = count(&self.rows, ROW);
            self.keys.extend_from_slice(&position.key.to_bytes());
            self.keys.extend_from_slice(&first_row.to_le_bytes());
            self.last_key = Some(position.key);
        }
        self.first.get_or_insert(position);
        let form = match kind {
            EntryKind::Image => page_image::store(value, &mut self.payload),
            _ => {
                self.payload.extend_from_slice(value);
                Form::Plain
            }
        };
        let end = u32::try_from(self.payload.len()).expect("a payload is bounded");
        self.rows
            .extend_from_slice(&position.lsn.get().to_le_bytes());
        self.rows.push(kind as u8 | (form as u8) << 4);
        self.rows.extend_from_slice(&end.to_le_bytes());
    }

    /// Bytes of the payload if it were finished now.
    pub(in crate::layer) fn size(&self) -> usize {
        self.payload.len() + self.keys.len() + self.rows.len() + TRAILER
    }

    /// The first version, or none if the block is empty.
    pub(in crate::layer) fn first(&self) -> Option<Position> {
        self.first
    }

    /// The payload. The next block goes into `spare`, whose content does not matter. `continues`: its
    /// first key has versions in this one.
    pub(in crate::layer) fn finish(&mut self, continues: bool, mut spare: Vec<u8>) -> Vec<u8> {
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
        self.last_key = None;
        self.continued = continues;
        spare.clear();
        std::mem::replace(&mut self.payload, spare)
    }
}

fn count(table: &[u8], entry: usize) -> u32 {
    u32::try_from(table.len() / entry).expect("a payload is bounded")
}
