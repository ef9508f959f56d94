//! The store: a directory of tenants and their timelines.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slog::{Logger, error, info};
use walrecord::{TenantId, TimelineId};

use crate::block_cache::BlockCache;
use crate::clock::{Clock, SystemClock};
use crate::config::StoreConfig;
use crate::error::StoreError;
use crate::manifest::{
    FoundTenant, Manifest, ManifestFile, TenantManifest, TenantPaths, TimelinePaths, take_inventory,
};
use crate::storage::{Storage, StoreLock};
use crate::timeline;
use crate::timeline::{
    Ancestor, ImportParams, ImportWriter, NewBranch, NewSuccessor, Relatives, Surroundings,
    Timeline, finish_successions, kept_name, remove_timeline,
};

/// An open store. It holds the directory's lock: one process at a time.
pub struct Store {
    around: Surroundings,
    timelines: Mutex<BTreeMap<TimelineId, Timeline>>,
    refused: Vec<Refused>,
    /// Held while a branch is made or a timeline deleted.
    branching: Mutex<()>,
    _lock: StoreLock,
}

/// A timeline, or a tenant, that could not be opened. Its files are as they were found, its name is not given to
/// another, and what it rests on keeps its history.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The tenant.
    pub tenant: TenantId,
    /// The timeline; none if it is the tenant itself, and with it all of its timelines.
    pub timeline: Option<TimelineId>,
    /// The timeline's name, if that can be told.
    pub name: Option<String>,
    /// Why.
    pub reason: Arc<StoreError>,
}

impl Store {
    /// Opens the store in `storage`, or begins one there. Half-finished imports are removed. Timelines
    /// are open when this returns; indexing of their last WAL goes on in the background.
    ///
    /// What is damaged does not stand in the way of the rest: a damaged layer file fails the reads that need it,
    /// and a timeline whose manifest or WAL is damaged is [refused](Store::refused).
    ///
    /// # Errors
    /// If another process has it open, or the disk does not tell what is there.
    pub fn open(
        storage: Arc<dyn Storage>,
        config: StoreConfig,
        log: Logger,
    ) -> Result<Store, StoreError> {
        Store::open_with_clock(storage, config, Arc::new(SystemClock), log)
    }

    /// As [`Store::open`], with another clock than this machine's: leases and the window by time follow it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with_clock(
        storage: Arc<dyn Storage>,
        config: StoreConfig,
        clock: Arc<dyn Clock>,
        log: Logger,
    ) -> Result<Store, StoreError> {
        let lock = storage.lock().map_err(StoreError::Lock)?;
        let around = Surroundings {
            config,
            cache: Arc::new(BlockCache::new(config.block_cache)),
            storage,
            clock,
            log,
            tenants: Arc::default(),
        };
        let inventory = take_inventory(&*around.storage)?;
        for path in inventory.removed {
            info!(around.log, "removed what a crash left behind"; "path" => %path.display());
        }
        let mut opening = Opening {
            around: &around,
            timelines: BTreeMap::new(),
            refused: Vec::new(),
        };
        for tenant in inventory.tenants {
            opening.tenant(tenant)?;
        }
        let Opening {
            timelines, refused, ..
        } = opening;
        Ok(Store {
            around,
            timelines: Mutex::new(timelines),
            refused,
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

    /// What could not be opened, in order of tenants.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// The timeline with this name or id (32 hexadecimal digits), of the tenant if one is given.
    ///
    /// # Errors
    /// If there is none, if more than one tenant has that name, or if it was refused.
    pub fn timeline(&self, tenant: Option<TenantId>, name: &str) -> Result<Timeline, StoreError> {
        let id: Option<TimelineId> = name.parse().ok();
        // Locked while names are compared: another timeline may take one over.
        let timelines = self.lock();
        let mut found = timelines.values().filter(|timeline| {
            let info = timeline.info();
            let named = info.name == name || Some(info.timeline) == id;
            named && tenant.is_none_or(|tenant| tenant == info.tenant)
        });
        let mut refused = self.refused.iter().filter(|refused| {
            let named = refused.name.as_deref() == Some(name);
            let meant = named || (id.is_some() && refused.timeline == id);
            meant && tenant.is_none_or(|tenant| tenant == refused.tenant)
        });
        match (found.next(), refused.next()) {
            (Some(timeline), None) if found.next().is_none() => Ok(timeline.clone()),
            (None, Some(only)) if refused.next().is_none() => Err(StoreError::Refused {
                timeline: name.to_owned(),
                reason: Arc::clone(&only.reason),
            }),
            (None, None) => Err(StoreError::NoTimeline(name.to_owned())),
            _ => Err(StoreError::AmbiguousTimeline(name.to_owned())),
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
        for refused in self.refused.iter().filter(|it| it.tenant == tenant) {
            let reason = Arc::clone(&refused.reason);
            let name = name.to_owned();
            return Err(match (refused.timeline, &refused.name) {
                (None, _) => StoreError::Refused {
                    timeline: name,
                    reason,
                },
                (Some(_), Some(taken)) if *taken == name => StoreError::TimelineExists(name),
                (Some(_), Some(_)) => continue,
                (Some(timeline), None) => StoreError::NameUncertain {
                    name,
                    timeline,
                    reason,
                },
            });
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
    /// If others branch from it or may, or the disk refuses; in that case it is gone from view, and what is left of it
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
        timeline.check_history_free()?;
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

/// Timelines on their way into a store.
struct Opening<'a> {
    around: &'a Surroundings,
    timelines: BTreeMap<TimelineId, Timeline>,
    refused: Vec<Refused>,
}

impl Opening<'_> {
    /// Opens the timelines of a tenant, each after the one that it branches from. A timeline is told of its branches
    /// before its threads start, so that it lets nothing go that they rest on.
    ///
    /// # Errors
    /// If what a crash left half done cannot be written.
    fn tenant(&mut self, found: FoundTenant) -> Result<(), StoreError> {
        let tenant = found.tenant;
        if let Some(damage) = found.damage {
            let reason = Arc::new(StoreError::from(damage));
            self.refuse(tenant, None, None, &reason);
            for timeline in found.timelines {
                self.refuse(tenant, Some(timeline.timeline), timeline.name, &reason);
            }
            return Ok(());
        }
        let mut manifests = Vec::new();
        let mut unknown = None;
        for timeline in found.timelines {
            match timeline.manifest {
                Ok(manifest) => manifests.push(manifest),
                Err(damage) => {
                    let reason = Arc::new(StoreError::from(damage));
                    self.refuse(tenant, Some(timeline.timeline), timeline.name, &reason);
                    // It may branch from any of the others.
                    unknown.get_or_insert(reason);
                }
            }
        }
        finish_successions(&*self.around.storage, tenant, &mut manifests)?;
        let mut relatives: BTreeMap<TimelineId, Relatives> = BTreeMap::new();
        for manifest in &manifests {
            if let Some(ancestor) = &manifest.ancestor {
                let of_ancestor = relatives.entry(ancestor.timeline).or_default();
                of_ancestor.branches.insert(manifest.timeline, ancestor.lsn);
            }
        }
        while !manifests.is_empty() {
            let waits = |manifest: &Manifest| {
                let ancestor = manifest.ancestor.map(|ancestor| ancestor.timeline);
                manifests.iter().any(|it| Some(it.timeline) == ancestor)
            };
            // If all wait, they do so for one another, and none has an ancestor.
            let next = manifests.iter().position(|manifest| !waits(manifest));
            let manifest = manifests.swap_remove(next.unwrap_or(0));
            let mut relatives = relatives.remove(&manifest.timeline).unwrap_or_default();
            relatives.unknown.clone_from(&unknown);
            self.timeline(manifest, relatives);
        }
        Ok(())
    }

    fn timeline(&mut self, manifest: Manifest, relatives: Relatives) {
        let (tenant, id, name) = (manifest.tenant, manifest.timeline, manifest.name.clone());
        let opened = self.ancestor(&manifest).and_then(|ancestor| {
            let relatives = Relatives {
                ancestor,
                ..relatives
            };
            timeline::open(self.around.clone(), manifest, relatives)
        });
        match opened {
            Ok(timeline) => {
                self.timelines.insert(id, timeline);
            }
            Err(reason) => self.refuse(tenant, Some(id), Some(name), &Arc::new(reason)),
        }
    }

    fn ancestor(&self, manifest: &Manifest) -> Result<Option<Ancestor>, StoreError> {
        let Some(ancestor) = manifest.ancestor else {
            return Ok(None);
        };
        if let Some(timeline) = self.timelines.get(&ancestor.timeline) {
            return Ok(Some(timeline.as_ancestor(ancestor.lsn)));
        }
        let mut refused = self.refused.iter();
        Err(
            match refused.find(|it| it.timeline == Some(ancestor.timeline)) {
                Some(refused) => StoreError::Refused {
                    timeline: refused.label(),
                    reason: Arc::clone(&refused.reason),
                },
                None => StoreError::NoAncestor {
                    timeline: manifest.timeline,
                    ancestor: ancestor.timeline,
                },
            },
        )
    }

    fn refuse(
        &mut self,
        tenant: TenantId,
        timeline: Option<TimelineId>,
        name: Option<String>,
        reason: &Arc<StoreError>,
    ) {
        let refused = Refused {
            tenant,
            timeline,
            name,
            reason: Arc::clone(reason),
        };
        error!(self.around.log, "refused; its files are left as they are"; "timeline" => refused.label(),
            "tenant" => %tenant, "error" => %reason);
        self.refused.push(refused);
    }
}

impl Refused {
    /// The name, or what is known instead.
    fn label(&self) -> String {
        match (&self.name, self.timeline) {
            (Some(name), _) => name.clone(),
            (None, Some(timeline)) => timeline.to_string(),
            (None, None) => format!("of tenant {}", self.tenant),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}
