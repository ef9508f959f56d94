//! What the threads of a timeline share: its layers, WAL, positions and manifest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use slog::Logger;
use walrecord::{DecoderOptions, Lsn, PgTime, RedoRules, TimelineId};

use super::ancestor::Ancestor;
use super::directories::Directories;
use super::hot_pages::HotPages;
use super::ingest::Batch;
use super::layers::{Frozen, LayerSet, MemoryLayer};
use super::leases::Leases;
use super::pace::WaitCounters;
use super::pins::Pins;
use super::progress::{News, Tracker};
use super::read::RulesHistory;
use super::read_counts::ReadCounters;
use super::resolve::Resolver;
use crate::block_cache::BlockCache;
use crate::clock::Clock;
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::key::{Key, KeyKind};
use crate::manifest::{Manifest, ManifestFile, TimelinePaths};
use crate::meta::{ControlState, DirectoryState};
use crate::storage::Storage;
use crate::wal::WalStore;

/// The state of an open timeline.
pub(crate) struct Shared {
    pub(crate) config: StoreConfig,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where the timeline's files are.
    pub(crate) paths: TimelinePaths,
    pub(crate) log: Logger,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) hot_pages: HotPages,
    pub(crate) wal: WalStore,
    pub(crate) directories: Directories,
    pub(crate) tracker: Tracker,
    /// The cluster has data checksums.
    pub(crate) checksums: bool,
    /// What it branches from.
    pub(crate) ancestor: Option<Ancestor>,
    /// The manifest as it is on disk (or will first be, for an import that is not complete).
    manifest: Mutex<Manifest>,
    layers: RwLock<Arc<LayerSet>>,
    rules: RwLock<Arc<RulesHistory>>,
    /// Held while a batch is published, and while the WAL's tail is replaced: nothing that was read
    /// before a rewind is published after it. Taken before all other locks.
    tail: Mutex<()>,
    /// Counts rewinds: what was read of the WAL's tail before one is void. Changes under `tail`.
    rewinds: AtomicU64,
    /// The open layer is to be frozen whatever its size.
    freeze: AtomicBool,
    /// The end of the WAL is where it is said to be, not where a crash happened to leave it: what is
    /// appended may be synced and acknowledged.
    tail_settled: AtomicBool,
    /// Counts changes of the layer files.
    layer_changes: AtomicU64,
    /// LSNs that are being read.
    pub(crate) pins: Arc<Pins>,
    /// Where other timelines branch from this one.
    branches: Mutex<BTreeMap<TimelineId, Lsn>>,
    /// LSNs that readers asked to be held.
    pub(crate) leases: Leases,
    /// What reads of pages took.
    pub(crate) read_counters: ReadCounters,
    pub(crate) index_waits: WaitCounters,
    /// See [`Shared::history_held`].
    history_held: OnceLock<Arc<StoreError>>,
    /// See [`Shared::import_stop`].
    import_stop: AtomicU64,
    /// Held by whoever collects garbage: one at a time. When the window by time was last looked at.
    pub(crate) collecting: Mutex<PgTime>,
    /// Held by whoever compacts: one at a time.
    pub(crate) compacting: Mutex<()>,
    /// The manifest is on disk: the timeline exists. Changes while `manifest` is held.
    is_complete: AtomicBool,
    /// Another timeline has taken its place: it takes no WAL any more.
    read_only: AtomicBool,
    decoder_options: DecoderOptions,
}

impl Shared {
    pub(crate) fn new(parts: SharedParts, layers: LayerSet) -> Shared {
        let rules = parts.manifest.rules_history();
        let decoder_options = DecoderOptions {
            segment_size: Some(parts.manifest.segment_size),
            system_identifier: Some(parts.manifest.system_identifier),
            version: Some(parts.manifest.version),
        };
        Shared {
            config: parts.config,
            storage: parts.storage,
            clock: parts.clock,
            paths: parts.paths,
            log: parts.log,
            cache: parts.cache,
            hot_pages: HotPages::new(parts.config.hot_pages),
            wal: parts.wal,
            directories: Directories::new(parts.ancestor.clone()),
            tracker: Tracker::new(parts.progress),
            checksums: parts.manifest.settings.data_checksums,
            read_only: AtomicBool::new(parts.manifest.superseded.is_some()),
            ancestor: parts.ancestor,
            leases: Leases::new(&parts.manifest.leases),
            manifest: Mutex::new(parts.manifest),
            layers: RwLock::new(Arc::new(layers)),
            rules: RwLock::new(Arc::new(RulesHistory(rules))),
            tail: Mutex::new(()),
            rewinds: AtomicU64::new(0),
            freeze: AtomicBool::new(false),
            tail_settled: AtomicBool::new(false),
            layer_changes: AtomicU64::new(0),
            pins: Arc::default(),
            branches: Mutex::new(parts.branches),
            read_counters: ReadCounters::default(),
            index_waits: WaitCounters::default(),
            history_held: OnceLock::new(),
            import_stop: AtomicU64::new(parts.import_stop.get()),
            collecting: Mutex::new(PgTime::MIN),
            compacting: Mutex::new(()),
            is_complete: AtomicBool::new(false),
            decoder_options,
        }
    }

    pub(crate) fn layers(&self) -> Arc<LayerSet> {
        Arc::clone(&self.layers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the set of layers, and tells whoever waits for that. Readers that hold the old one go on with it.
    pub(crate) fn change_layers(&self, change: impl FnOnce(&mut LayerSet)) {
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = LayerSet::clone(&layers);
        change(&mut next);
        *layers = Arc::new(next);
        drop(layers);
        self.wake_compaction();
    }

    /// Has those who wait for layers look again: whoever merges them for what there is to do.
    pub(crate) fn wake_compaction(&self) {
        self.layer_changes.fetch_add(1, Ordering::AcqRel);
        self.tracker.announce(News::Layers);
    }

    /// How often the set of layers was replaced.
    pub(crate) fn layer_changes(&self) -> u64 {
        self.layer_changes.load(Ordering::Acquire)
    }

    /// Its name, which changes when another takes its place.
    pub(crate) fn name(&self) -> String {
        self.manifest().name.clone()
    }

    /// Whether another timeline has taken its place.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Acquire)
    }

    pub(crate) fn set_read_only(&self) {
        self.read_only.store(true, Ordering::Release);
    }

    /// The timeline that holds what this one has at `lsn`: itself, or one that it branches from.
    pub(crate) fn holding(self: &Arc<Shared>, lsn: Lsn) -> &Arc<Shared> {
        let mut holding = self;
        while let Some(ancestor) = &holding.ancestor
            && lsn < ancestor.lsn
        {
            holding = &ancestor.shared;
        }
        holding
    }

    /// Keeps `lsn` for a timeline that branches there, or lets it go.
    pub(crate) fn set_branch(&self, timeline: TimelineId, lsn: Option<Lsn>) {
        let mut branches = self.branches.lock().unwrap_or_else(PoisonError::into_inner);
        match lsn {
            Some(lsn) => branches.insert(timeline, lsn),
            None => branches.remove(&timeline),
        };
    }

    /// The timelines that branch from this one.
    pub(crate) fn branches(&self) -> Vec<TimelineId> {
        let branches = self.branches.lock().unwrap_or_else(PoisonError::into_inner);
        branches.keys().copied().collect()
    }

    /// The timelines that branch from this one, with where.
    pub(crate) fn branch_points(&self) -> Vec<(TimelineId, Lsn)> {
        let branches = self.branches.lock().unwrap_or_else(PoisonError::into_inner);
        branches
            .iter()
            .map(|(timeline, lsn)| (*timeline, *lsn))
            .collect()
    }

    /// The LSNs that stay readable wherever the window begins, ascending: where other timelines branch from this
    /// one, those that leases hold, and those at which somebody reads (a lease may run out meanwhile).
    pub(crate) fn retained_points(&self) -> Vec<Lsn> {
        let branches = self.branch_points();
        let mut points: Vec<Lsn> = branches.into_iter().map(|(_, lsn)| lsn).collect();
        points.extend(self.leases.live(self.clock.now()).keys());
        points.extend(self.pins.lsns());
        points.sort_unstable();
        points.dedup();
        points
    }

    /// Why no version may be given up: something cannot be read that may tell of an LSN to be kept.
    pub(crate) fn history_held(&self) -> Option<&Arc<StoreError>> {
        self.history_held.get()
    }

    /// Up to where a merge that begins now gives up versions: nowhere, while history is held.
    pub(crate) fn cutoff_of_merges(&self, manifest: &Manifest) -> Lsn {
        match self.history_held() {
            Some(_) => Lsn::INVALID,
            None => manifest.gc_cutoff,
        }
    }

    /// From now on no version is given up.
    pub(crate) fn hold_history(&self, reason: Arc<StoreError>) {
        self.history_held.get_or_init(|| reason);
    }

    pub(crate) fn rules(&self) -> Arc<RulesHistory> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the rules for records that end above `lsn`.
    pub(crate) fn change_rules(&self, lsn: Lsn, change: impl FnOnce(&mut RedoRules)) {
        let mut history = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        let mut list = history.0.clone();
        let mut rules = history.after(lsn);
        change(&mut rules);
        match list.binary_search_by_key(&lsn, |(from, _)| *from) {
            Ok(at) => list[at].1 = rules,
            Err(at) => list.insert(at, (lsn, rules)),
        }
        *history = Arc::new(RulesHistory(list));
    }

    /// Forgets rules that were to hold from above `lsn` on, where other WAL follows now.
    fn forget_rules_above(&self, lsn: Lsn) {
        let mut history = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        if history.0.last().is_some_and(|(from, _)| *from > lsn) {
            let mut list = history.0.clone();
            let keep = list.partition_point(|(from, _)| *from <= lsn).max(1);
            list.truncate(keep);
            *history = Arc::new(RulesHistory(list));
        }
    }

    /// Changes the manifest; on disk first, if it is there yet.
    pub(crate) fn change_manifest(
        &self,
        change: impl FnOnce(&mut Manifest),
    ) -> Result<(), StoreError> {
        let mut manifest = self.manifest();
        let mut next = manifest.clone();
        change(&mut next);
        next.set_rules(&self.rules().0);
        next.leases = self.leases.records();
        if self.is_complete() {
            next.write(&*self.storage, &self.paths.manifest())?;
        }
        *manifest = next;
        Ok(())
    }

    /// Writes the manifest for the first time, which makes the timeline exist.
    pub(crate) fn complete(&self, change: impl FnOnce(&mut Manifest)) -> Result<(), StoreError> {
        let mut manifest = self.manifest();
        change(&mut manifest);
        manifest.set_rules(&self.rules().0);
        manifest.write(&*self.storage, &self.paths.manifest())?;
        // Still under the lock: who changes the manifest next (a flush is under way already) has to write it.
        self.is_complete.store(true, Ordering::Release);
        drop(manifest);
        self.tracker.announce(News::Layers);
        Ok(())
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    pub(crate) fn set_complete(&self) {
        self.is_complete.store(true, Ordering::Release);
        self.tracker.announce(News::Layers);
    }

    pub(crate) fn manifest(&self) -> MutexGuard<'_, Manifest> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What WAL of this timeline is decoded with.
    pub(crate) fn decoder_options(&self) -> DecoderOptions {
        self.decoder_options
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

    /// Makes a batch visible, then the positions that it leads to. The caller holds the tail.
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
            for (before, end) in &batch.ends {
                open.insert_end(*before, *end);
            }
        }
        for (lsn, hint_bits_logged) in &batch.hints {
            self.change_rules(*lsn, |rules| rules.hint_bits_logged = *hint_bits_logged);
        }
        self.tracker.update(&[News::Records], |progress| {
            progress.last_record = batch.end;
        });
    }

    /// The import's stop position: imported pages are fuzzy below, and nothing is readable there. The end of all
    /// LSNs as long as it is not known.
    pub(crate) fn import_stop(&self) -> Lsn {
        Lsn::new(self.import_stop.load(Ordering::Acquire))
    }

    /// The import's stop position is known: pages are readable from there on.
    pub(crate) fn set_import_stop(&self, stop: Lsn) {
        self.import_stop.store(stop.get(), Ordering::Release);
        self.tracker.update(&[News::Records], |progress| {
            progress.readable_from = stop;
        });
    }

    /// The database directory at `at` that what a metadata key names lies in; the default if in none.
    pub(crate) fn directory_of(&self, key: &Key, at: Lsn) -> DirectoryState {
        match key.decode() {
            KeyKind::Relation(rel, _) => self.directories.at((rel.spc, rel.db), at),
            KeyKind::RelationMap { spc, db } => self.directories.at((spc, db), at),
            _ => DirectoryState::default(),
        }
    }

    /// Asks the indexer to freeze the open layer now.
    pub(crate) fn request_freeze(&self) {
        self.freeze.store(true, Ordering::Release);
        self.tracker.announce(News::Wal);
    }

    pub(crate) fn freeze_requested(&self) -> bool {
        self.freeze.load(Ordering::Acquire)
    }

    /// Freezes the open layer, which ends at `end`, and opens a new one. Only the indexer calls this.
    /// A layer may be empty: WAL that changes no page counts as flushed too.
    pub(crate) fn freeze(&self, end: Lsn) {
        self.freeze.store(false, Ordering::Release);
        if self.layers().open.read().start() == end {
            return;
        }
        self.layers().open.write().close_times();
        self.change_layers(|layers| {
            let open = std::mem::replace(&mut layers.open, Arc::new(MemoryLayer::new(end)));
            layers.frozen.insert(0, Frozen { layer: open, end });
        });
    }

    /// See the field.
    pub(crate) fn tail(&self) -> MutexGuard<'_, ()> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the WAL from `to` on, which is at or above the last record, by nothing.
    pub(crate) fn rewind(&self, to: Lsn) -> Result<(), StoreError> {
        let _tail = self.tail();
        let progress = self.tracker.get();
        // An import knows where its first record starts before it has any WAL.
        let last = progress.last_record.min(progress.written);
        // Behind it may be what a promotion cut off; that belongs to a Postgres timeline that is over.
        let last = last.max(self.wal.floor());
        if to < last {
            return Err(StoreError::RewindTooFar { to, last });
        }
        let result = self.wal.rewind(to);
        if result.is_ok() {
            self.settle_tail();
            self.forget_rules_above(to);
        }
        self.rewinds.fetch_add(1, Ordering::AcqRel);
        // Also if it failed half way: the end may be somewhere else now.
        self.tracker.rewound(self.wal.end(), self.wal.synced());
        Ok(result?)
    }

    /// Tells how far the WAL is durable.
    pub(crate) fn tell_synced(&self) {
        // Asked anew under the tracker's lock: what a sync said before a rewind is void.
        self.tracker.update(&[News::Records], |progress| {
            progress.synced = self.wal.synced().min(progress.written);
        });
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
}

/// What a timeline is opened with.
pub(crate) struct SharedParts {
    pub(crate) config: StoreConfig,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) paths: TimelinePaths,
    pub(crate) log: Logger,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) wal: WalStore,
    pub(crate) manifest: Manifest,
    pub(crate) progress: super::progress::Progress,
    pub(crate) import_stop: Lsn,
    pub(crate) ancestor: Option<Ancestor>,
    /// Where others branch from it.
    pub(crate) branches: BTreeMap<TimelineId, Lsn>,
}
