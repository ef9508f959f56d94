//! Opening a timeline: layers by the manifest, strays removed, the index of the WAL behind them rebuilt.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slog::{Logger, info};
use walrecord::Lsn;

use super::layer_file::open_layer;
use super::layers::{LayerSet, MemoryLayer};
use super::progress::Progress;
use super::shared::{Shared, SharedParts};
use super::{Timeline, flush, indexer, sync_wal};
use crate::block_cache::BlockCache;
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::key::{Key, KeyKind};
use crate::layer::{Layer, LayerKind};
use crate::manifest::{Manifest, ManifestFile, TimelinePaths};
use crate::meta::DirectoryState;
use crate::storage::Storage;
use crate::wal::WalStore;

/// What every timeline of a store is opened with.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) config: StoreConfig,
    pub(crate) storage: Arc<dyn Storage>,
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

/// Opens a timeline. Indexing of the WAL behind the last flushed layer goes on in the
/// background; [`Timeline::wait_for`] waits for it.
pub(crate) fn open(around: Surroundings, paths: TimelinePaths) -> Result<Timeline, StoreError> {
    let manifest = Manifest::read(&*around.storage, &paths.manifest())?;
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
        readable_from: manifest.import_stop,
        disk_consistent: start,
    };
    let shared = Shared::new(
        SharedParts {
            config: around.config,
            storage: around.storage,
            paths,
            log: around.log,
            cache: around.cache,
            wal,
            manifest,
            progress,
        },
        empty_layers(start),
    );
    shared.set_complete();
    let layers = open_layers(&shared)?;
    shared.change_layers(|set| *set = layers);
    load_directories(&shared)?;
    let timeline = Timeline::new(shared);
    start_threads(&timeline)?;
    info!(timeline.shared.log, "timeline opened"; "disk_consistent" => %start, "wal_end" => %written);
    Ok(timeline)
}

pub(super) fn empty_layers(start: Lsn) -> LayerSet {
    LayerSet {
        open: Arc::new(MemoryLayer::new(start)),
        frozen: Vec::new(),
        deltas: Vec::new(),
        images: Vec::new(),
    }
}

/// Starts what an open timeline needs besides WAL syncing.
pub(super) fn start_threads(timeline: &Timeline) -> Result<(), StoreError> {
    timeline.spawn("wal-sync", sync_wal)?;
    start_indexing(timeline)
}

pub(super) fn start_indexing(timeline: &Timeline) -> Result<(), StoreError> {
    timeline.spawn("wal-index", indexer::run)?;
    timeline.spawn("layer-flush", flush::run)
}

fn open_layers(shared: &Shared) -> Result<LayerSet, StoreError> {
    let (ids, start) = {
        let manifest = shared.manifest();
        let ids: Vec<_> = manifest.layers.iter().map(|layer| layer.id).collect();
        (ids, manifest.disk_consistent_lsn)
    };
    let mut set = empty_layers(start);
    for id in ids {
        let layer = Arc::new(open_layer(shared, id)?);
        match layer.summary().kind {
            LayerKind::Delta => set.deltas.push(layer),
            LayerKind::Image => set.images.push(layer),
        }
    }
    sort_layers(&mut set.deltas, &mut set.images);
    Ok(set)
}

/// Puts deltas newest first and images in order of their first keys.
pub(super) fn sort_layers(deltas: &mut [Arc<Layer>], images: &mut [Arc<Layer>]) {
    deltas.sort_by_key(|layer| std::cmp::Reverse(layer.summary().max_lsn));
    images.sort_by_key(|layer| layer.summary().first_key);
}

/// Reads the history of database directories out of the layers.
pub(super) fn load_directories(shared: &Shared) -> Result<(), StoreError> {
    let layers = shared.layers();
    // Image layers lie below all deltas, and deltas follow one another.
    for layer in layers.images.iter().chain(layers.deltas.iter().rev()) {
        let mut scan = layer.scan(Key::all_databases(), Lsn::MAX);
        while let Some(entry) = scan.next()? {
            if let KeyKind::Database { spc, db } = entry.key.decode() {
                let state =
                    DirectoryState::decode(entry.value).map_err(|source| StoreError::Meta {
                        key: format!("{:?}", entry.key),
                        lsn: entry.lsn,
                        source,
                    })?;
                shared.directories.push((spc, db), entry.lsn, state);
            }
        }
    }
    Ok(())
}
