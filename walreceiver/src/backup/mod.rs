//! A base backup over the replication protocol: the 14 and the 15+ dialect as one sequence of
//! archives.

mod archive;
mod options;
mod tee;

use std::path::PathBuf;

use thiserror::Error;
use walrecord::{Lsn, Oid, PgTimelineId, PgVersion};

pub use archive::{Archive, ArchiveKind, BaseBackup};
pub use options::{BackupOptions, CheckpointSpeed, Manifest};
pub use tee::Tee;

use crate::error::ConnectionError;

/// What the server reports before the first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupStart {
    /// WAL is needed from here (the redo point of the backup's checkpoint).
    pub lsn: Lsn,
    /// On this timeline.
    pub timeline: PgTimelineId,
    /// The tablespaces besides the two built-in ones.
    pub tablespaces: Vec<Tablespace>,
    /// An estimate of all bytes to come, if progress was asked for.
    pub estimated_bytes: Option<u64>,
}

/// What the server reports after the last byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupEnd {
    /// The backup is consistent once WAL was replayed up to here.
    pub lsn: Lsn,
    /// On this timeline.
    pub timeline: PgTimelineId,
}

/// A tablespace that was made by `CREATE TABLESPACE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tablespace {
    /// Its number.
    pub oid: Oid,
    /// Its directory on the server.
    pub location: String,
    /// Its estimated size in bytes, if progress was asked for.
    pub estimated_bytes: Option<u64>,
}

/// How far a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupProgress {
    /// Bytes of archives received.
    pub received: u64,
    /// The server's estimate of the total; the truth may exceed it.
    pub estimated: Option<u64>,
}

/// Why a base backup failed. It cannot be resumed: what was received is of no use.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The server or the connection failed.
    #[error("the base backup failed after {received} bytes: {source}")]
    Connection {
        /// Bytes of archives received until then.
        received: u64,
        /// What happened.
        source: ConnectionError,
    },
    /// An option that this version lacks.
    #[error("a base backup of PostgreSQL {version} has no option {option}")]
    Option {
        /// The option.
        option: &'static str,
        /// The server's version.
        version: PgVersion,
    },
    /// An earlier error ended this backup.
    #[error("the base backup failed before")]
    Failed,
    /// A copy on disk could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}
