//! Numbers of the file format that more than one of its structures needs.

use walrecord::{Lsn, PAGE_SIZE};

use super::Damage;
use crate::key::{KEY_SIZE, Key};

/// Stands in the first bytes of a layer file and near its end.
pub(super) const MAGIC: [u8; 8] = *b"ZENLAYER";

/// The newest version of the format; older ones are read, too. A file says the oldest that can tell it: 2 has
/// blocks compressed by zstd, which 1 has not.
pub(super) const VERSION: u16 = 2;

/// The largest value, bytes: what the largest record takes, with room to spare.
pub(super) const MAX_VALUE: usize = 1 << 30;

/// The largest block size that may be asked for, bytes.
pub(crate) const MAX_BLOCK_SIZE: u32 = 16 << 20;

/// The largest payload of a block, bytes. A block is closed by the entry that reaches its size, so
/// one value may exceed it; the tables of a block are never longer than some multiple of its size.
pub(super) const MAX_PAYLOAD: usize = MAX_VALUE + 4 * MAX_BLOCK_SIZE as usize;

/// A place in the order of entries: a key and an LSN.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Position {
    pub(super) key: Key,
    pub(super) lsn: Lsn,
}

impl Position {
    /// Checks that `found` is the position that a structure above promised.
    pub(super) fn expect(self, what: &'static str, found: Position) -> Result<(), Damage> {
        if found == self {
            Ok(())
        } else {
            Err(Damage::Misplaced {
                what,
                key: self.key,
                lsn: self.lsn,
                found_key: found.key,
                found_lsn: found.lsn,
            })
        }
    }

    /// The error for a position that should be above the one before.
    pub(super) fn out_of_order(self, what: &'static str) -> Damage {
        Damage::Order {
            what,
            key: self.key,
            lsn: self.lsn,
        }
    }
}

/// The bytes at `at`, in a structure whose length has been checked.
#[inline]
pub(super) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N]
        .try_into()
        .expect("a slice of N bytes is an array of N bytes")
}

#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes_at(bytes, at))
}

#[inline]
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes_at(bytes, at))
}

#[inline]
pub(super) fn lsn_at(bytes: &[u8], at: usize) -> Lsn {
    Lsn::new(u64_at(bytes, at))
}

#[inline]
pub(super) fn key_bytes_at(bytes: &[u8], at: usize) -> &[u8] {
    &bytes[at..at + KEY_SIZE]
}

const _: () = assert!(PAGE_SIZE < MAX_VALUE && MAX_PAYLOAD < u32::MAX as usize / 2);
