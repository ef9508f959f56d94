//! Errors of the store, grouped by what the caller does next.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walrecord::{Lsn, PageKey, PgTimelineId, RelFileLocator, TimelineId};

use crate::layer::LayerError;
use crate::manifest::{ClonesExhausted, ManifestError};
use crate::meta::MetaError;
use crate::storage::LockError;
use crate::wal::WalStoreError;

/// What can go wrong in the store apart from reads.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what, relative to the store's root.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A layer file is damaged or cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Layer {
        /// The file, relative to the store's root.
        path: PathBuf,
        /// What is wrong, and where in it.
        source: Box<LayerError>,
    },
    /// A manifest is damaged or cannot be read or written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The WAL files cannot be read or written, or do not fit together.
    #[error(transparent)]
    Wal(#[from] WalStoreError),
    /// The WAL stream is damaged. Everything up to `valid_end` is intact and stays readable.
    #[error("WAL is damaged after {valid_end}: {source}")]
    BadWal {
        /// End of the last good record.
        valid_end: Lsn,
        /// What was found.
        source: Box<walrecord::WalError>,
    },
    /// Zeros stand in the WAL stream where a record or page should. Everything up to `valid_end` is
    /// intact and stays readable.
    #[error("WAL has zeros after {valid_end}, where the next record should stand")]
    ZeroWal {
        /// End of the last good record.
        valid_end: Lsn,
    },
    /// WAL files that were durable are gone.
    #[error(
        "WAL ends at {end}, but layers up to {disk_consistent} were written from it: WAL files were removed or cut from outside"
    )]
    WalMissing {
        /// Where the files end.
        end: Lsn,
        /// Where they reached at least.
        disk_consistent: Lsn,
    },
    /// WAL files that were durable when a Postgres timeline began are gone.
    #[error(
        "WAL ends at {end}, but Postgres timeline {timeline} was begun at {switch}: WAL files were removed or cut from outside"
    )]
    WalMissingBelowSwitch {
        /// Where the files end.
        end: Lsn,
        /// The timeline that is written.
        timeline: PgTimelineId,
        /// Where they reached at least.
        switch: Lsn,
    },
    /// A primary was promoted at another place than where our WAL ends.
    #[error("Postgres timeline {to} begins at {at}, but WAL here ends at {end}: {}", switch_means(*.at, *.end))]
    SwitchElsewhere {
        /// The new timeline.
        to: PgTimelineId,
        /// Where it begins.
        at: Lsn,
        /// Where our WAL ends.
        end: Lsn,
    },
    /// A primary was promoted inside a record, at a place where Postgres does not do that.
    #[error(
        "Postgres timeline {to} begins at {at}, inside what follows the last record, which ends at {last_record}"
    )]
    SwitchInRecord {
        /// The new timeline.
        to: PgTimelineId,
        /// Where it begins.
        at: Lsn,
        /// End of the last record.
        last_record: Lsn,
    },
    /// A Postgres timeline cannot be followed by an older one.
    #[error("Postgres timeline {to} cannot follow timeline {from}: numbers only go up")]
    SwitchBack {
        /// The timeline that is followed.
        from: PgTimelineId,
        /// What was to follow it.
        to: PgTimelineId,
    },
    /// WAL that is not of the Postgres timeline that is followed.
    #[error("the WAL page at {page} is of Postgres timeline {found}, not of {expected}")]
    OtherPgTimeline {
        /// Where the page begins.
        page: Lsn,
        /// The timeline in its header.
        found: PgTimelineId,
        /// The timeline that is followed.
        expected: PgTimelineId,
    },
    /// A history file is longer than any is.
    #[error("{}: {length} bytes are too many for a history file", .path.display())]
    HistoryFile {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
    },
    /// A record says something that cannot be stored.
    #[error("record at {start} (end {end}): {source}")]
    BadRecord {
        /// Where the record starts.
        start: Lsn,
        /// Where it ends.
        end: Lsn,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The primary ran with `wal_level = minimal`, whose WAL is not complete.
    #[error(
        "WAL from {at} on was written with wal_level = minimal and is not complete; LSNs up to there stay readable. Set wal_level = replica on the primary and import again"
    )]
    WalLevelMinimal {
        /// Where the record that says so starts.
        at: Lsn,
    },
    /// A metadata value is damaged.
    #[error("metadata value {key} at {lsn}: {source}")]
    Meta {
        /// Which.
        key: String,
        /// Its LSN.
        lsn: Lsn,
        /// What is wrong.
        source: MetaError,
    },
    /// Two layers hold the same version. No two may.
    #[error("{key} at {lsn} is in two layers")]
    DuplicateVersion {
        /// The key.
        key: String,
        /// The version.
        lsn: Lsn,
    },
    /// A page of an import has a wrong checksum, and no WAL before the backup's end replaced it.
    #[error(
        "imported page {page} has checksum {found:#06x}, computed {computed:#06x}, and WAL up to {stop} does not replace it: the backup is corrupt"
    )]
    ImportChecksum {
        /// Which page.
        page: PageKey,
        /// The checksum it carries.
        found: u16,
        /// The checksum of its content.
        computed: u16,
        /// The import's stop position.
        stop: Lsn,
    },
    /// WAL handed in ended before the import's stop position.
    #[error(
        "WAL ends at {end}, before the backup's end at {stop}; hand in the WAL that was written while the backup ran"
    )]
    ImportWal {
        /// End of the WAL.
        end: Lsn,
        /// The stop position.
        stop: Lsn,
    },
    /// Which databases were made, copied and dropped is not known of a stretch of history, because a layer is
    /// damaged that may tell: what lies in them may be void, or another's.
    #[error("databases made and dropped from {from} to {upto} are not known: {source}")]
    DirectoriesLost {
        /// The smallest LSN in the damaged layer.
        from: Lsn,
        /// The largest.
        upto: Lsn,
        /// The damage.
        source: Arc<StoreError>,
    },
    /// A timeline that could not be opened. Its files are as they were found.
    #[error("timeline {timeline} is refused: {reason}")]
    Refused {
        /// Its name, or its id if that is not known.
        timeline: String,
        /// Why.
        reason: Arc<StoreError>,
    },
    /// No name can be given, because a timeline may have it whose manifest cannot be read.
    #[error("timeline {timeline} cannot be read and may be named {name:?}: {reason}")]
    NameUncertain {
        /// The name that was to be given.
        name: String,
        /// The timeline that cannot be read.
        timeline: TimelineId,
        /// Why it cannot.
        reason: Arc<StoreError>,
    },
    /// Nothing may be given up, because a timeline may rest on it that cannot be asked.
    #[error("history is kept whole: {reason}")]
    HistoryHeld {
        /// What stands in the way.
        reason: Arc<StoreError>,
    },
    /// No such timeline.
    #[error("there is no timeline {0:?}")]
    NoTimeline(String),
    /// Several tenants have a timeline of that name.
    #[error("there are several timelines {0:?}; name the tenant, or give the timeline's id")]
    AmbiguousTimeline(String),
    /// The data directory is in use.
    #[error(transparent)]
    Lock(LockError),
    /// The timeline that a branch rests on is missing.
    #[error("timeline {timeline} branches from {ancestor}, which is not there")]
    NoAncestor {
        /// The branch.
        timeline: TimelineId,
        /// What it branches from.
        ancestor: TimelineId,
    },
    /// A timeline cannot be removed while others branch from it.
    #[error("timeline {timeline:?} cannot be removed: {} branch from it", .branches.len())]
    HasBranches {
        /// Its name.
        timeline: String,
        /// The timelines that branch from it.
        branches: Vec<TimelineId>,
    },
    /// Another timeline has taken its place: it takes no WAL any more.
    #[error(
        "timeline {0:?} is kept as it was when its primary's failover left it, and takes no WAL any more"
    )]
    ReadOnly(String),
    /// A timeline would have to go on from a place that is no end of a record there.
    #[error(
        "{fork} is no end of a record in timeline {timeline:?}: the record before ends at {boundary}"
    )]
    ForkInRecord {
        /// The timeline.
        timeline: String,
        /// Where the server left it.
        fork: Lsn,
        /// Where the record before ends.
        boundary: Lsn,
    },
    /// A rewind would discard records that are known to be good.
    #[error("WAL cannot be rewound to {to}: records up to {last} are known to be good")]
    RewindTooFar {
        /// Where to.
        to: Lsn,
        /// End of the last record.
        last: Lsn,
    },
    /// All Postgres timelines for clones are given out.
    #[error(transparent)]
    Clones(#[from] ClonesExhausted),
    /// WAL was appended to an opened timeline before it was said where its WAL ends.
    #[error(
        "WAL ends at {0} as the last process left it; rewind to where it is known to be good before appending"
    )]
    TailUnsettled(Lsn),
    /// A thread ended by a bug.
    #[error("thread {0} panicked, which is a bug; the timeline is stopped")]
    ThreadPanicked(String),
    /// A timeline of that name exists.
    #[error("timeline {0:?} exists already")]
    TimelineExists(String),
    /// A read that the operation depends on failed.
    #[error(transparent)]
    Read(#[from] Box<ReadError>),
    /// The timeline is being closed.
    #[error("the timeline is shutting down")]
    Stopping,
    /// Another failure of the timeline stands in the way.
    #[error("{0}")]
    Failed(Arc<StoreError>),
}

/// What a switch at another place than our end tells.
fn switch_means(at: Lsn, end: Lsn) -> &'static str {
    if at < end {
        "we hold WAL that it does not have, which is kept; following it needs a branch"
    } else {
        "what is between is missing here"
    }
}

impl StoreError {
    /// Damage of the layer file at `path`.
    pub(crate) fn layer(path: &Path, source: LayerError) -> StoreError {
        StoreError::Layer {
            path: path.to_owned(),
            source: Box::new(source),
        }
    }

    /// Whether something that was stored is damaged or gone. Trying again does not help; whoever can do without
    /// it goes on. (An error of the system is none: it may pass.)
    pub fn is_damage(&self) -> bool {
        match self {
            StoreError::Layer { source, .. } => !matches!(**source, LayerError::Io { .. }),
            StoreError::Meta { .. } | StoreError::DirectoriesLost { .. } => true,
            StoreError::Read(error) => match &**error {
                ReadError::Store(error) => error.is_damage(),
                _ => false,
            },
            StoreError::Failed(cause) | StoreError::Refused { reason: cause, .. } => {
                cause.is_damage()
            }
            _ => false,
        }
    }

    /// For `map_err`: names what was tried on which file. The path is only copied if there is an error: this is called for
    /// each version that is written.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> StoreError {
        move |source| StoreError::Io {
            action,
            path: path.into(),
            source,
        }
    }
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> StoreError {
        StoreError::Read(Box::new(error))
    }
}

/// Why a page or a piece of metadata cannot be read at an LSN.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The LSN lies before what the timeline keeps, or after what it has.
    #[error("{lsn} is not readable: this timeline is readable from {from} to {to}")]
    NotReadable {
        /// The LSN asked for.
        lsn: Lsn,
        /// The oldest readable LSN.
        from: Lsn,
        /// The newest readable LSN.
        to: Lsn,
    },
    /// The timeline that a branch rests on has not been looked at up to the branch point yet.
    #[error(
        "timeline {timeline:?} is indexed up to {last_record} yet, this branches from it at {branch}"
    )]
    AncestorBehind {
        /// The timeline that it branches from.
        timeline: String,
        /// Where.
        branch: Lsn,
        /// How far that timeline is.
        last_record: Lsn,
    },
    /// The relation does not exist at that LSN.
    #[error("relation {rel} ({fork}) does not exist at {lsn}")]
    NoRelation {
        /// The relation.
        rel: RelFileLocator,
        /// The fork.
        fork: walrecord::ForkNumber,
        /// The LSN.
        lsn: Lsn,
    },
    /// The block lies at or past the end of the fork.
    #[error("{page} at {lsn} is past the end: there are {blocks} blocks")]
    PastEnd {
        /// The page.
        page: PageKey,
        /// The LSN.
        lsn: Lsn,
        /// Blocks of the fork or segment there.
        blocks: u32,
    },
    /// A record cannot be applied to the page.
    #[error(
        "{page} at {lsn}: applying the record that ends at {record}: {source} (chain: {chain})"
    )]
    Redo {
        /// The page.
        page: PageKey,
        /// The LSN asked for.
        lsn: Lsn,
        /// End of the record.
        record: Lsn,
        /// Why.
        source: Box<walredo::RedoError>,
        /// The LSNs of the versions the page was built from.
        chain: String,
    },
    /// A record changes a page that was never there.
    #[error(
        "{page} at {lsn}: the record that ends at {record} changes a page that does not exist (chain: {chain})"
    )]
    NoBase {
        /// The page.
        page: PageKey,
        /// The LSN asked for.
        lsn: Lsn,
        /// End of the record.
        record: Lsn,
        /// The LSNs of the versions the page was built from.
        chain: String,
    },
    /// The tripwire: what was built cannot be right.
    #[error("{page} at {lsn}: the page built is implausible, {problem} (chain: {chain})")]
    Implausible {
        /// The page.
        page: PageKey,
        /// The LSN asked for.
        lsn: Lsn,
        /// What is wrong with it.
        problem: String,
        /// The LSNs of the versions the page was built from.
        chain: String,
    },
    /// The store itself failed.
    #[error(transparent)]
    Store(Box<StoreError>),
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> ReadError {
        match error {
            StoreError::Read(inner) => *inner,
            other => ReadError::Store(Box::new(other)),
        }
    }
}
