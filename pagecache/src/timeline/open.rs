//! Opening a timeline: layers by the manifest, strays removed, the index of the WAL behind them rebuilt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slog::{Logger, info, warn};
use walrecord::{Lsn, TimelineId};

use super::ancestor::Ancestor;
use super::directories::Lost;
use super::layer_file::open_layer;
use super::layers::LayerSet;
use super::progress::Progress;
use super::runs::Run;
use super::shared::{Shared, SharedParts};
use super::stored_layer::StoredLayer;
use super::{Timeline, compact, flush, gc, indexer, sync_wal};
use crate::block_cache::BlockCache;
use crate::clock::Clock;
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::key::{Key, KeyKind};
use crate::manifest::{Manifest, TimelinePaths};
use crate::meta::DirectoryState;
use crate::storage::Storage;
use crate::wal::WalStore;

/// What every timeline of a store is opened with.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) config: StoreConfig,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) log: Logger,
    /// Held while directories of tenants and timelines come and go.
    pub(crate) tenants: Arc<Mutex<()>>,
}

impl Surroundings {
    pub(crate) fn lock_tenants(&self) -> MutexGuard<'_, ()> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a timeline has to do with others of its tenant.
#[derive(Default)]
pub(crate) struct Relatives {
    /// What it branches from.
    pub(crate) ancestor: Option<Ancestor>,
    /// The timelines that branch from it, each with where.
    pub(crate) branches: BTreeMap<TimelineId, Lsn>,
    /// Why there may be branches that are not known, if so.
    pub(crate) unknown: Option<Arc<StoreError>>,
}

/// Opens a timeline. Indexing of the WAL behind the last flushed layer goes on in the
/// background; [`Timeline::wait_for`] waits for it.
pub(crate) fn open(
    around: Surroundings,
    manifest: Manifest,
    relatives: Relatives,
) -> Result<Timeline, StoreError> {
    let Relatives {
        ancestor,
        branches,
        unknown,
    } = relatives;
    let paths = TimelinePaths::new(manifest.tenant, manifest.timeline);
    let wal = WalStore::open(
        Arc::clone(&around.storage),
        &paths.wal(),
        manifest.segment_size,
        &manifest.history,
        manifest.wal_start(),
    )?;
    let written = wal.end();
    let start = manifest.disk_consistent_lsn;
    if written < start {
        return Err(StoreError::WalMissing {
            end: written,
            disk_consistent: start,
        });
    }
    if written < wal.floor() {
        return Err(StoreError::WalMissingBelowSwitch {
            end: written,
            timeline: wal.timeline(),
            switch: wal.floor(),
        });
    }
    let progress = Progress {
        written,
        // The tail behind the last good record may be what a crash left of it: nothing is promised of
        // it before [`Timeline::rewind`] says where it ends.
        synced: start,
        last_record: start,
        readable_from: manifest
            .import_stop
            .max(manifest.gc_cutoff)
            .max(manifest.ancestor.map_or(Lsn::INVALID, |it| it.lsn)),
        disk_consistent: start,
    };
    let import_stop = manifest.import_stop;
    let shared = Shared::new(
        SharedParts {
            config: around.config,
            storage: around.storage,
            clock: around.clock,
            paths,
            log: around.log,
            cache: around.cache,
            wal,
            manifest,
            progress,
            import_stop,
            ancestor: ancestor.clone(),
            branches,
        },
        LayerSet::new(start, ancestor),
    );
    shared.set_complete();
    if let Some(unknown) = unknown {
        warn!(
            shared.log,
            "history is kept whole: a timeline that cannot be read may branch from it"
        );
        shared.hold_history(unknown);
    }
    if shared.is_read_only() {
        // Nobody comes to say where its WAL ends; it ends where it ends.
        shared.settle_tail();
    }
    let layers = open_layers(&shared);
    shared.change_layers(|set| *set = layers);
    load_directories(&shared)?;
    let timeline = Timeline::new(shared);
    start_threads(&timeline)?;
    info!(timeline.shared.log, "timeline opened"; "disk_consistent" => %start, "wal_end" => %written);
    Ok(timeline)
}

/// Starts what an open timeline needs besides WAL syncing.
pub(super) fn start_threads(timeline: &Timeline) -> Result<(), StoreError> {
    timeline.spawn("wal-sync", sync_wal)?;
    start_indexing(timeline)
}

pub(super) fn start_indexing(timeline: &Timeline) -> Result<(), StoreError> {
    timeline.spawn("wal-index", indexer::run)?;
    timeline.spawn("layer-flush", flush::run)?;
    if timeline.shared.config.history_time.is_some() {
        timeline.spawn("history-gc", gc::run)?;
    }
    timeline.spawn("layer-compact", compact::run)
}

fn open_layers(shared: &Shared) -> LayerSet {
    let (records, rewrite) = {
        let manifest = shared.manifest();
        (manifest.layers.clone(), manifest.rewrite.clone())
    };
    let files = records
        .iter()
        .map(|record| (record.run, Arc::new(open_layer(shared, record))));
    let mut set = LayerSet::clone(&shared.layers());
    set.set_files(files, rewrite.as_ref());
    set
}

/// Reads the history of database directories out of the layers. What a damaged layer may tell of them is not known.
pub(super) fn load_directories(shared: &Shared) -> Result<(), StoreError> {
    let layers = shared.layers();
    // The oldest first: the states of a directory are told in order.
    for run in layers.runs().iter().rev() {
        for layer in run.layers() {
            let (summary, all) = (layer.summary(), Key::all_databases());
            if summary.last_key < all.start || summary.first_key >= all.end {
                continue;
            }
            match load_from(shared, run, layer) {
                Err(error) if error.is_damage() => {
                    let lost = Lost {
                        from: summary.min_lsn,
                        upto: summary.max_lsn,
                        source: Arc::new(error),
                    };
                    // A copy may rest on an LSN that is not known.
                    shared.hold_history(Arc::new(lost.error()));
                    shared.directories.lose(lost);
                }
                loaded => loaded?,
            }
        }
    }
    Ok(())
}

fn load_from(shared: &Shared, run: &Run, layer: &StoredLayer) -> Result<(), StoreError> {
    let mut scan = layer.scan(Key::all_databases(), Lsn::MAX);
    while let Some(entry) = scan.next()? {
        let KeyKind::Database { spc, db } = entry.key.decode() else {
            continue;
        };
        if !run.shows(&entry.key) {
            continue;
        }
        let state = DirectoryState::decode(entry.value).map_err(|source| StoreError::Meta {
            key: format!("{:?}", entry.key),
            lsn: entry.lsn,
            source,
        })?;
        shared.directories.push((spc, db), entry.lsn, state);
    }
    Ok(())
}
