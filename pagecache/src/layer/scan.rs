//! Reads a layer in order: for compaction, checkouts, and lists of metadata.

use std::ops::Range;
use std::sync::Arc;

use walrecord::Lsn;

use super::block::{DataBlock, PageBuffer, Row};
use super::reader::{Caching, Place};
use super::{
    BlockAhead, BlockEdges, Compression, EntryRef, KeyVersions, Layer, LayerError, WholeBlock,
};
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
    At(Box<Cursor>),
    Done,
}

/// A version in a data block.
#[derive(Debug)]
struct Cursor {
    place: Place,
    /// Of the data block, checked.
    payload: Arc<[u8]>,
    /// The number of the key in the block.
    index: usize,
    key: Key,
    /// The version and those of the key that are still to come. Empty before the first.
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
        self.step()?;
        Ok(self.entry())
    }

    /// Goes to the next version, and gives its key and LSN; none behind the last.
    ///
    /// # Errors
    /// As [`Scan::next`].
    pub fn step(&mut self) -> Result<Option<(Key, Lsn)>, LayerError> {
        // Whatever ends the scan early leaves it ended.
        let state = std::mem::replace(&mut self.state, State::Done);
        let mut cursor = match state {
            State::Start => match self.start()? {
                Some(cursor) => cursor,
                None => return Ok(None),
            },
            State::At(mut cursor) => {
                cursor.rows.next();
                cursor
            }
            State::Done => return Ok(None),
        };
        if !self.settle(&mut cursor)? {
            return Ok(None);
        }
        let position = (cursor.key, cursor.block().lsn(cursor.rows.start));
        self.state = State::At(cursor);
        Ok(Some(position))
    }

    /// The version at which it stands, lent until the next call; none before the first and behind the last.
    pub fn entry(&mut self) -> Option<EntryRef<'_>> {
        let State::At(cursor) = &self.state else {
            return None;
        };
        let (block, row) = (cursor.block(), cursor.rows.start);
        Some(block.entry(cursor.key, row, &mut self.buffer))
    }

    /// The version at which it stands and those of the same key behind it, as far as they lie in the same block,
    /// lent until the next call; none before the first and behind the last.
    pub fn side_by_side(&self) -> Option<KeyVersions<'_>> {
        let State::At(cursor) = &self.state else {
            return None;
        };
        let rows = cursor.rows.clone();
        Some(KeyVersions::new(cursor.block(), cursor.key, rows))
    }

    /// Leaves out so many of [`Scan::side_by_side`], at least one: the next version is the one behind them.
    pub fn leave(&mut self, count: usize) {
        if let State::At(cursor) = &mut self.state {
            // The next step leaves the last.
            let count = count.saturating_sub(1).min(cursor.rows.len());
            cursor.rows.start += count;
        }
    }

    /// The data block that begins where the scan stands, if the whole of it is wanted and comes before `before`, if it is
    /// of a size worth keeping, and if the file is of the format that `compression` asks for.
    ///
    /// # Errors
    /// If a block cannot be read or is damaged.
    pub fn block_ahead(
        &self,
        before: Option<&Key>,
        edges: BlockEdges,
        compression: Compression,
    ) -> Result<Option<BlockAhead<'_>>, LayerError> {
        let State::At(cursor) = &self.state else {
            return Ok(None);
        };
        let footer = &self.layer.footer;
        let is_at_start = cursor.index == 0 && cursor.rows.start == 0;
        if !is_at_start || footer.version != compression.format_version() {
            return Ok(None);
        }
        let block = cursor.block();
        let last = block.last().key;
        let is_wanted = last < self.range.end && footer.max_lsn <= self.upto;
        let is_apart = before.is_none_or(|before| last < *before);
        let is_large = cursor.payload.len() >= footer.block_size as usize / 2;
        if !is_wanted || !is_apart || !is_large {
            return Ok(None);
        }
        if edges == BlockEdges::Closed {
            let next = || self.layer.after(cursor.place.clone(), Caching::Pass);
            if block.continued() || next()?.is_some_and(|next| next.entry().first.key == last) {
                return Ok(None);
            }
        }
        Ok(Some(BlockAhead(block)))
    }

    /// The data block in which the scan stands, as the file has it, unless it is compressed otherwise than by
    /// `compression`.
    ///
    /// # Errors
    /// If the block cannot be read or is damaged.
    pub fn whole_block(&self, compression: Compression) -> Result<Option<WholeBlock>, LayerError> {
        let State::At(cursor) = &self.state else {
            return Ok(None);
        };
        let frame = self.layer.frame(&cursor.place.entry())?;
        let block = WholeBlock::new(frame, Arc::clone(&cursor.payload));
        let same = [Compression::None, compression].contains(&block.compression());
        Ok(same.then_some(block))
    }

    /// Leaves out the rest of the block in which it stands: the next version is the first of the next one.
    pub fn leave_block(&mut self) {
        if let State::At(cursor) = &mut self.state {
            cursor.index = cursor.block().key_count();
            cursor.rows = 0..0;
        }
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
        let (index, _) = cursor.block().search(first);
        cursor.set_key(index, self.upto);
        Ok(Some(Box::new(cursor)))
    }

    /// Goes on to where there is a version, if there is none where the cursor stands. Returns false behind the last.
    fn settle(&self, cursor: &mut Cursor) -> Result<bool, LayerError> {
        while cursor.rows.is_empty() {
            let next = cursor.index + 1;
            if next < cursor.block().key_count() {
                cursor.set_key(next, self.upto);
                continue;
            }
            match self.layer.after(cursor.place.clone(), Caching::Pass)? {
                Some(place) => *cursor = Cursor::load(self.layer, place)?,
                None => return Ok(false),
            }
            cursor.set_key(0, self.upto);
        }
        Ok(cursor.key < self.range.end)
    }
}

impl Cursor {
    fn load(layer: &Layer, place: Place) -> Result<Cursor, LayerError> {
        let payload = layer.data(&place.entry(), Caching::Pass)?;
        Ok(Cursor {
            place,
            payload,
            index: 0,
            key: Key::all().start,
            rows: 0..0,
        })
    }

    fn block(&self) -> DataBlock<'_> {
        DataBlock::trusted(&self.payload)
    }

    /// Goes to the key of that number, or behind the last key of the block.
    fn set_key(&mut self, index: usize, upto: Lsn) {
        let block = DataBlock::trusted(&self.payload);
        self.index = index;
        if index < block.key_count() {
            self.rows = block.rows_upto(index, upto);
            self.key = block.key(index);
        } else {
            self.rows = 0..0;
        }
    }
}
