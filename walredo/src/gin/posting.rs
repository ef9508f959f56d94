//! Compressed posting lists (`GinPostingList`, access/ginblock.h; ginpostinglist.c): the first heap TID
//! as it is, then the differences between neighbours as numbers of variable length. Decoded, merged and
//! encoded in one pass, without a list in between.

use walrecord::rmgr::ItemPointer;

use super::posting_items::block_bytes;
use crate::error::Fault;

/// Bytes of the first heap TID.
const TID: usize = 6;
/// Bytes in front of the numbers: the first heap TID, and how many bytes of numbers follow.
const HEADER: usize = TID + 2;
/// Low bits of a heap TID's number that hold its offset number (`MaxHeapTuplesPerPageBits`).
const OFFSET_BITS: u32 = 11;
/// Bits of a heap TID's number.
const NUMBER_BITS: u32 = 32 + OFFSET_BITS;
/// The most bytes that a number takes (`MaxBytesPerInteger`).
const MAX_NUMBER_BYTES: u32 = 7;

/// A posting list, padded to an even number of bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a>(&'a [u8]);

impl<'a> Segment<'a> {
    /// The segment at the start of `bytes`, and what follows.
    pub(super) fn split_first(bytes: &'a [u8]) -> Result<(Segment<'a>, &'a [u8]), Fault> {
        let error = |needed: usize| Fault::Value {
            what: "the bytes left for a posting list",
            found: bytes.len() as u64,
            expected: needed as u64,
        };
        let header = bytes.first_chunk::<HEADER>().ok_or(error(HEADER))?;
        let size = HEADER + numbers_size(header).next_multiple_of(2);
        let (segment, rest) = bytes.split_at_checked(size).ok_or(error(size))?;
        Ok((Segment(segment), rest))
    }

    /// Its bytes, as they stand on the page.
    pub(super) const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The first heap TID, and the numbers of all others.
    fn items(self) -> (ItemPointer, Numbers<'a>) {
        let first = item_from_bytes(&self.0[..TID]);
        let header = [
            self.0[0], self.0[1], self.0[2], self.0[3], self.0[4], self.0[5], self.0[6], self.0[7],
        ];
        let numbers = Numbers {
            bytes: &self.0[HEADER..HEADER + numbers_size(&header)],
            last: number_bits(first),
        };
        (first, numbers)
    }
}

fn numbers_size(header: &[u8; HEADER]) -> usize {
    usize::from(u16::from_le_bytes([header[TID], header[TID + 1]]))
}

/// Decodes the differences of a list; yields the heap TIDs' numbers.
struct Numbers<'a> {
    bytes: &'a [u8],
    last: u64,
}

impl Iterator for Numbers<'_> {
    type Item = Result<u64, Fault>;

    #[inline]
    fn next(&mut self) -> Option<Result<u64, Fault>> {
        if self.bytes.is_empty() {
            return None;
        }
        let mut difference = 0;
        for index in 0..MAX_NUMBER_BYTES {
            let Some((byte, rest)) = self.bytes.split_first() else {
                break;
            };
            self.bytes = rest;
            difference |= u64::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                let number = self.last + difference;
                if number >> NUMBER_BITS != 0 {
                    return Some(Err(bad_number(number)));
                }
                self.last = number;
                return Some(Ok(number));
            }
        }
        // It does not end where it must.
        self.bytes = &[];
        Some(Err(bad_number(difference)))
    }
}

/// A heap TID on a page: block number in two halves, the high one first, then the offset number.
pub(super) fn item_from_bytes(bytes: &[u8]) -> ItemPointer {
    let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    ItemPointer {
        block: u32::from(half(0)) << 16 | u32::from(half(2)),
        offnum: half(4),
    }
}

/// A heap TID's number, in whose order lists are (`itemptr_to_uint64`).
pub(super) fn to_number(item: ItemPointer) -> Result<u64, Fault> {
    if item.offnum >> OFFSET_BITS == 0 {
        return Ok(number_bits(item));
    }
    Err(Fault::Value {
        what: "an offset number in a posting list",
        found: u64::from(item.offnum),
        expected: (1 << OFFSET_BITS) - 1,
    })
}

fn number_bits(item: ItemPointer) -> u64 {
    u64::from(item.block) << OFFSET_BITS | u64::from(item.offnum)
}

/// Writes to `out` the posting list of a heap TID and the numbers that follow, padded with a zero to
/// an even number of bytes, and says how many bytes that is (`ginCompressPostingList`).
///
/// # Errors
/// If the numbers do not ascend, or the list does not fit.
pub(super) fn encode(
    out: &mut [u8],
    first: ItemPointer,
    numbers: impl Iterator<Item = Result<u64, Fault>>,
) -> Result<usize, Fault> {
    let room = out.len() as u16;
    let full = |needed| Fault::ItemTotal {
        total: needed,
        room,
    };
    let mut last = to_number(first)?;
    let mut at = HEADER;
    for number in numbers {
        let number = number?;
        let mut left = match number.checked_sub(last) {
            Some(difference @ 1..) => difference,
            _ => return Err(bad_number(number)),
        };
        last = number;
        loop {
            let more = left > 0x7F;
            let byte = (left & 0x7F) as u8 | if more { 0x80 } else { 0 };
            *out.get_mut(at).ok_or(full(at + 1))? = byte;
            at += 1;
            left >>= 7;
            if !more {
                break;
            }
        }
    }
    let size = at.next_multiple_of(2);
    let list = out.get_mut(..size).ok_or(full(size))?;
    list[at..].fill(0);
    list[..4].copy_from_slice(&block_bytes(first.block));
    list[4..TID].copy_from_slice(&first.offnum.to_le_bytes());
    list[TID..HEADER].copy_from_slice(&((at - HEADER) as u16).to_le_bytes());
    Ok(size)
}

/// Writes to `out` a posting list with the items of `old` and `new`, both of which ascend and have
/// none in common, and says how many bytes that is (`ginMergeItemPointers`).
///
/// # Errors
/// If an item occurs twice or out of order, or the list does not fit.
pub(super) fn merge(
    out: &mut [u8],
    old: Segment<'_>,
    new: impl Iterator<Item = ItemPointer>,
) -> Result<usize, Fault> {
    let (old_first, old_numbers) = old.items();
    let mut new = new.peekable();
    let old_is_first = new
        .peek()
        .is_none_or(|item| number_bits(old_first) < number_bits(*item));
    match new.next_if(|_| !old_is_first) {
        Some(first) => {
            let old = std::iter::once(to_number(old_first)).chain(old_numbers);
            encode(out, first, Merge::new(old, new.map(to_number)))
        }
        None => encode(out, old_first, Merge::new(old_numbers, new.map(to_number))),
    }
}

/// Two ascending sequences as one. What is not ascending in them is not in the result either.
struct Merge<A: Iterator, B: Iterator> {
    a: std::iter::Peekable<A>,
    b: std::iter::Peekable<B>,
}

impl<A: Iterator, B: Iterator> Merge<A, B> {
    fn new(a: A, b: B) -> Merge<A, B> {
        Merge {
            a: a.peekable(),
            b: b.peekable(),
        }
    }
}

impl<A, B> Iterator for Merge<A, B>
where
    A: Iterator<Item = Result<u64, Fault>>,
    B: Iterator<Item = Result<u64, Fault>>,
{
    type Item = Result<u64, Fault>;

    #[inline]
    fn next(&mut self) -> Option<Result<u64, Fault>> {
        match (self.a.peek(), self.b.peek()) {
            (Some(Ok(a)), Some(Ok(b))) if b < a => self.b.next(),
            // An error, too, is passed on when its turn comes.
            (Some(_), _) => self.a.next(),
            (None, _) => self.b.next(),
        }
    }
}

fn bad_number(found: u64) -> Fault {
    Fault::Value {
        what: "a heap TID's number in a posting list",
        found,
        expected: 1 << NUMBER_BITS,
    }
}

const _: () = assert!(NUMBER_BITS < 7 * MAX_NUMBER_BYTES && HEADER == 8);
