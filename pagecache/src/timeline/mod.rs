//! One line of history: takes WAL in, keeps every version, gives pages at any LSN.

mod ancestor;
mod branch;
mod chain_bound;
mod commit_times;
mod compact;
mod directories;
mod flush;
mod gc;
mod history;
mod hot_pages;
mod import;
mod indexer;
mod ingest;
mod layer_file;
mod layers;
mod leases;
mod open;
mod pace;
mod pg_timeline;
mod pins;
mod progress;
mod read;
mod read_counts;
mod resolve;
mod runs;
mod settings;
mod shared;
mod slru_order;
mod snapshot;
mod stored_layer;
mod succession;
mod timeline_dir;
mod verify;
mod versions;
mod wal_window;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use walrecord::{Boundary, Lsn, PgTimelineId, PgVersion, TenantId, TimelineId};

pub(crate) use ancestor::Ancestor;
pub use branch::NewBranch;
pub use commit_times::{EndedTransaction, TimeError, TimeTarget};
pub use compact::CompactionReport;
pub use gc::{CutoffHolder, GcReport, HeldPoint, PointHolder, Windows};
pub use history::{PageVersion, PageVersionKind};
pub use import::{ImportParams, ImportWriter};
pub use leases::{Lease, LeaseError, MAX_LEASE_TIME};
pub(crate) use open::{Relatives, Surroundings, open};
pub use pace::IndexingWaits;
pub use progress::{Progress, WaitError};
pub use read::ReadStats;
pub use read_counts::{Histogram, ReadCounts};
pub use snapshot::{ForkSize, Snapshot};
pub use succession::NewSuccessor;
pub(crate) use succession::{finish_successions, kept_name};
pub(crate) use timeline_dir::remove_timeline;
pub use verify::{Finding, Verified, VerifyStage, VerifyWatch};
pub use versions::VersionOrigin;

use crate::error::{ReadError, StoreError};
use crate::manifest::{Superseded, Upstream};
use progress::News;
use shared::Shared;

/// An open timeline. Clones share it; it closes when [`Timeline::close`] is called.
#[derive(Clone)]
pub struct Timeline {
    shared: Arc<Shared>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// What changes about a timeline only when its primary is promoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineInfo {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its id.
    pub timeline: TimelineId,
    /// Its name.
    pub name: String,
    /// The cluster's system identifier.
    pub system_identifier: u64,
    /// The cluster's major version.
    pub version: PgVersion,
    /// Bytes of a WAL segment.
    pub segment_size: u32,
    /// The Postgres timeline that it follows now; it changes when the primary is promoted.
    pub pg_timeline: PgTimelineId,
    /// The cluster has data checksums.
    pub data_checksums: bool,
    /// The timeline that it branches from, and where.
    pub ancestor: Option<(TimelineId, Lsn)>,
    /// What took its name and place, if something did ([`crate::Store::succeed`]): it takes no WAL any more.
    pub superseded: Option<Superseded>,
    /// The timeline whose name and place it took, if it did.
    pub replaces: Option<TimelineId>,
}

/// Sizes of a timeline on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TimelineSizes {
    /// Runs of layers, which a read looks through.
    pub runs: u64,
    /// Layer files.
    pub layers: u64,
    /// Bytes in them.
    pub layer_bytes: u64,
    /// Bytes of WAL files.
    pub wal_bytes: u64,
}

impl Timeline {
    fn new(shared: Shared) -> Timeline {
        Timeline {
            shared: Arc::new(shared),
            threads: Arc::default(),
        }
    }

    /// Starts a thread of the timeline. If it panics the timeline fails: nothing hangs on it.
    fn spawn(&self, name: &str, run: fn(&Arc<Shared>)) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let guard = FailOnPanic(&shared);
                run(&shared);
                drop(guard);
            })
            .map_err(StoreError::io("starting thread", name))?;
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(handle);
        Ok(())
    }

    /// Who it is.
    pub fn info(&self) -> TimelineInfo {
        let manifest = self.shared.manifest();
        TimelineInfo {
            tenant: manifest.tenant,
            timeline: manifest.timeline,
            name: manifest.name.clone(),
            system_identifier: manifest.system_identifier,
            version: manifest.version,
            segment_size: manifest.segment_size,
            pg_timeline: self.shared.wal.timeline(),
            data_checksums: self.shared.checksums,
            ancestor: manifest.ancestor.map(|it| (it.timeline, it.lsn)),
            superseded: manifest.superseded,
            replaces: manifest.replaces.as_ref().map(|it| it.timeline),
        }
    }

    /// Where its WAL files begin.
    pub fn wal_start(&self) -> Lsn {
        self.shared.wal.start()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.shared.tracker.get()
    }

    /// Its sizes on disk.
    pub fn sizes(&self) -> TimelineSizes {
        let runs = self.shared.layers().runs().len() as u64;
        let manifest = self.shared.manifest();
        TimelineSizes {
            runs,
            layers: manifest.layers.len() as u64,
            layer_bytes: manifest
                .layers
                .iter()
                .map(|layer| layer.summary.file_size)
                .sum(),
            wal_bytes: self.shared.wal.end() - self.shared.wal.start(),
        }
    }

    /// Layer files that were found to be damaged since it was opened, each with what was found first. What they
    /// hold cannot be read; they are left as they are.
    pub fn damage(&self) -> Vec<Arc<StoreError>> {
        let layers = self.shared.layers();
        let damage = layers.files().filter_map(|(_, layer)| layer.damage());
        damage.cloned().collect()
    }

    /// How long indexing has stood back for those behind it since it was opened.
    pub fn indexing_waits(&self) -> IndexingWaits {
        self.shared.index_waits.get()
    }

    /// What reads of its pages took since it was opened; compaction's and verification's are among them.
    pub fn read_counts(&self) -> ReadCounts {
        self.shared.read_counters.get()
    }

    /// Why nothing of its history may be given up, if so.
    pub fn history_held(&self) -> Option<Arc<StoreError>> {
        self.shared.history_held().cloned()
    }

    /// That nobody rests on it of whom nothing is known.
    pub(crate) fn check_history_free(&self) -> Result<(), StoreError> {
        match self.history_held() {
            Some(reason) => Err(StoreError::HistoryHeld { reason }),
            None => Ok(()),
        }
    }

    /// Why indexing stopped, if it did.
    pub fn failure(&self) -> Option<Arc<StoreError>> {
        self.shared.tracker.failure()
    }

    /// Why layers cannot be written at present (a full disk, say), if so. It is tried again and again;
    /// meanwhile WAL is taken and acknowledged, and indexing stops when too much waits.
    pub fn flush_failure(&self) -> Option<Arc<StoreError>> {
        self.shared.tracker.flush_failure()
    }

    /// Calls `listener` with the positions after each change of [`Timeline::progress`], from whatever thread made it:
    /// what it is given may be overtaken already. It must be quick and not call back.
    pub fn on_progress(&self, listener: Box<dyn Fn(&Progress) + Send + Sync>) {
        self.shared.tracker.listen(listener);
    }

    /// Appends WAL at `lsn`, which must be the end of what is there. Nothing is durable yet:
    /// [`Progress::synced`] follows.
    ///
    /// # Errors
    /// If the position is wrong, the disk refuses, or indexing has failed on the WAL that came before.
    pub fn append(&self, lsn: Lsn, bytes: &[u8]) -> Result<(), StoreError> {
        self.check_writable()?;
        // Damage of what is stored does not stop WAL: it is kept, and indexed when that is mended.
        if let Some(failure) = self.shared.tracker.failure()
            && !failure.is_damage()
        {
            return Err(StoreError::Failed(failure));
        }
        if !self.shared.is_tail_settled() {
            return Err(StoreError::TailUnsettled(self.shared.wal.end()));
        }
        pg_timeline::check_pages(&self.shared, lsn, bytes)?;
        self.shared.wal.append(lsn, bytes)?;
        let end = self.shared.wal.end();
        self.shared
            .tracker
            .update(&[News::Wal], |progress| progress.written = end);
        Ok(())
    }

    /// Discards the WAL from `to` on and clears a failure of indexing. `to` must not lie before the
    /// last good record's end, see [`Timeline::wait_examined`], nor before [`Timeline::rewind_floor`].
    ///
    /// An opened timeline does not sync or report as synced what is appended before this has been
    /// called once, if only with the end of what is there: a crash may have left a tail that looks
    /// written and is not what the primary sent.
    ///
    /// # Errors
    /// If `to` lies before the last record, or the disk refuses.
    pub fn rewind(&self, to: Lsn) -> Result<(), StoreError> {
        self.check_writable()?;
        if let Some(failure) = self.shared.tracker.final_failure() {
            return Err(StoreError::Failed(failure));
        }
        self.shared.rewind(to)
    }

    /// Whether WAL may be taken.
    fn check_running(&self) -> Result<(), StoreError> {
        match self.shared.tracker.is_stopping() {
            true => Err(StoreError::Stopping),
            false => Ok(()),
        }
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        self.check_running()?;
        match self.shared.is_read_only() {
            true => Err(StoreError::ReadOnly(self.shared.name())),
            false => Ok(()),
        }
    }

    /// Waits until all WAL that is there has been looked at, and gives the positions as they are
    /// then: [`Progress::last_record`] is the end of the last good record. To be called before
    /// [`Timeline::rewind`] by whoever asks where to rewind to; no WAL may be appended meanwhile.
    ///
    /// # Errors
    /// If that takes longer than `limit`, or the timeline is being closed.
    pub fn wait_examined(&self, limit: Duration) -> Result<Progress, WaitError> {
        self.shared.tracker.wait_examined(limit)
    }

    /// Waits until `lsn` is readable.
    ///
    /// # Errors
    /// If it does not arrive within `limit`, or cannot.
    pub fn wait_for(&self, lsn: Lsn, limit: Duration) -> Result<Progress, WaitError> {
        self.shared.tracker.wait_for(lsn, limit)
    }

    /// The timeline at `lsn`.
    ///
    /// # Errors
    /// If that LSN is not readable.
    pub fn snapshot(&self, lsn: Lsn) -> Result<Snapshot, ReadError> {
        Snapshot::readable(&self.shared, lsn)
    }

    /// The end and the start of the last record that ends at or below `lsn`.
    ///
    /// # Errors
    /// If the WAL around it is not there.
    pub fn boundary(&self, lsn: Lsn) -> Result<Boundary, StoreError> {
        let wal = &self.shared.holding(lsn).wal;
        walrecord::record_boundary(wal, wal.segment_size(), lsn).map_err(|source| {
            StoreError::BadRecord {
                start: lsn,
                end: lsn,
                source: Box::new(source),
            }
        })
    }

    /// Reads WAL bytes at `lsn`, as many as are there. Short at the end of what is there.
    ///
    /// # Errors
    /// If the files cannot be read.
    pub fn read_wal(&self, lsn: Lsn, buffer: &mut [u8]) -> Result<usize, StoreError> {
        self.shared
            .holding(lsn)
            .wal
            .read_at(lsn, buffer)
            .map_err(StoreError::io("reading WAL at", lsn.to_string()))
    }

    /// Writes everything up to the last record into layer files, and returns where that was.
    ///
    /// # Errors
    /// If that takes longer than `limit`.
    pub fn checkpoint(&self, limit: Duration) -> Result<Lsn, WaitError> {
        let target = self.shared.tracker.get().last_record;
        self.shared.request_freeze();
        self.shared
            .tracker
            .wait_until(target, limit, |progress| progress.disk_consistent)?;
        Ok(target)
    }

    /// The server that it is to take WAL from whenever a daemon starts, if it was told.
    pub fn upstream(&self) -> Option<Upstream> {
        self.shared.manifest().upstream.clone()
    }

    /// Says from which server WAL is to be taken, durably. Whoever runs the receiver asks for it.
    ///
    /// # Errors
    /// If another timeline has taken its place, or the manifest cannot be written.
    pub fn set_upstream(&self, upstream: Option<Upstream>) -> Result<(), StoreError> {
        self.check_writable()?;
        self.shared
            .change_manifest(|manifest| manifest.upstream = upstream)
    }

    /// Notes the minor release that the primary runs from here on, if that is news.
    ///
    /// # Errors
    /// If the manifest cannot be written.
    pub fn set_minor(&self, minor: u16) -> Result<(), StoreError> {
        let now = self.shared.tracker.get().last_record;
        if self.shared.rules().after(now).minor == minor {
            return Ok(());
        }
        self.shared.change_rules(now, |rules| rules.minor = minor);
        self.shared.change_manifest(|_| {})
    }

    /// Stops the timeline's threads. What is synced stays; the rest is received again.
    pub fn close(&self) {
        self.shared.tracker.stop();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A panic was reported by its guard.
            let _ = thread.join();
        }
    }
}

/// Makes waiters see that a thread is gone.
struct FailOnPanic<'a>(&'a Shared);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let name = std::thread::current().name().unwrap_or("?").to_owned();
            self.0
                .tracker
                .fail_for_good(StoreError::ThreadPanicked(name));
        }
    }
}

/// The thread that makes WAL durable: as fast as the disk syncs, everything written meanwhile at once.
fn sync_wal(shared: &Arc<Shared>) {
    loop {
        let waited = shared.tracker.wait_while(News::Wal, |progress| {
            progress.synced >= progress.written || !shared.is_tail_settled()
        });
        if waited.is_none() {
            return;
        }
        match shared.wal.sync() {
            Ok(_) => shared.tell_synced(),
            Err(error) => {
                slog::error!(shared.log, "syncing WAL failed"; "error" => %error);
                shared.tracker.fail_for_good(error.into());
                return;
            }
        }
    }
}
