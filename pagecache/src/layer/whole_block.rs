//! A data block that goes from one file into another as it is. Serves compaction: most of what it merges nobody has
//! changed, and to compress costs more than everything else.

use std::sync::Arc;

use walrecord::Lsn;

use super::block::{DataBlock, compression_of};
use super::{Compression, EntryKind};
use crate::key::Key;

/// A data block as a file has it.
#[derive(Clone, Debug)]
pub struct WholeBlock {
    /// With its header. Its checksum was found right.
    frame: Vec<u8>,
    /// What is in it, checked.
    payload: Arc<[u8]>,
}

/// Which blocks go from one file into another as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockEdges {
    /// Those that have all versions of their keys.
    Closed,
    /// Also those whose first key has versions in the block before, or whose last has some in the block behind.
    Open,
}

/// A data block that stands wholly before a scan, lent from it.
#[derive(Clone, Copy, Debug)]
pub struct BlockAhead<'a>(pub(super) DataBlock<'a>);

/// What a block says of a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockVersion {
    /// The key.
    pub key: Key,
    /// The version: the end of the record that made it.
    pub lsn: Lsn,
    /// What its value is.
    pub kind: EntryKind,
    /// Bytes of its value, as it is stored.
    pub stored_len: usize,
}

impl WholeBlock {
    pub(super) fn new(frame: Vec<u8>, payload: Arc<[u8]>) -> WholeBlock {
        WholeBlock { frame, payload }
    }

    /// How it is compressed.
    pub(super) fn compression(&self) -> Compression {
        compression_of(&self.frame)
    }

    pub(super) fn data(&self) -> DataBlock<'_> {
        DataBlock::trusted(&self.payload)
    }

    pub(super) fn into_frame(self) -> Vec<u8> {
        self.frame
    }

    /// Bytes before compression.
    pub fn payload_len(&self) -> u64 {
        self.payload.len() as u64
    }

    /// The last key.
    pub fn last_key(&self) -> Key {
        self.data().last().key
    }
}

impl<'a> BlockAhead<'a> {
    /// The last key.
    pub fn last_key(&self) -> Key {
        self.0.last().key
    }

    /// The versions, in order.
    pub fn versions(&self) -> impl Iterator<Item = BlockVersion> + use<'a> {
        let block = self.0;
        (0..block.key_count()).flat_map(move |index| {
            let key = block.key(index);
            let version = move |row| BlockVersion {
                key,
                lsn: block.lsn(row),
                kind: block.kind(row),
                stored_len: block.stored(row..row + 1).len(),
            };
            block.rows_of(index).map(version)
        })
    }
}
