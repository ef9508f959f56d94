//! The directory of a timeline in the making, an import or a branch: made with the tenant if that is new, and
//! removed again, durably, if the timeline does not get to its manifest; or when it is deleted.

use std::io;
use std::path::Path;

use slog::{info, warn};
use walrecord::{TenantId, TimelineId};

use super::open::Surroundings;
use crate::error::StoreError;
use crate::manifest::{ManifestFile, TenantManifest, TenantPaths, TimelinePaths, list_timelines};
use crate::storage::{Storage, create_dirs_durably};

/// The directory of a timeline in the making. Removed when dropped, unless told to keep it.
pub(super) struct TimelineDir {
    around: Surroundings,
    tenant: TenantId,
    paths: TimelinePaths,
    tenant_is_new: bool,
    pub(super) keep: bool,
}

impl TimelineDir {
    /// Makes the directories, and before them the tenant with its manifest if it is new.
    pub(super) fn make(
        around: &Surroundings,
        tenant: TenantId,
        timeline: TimelineId,
        system_identifier: u64,
    ) -> Result<TimelineDir, StoreError> {
        // Nothing is removed as long as nothing was made.
        let mut dir = TimelineDir {
            around: around.clone(),
            tenant,
            paths: TimelinePaths::new(tenant, timeline),
            tenant_is_new: false,
            keep: true,
        };
        // The lock is given back before the directory is dropped, which takes it too.
        let made = {
            let _tenants = around.lock_tenants();
            dir.fill(timeline, system_identifier)
        };
        made.map(|()| dir)
    }

    fn fill(&mut self, timeline: TimelineId, system_identifier: u64) -> Result<(), StoreError> {
        let around = self.around.clone();
        let (storage, paths) = (&*around.storage, self.paths);
        if exists(storage, &paths.manifest())? {
            return Err(StoreError::TimelineExists(timeline.to_string()));
        }
        let tenant = TenantPaths::new(self.tenant);
        self.tenant_is_new = !exists(storage, &tenant.manifest())?;
        self.keep = false;
        let path = paths.dir();
        if exists(storage, &path)? {
            // An earlier attempt that could not be removed.
            storage
                .remove_dir_all(&path)
                .map_err(StoreError::io("removing", path))?;
        }
        if self.tenant_is_new {
            let path = tenant.timelines();
            create_dirs_durably(storage, &path).map_err(StoreError::io("creating", path))?;
            TenantManifest::new(self.tenant, system_identifier)
                .write(storage, &tenant.manifest())?;
        }
        for path in [paths.wal(), paths.layers()] {
            create_dirs_durably(storage, &path).map_err(StoreError::io("creating", path))?;
        }
        Ok(())
    }

    fn remove(&self) -> io::Result<()> {
        let storage = &*self.around.storage;
        remove_durably(storage, &self.paths.dir(), &self.paths.manifest())?;
        let tenant = TenantPaths::new(self.tenant);
        // Another import may have come to the new tenant.
        let others = list_timelines(storage, self.tenant).map_err(io::Error::other)?;
        if self.tenant_is_new && others.is_empty() {
            remove_durably(storage, &tenant.dir(), &tenant.manifest())?;
        }
        Ok(())
    }
}

impl Drop for TimelineDir {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let _tenants = self.around.lock_tenants();
        let (log, dir) = (&self.around.log, self.paths.dir());
        match self.remove() {
            Ok(()) => {
                info!(log, "removed a timeline that was not finished"; "dir" => %dir.display());
            }
            // Without a manifest it is a stray: the next start removes it.
            Err(error) => {
                warn!(log, "removing a timeline that was not finished"; "dir" => %dir.display(), "error" => %error);
            }
        }
    }
}

/// Removes a timeline, durably. Its threads have ended.
pub(crate) fn remove_timeline(
    around: &Surroundings,
    paths: TimelinePaths,
) -> Result<(), StoreError> {
    let _tenants = around.lock_tenants();
    let dir = paths.dir();
    remove_durably(&*around.storage, &dir, &paths.manifest())
        .map_err(StoreError::io("removing", dir))
}

/// Removes a directory with its manifest, that first: a crash in between must not leave a manifest that
/// names what is gone.
fn remove_durably(storage: &dyn Storage, dir: &Path, manifest: &Path) -> io::Result<()> {
    match storage.remove_file(manifest) {
        Ok(()) => storage.sync_dir(dir)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    match storage.remove_dir_all(dir) {
        Ok(()) => storage.sync_dir(dir.parent().unwrap_or(Path::new(""))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn exists(storage: &dyn Storage, path: &Path) -> Result<bool, StoreError> {
    storage
        .exists(path)
        .map_err(StoreError::io("looking for", path))
}
