//! Layer files: immutable, sorted, checksummed files of page versions and metadata.
//!
//! The module tree follows the file, which `docs/format-layer.md` describes byte by byte: blocks of
//! entries, an index over them, a key filter, a footer. A [`LayerWriter`] makes a file, a [`Layer`]
//! reads one.

mod block;
mod entry;
mod error;
mod filter;
mod footer;
mod format;
mod index;
mod key_versions;
mod options;
mod output;
mod reader;
mod scan;
#[cfg(test)]
mod tests;
mod verify;
mod whole_block;
mod writer;

pub use entry::{EntryKind, EntryRef};
pub use error::{Damage, LayerError};
pub(crate) use format::MAX_BLOCK_SIZE;
pub use key_versions::KeyVersions;
pub use options::{Compression, LayerId, LayerKind, LayerOptions, LayerSummary, RunId};
pub use reader::Layer;
pub use scan::Scan;
pub(crate) use verify::LayerFinding;
pub use whole_block::{BlockAhead, BlockEdges, BlockVersion, WholeBlock};
pub use writer::LayerWriter;
