//! Reads a layer in order: for compaction, checkouts, and lists of metadata.

use std::ops::Range;
use std::sync::Arc;

use walrecord::Lsn;

use super::block::{DataBlock, PageBuffer, Row};
use super::reader::{Caching, Place};
use super::{EntryRef, Layer, LayerError};
use crate::key::Key;

/// The versions of a range of keys in ascending order. Uses blocks that are in the cache, but puts
/// none there.
#[derive(Debug)]
pub struct Scan<'a> {
    layer: &'a Layer,
    range: Range<Key>,
    upto: Lsn,
    state: State,
    buffer: PageBuffer,
}

#[derive(Debug)]
enum State {
    Start,
    /// Boxed to keep the states of one size.
    In(Box<Cursor>),
    Done,
}

/// A place in a data block.
#[derive(Debug)]
struct Cursor {
    place: Place,
    /// Of the data block, checked.
    payload: Arc<[u8]>,
    /// The number of the key in the block.
    key: usize,
    /// Versions of the key that are still to come.
    rows: Range<Row>,
}

impl Layer {
    /// Reads the versions of a range of keys in ascending order, those above `upto` left out.
    pub fn scan(&self, range: Range<Key>, upto: Lsn) -> Scan<'_> {
        Scan {
            layer: self,
            range,
            upto,
            state: State::Start,
            buffer: PageBuffer::default(),
        }
    }
}

impl Scan<'_> {
    /// The next version, or none behind the last. It is lent until the next call.
    ///
    /// # Errors
    /// If a block cannot be read or is damaged. The scan is over then.
    #[expect(
        clippy::should_implement_trait,
        reason = "the entry is lent from the scan, which Iterator cannot express"
    )]
    pub fn next(&mut self) -> Result<Option<EntryRef<'_>>, LayerError> {
        // Whatever ends the scan early leaves it ended.
        let state = std::mem::replace(&mut self.state, State::Done);
        let cursor = match state {
            State::Start => self.start()?,
            State::In(cursor) => Some(cursor),
            State::Done => None,
        };
        let Some((cursor, key, row)) = self.advance(cursor)? else {
            return Ok(None);
        };
        self.state = State::In(cursor);
        let State::In(cursor) = &self.state else {
            unreachable!("just set");
        };
        let block = DataBlock::trusted(&cursor.payload);
        Ok(Some(block.entry(key, row, &mut self.buffer)))
    }

    fn start(&self) -> Result<Option<Box<Cursor>>, LayerError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let first = &self.range.start;
        // Versions of the first key may start in a block of their own, hence the smallest LSN.
        let place = match self.layer.seek(first, Lsn::INVALID, Caching::Pass)? {
            Some(place) => place,
            None => self.layer.first_place(Caching::Pass)?,
        };
        let mut cursor = Cursor::load(self.layer, place)?;
        let block = DataBlock::trusted(&cursor.payload);
        let (key, _) = block.search(first);
        cursor.set_key(key, self.upto);
        Ok(Some(Box::new(cursor)))
    }

    /// Goes to the next version that is wanted.
    fn advance(
        &self,
        cursor: Option<Box<Cursor>>,
    ) -> Result<Option<(Box<Cursor>, Key, Row)>, LayerError> {
        let Some(mut cursor) = cursor else {
            return Ok(None);
        };
        loop {
            let block = DataBlock::trusted(&cursor.payload);
            if cursor.key == block.key_count() {
                match self.layer.after(cursor.place, Caching::Pass)? {
                    Some(place) => *cursor = Cursor::load(self.layer, place)?,
                    None => return Ok(None),
                }
                cursor.set_key(0, self.upto);
                continue;
            }
            let key = block.key(cursor.key);
            if key >= self.range.end {
                return Ok(None);
            }
            if let Some(row) = cursor.rows.next() {
                return Ok(Some((cursor, key, row)));
            }
            let next = cursor.key + 1;
            cursor.set_key(next, self.upto);
        }
    }
}

impl Cursor {
    fn load(layer: &Layer, place: Place) -> Result<Cursor, LayerError> {
        let payload = layer.data(&place.entry(), Caching::Pass)?;
        Ok(Cursor {
            place,
            payload,
            key: 0,
            rows: 0..0,
        })
    }

    /// Goes to the key of that number, or behind the last key of the block.
    fn set_key(&mut self, key: usize, upto: Lsn) {
        let block = DataBlock::trusted(&self.payload);
        self.rows = if key < block.key_count() {
            block.rows_upto(key, upto)
        } else {
            0..0
        };
        self.key = key;
    }
}
