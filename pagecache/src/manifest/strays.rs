//! What a crash leaves lying about: files that no manifest names.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use walrecord::{TenantId, TimelineId};

use super::error::ManifestError;
use super::file::ManifestFile;
use super::paths::{TENANTS, TenantPaths, TimelinePaths, parse_layer_name};
use super::tenant::TenantManifest;
use super::timeline::Manifest;
use crate::storage::{Entry, Storage, TEMP_SUFFIX};

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

/// Removes what a crash left behind, and gives the paths: files that were being written, timeline
/// directories without a manifest (an import that did not get to its end), tenant directories with
/// neither manifest nor timelines, layer files that the manifest does not name. Files whose names
/// are not the store's are left alone.
///
/// What was found is made durable first. A process that was killed may have renamed a manifest and
/// not synced its directory: were files removed by the new manifest, and did the power fail then, the
/// old manifest would come back and name them.
///
/// Only while the store is locked and nothing in it is open.
///
/// # Errors
/// If a manifest is damaged, misplaced or missing where no crash loses it, or if a layer file that
/// one names is missing or of another size: nothing of that timeline is removed then. Or if the file
/// system refuses.
pub fn remove_strays(storage: &dyn Storage) -> Result<Vec<PathBuf>, ManifestError> {
    let mut removed = Vec::new();
    sync_dir(storage, Path::new(""))?;
    sync_dir(storage, Path::new(TENANTS))?;
    for tenant in list_tenants(storage)? {
        Sweep {
            storage,
            removed: &mut removed,
        }
        .tenant(tenant)?;
    }
    Ok(removed)
}

struct Sweep<'a> {
    storage: &'a dyn Storage,
    removed: &'a mut Vec<PathBuf>,
}

impl Sweep<'_> {
    fn tenant(&mut self, tenant: TenantId) -> Result<(), ManifestError> {
        let paths = TenantPaths::new(tenant);
        let path = paths.manifest();
        sync_dir(self.storage, &paths.dir())?;
        sync_dir(self.storage, &paths.timelines())?;
        let has_manifest = exists(self.storage, &path)?;
        if has_manifest {
            let manifest = TenantManifest::read(self.storage, &path)?;
            if manifest.tenant != tenant {
                return Err(ManifestError::Misplaced {
                    path,
                    found: format!("tenant {}", manifest.tenant),
                });
            }
        }
        for timeline in list_timelines(self.storage, tenant)? {
            let manifest = paths.timeline(timeline).manifest();
            if exists(self.storage, &manifest)? {
                if !has_manifest {
                    return Err(ManifestError::TenantManifestMissing { path });
                }
                self.timeline(tenant, timeline)?;
            } else {
                self.remove_dir(paths.timeline(timeline).dir())?;
            }
        }
        if has_manifest {
            self.remove_temporary(&paths.dir())
        } else {
            self.remove_dir(paths.dir())
        }
    }

    fn timeline(&mut self, tenant: TenantId, timeline: TimelineId) -> Result<(), ManifestError> {
        let paths = TimelinePaths::new(tenant, timeline);
        let path = paths.manifest();
        sync_dir(self.storage, &paths.dir())?;
        let manifest = Manifest::read(self.storage, &path)?;
        if (manifest.tenant, manifest.timeline) != (tenant, timeline) {
            return Err(ManifestError::Misplaced {
                path,
                found: format!(
                    "timeline {} of tenant {}",
                    manifest.timeline, manifest.tenant
                ),
            });
        }
        let layers = list(self.storage, &paths.layers())?;
        let sizes: BTreeMap<_, _> = layers
            .iter()
            .filter_map(|entry| Some((parse_layer_name(entry.name.to_str()?)?, entry.len)))
            .collect();
        for layer in &manifest.layers {
            let path = paths.layer(layer.id);
            let expected = layer.summary.file_size;
            match sizes.get(&layer.id) {
                None => return Err(ManifestError::LayerMissing { path }),
                Some(found) if *found != expected => {
                    return Err(ManifestError::LayerSize {
                        path,
                        expected,
                        found: *found,
                    });
                }
                Some(_) => {}
            }
        }
        for id in sizes.keys() {
            let named = manifest.layers.binary_search_by_key(id, |layer| layer.id);
            if named.is_err() {
                self.remove_file(paths.layer(*id))?;
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
