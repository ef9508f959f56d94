//! The store: a directory of tenants and their timelines.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slog::{Logger, info};
use walrecord::{TenantId, TimelineId};

use crate::block_cache::BlockCache;
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::manifest::{
    ManifestFile, TenantManifest, TenantPaths, TimelinePaths, list_tenants, list_timelines,
    remove_strays,
};
use crate::storage::{Storage, StoreLock};
use crate::timeline;
use crate::timeline::{ImportParams, ImportWriter, Surroundings, Timeline};

/// An open store. It holds the directory's lock: one process at a time.
pub struct Store {
    around: Surroundings,
    timelines: Mutex<BTreeMap<TimelineId, Timeline>>,
    _lock: StoreLock,
}

impl Store {
    /// Opens the store in `storage`, or begins one there. Half-finished imports are removed. Timelines
    /// are open when this returns; indexing of their last WAL goes on in the background.
    ///
    /// # Errors
    /// If another process has it open, or if something in it is damaged.
    pub fn open(
        storage: Arc<dyn Storage>,
        config: StoreConfig,
        log: Logger,
    ) -> Result<Store, StoreError> {
        let lock = storage.lock().map_err(StoreError::Lock)?;
        let around = Surroundings {
            config,
            cache: Arc::new(BlockCache::new(config.block_cache)),
            storage,
            log,
            tenants: Arc::default(),
        };
        let mut timelines = BTreeMap::new();
        for path in remove_strays(&*around.storage)? {
            info!(around.log, "removed what a crash left behind"; "path" => %path.display());
        }
        for tenant in list_tenants(&*around.storage)? {
            for id in list_timelines(&*around.storage, tenant)? {
                let paths = TimelinePaths::new(tenant, id);
                timelines.insert(id, timeline::open(around.clone(), paths)?);
            }
        }
        Ok(Store {
            around,
            timelines: Mutex::new(timelines),
            _lock: lock,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TimelineId, Timeline>> {
        self.timelines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// All timelines, in order of their ids.
    pub fn timelines(&self) -> Vec<Timeline> {
        self.lock().values().cloned().collect()
    }

    /// The timeline with this name or id (32 hexadecimal digits), of the tenant if one is given.
    ///
    /// # Errors
    /// If there is none, or more than one tenant has that name.
    pub fn timeline(&self, tenant: Option<TenantId>, name: &str) -> Result<Timeline, StoreError> {
        let id: Option<TimelineId> = name.parse().ok();
        let mut found = self.timelines().into_iter().filter(|timeline| {
            let info = timeline.info();
            let named = info.name == name || Some(info.timeline) == id;
            named && tenant.is_none_or(|tenant| tenant == info.tenant)
        });
        match (found.next(), found.next()) {
            (Some(timeline), None) => Ok(timeline),
            (None, _) => Err(StoreError::NoTimeline(name.to_owned())),
            (Some(_), Some(_)) => Err(StoreError::AmbiguousTimeline(name.to_owned())),
        }
    }

    /// Begins an import. Until [`Store::add`] takes its timeline the store does not show it.
    ///
    /// # Errors
    /// If the tenant has a timeline of that name, or the disk refuses.
    pub fn begin_import(&self, params: ImportParams) -> Result<ImportWriter, StoreError> {
        for timeline in self.timelines() {
            let info = timeline.info();
            if info.tenant == params.tenant && info.name == params.name {
                return Err(StoreError::TimelineExists(params.name));
            }
        }
        ImportWriter::begin(self.around.clone(), params)
    }

    /// Shows a timeline whose import is complete.
    pub fn add(&self, timeline: Timeline) {
        self.lock().insert(timeline.info().timeline, timeline);
    }

    /// The Postgres timeline of a clone of `timeline` at `lsn`: allocated once, durably, and the same
    /// again on repeat (design section 8).
    ///
    /// # Errors
    /// If the tenant's manifest cannot be read or written.
    pub fn clone_pg_timeline(
        &self,
        timeline: &Timeline,
        lsn: walrecord::Lsn,
    ) -> Result<walrecord::PgTimelineId, StoreError> {
        let info = timeline.info();
        // One at a time: the counter is read, advanced and written.
        let _serial = self.around.lock_tenants();
        let path = TenantPaths::new(info.tenant).manifest();
        let storage = &*self.around.storage;
        let mut manifest = TenantManifest::read(storage, &path)?;
        let allocated = manifest.clone_timeline(info.timeline, lsn)?;
        manifest.write(storage, &path)?;
        Ok(allocated)
    }

    /// Stops all timelines.
    pub fn close(&self) {
        for timeline in self.timelines() {
            timeline.close();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}
