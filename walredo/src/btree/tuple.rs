//! Index tuples as B-tree pages use them: sizes, downlinks, posting lists (access/itup.h, "Notes on
//! B-Tree tuple format" in access/nbtree.h, and nbtdedup.c).

use walrecord::{BlockNumber, PAGE_SIZE};

use crate::error::Fault;
use crate::page::{HEADER_SIZE, ITEM_ID_SIZE, max_align};

/// Bytes of a tuple's header: a heap TID, then the size and flags.
pub(super) const HEADER: usize = 8;
/// Bytes of a heap TID: block number (high half first), then offset number.
pub(super) const TID: usize = 6;

/// The bits of `t_info` that hold the tuple's size (`INDEX_SIZE_MASK`).
const SIZE_MASK: u16 = 0x1FFF;
/// The bit of `t_info` that gives the TID field another meaning (`INDEX_ALT_TID_MASK`).
const ALTERNATIVE_TID: u16 = 0x2000;
/// The bit of the TID's offset number that marks a posting list (`BT_IS_POSTING`).
const IS_POSTING: u16 = 0x2000;
/// The bits of the TID's offset number that count (`BT_OFFSET_MASK`).
const COUNT_MASK: u16 = 0x0FFF;

/// The largest tuple of a page, bytes (`BTMaxItemSize`): a page must have room for three.
pub(super) const MAX_SIZE: usize = {
    let reserved = max_align(HEADER_SIZE + 3 * ITEM_ID_SIZE + 3 * TID);
    ((PAGE_SIZE - reserved - super::opaque::SIZE) / 3) & !7
};

/// A tuple on a page or in a record, cut to the size that it states.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuple<'a>(&'a [u8]);

/// Where a posting list lies in its tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Posting {
    /// Where the list starts; the key before it has this many bytes.
    pub(super) key_size: usize,
    /// Heap TIDs in it.
    pub(super) count: usize,
}

impl<'a> Tuple<'a> {
    /// The tuple at the start of `bytes`.
    ///
    /// # Errors
    /// If the bytes are fewer than a header or than the size it states.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Tuple<'a>, Fault> {
        let info = match bytes {
            [_, _, _, _, _, _, low, high, ..] => u16::from_le_bytes([*low, *high]),
            _ => return Err(wrong_size(HEADER, bytes.len())),
        };
        let said = usize::from(info & SIZE_MASK);
        match bytes.get(..said) {
            Some(tuple) if said >= HEADER => Ok(Tuple(tuple)),
            _ => Err(wrong_size(said, bytes.len())),
        }
    }

    /// The tuple's bytes, as many as it states (`IndexTupleSize`).
    pub(super) const fn bytes(self) -> &'a [u8] {
        self.0
    }

    fn info(self) -> u16 {
        u16::from_le_bytes([self.0[6], self.0[7]])
    }

    /// The heap TID field, whatever it means in this tuple.
    pub(super) fn tid(self) -> [u8; TID] {
        [
            self.0[0], self.0[1], self.0[2], self.0[3], self.0[4], self.0[5],
        ]
    }

    /// Where the posting list lies; none in a tuple without one (`BTreeTupleIsPosting`).
    ///
    /// # Errors
    /// If the list leaves the tuple, starts unaligned, or holds no TID.
    pub(super) fn posting(self) -> Result<Option<Posting>, Fault> {
        let offset_number = u16::from_le_bytes([self.0[4], self.0[5]]);
        if self.info() & ALTERNATIVE_TID == 0 || offset_number & IS_POSTING == 0 {
            return Ok(None);
        }
        let key_size = block_number([self.0[0], self.0[1], self.0[2], self.0[3]]) as usize;
        let count = usize::from(offset_number & COUNT_MASK);
        let fits = (HEADER..=self.0.len()).contains(&key_size)
            && key_size == max_align(key_size)
            && count > 0
            && count * TID <= self.0.len() - key_size;
        if fits {
            Ok(Some(Posting { key_size, count }))
        } else {
            Err(Fault::Value {
                what: "the end of a posting list",
                found: (key_size + count * TID) as u64,
                expected: self.0.len() as u64,
            })
        }
    }

    /// The key with the header, and the heap TIDs: of the posting list, or the only one.
    pub(super) fn key_and_tids(self) -> Result<(&'a [u8], &'a [u8]), Fault> {
        Ok(match self.posting()? {
            Some(Posting { key_size, count }) => (
                &self.0[..key_size],
                &self.0[key_size..key_size + count * TID],
            ),
            None => (self.0, &self.0[..TID]),
        })
    }
}

/// Bytes of a tuple made of a key and `count` heap TIDs (`_bt_form_posting`).
pub(super) const fn formed_size(key_size: usize, count: usize) -> usize {
    if count > 1 {
        max_align(key_size + count * TID)
    } else {
        key_size
    }
}

/// Turns the copied key at the start of `tuple` into the header of a tuple of that slice's length
/// with `count` heap TIDs, and returns where the TIDs go.
pub(super) fn set_form(tuple: &mut [u8], key_size: usize, count: usize) -> &mut [u8] {
    let mut info = u16::from_le_bytes([tuple[6], tuple[7]]) & !SIZE_MASK | tuple.len() as u16;
    if count > 1 {
        info |= ALTERNATIVE_TID;
        tuple[..4].copy_from_slice(&block_bytes(key_size as BlockNumber));
        tuple[4..6].copy_from_slice(&(count as u16 | IS_POSTING).to_le_bytes());
    } else {
        info &= !ALTERNATIVE_TID;
    }
    tuple[6..8].copy_from_slice(&info.to_le_bytes());
    let at = if count > 1 { key_size } else { 0 };
    &mut tuple[at..at + count * TID]
}

/// Splits a posting list for a new heap TID at index `at`: the new one takes that place and the
/// ones from there move up. Returns the one that falls off the end, which belongs to the tuple that
/// is inserted after this one (`_bt_swap_posting`).
///
/// # Errors
/// If `tuple` has no posting list, or `at` is not inside it.
pub(super) fn swap_posting(tuple: &mut [u8], at: u16, new: [u8; TID]) -> Result<[u8; TID], Fault> {
    let at = usize::from(at);
    let error = |count: usize| Fault::Value {
        what: "the place of a new heap TID in a posting list",
        found: at as u64,
        expected: count as u64,
    };
    let Posting { key_size, count } = Tuple::read(tuple)?.posting()?.ok_or(error(0))?;
    if at == 0 || at >= count {
        return Err(error(count));
    }
    let moving = &mut tuple[key_size + at * TID..key_size + count * TID];
    moving.rotate_right(TID);
    let (place, _) = moving.split_first_chunk_mut().expect("at least one TID");
    Ok(std::mem::replace(place, new))
}

/// Writes to `out` the tuple without the heap TIDs whose indexes `deleted` yields in ascending
/// order, and returns its size (`_bt_update_posting`).
///
/// # Errors
/// If `tuple` has no posting list or does not fit `out`, if an index does not occur, or if nothing
/// is left.
pub(super) fn without_tids(
    tuple: &[u8],
    deleted: impl Iterator<Item = u16> + Clone,
    out: &mut [u8; MAX_SIZE],
) -> Result<usize, Fault> {
    let tuple = Tuple::read(tuple)?;
    let removed = deleted.clone().count();
    let error = |count: usize| Fault::Value {
        what: "the number of heap TIDs to remove from a posting list",
        found: removed as u64,
        expected: count as u64,
    };
    let Posting { key_size, count } = tuple.posting()?.ok_or(error(0))?;
    let left = count
        .checked_sub(removed)
        .filter(|left| *left > 0)
        .ok_or(error(count))?;
    let size = formed_size(key_size, left);
    let formed = out.get_mut(..size).ok_or(error(count))?;
    formed.fill(0);
    formed[..key_size].copy_from_slice(&tuple.bytes()[..key_size]);
    let places = set_form(formed, key_size, left).chunks_exact_mut(TID);
    let mut deleted = deleted.map(usize::from).peekable();
    let mut kept = tuple.bytes()[key_size..]
        .chunks_exact(TID)
        .take(count)
        .enumerate()
        .filter(|(index, _)| deleted.next_if_eq(index).is_none());
    for (place, (_, tid)) in places.zip(&mut kept) {
        place.copy_from_slice(tid);
    }
    // An index that does not occur, or out of order, leaves more TIDs than there are places.
    match kept.next() {
        None => Ok(size),
        Some(_) => Err(error(count)),
    }
}

/// The block number in a TID field: a downlink, or where a posting list starts.
const fn block_number(bytes: [u8; 4]) -> BlockNumber {
    let high = u16::from_le_bytes([bytes[0], bytes[1]]) as u32;
    let low = u16::from_le_bytes([bytes[2], bytes[3]]) as u32;
    high << 16 | low
}

/// The downlink of a tuple of an internal page (`BTreeTupleGetDownLink`).
pub(super) fn downlink_at(tuple: &[u8]) -> Result<BlockNumber, Fault> {
    let bytes = tuple.first_chunk().ok_or(wrong_size(HEADER, tuple.len()))?;
    Ok(block_number(*bytes))
}

/// Replaces it (`BTreeTupleSetDownLink`).
pub(super) fn set_downlink(tuple: &mut [u8], child: BlockNumber) -> Result<(), Fault> {
    let found = tuple.len();
    let bytes = tuple.first_chunk_mut().ok_or(wrong_size(HEADER, found))?;
    *bytes = block_bytes(child);
    Ok(())
}

/// A block number as a TID field holds it: high half first, each half little-endian.
const fn block_bytes(block: BlockNumber) -> [u8; 4] {
    let [low0, low1, high0, high1] = block.to_le_bytes();
    [high0, high1, low0, low1]
}

/// The tuple that stands for the high key of a half-dead page: no key, and the topmost parent that
/// goes with it, or [`BlockNumber::MAX`] (`BTreeTupleSetTopParent`).
pub(super) const fn top_parent(block: BlockNumber) -> [u8; HEADER] {
    let [a, b, c, d] = block_bytes(block);
    let [low, high] = (HEADER as u16 | ALTERNATIVE_TID).to_le_bytes();
    [a, b, c, d, 0, 0, low, high]
}

const fn wrong_size(said: usize, found: usize) -> Fault {
    Fault::Value {
        what: "the size of an index tuple",
        found: said as u64,
        expected: found as u64,
    }
}

const _: () = assert!(MAX_SIZE == 2704);
