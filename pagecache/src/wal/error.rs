//! What can go wrong with WAL on disk.

use std::io;
use std::path::{Path, PathBuf};

use walrecord::{Lsn, PgTimelineId};

/// An operation on the WAL of a timeline failed.
#[derive(Debug, thiserror::Error)]
pub enum WalStoreError {
    /// The file system refused. If [`WalStoreError::is_out_of_space`], the same call may succeed
    /// later: nothing of it counts.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Bytes were to be appended that leave a gap.
    #[error("WAL from {lsn} cannot be appended: the WAL here ends at {end}, there would be a gap")]
    Gap {
        /// Where the WAL here ends.
        end: Lsn,
        /// Where the bytes begin.
        lsn: Lsn,
    },
    /// Bytes were to be appended that are here already.
    #[error("WAL from {lsn} cannot be appended: the WAL here goes to {end} already")]
    Overlap {
        /// Where the WAL here ends.
        end: Lsn,
        /// Where the bytes begin.
        lsn: Lsn,
    },
    /// Bytes were to be appended beyond the last position there is.
    #[error("{length} bytes of WAL at {lsn} go beyond the last position there is")]
    TooFar {
        /// Where the bytes begin.
        lsn: Lsn,
        /// Their number.
        length: usize,
    },
    /// The WAL was to be cut where it is not.
    #[error("WAL cannot be cut at {to}, only from {floor} to {end}")]
    CutOutside {
        /// Where it was to be cut.
        to: Lsn,
        /// Where the WAL here, or the Postgres timeline that is written, starts.
        floor: Lsn,
        /// Where it ends.
        end: Lsn,
    },
    /// A rewind failed half way, and has not been repeated with success.
    #[error("the WAL was cut at {to} and that is unfinished: cut it again before appending")]
    CutUnfinished {
        /// Where it was cut.
        to: Lsn,
    },
    /// A Postgres timeline was to begin where the WAL does not end durably.
    #[error("a Postgres timeline cannot begin at {at}: WAL ends at {end}, durable up to {synced}")]
    SwitchElsewhere {
        /// Where it was to begin.
        at: Lsn,
        /// Where the WAL here ends.
        end: Lsn,
        /// What is durable of it.
        synced: Lsn,
    },
    /// Segments cannot have that size.
    #[error("{0} bytes is no WAL segment size: a power of two from 1 MiB to 1 GiB is")]
    SegmentSize(u32),
    /// A file is longer than a segment.
    #[error("{} has {length} bytes, more than a segment of {segment_size}", .path.display())]
    Oversized {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
        /// The segment size in bytes.
        segment_size: u32,
    },
    /// A file is of another Postgres timeline.
    #[error("{} is of Postgres timeline {found}, which the WAL here up to timeline {expected} did not go through", .path.display())]
    OtherTimeline {
        /// The file.
        path: PathBuf,
        /// The timeline in its name.
        found: PgTimelineId,
        /// The timeline that the store writes.
        expected: PgTimelineId,
    },
    /// A sync failed before. What was written since the last that succeeded may be lost although it
    /// can still be read; only opening the store anew tells.
    #[error("a sync of the WAL in {} failed before; it takes no more until it is opened anew", .dir.display())]
    Broken {
        /// The directory of the segment files.
        dir: PathBuf,
    },
}

impl WalStoreError {
    /// Whether the disk (or the quota) is full: the call may be repeated when there is space.
    pub fn is_out_of_space(&self) -> bool {
        match self {
            WalStoreError::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }

    /// Makes an [`WalStoreError::Io`] from an error, for `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WalStoreError {
        let path = path.to_owned();
        move |source| WalStoreError::Io {
            action,
            path,
            source,
        }
    }
}
