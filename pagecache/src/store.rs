//! The store: a directory of tenants and their timelines.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slog::{Logger, info};
use walrecord::{Lsn, TenantId, TimelineId};

use crate::block_cache::BlockCache;
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::manifest::{
    Manifest, ManifestFile, TenantManifest, TenantPaths, TimelinePaths, list_tenants,
    list_timelines, remove_strays,
};
use crate::storage::{Storage, StoreLock};
use crate::timeline;
use crate::timeline::{
    ImportParams, ImportWriter, NewBranch, NewSuccessor, Surroundings, Timeline,
    finish_successions, kept_name, remove_timeline,
};

/// An open store. It holds the directory's lock: one process at a time.
pub struct Store {
    around: Surroundings,
    timelines: Mutex<BTreeMap<TimelineId, Timeline>>,
    /// Held while a branch is made or a timeline deleted.
    branching: Mutex<()>,
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
        for path in remove_strays(&*around.storage)? {
            info!(around.log, "removed what a crash left behind"; "path" => %path.display());
        }
        let mut timelines = BTreeMap::new();
        for tenant in list_tenants(&*around.storage)? {
            open_tenant(&around, tenant, &mut timelines)?;
        }
        Ok(Store {
            around,
            timelines: Mutex::new(timelines),
            branching: Mutex::new(()),
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
        // Locked while names are compared: another timeline may take one over.
        let timelines = self.lock();
        let mut found = timelines.values().filter(|timeline| {
            let info = timeline.info();
            let named = info.name == name || Some(info.timeline) == id;
            named && tenant.is_none_or(|tenant| tenant == info.tenant)
        });
        match (found.next(), found.next()) {
            (Some(timeline), None) => Ok(timeline.clone()),
            (None, _) => Err(StoreError::NoTimeline(name.to_owned())),
            (Some(_), Some(_)) => Err(StoreError::AmbiguousTimeline(name.to_owned())),
        }
    }

    /// Begins an import. Until [`Store::add`] takes its timeline the store does not show it.
    ///
    /// # Errors
    /// If the tenant has a timeline of that name, or the disk refuses.
    pub fn begin_import(&self, params: ImportParams) -> Result<ImportWriter, StoreError> {
        self.check_name(params.tenant, &params.name)?;
        ImportWriter::begin(self.around.clone(), params)
    }

    fn check_name(&self, tenant: TenantId, name: &str) -> Result<(), StoreError> {
        for timeline in self.timelines() {
            let info = timeline.info();
            if info.tenant == tenant && info.name == name {
                return Err(StoreError::TimelineExists(name.to_owned()));
            }
        }
        Ok(())
    }

    /// Makes a branch of a timeline: what that has up to an LSN is the branch's too, and costs nothing. It is
    /// durable when this returns.
    ///
    /// # Errors
    /// If the tenant has a timeline of that name, if the LSN is not readable, or if the disk refuses.
    pub fn branch(&self, from: &Timeline, branch: &NewBranch) -> Result<Timeline, StoreError> {
        // One at a time: names are looked for, then given.
        let _one = self
            .branching
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.check_name(from.info().tenant, &branch.name)?;
        let timeline = from.branch(self.around.clone(), branch)?;
        self.add(timeline.clone());
        Ok(timeline)
    }

    /// Makes a branch that takes the name and the place of the timeline that it branches from, because its primary
    /// goes on from the branch point on another way. The timeline is kept as it is, under another name, and takes no
    /// WAL any more. After a crash all of that is so or nothing.
    ///
    /// # Errors
    /// If no record ends at the fork, if it is not readable, if the timeline's place was taken before, or if the disk
    /// refuses; nothing has changed then.
    pub fn succeed(
        &self,
        from: &Timeline,
        successor: &NewSuccessor,
    ) -> Result<Timeline, StoreError> {
        let _one = self
            .branching
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let info = from.info();
        let kept = kept_name(&info.name, successor.fork, |name| {
            self.check_name(info.tenant, name).is_ok()
        });
        let made = from.make_successor(self.around.clone(), successor, &kept)?;
        // At no moment is there no timeline of the name, or are there two.
        let mut timelines = self.lock();
        from.step_back(successor, &kept);
        timelines.insert(successor.timeline, made.clone());
        Ok(made)
    }

    /// Removes a timeline and all that only it has. Reads of it that have begun may fail.
    ///
    /// # Errors
    /// If others branch from it, or the disk refuses; in that case it is gone from view, and what is left of it
    /// goes at the next start, unless its manifest could not be removed.
    pub fn delete(&self, timeline: &Timeline) -> Result<(), StoreError> {
        let _one = self
            .branching
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let info = timeline.info();
        let branches = timeline.branches();
        if !branches.is_empty() {
            return Err(StoreError::HasBranches {
                timeline: info.name,
                branches,
            });
        }
        self.lock().remove(&info.timeline);
        timeline.close();
        let paths = TimelinePaths::new(info.tenant, info.timeline);
        remove_timeline(&self.around, paths)?;
        timeline.leave_ancestor();
        info!(self.around.log, "timeline deleted"; "name" => info.name);
        Ok(())
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

/// Opens the timelines of a tenant, each after the one that it branches from. A timeline is told of its branches
/// before its threads start, so that it lets nothing go that they rest on.
fn open_tenant(
    around: &Surroundings,
    tenant: TenantId,
    timelines: &mut BTreeMap<TimelineId, Timeline>,
) -> Result<(), StoreError> {
    let storage = &*around.storage;
    let mut manifests = Vec::new();
    let mut branches: BTreeMap<TimelineId, BTreeMap<TimelineId, Lsn>> = BTreeMap::new();
    for id in list_timelines(storage, tenant)? {
        let paths = TimelinePaths::new(tenant, id);
        let manifest = Manifest::read(storage, &paths.manifest())?;
        if let Some(ancestor) = &manifest.ancestor {
            let of_ancestor = branches.entry(ancestor.timeline).or_default();
            of_ancestor.insert(id, ancestor.lsn);
        }
        manifests.push(manifest);
    }
    finish_successions(storage, tenant, &mut manifests)?;
    while !manifests.is_empty() {
        let is_next = |manifest: &Manifest| {
            let ancestor = manifest.ancestor.as_ref();
            ancestor.is_none_or(|ancestor| timelines.contains_key(&ancestor.timeline))
        };
        let Some(next) = manifests.iter().position(is_next) else {
            let lost = &manifests[0];
            let ancestor = lost.ancestor.map_or(lost.timeline, |it| it.timeline);
            return Err(StoreError::NoAncestor {
                timeline: lost.timeline,
                ancestor,
            });
        };
        let manifest = manifests.swap_remove(next);
        let id = manifest.timeline;
        let ancestor = manifest.ancestor.and_then(|ancestor| {
            let timeline = timelines.get(&ancestor.timeline)?;
            Some(timeline.as_ancestor(ancestor.lsn))
        });
        let branches = branches.remove(&id).unwrap_or_default();
        timelines.insert(
            id,
            timeline::open(around.clone(), manifest, ancestor, branches)?,
        );
    }
    Ok(())
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}
