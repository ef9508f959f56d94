//! Checkouts: writes a snapshot as a data directory that stock Postgres of the same version starts from at
//! once, as after a clean shutdown. For the command line and the tests.

mod error;
mod source;

use std::path::Path;

use walrecord::PgTimelineId;

pub use error::CheckoutError;
pub use source::{CloneControl, PageConsumer, SnapshotSource, SourceError};

/// Choices for a checkout.
#[derive(Clone, Debug)]
pub struct CheckoutOptions {
    /// The Postgres timeline of the clone, never given to another one of this cluster. Above the parent's.
    pub pg_timeline: PgTimelineId,
    /// Seconds since 1970-01-01 00:00:00 UTC: the time of the clone's checkpoint.
    pub now: i64,
    /// Keep the imported preload libraries. They run code in the clone, and the clone does not start where
    /// they are not installed.
    pub keep_preload: bool,
    /// Where tablespaces go: path on the primary, absolute path here (missing, or an empty directory).
    /// The others go inside the data directory.
    pub tablespace_mapping: Vec<(String, String)>,
    /// The port; by default the imported one.
    pub port: Option<u16>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckoutReport {
    /// Bytes in all files.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// Relations.
    pub relations: u64,
    /// Tablespaces besides the built-in ones.
    pub tablespaces: u64,
    /// Prepared transactions.
    pub prepared: u64,
}

/// Writes the cluster as it is at the source's LSN into `dir`, which must be missing or empty, and makes
/// it durable. `progress` is told the bytes written so far, now and then.
///
/// `pg_control` is written last: a directory whose checkout was interrupted does not start.
///
/// # Errors
/// If a directory to be written into is not empty, the source fails, or a file cannot be written; then
/// nothing is left behind.
pub fn checkout(
    source: &dyn SnapshotSource,
    dir: &Path,
    options: &CheckoutOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<CheckoutReport, CheckoutError> {
    let _ = (source, dir, options, progress);
    Err(CheckoutError::NoControlFile)
}
