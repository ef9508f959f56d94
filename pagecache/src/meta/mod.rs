//! Metadata values: what the store versions besides pages. Each value is complete (no deltas) and
//! has a little-endian form, described in `docs/format-metadata.md`.

mod commit_times;
mod control;
mod directory;
mod fork;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use commit_times::{CommitTimes, CommitTimesWriter, NO_TIME, TransactionEnd};
pub use control::ControlState;
pub(crate) use directory::{CopySource, DirectoryState};
pub(crate) use fork::ForkState;
pub(crate) use values::{FileValue, Tombstoned};

use crate::key::{Key, KeyKind};

use walrecord::Truncated;

/// A metadata value that cannot be what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// It is too short.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// A field has an impossible value.
    #[error("{field} is {found}")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// Bytes are left over.
    #[error("{0} bytes are left over")]
    Leftover(usize),
    /// A fork was truncated too often without becoming shorter than after an earlier truncation.
    #[error("a fork has more truncations in its past than can be kept")]
    TooManyTruncations,
    /// It says that nothing is known: when it was written, what it rests on was damaged.
    #[error("what it was is lost: what it rests on was damaged when this was written")]
    Lost,
    /// A path is not UTF-8.
    #[error("a path is not UTF-8")]
    Path,
}

pub(crate) fn finish(r: &walrecord::Reader<'_>) -> Result<(), MetaError> {
    match r.left() {
        0 => Ok(()),
        left => Err(MetaError::Leftover(left)),
    }
}

/// Whether a value says that what its key names does not exist. (Of damaged bytes, no: they are kept.)
pub(crate) fn is_tombstone(key: &Key, value: &[u8]) -> bool {
    match key.decode() {
        KeyKind::Relation(..) | KeyKind::SlruSegment(..) => {
            ForkState::decode(value).is_ok_and(|state| state.blocks.is_none())
        }
        KeyKind::Database { .. } => DirectoryState::decode(value).is_ok_and(|state| !state.exists),
        KeyKind::RelationMap { .. }
        | KeyKind::Tablespace(_)
        | KeyKind::TwoPhase(_)
        | KeyKind::Origin(_) => Tombstoned::decode(value).is_ok_and(|value| value.0.is_none()),
        KeyKind::Page(_)
        | KeyKind::Control
        | KeyKind::File(_)
        | KeyKind::CommitTimes(_)
        | KeyKind::Bound => false,
    }
}
