//! Where the entries of an open layer lie, 12 bytes each, and its values.

use std::num::NonZeroU32;

use walrecord::Lsn;

use super::{OpenBody, OpenEntry};
use crate::layer::EntryKind;

/// Entries in the order of insertion, each linked to the one below it of the same key.
pub(super) struct Arena {
    start: Lsn,
    entries: Vec<Packed>,
    /// Values, each behind its length (`u32`, little-endian).
    values: Vec<u8>,
}

/// Names an entry of an [`Arena`]: its index, counted from one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle(NonZeroU32);

impl Handle {
    #[inline]
    const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// An entry. Positions count from the layer's start.
struct Packed {
    lsn: u32,
    /// Where the record starts; of a value, where it lies among the values.
    place: u32,
    /// The handle of the entry below, or zero, and in the low bits the kind.
    below_and_kind: u32,
}

const KIND_BITS: u32 = 3;
const KIND_MASK: u32 = (1 << KIND_BITS) - 1;
const MAX_ENTRIES: u32 = u32::MAX >> KIND_BITS;

/// Bytes of the length before a value.
const LENGTH: usize = size_of::<u32>();

impl Arena {
    pub(super) fn new(start: Lsn) -> Arena {
        Arena {
            start,
            entries: Vec::new(),
            values: Vec::new(),
        }
    }

    pub(super) fn push_record(
        &mut self,
        end: Lsn,
        start: Lsn,
        kind: EntryKind,
        below: Option<Handle>,
    ) -> Handle {
        let place = self.offset(start);
        self.push(end, place, kind, below)
    }

    pub(super) fn push_value(&mut self, lsn: Lsn, value: &[u8], below: Option<Handle>) -> Handle {
        let place = self.store(value);
        self.push(lsn, place, EntryKind::Value, below)
    }

    pub(super) fn replace_value(&mut self, handle: Handle, value: &[u8]) {
        let place = self.store(value);
        self.entries[handle.index()].place = place;
    }

    #[inline]
    fn push(&mut self, lsn: Lsn, place: u32, kind: EntryKind, below: Option<Handle>) -> Handle {
        let lsn = self.offset(lsn);
        let handle = u32::try_from(self.entries.len() + 1)
            .ok()
            .filter(|count| *count <= MAX_ENTRIES)
            .and_then(NonZeroU32::new)
            .unwrap_or_else(|| panic!("an open layer holds at most {MAX_ENTRIES} entries"));
        let below = below.map_or(0, |handle| handle.0.get());
        self.entries.push(Packed {
            lsn,
            place,
            below_and_kind: below << KIND_BITS | kind as u32,
        });
        Handle(handle)
    }

    fn store(&mut self, value: &[u8]) -> u32 {
        let place = u32::try_from(self.values.len()).expect("values of an open layer below 4 GiB");
        let len = u32::try_from(value.len()).expect("a value below 4 GiB");
        self.values.extend_from_slice(&len.to_le_bytes());
        self.values.extend_from_slice(value);
        place
    }

    #[inline]
    fn offset(&self, lsn: Lsn) -> u32 {
        lsn.checked_sub(self.start)
            .and_then(|offset| u32::try_from(offset).ok())
            .unwrap_or_else(|| panic!("{lsn} is not in the 4 GiB behind {}", self.start))
    }

    #[inline]
    pub(super) fn lsn(&self, handle: Handle) -> Lsn {
        self.start + u64::from(self.entries[handle.index()].lsn)
    }

    #[inline]
    pub(super) fn below(&self, handle: Handle) -> Option<Handle> {
        let below = self.entries[handle.index()].below_and_kind >> KIND_BITS;
        NonZeroU32::new(below).map(Handle)
    }

    pub(super) fn entry(&self, handle: Handle) -> OpenEntry<'_> {
        let packed = &self.entries[handle.index()];
        let kind = u8::try_from(packed.below_and_kind & KIND_MASK)
            .ok()
            .and_then(EntryKind::from_u8)
            .expect("the bits of a kind");
        OpenEntry {
            lsn: self.start + u64::from(packed.lsn),
            kind,
            body: match kind {
                EntryKind::Value => OpenBody::Value(self.value(packed.place)),
                _ => OpenBody::Record {
                    start: self.start + u64::from(packed.place),
                },
            },
        }
    }

    fn value(&self, place: u32) -> &[u8] {
        let (len, rest) = self.values[place as usize..]
            .split_first_chunk::<LENGTH>()
            .expect("a value was stored here");
        &rest[..u32::from_le_bytes(*len) as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Packed>() + self.values.capacity()
    }
}

const _: () = assert!(size_of::<Packed>() == 12);
