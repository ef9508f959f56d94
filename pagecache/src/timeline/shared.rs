//! What the threads of a timeline share: its layers, WAL, positions and manifest.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use slog::Logger;
use walrecord::{DecoderOptions, Lsn, RedoRules};

use super::directories::Directories;
use super::ingest::Batch;
use super::layers::{Frozen, LayerSet, MemoryLayer};
use super::progress::Tracker;
use super::read::RulesHistory;
use super::resolve::Resolver;
use crate::block_cache::BlockCache;
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::key::Key;
use crate::manifest::{Manifest, TimelinePaths};
use crate::meta::ControlState;
use crate::storage::Storage;
use crate::wal::WalStore;

/// The state of an open timeline.
pub(crate) struct Shared {
    pub(crate) config: StoreConfig,
    pub(crate) storage: Arc<dyn Storage>,
    /// Where the timeline's files are.
    pub(crate) paths: TimelinePaths,
    pub(crate) log: Logger,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) wal: WalStore,
    pub(crate) directories: Directories,
    pub(crate) tracker: Tracker,
    /// The cluster has data checksums.
    pub(crate) checksums: bool,
    /// The manifest as it is on disk (or will first be, for an import that is not complete).
    manifest: Mutex<Manifest>,
    layers: RwLock<Arc<LayerSet>>,
    rules: RwLock<Arc<RulesHistory>>,
    /// Counts rewinds: what was read of the WAL's tail before one is void.
    rewinds: AtomicU64,
    /// The open layer is to be frozen whatever its size.
    freeze: AtomicBool,
    /// The end of the WAL that the indexer has looked at; all of it, if it has failed.
    looked_at: AtomicU64,
    /// The end of the WAL is where it is said to be, not where a crash happened to leave it: what is
    /// appended may be synced and acknowledged.
    tail_settled: AtomicBool,
}

impl Shared {
    pub(crate) fn new(parts: SharedParts, layers: LayerSet) -> Shared {
        let rules = parts.manifest.rules_history();
        Shared {
            config: parts.config,
            storage: parts.storage,
            paths: parts.paths,
            log: parts.log,
            cache: parts.cache,
            wal: parts.wal,
            directories: Directories::default(),
            tracker: Tracker::new(parts.progress),
            checksums: parts.manifest.settings.data_checksums,
            manifest: Mutex::new(parts.manifest),
            layers: RwLock::new(Arc::new(layers)),
            rules: RwLock::new(Arc::new(RulesHistory(rules))),
            rewinds: AtomicU64::new(0),
            freeze: AtomicBool::new(false),
            looked_at: AtomicU64::new(0),
            tail_settled: AtomicBool::new(false),
        }
    }

    pub(crate) fn layers(&self) -> Arc<LayerSet> {
        Arc::clone(&self.layers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the set of layers. Readers that hold the old one go on with it.
    pub(crate) fn change_layers(&self, change: impl FnOnce(&mut LayerSet)) {
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = LayerSet::clone(&layers);
        change(&mut next);
        *layers = Arc::new(next);
    }

    pub(crate) fn rules(&self) -> Arc<RulesHistory> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds rules that hold from `lsn` on.
    pub(crate) fn add_rules(&self, lsn: Lsn, rules: RedoRules) {
        let mut history = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> = history.0.clone();
        list.retain(|(from, _)| *from < lsn);
        list.push((lsn, rules));
        *history = Arc::new(RulesHistory(list));
    }

    pub(crate) fn manifest(&self) -> MutexGuard<'_, Manifest> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What WAL of this timeline is decoded with.
    pub(crate) fn decoder_options(&self) -> DecoderOptions {
        let manifest = self.manifest();
        DecoderOptions {
            segment_size: Some(manifest.segment_size),
            system_identifier: Some(manifest.system_identifier),
            version: Some(manifest.version),
        }
    }

    pub(crate) fn resolver<'a>(&'a self, layers: &'a LayerSet) -> Resolver<'a> {
        Resolver {
            layers,
            directories: &self.directories,
        }
    }

    /// The control state at `lsn`.
    pub(crate) fn control_at(
        &self,
        layers: &LayerSet,
        lsn: Lsn,
    ) -> Result<ControlState, StoreError> {
        let found = layers.value(&Key::control(), Lsn::INVALID, lsn, ControlState::decode)?;
        Ok(found.map(|(_, state)| state).unwrap_or_default())
    }

    /// Makes a batch visible, then the positions that it leads to.
    pub(crate) fn publish(&self, batch: &Batch) {
        let layers = self.layers();
        {
            let mut open = layers.open.write();
            for value in &batch.values {
                let bytes = &batch.bytes[value.offset..value.offset + value.length];
                open.insert_value(value.key, value.lsn, bytes);
            }
            for touch in &batch.touches {
                open.insert_record(touch.key, touch.start, touch.end, touch.kind);
            }
        }
        for (lsn, rules) in &batch.rules {
            self.add_rules(*lsn, *rules);
        }
        self.tracker
            .update(|progress| progress.last_record = batch.end);
    }

    /// Asks the indexer to freeze the open layer now.
    pub(crate) fn request_freeze(&self) {
        self.freeze.store(true, Ordering::Release);
        self.tracker.update(|_| {});
    }

    pub(crate) fn freeze_requested(&self) -> bool {
        self.freeze.load(Ordering::Acquire)
    }

    /// Freezes the open layer, which ends at `end`, and opens a new one. Only the indexer calls this.
    pub(crate) fn freeze(&self, end: Lsn) {
        self.freeze.store(false, Ordering::Release);
        if self.layers().open.read().is_empty() {
            return;
        }
        self.change_layers(|layers| {
            let open = std::mem::replace(&mut layers.open, Arc::new(MemoryLayer::new(end)));
            layers.frozen.insert(0, Frozen { layer: open, end });
        });
        self.tracker.update(|_| {});
    }

    pub(crate) fn looked_at(&self) -> Lsn {
        Lsn::new(self.looked_at.load(Ordering::Acquire))
    }

    pub(crate) fn set_looked_at(&self, lsn: Lsn) {
        self.looked_at.store(lsn.get(), Ordering::Release);
        self.tracker.update(|_| {});
    }

    pub(crate) fn settle_tail(&self) {
        self.tail_settled.store(true, Ordering::Release);
    }

    pub(crate) fn is_tail_settled(&self) -> bool {
        self.tail_settled.load(Ordering::Acquire)
    }

    pub(crate) fn rewinds(&self) -> u64 {
        self.rewinds.load(Ordering::Acquire)
    }

    pub(crate) fn count_rewind(&self) {
        self.rewinds.fetch_add(1, Ordering::AcqRel);
    }
}

/// What a timeline is opened with.
pub(crate) struct SharedParts {
    pub(crate) config: StoreConfig,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) paths: TimelinePaths,
    pub(crate) log: Logger,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) wal: WalStore,
    pub(crate) manifest: Manifest,
    pub(crate) progress: super::progress::Progress,
}
