//! What can be wrong with a layer file.

use std::io;

use walrecord::{Lsn, Truncated};

use super::LayerId;
use crate::key::{Key, KeyError};

/// A layer file that cannot be read, or does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The storage failed. Trying again may help.
    #[error("layer {layer}: cannot read {len} bytes at {offset}")]
    Io {
        /// The layer.
        layer: LayerId,
        /// Where in the file.
        offset: u64,
        /// How many bytes.
        len: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not there.
    #[error("layer {layer} is missing")]
    Missing {
        /// The layer.
        layer: LayerId,
    },
    /// The bytes are wrong, and will be the next time.
    #[error("layer {layer} is damaged at {offset}: {damage}")]
    Damaged {
        /// The layer.
        layer: LayerId,
        /// Where in the file the damaged structure starts.
        offset: u64,
        /// What is wrong.
        damage: Damage,
    },
}

impl LayerError {
    /// Where in the file; none if there is none.
    pub fn offset(&self) -> Option<u64> {
        match self {
            LayerError::Io { offset, .. } | LayerError::Damaged { offset, .. } => Some(*offset),
            LayerError::Missing { .. } => None,
        }
    }
}

/// What is wrong with a structure in a layer file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file was written by a version of this program that this one cannot read.
    #[error("format version {found}, this program reads up to {supported}")]
    Version {
        /// The version in the file.
        found: u16,
        /// The newest version that this program writes and reads.
        supported: u16,
    },
    /// The bytes are not those that were written.
    #[error("checksum {found:#010x}, expected {expected:#010x}")]
    Checksum {
        /// What the file says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// A field does not have the value that it must have.
    #[error("{field} is {found:#x}, expected {expected:#x}")]
    Mismatch {
        /// Which field.
        field: &'static str,
        /// What it must be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// A field is out of its bounds.
    #[error("{field} is {found}, expected {min} to {max}")]
    Bounds {
        /// Which field.
        field: &'static str,
        /// The least that it may be.
        min: u64,
        /// The most that it may be.
        max: u64,
        /// What it is.
        found: u64,
    },
    /// A structure ends too early.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// A key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Keys or versions are not in ascending order.
    #[error("{what}: {key} at {lsn} is not above the one before")]
    Order {
        /// Where it stands.
        what: &'static str,
        /// The key that is out of order.
        key: Key,
        /// Its LSN.
        lsn: Lsn,
    },
    /// A key or version is not where the structure above it says.
    #[error("{what} is {found_key} at {found_lsn}, expected {key} at {lsn}")]
    Misplaced {
        /// Which version.
        what: &'static str,
        /// The key expected.
        key: Key,
        /// The LSN expected.
        lsn: Lsn,
        /// The key found.
        found_key: Key,
        /// The LSN found.
        found_lsn: Lsn,
    },
    /// A key of the layer is not in its filter.
    #[error("{key} is not in the filter")]
    NotInFilter {
        /// The key.
        key: Key,
    },
    /// The compressed bytes do not decompress to what was compressed.
    #[error("the compressed bytes do not give {expected} bytes")]
    Decompress {
        /// Bytes before compression.
        expected: u32,
    },
}

impl Damage {
    /// Checks that a field has the value that it must have.
    pub(crate) fn unless_equal(
        field: &'static str,
        expected: u64,
        found: u64,
    ) -> Result<(), Damage> {
        if found == expected {
            Ok(())
        } else {
            Err(Damage::Mismatch {
                field,
                expected,
                found,
            })
        }
    }

    /// Checks that a field is in its bounds.
    pub(crate) fn unless_within(
        field: &'static str,
        bounds: std::ops::RangeInclusive<u64>,
        found: u64,
    ) -> Result<(), Damage> {
        if bounds.contains(&found) {
            Ok(())
        } else {
            Err(Damage::Bounds {
                field,
                min: *bounds.start(),
                max: *bounds.end(),
                found,
            })
        }
    }
}
