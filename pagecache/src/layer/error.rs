//! What can be wrong with a layer file.

use std::io;

use super::LayerId;

/// A layer file that cannot be read, or does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The storage failed.
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
    /// The bytes are wrong.
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

/// What is wrong with a structure in a layer file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A field does not have the value it must have.
    #[error("{field} is {found:#x}, expected {expected:#x}")]
    Mismatch {
        /// Which field.
        field: &'static str,
        /// What it must be.
        expected: u64,
        /// What it is.
        found: u64,
    },
}
