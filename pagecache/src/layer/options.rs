//! What a layer is called, how one is written, and what is known of it afterwards.

use std::fmt;

use walrecord::Lsn;

use crate::key::Key;

/// The name of a layer: a number that is never used twice in a store. Printed as 16 hexadecimal
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerId(u64);

impl LayerId {
    /// The id with this number.
    pub const fn new(value: u64) -> LayerId {
        LayerId(value)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names a run: layers that were written by one piece of work, together a sorted list of versions over a
/// stretch of LSNs. Runs of one timeline do not overlap in LSNs, as far as they hold the same keys. Like a
/// layer's, the number is never used twice.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct RunId(u64);

impl RunId {
    /// The id with this number.
    pub const fn new(value: u64) -> RunId {
        RunId(value)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What a layer holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum LayerKind {
    /// Versions of any kind over a range of LSNs, with a key filter in memory.
    Delta = 1,
    /// Images and values only, as a rule at one LSN and of adjacent keys; no key filter.
    Image = 2,
}

impl LayerKind {
    /// The kind with this number.
    pub const fn from_u8(value: u8) -> Option<LayerKind> {
        match value {
            1 => Some(LayerKind::Delta),
            2 => Some(LayerKind::Image),
            _ => None,
        }
    }
}

/// How data blocks are compressed. Blocks that do not get smaller are stored as they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Compression {
    /// Not at all.
    None,
    /// The LZ4 block format: quick to write and to read.
    Lz4,
    /// Zstandard frames, at level 1: about two thirds of LZ4's size, for twice the time.
    Zstd,
}

impl Compression {
    /// The oldest version of the file format that has it.
    pub(super) const fn format_version(self) -> u16 {
        match self {
            Compression::None | Compression::Lz4 => 1,
            Compression::Zstd => 2,
        }
    }
}

/// How a layer is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LayerOptions {
    /// What the layer holds.
    pub kind: LayerKind,
    /// How data blocks are compressed.
    pub compression: Compression,
    /// Bytes of a data block before compression: it is closed by the entry that reaches this. More
    /// compresses better and takes less index; a point read decompresses a whole block.
    pub block_size: u32,
}

impl LayerOptions {
    /// Block size if there is no reason for another.
    pub const DEFAULT_BLOCK_SIZE: u32 = 32 * 1024;

    /// LZ4 in blocks of the default size: for a layer that is soon compacted.
    pub const fn new(kind: LayerKind) -> LayerOptions {
        LayerOptions {
            kind,
            compression: Compression::Lz4,
            block_size: LayerOptions::DEFAULT_BLOCK_SIZE,
        }
    }

    /// Zstandard in blocks of the default size: for a layer that stays.
    pub const fn compact(kind: LayerKind) -> LayerOptions {
        LayerOptions {
            compression: Compression::Zstd,
            ..LayerOptions::new(kind)
        }
    }
}

/// What a manifest needs to know of a layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LayerSummary {
    /// What the layer holds.
    pub kind: LayerKind,
    /// The first key in it.
    pub first_key: Key,
    /// The last key in it, itself included.
    pub last_key: Key,
    /// The smallest LSN of an entry.
    pub min_lsn: Lsn,
    /// The largest LSN of an entry.
    pub max_lsn: Lsn,
    /// Entries.
    pub entries: u64,
    /// Distinct keys.
    pub keys: u64,
    /// Bytes of the file.
    pub file_size: u64,
    /// CRC-32C of the whole file.
    pub checksum: u32,
}
