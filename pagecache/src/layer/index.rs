//! The index: where the data blocks are (index blocks), and where the index blocks are (the top
//! index). Both are the same table.

use walrecord::Lsn;

use super::Damage;
use super::block::FRAME_HEADER;
use super::format::{Position, bytes_at, key_bytes_at, lsn_at, u32_at, u64_at};
use crate::key::{KEY_SIZE, Key};

/// Bytes of an entry: first key and LSN of the block, its offset and its length.
const ENTRY: usize = KEY_SIZE + 8 + 8 + 4;
const LSN: usize = KEY_SIZE;
const OFFSET: usize = LSN + 8;
const LEN: usize = OFFSET + 8;

/// Bytes of an index block; more than this only where data blocks are larger.
const BLOCK_SIZE: usize = 16 * 1024;

/// Where a block is, and what it starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IndexEntry {
    pub(super) first: Position,
    pub(super) offset: u64,
    /// Bytes, the block's header included.
    pub(super) len: u32,
}

/// A table of [`IndexEntry`]s, ascending in order and in place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Index<'a> {
    table: &'a [u8],
}

/// How many entries an index block has in a layer of this block size. Small blocks get small
/// index blocks, so that a small file has every structure that a large one has.
pub(super) fn entries_per_block(block_size: u32) -> usize {
    (BLOCK_SIZE.min(block_size as usize) / ENTRY).max(2)
}

/// Makes the payload of an index block.
pub(super) fn encode(entries: &[IndexEntry]) -> Vec<u8> {
    let mut table = Vec::with_capacity(entries.len() * ENTRY);
    for entry in entries {
        table.extend_from_slice(&entry.first.key.to_bytes());
        table.extend_from_slice(&entry.first.lsn.get().to_le_bytes());
        table.extend_from_slice(&entry.offset.to_le_bytes());
        table.extend_from_slice(&entry.len.to_le_bytes());
    }
    table
}

impl<'a> Index<'a> {
    /// Checks a payload: ascending, and blocks side by side inside `area`.
    pub(super) fn check(table: &'a [u8], area: &std::ops::Range<u64>) -> Result<Index<'a>, Damage> {
        let index = Index { table };
        let ragged = (table.len() % ENTRY) as u64;
        Damage::unless_equal("bytes behind the last index entry", 0, ragged)?;
        Damage::unless_within("index entries", 1..=u64::MAX, index.len() as u64)?;
        let mut before: Option<IndexEntry> = None;
        for number in 0..index.len() {
            Key::from_bytes(&bytes_at(table, number * ENTRY))?;
            let entry = index.entry(number);
            match before {
                Some(before) if before.first >= entry.first => {
                    return Err(entry.first.out_of_order("index"));
                }
                Some(before) => {
                    Damage::unless_equal("offset of a block", before.end(), entry.offset)?;
                }
                None => {
                    Damage::unless_within(
                        "offset of a block",
                        area.start..=area.end,
                        entry.offset,
                    )?;
                }
            }
            // What lies in the area has an offset that cannot overflow.
            let room = area.end - entry.offset;
            Damage::unless_within(
                "length of a block",
                FRAME_HEADER as u64..=room,
                entry.len.into(),
            )?;
            before = Some(entry);
        }
        Ok(index)
    }

    /// The table of an index that passed [`Index::check`] before.
    pub(super) fn trusted(table: &'a [u8]) -> Index<'a> {
        Index { table }
    }

    /// Entries; at least one.
    pub(super) fn len(&self) -> usize {
        self.table.len() / ENTRY
    }

    /// The entry of that number.
    pub(super) fn entry(&self, number: usize) -> IndexEntry {
        let bytes = &self.table[number * ENTRY..][..ENTRY];
        IndexEntry {
            first: Position {
                key: Key::from_raw(&bytes_at(bytes, 0)),
                lsn: lsn_at(bytes, LSN),
            },
            offset: u64_at(bytes, OFFSET),
            len: u32_at(bytes, LEN),
        }
    }

    /// The last block that starts at or below (key, LSN): the only one that may hold the newest
    /// version of `key` that is not above `lsn`. None if all start above.
    pub(super) fn search(&self, key: &Key, lsn: Lsn) -> Option<usize> {
        let wanted = key.to_bytes();
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let at = middle * ENTRY;
            let order = key_bytes_at(self.table, at)
                .cmp(&wanted[..])
                .then_with(|| lsn_at(self.table, at + LSN).cmp(&lsn));
            if order.is_le() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1)
    }
}

impl IndexEntry {
    /// Where the block ends; only for entries that an index holds.
    pub(super) fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }
}
