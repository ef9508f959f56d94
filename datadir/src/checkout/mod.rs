//! Checkouts: writes a snapshot as a data directory that stock Postgres of the same version starts from at
//! once, as after a clean shutdown. For the command line and the tests.

mod config;
mod error;
mod fsm;
mod layout;
mod relations;
mod source;
mod state;
mod sync;
mod tablespaces;
mod tree;
mod wal;
mod write_ahead_log;

use std::path::Path;

use walrecord::{Lsn, PgTimelineId, Xid};

use crate::control::ControlFile;
use crate::path::DataFile;
use layout::{CONTROL_FILE, next_xid_above};
use tree::Tree;
use wal::WalLayout;

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
    /// Make everything durable before the end. Without, it takes a fraction of the time, and a crash of the
    /// machine soon after may leave a directory that looks complete and is damaged.
    pub sync: bool,
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

/// Writes the cluster as it is at the source's LSN into `dir`, which must be missing or empty. `progress` is told the bytes written so far, now and then.
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
    let job = Job::new(source, options)?;
    let places = tablespaces::places(source, options)?;
    let mut tree = Tree::create(dir, progress)?;
    let mut report = CheckoutReport {
        tablespaces: places.len() as u64,
        ..CheckoutReport::default()
    };
    job.skeleton(&mut tree)?;
    job.tablespaces(&places, &mut tree)?;
    job.databases(&mut tree)?;
    report.relations = job.relations(&mut tree)?;
    job.status_logs(&mut tree)?;
    report.prepared = job.transactions(&mut tree)?;
    job.configuration(dir, &mut tree)?;
    let control_file = job.write_ahead_log(&mut tree)?;
    (report.bytes, report.files) = tree.finish(CONTROL_FILE, &control_file[..], options.sync)?;
    Ok(report)
}

/// What all parts of a checkout look at.
struct Job<'a> {
    source: &'a dyn SnapshotSource,
    options: &'a CheckoutOptions,
    /// Configuration files of the source.
    configuration: Vec<(String, Vec<u8>)>,
    imported: ControlFile,
    control: CloneControl,
    /// Prepared transactions and their state.
    prepared: Vec<(Xid, Vec<u8>)>,
    /// The next transaction id, above all of these.
    next_full_xid: u64,
    /// Where the clone's checkpoint record starts.
    checkpoint_start: Lsn,
    wal: WalLayout,
}

impl<'a> Job<'a> {
    fn new(
        source: &'a dyn SnapshotSource,
        options: &'a CheckoutOptions,
    ) -> Result<Job<'a>, CheckoutError> {
        let mut configuration = source
            .files()
            .map_err(CheckoutError::source("kept files"))?;
        let control_file = configuration.iter().find(|(path, _)| path == CONTROL_FILE);
        let (_, content) = control_file.ok_or(CheckoutError::NoControlFile)?;
        let imported = ControlFile::parse(content)?;
        // Paths come from outside: only those that are known to be configuration, which lie inside.
        configuration.retain(|(path, _)| DataFile::at(path, imported.version) == DataFile::Config);
        let control = source
            .control()
            .map_err(CheckoutError::source("control state"))?;
        let (new, parent) = (options.pg_timeline, control.pg_timeline);
        if new <= parent {
            return Err(CheckoutError::Timeline { new, parent });
        }
        let wal = WalLayout {
            version: imported.version,
            timeline: options.pg_timeline,
            system_identifier: imported.system_identifier,
            segment_size: imported.segment_size,
        };
        let checkpoint_start = wal
            .record_start(control.lsn)
            .filter(|start| control.last_start < *start)
            .ok_or(CheckoutError::Position(control.lsn))?;
        let prepared = source
            .two_phase()
            .map_err(CheckoutError::source("prepared transactions"))?;
        let xids = prepared.iter().map(|(xid, _)| *xid);
        Ok(Job {
            source,
            options,
            next_full_xid: next_xid_above(control.checkpoint.next_full_xid, xids),
            prepared,
            configuration,
            imported,
            control,
            checkpoint_start,
            wal,
        })
    }
}
