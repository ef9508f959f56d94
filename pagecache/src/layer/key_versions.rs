//! Versions of one key that lie side by side in a data block, and go into another file together. Serves compaction:
//! most of what it merges it does not look into.

use std::ops::Range;

use walrecord::Lsn;

use super::block::{DataBlock, Row};
use super::format::Position;
use super::{BlockVersion, EntryKind};
use crate::key::Key;

/// Versions of one key in a data block, oldest first; lent from whoever read the block.
#[derive(Clone, Debug)]
pub struct KeyVersions<'a> {
    block: DataBlock<'a>,
    key: Key,
    rows: Range<Row>,
}

impl<'a> KeyVersions<'a> {
    /// `rows` are versions of `key`.
    pub(super) fn new(block: DataBlock<'a>, key: Key, rows: Range<Row>) -> KeyVersions<'a> {
        KeyVersions { block, key, rows }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What the block says of each.
    pub fn iter(&self) -> impl Iterator<Item = BlockVersion> {
        let KeyVersions { block, key, .. } = *self;
        self.rows.clone().map(move |row| BlockVersion {
            key,
            lsn: block.lsn(row),
            kind: block.kind(row),
            stored_len: block.stored(row..row + 1).len(),
        })
    }

    /// The LSN of the version of that number; none if there are not so many.
    pub fn lsn(&self, index: usize) -> Option<Lsn> {
        let row = self.rows.clone().nth(index)?;
        Some(self.block.lsn(row))
    }

    /// Bytes of all values, as they are stored.
    pub fn stored_bytes(&self) -> u64 {
        self.block.stored(self.rows.clone()).len() as u64
    }

    /// The first so many of them, or all if there are fewer.
    #[must_use]
    pub fn first(&self, count: usize) -> KeyVersions<'a> {
        let end = self.rows.end.min(self.rows.start.saturating_add(count));
        KeyVersions {
            rows: self.rows.start..end,
            ..self.clone()
        }
    }

    /// Those that are older than `lsn`.
    #[must_use]
    pub fn below(&self, lsn: Lsn) -> KeyVersions<'a> {
        let older = self.iter().take_while(|version| version.lsn < lsn);
        self.first(older.count())
    }

    pub(super) fn block(&self) -> DataBlock<'a> {
        self.block
    }

    pub(super) fn rows(&self) -> Range<Row> {
        self.rows.clone()
    }

    /// Without the first so many.
    pub(super) fn behind(&self, count: usize) -> KeyVersions<'a> {
        KeyVersions {
            rows: self.rows.start + count.min(self.len())..self.rows.end,
            ..self.clone()
        }
    }

    /// The key and the LSN of the first and the last; none if there is none.
    pub(super) fn ends(&self) -> Option<(Position, Position)> {
        let position = |row| Position {
            key: self.key,
            lsn: self.block.lsn(row),
        };
        let last = self.rows.clone().next_back()?;
        Some((position(self.rows.start), position(last)))
    }

    /// Whether one of them is of that kind.
    pub(super) fn has(&self, wanted: impl Fn(EntryKind) -> bool) -> bool {
        self.rows.clone().any(|row| wanted(self.block.kind(row)))
    }
}
