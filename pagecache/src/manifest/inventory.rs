//! What is there when a store is opened: tenants and timelines with their manifests, and what a crash leaves lying
//! about, files that no manifest names.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use walrecord::{TenantId, TimelineId};

use super::envelope::FILE_LIMIT;
use super::error::ManifestError;
use super::file::ManifestFile;
use super::paths::{TENANTS, TenantPaths, TimelinePaths, parse_layer_name};
use super::tenant::TenantManifest;
use super::timeline::{Manifest, likely_name};
use crate::storage::{Entry, Storage, TEMP_SUFFIX, read_whole};

/// The tenants that have a directory, in order.
///
/// # Errors
/// If the file system refuses.
pub fn list_tenants(storage: &dyn Storage) -> Result<Vec<TenantId>, ManifestError> {
    list_ids(storage, Path::new(TENANTS))
}

/// The timelines of a tenant that have a directory, in order.
///
/// # Errors
/// If the file system refuses.
pub fn list_timelines(
    storage: &dyn Storage,
    tenant: TenantId,
) -> Result<Vec<TimelineId>, ManifestError> {
    list_ids(storage, &TenantPaths::new(tenant).timelines())
}

/// What a store holds, as a start finds it.
#[derive(Debug)]
pub struct Inventory {
    /// What a crash had left behind. It is gone.
    pub removed: Vec<PathBuf>,
    /// The tenants, in order.
    pub tenants: Vec<FoundTenant>,
}

/// A tenant's directory.
#[derive(Debug)]
pub struct FoundTenant {
    /// The tenant, by the name of the directory.
    pub tenant: TenantId,
    /// Why none of it can be used, if so. Nothing in it was removed then.
    pub damage: Option<ManifestError>,
    /// The timelines that were found in it, in order.
    pub timelines: Vec<FoundTimeline>,
}

/// A timeline's directory.
#[derive(Debug)]
pub struct FoundTimeline {
    /// The timeline, by the name of the directory.
    pub timeline: TimelineId,
    /// Its manifest, or why it cannot be used. Nothing of the timeline was removed then.
    pub manifest: Result<Manifest, ManifestError>,
    /// The name that a damaged manifest seems to give, if it does.
    pub name: Option<String>,
}

/// Finds out what is there, and removes what a crash left behind: files that were being written, timeline
/// directories without a manifest (an import that did not get to its end), tenant directories with
/// neither manifest nor timelines, layer files that the manifest does not name. Files whose names
/// are not the store's are left alone. Each manifest is read once.
///
/// What was found is made durable first. A process that was killed may have renamed a manifest and
/// not synced its directory: were files removed by the new manifest, and did the power fail then, the
/// old manifest would come back and name them.
///
/// A manifest that is damaged, misplaced, or missing where no crash loses it, and a directory that cannot be read,
/// is told of the timeline or tenant that it concerns, of which nothing is removed.
///
/// Only while the store is locked and nothing in it is open.
///
/// # Errors
/// If the file system refuses to tell the tenants.
pub fn take_inventory(storage: &dyn Storage) -> Result<Inventory, ManifestError> {
    let mut removed = Vec::new();
    sync_dir(storage, Path::new(""))?;
    sync_dir(storage, Path::new(TENANTS))?;
    let mut tenants = Vec::new();
    for tenant in list_tenants(storage)? {
        let mut sweep = Sweep {
            storage,
            removed: &mut removed,
        };
        tenants.extend(sweep.tenant(tenant));
    }
    Ok(Inventory { removed, tenants })
}

struct Sweep<'a> {
    storage: &'a dyn Storage,
    removed: &'a mut Vec<PathBuf>,
}

impl Sweep<'_> {
    /// None if there was nothing but strays.
    fn tenant(&mut self, tenant: TenantId) -> Option<FoundTenant> {
        let paths = TenantPaths::new(tenant);
        let mut found = FoundTenant {
            tenant,
            damage: None,
            timelines: Vec::new(),
        };
        let is_there = self.tenant_manifest(tenant);
        let listed = list_timelines(self.storage, tenant);
        let result = is_there.and_then(|is_there| {
            let mut strays = Vec::new();
            for timeline in listed? {
                let manifest = paths.timeline(timeline).manifest();
                if exists(self.storage, &manifest)? {
                    found
                        .timelines
                        .push(self.timeline(tenant, timeline, is_there));
                } else {
                    strays.push(paths.timeline(timeline).dir());
                }
            }
            if !is_there && !found.timelines.is_empty() {
                let path = paths.manifest();
                return Err(ManifestError::TenantManifestMissing { path });
            }
            for stray in strays {
                self.remove_dir(stray)?;
            }
            match is_there {
                true => self.remove_temporary(&paths.dir())?,
                false => self.remove_dir(paths.dir())?,
            }
            Ok(is_there)
        });
        match result {
            Ok(false) => return None,
            Ok(true) => {}
            Err(damage) => {
                if found.timelines.is_empty() {
                    found.timelines = self.names_only(tenant);
                }
                found.damage = Some(damage);
            }
        }
        Some(found)
    }

    /// Whether the tenant has a manifest, which is a sound one.
    fn tenant_manifest(&mut self, tenant: TenantId) -> Result<bool, ManifestError> {
        let paths = TenantPaths::new(tenant);
        let path = paths.manifest();
        sync_dir(self.storage, &paths.dir())?;
        sync_dir(self.storage, &paths.timelines())?;
        if !exists(self.storage, &path)? {
            return Ok(false);
        }
        let manifest = TenantManifest::read(self.storage, &path)?;
        if manifest.tenant != tenant {
            return Err(ManifestError::Misplaced {
                path,
                found: format!("tenant {}", manifest.tenant),
            });
        }
        Ok(true)
    }

    /// The timelines of a tenant that cannot be used, as far as they can be told.
    fn names_only(&self, tenant: TenantId) -> Vec<FoundTimeline> {
        let ids = list_timelines(self.storage, tenant).unwrap_or_default();
        let paths = TenantPaths::new(tenant);
        let timelines = ids.into_iter().filter_map(|timeline| {
            let path = paths.timeline(timeline).manifest();
            let is_there = self.storage.exists(&path).unwrap_or(true);
            is_there.then(|| self.found(timeline, Manifest::read(self.storage, &path), &path))
        });
        timelines.collect()
    }

    /// Removes what is not the timeline's, unless the tenant has no manifest.
    fn timeline(
        &mut self,
        tenant: TenantId,
        timeline: TimelineId,
        has_tenant: bool,
    ) -> FoundTimeline {
        let paths = TimelinePaths::new(tenant, timeline);
        let path = paths.manifest();
        let manifest = sync_dir(self.storage, &paths.dir())
            .and_then(|()| Manifest::read(self.storage, &path))
            .and_then(|manifest| {
                if (manifest.tenant, manifest.timeline) != (tenant, timeline) {
                    let (timeline, tenant) = (manifest.timeline, manifest.tenant);
                    let found = format!("timeline {timeline} of tenant {tenant}");
                    let path = path.clone();
                    return Err(ManifestError::Misplaced { path, found });
                }
                if has_tenant {
                    self.timeline_strays(paths, &manifest)?;
                }
                Ok(manifest)
            });
        self.found(timeline, manifest, &path)
    }

    fn found(
        &self,
        timeline: TimelineId,
        manifest: Result<Manifest, ManifestError>,
        path: &Path,
    ) -> FoundTimeline {
        let name = match &manifest {
            Ok(manifest) => Some(manifest.name.clone()),
            Err(_) => {
                let bytes = read_whole(self.storage, path, FILE_LIMIT);
                bytes
                    .ok()
                    .and_then(Result::ok)
                    .and_then(|bytes| likely_name(&bytes))
            }
        };
        FoundTimeline {
            timeline,
            manifest,
            name,
        }
    }

    fn timeline_strays(
        &mut self,
        paths: TimelinePaths,
        manifest: &Manifest,
    ) -> Result<(), ManifestError> {
        for entry in list(self.storage, &paths.layers())? {
            let Some(id) = entry.name.to_str().and_then(parse_layer_name) else {
                continue;
            };
            let named = manifest.layers.binary_search_by_key(&id, |layer| layer.id);
            if named.is_err() {
                self.remove_file(paths.layer(id))?;
            }
        }
        self.remove_temporary(&paths.layers())?;
        self.remove_temporary(&paths.dir())
    }

    fn remove_temporary(&mut self, dir: &Path) -> Result<(), ManifestError> {
        for entry in list(self.storage, dir)? {
            let name = entry.name.to_str();
            if !entry.is_dir && name.is_some_and(|name| name.ends_with(TEMP_SUFFIX)) {
                self.remove_file(dir.join(entry.name))?;
            }
        }
        Ok(())
    }

    fn remove_file(&mut self, path: PathBuf) -> Result<(), ManifestError> {
        self.storage
            .remove_file(&path)
            .map_err(ManifestError::io("remove", &path))?;
        self.removed.push(path);
        Ok(())
    }

    fn remove_dir(&mut self, path: PathBuf) -> Result<(), ManifestError> {
        self.storage
            .remove_dir_all(&path)
            .map_err(ManifestError::io("remove", &path))?;
        self.removed.push(path);
        Ok(())
    }
}

/// The ids that directories in `dir` are named by, exactly as they print.
fn list_ids<T>(storage: &dyn Storage, dir: &Path) -> Result<Vec<T>, ManifestError>
where
    T: FromStr + Display,
{
    let entries = list(storage, dir)?;
    let dirs = entries.iter().filter(|entry| entry.is_dir);
    let id = |name: &str| {
        let id = name.parse::<T>().ok();
        id.filter(|id| id.to_string() == name)
    };
    Ok(dirs.filter_map(|entry| id(entry.name.to_str()?)).collect())
}

/// The entries of a directory; none if it does not exist.
fn list(storage: &dyn Storage, dir: &Path) -> Result<Vec<Entry>, ManifestError> {
    match storage.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(ManifestError::io("list the directory", dir)),
    }
}

fn exists(storage: &dyn Storage, path: &Path) -> Result<bool, ManifestError> {
    storage
        .exists(path)
        .map_err(ManifestError::io("look for", path))
}

/// Makes the names in a directory durable, if it exists.
fn sync_dir(storage: &dyn Storage, dir: &Path) -> Result<(), ManifestError> {
    if exists(storage, dir)? {
        storage
            .sync_dir(dir)
            .map_err(ManifestError::io("sync the directory", dir))?;
    }
    Ok(())
}
