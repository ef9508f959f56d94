//! Making a branch: a manifest, and the WAL around the branch point, whatever the size of what it branches
//! from.

use std::sync::Arc;

use slog::info;
use walrecord::{Boundary, Lsn, TimelineId};

use super::open::{Relatives, Surroundings, open};
use super::shared::Shared;
use super::timeline_dir::TimelineDir;
use super::{Ancestor, Timeline};
use crate::error::{ReadError, StoreError};
use crate::layer::LayerId;
use crate::manifest::{self, HistoryEntry, Manifest, ManifestFile, Replaced};
use crate::wal::WalStore;

/// What a branch is to be.
#[derive(Clone, Debug)]
pub struct NewBranch {
    /// Its id.
    pub timeline: TimelineId,
    /// Its name.
    pub name: String,
    /// Where it branches: the end of the last record at or below counts.
    pub lsn: Lsn,
}

impl Timeline {
    /// Makes a branch and opens it. Until this returns nothing of it is seen, after a crash either.
    ///
    /// Once its manifest is there, the branch has taken the place of what it `replaces`.
    pub(super) fn branch_as(
        &self,
        around: Surroundings,
        branch: &NewBranch,
        replaces: Option<Replaced>,
    ) -> Result<Timeline, StoreError> {
        let at = self.boundary(branch.lsn)?;
        let shared = self.shared.holding(at.end);
        shared.set_branch(branch.timeline, Some(at.end));
        let manifest = || {
            let mut manifest = manifest_of(shared, branch, at);
            if replaces.is_some() {
                manifest.upstream = self.upstream();
                manifest.replaces = replaces;
            }
            manifest
        };
        let made = make(shared, around, manifest, at.end);
        if made.is_err() {
            shared.set_branch(branch.timeline, None);
        }
        made
    }

    /// As [`crate::Store::branch`].
    pub(crate) fn branch(
        &self,
        around: Surroundings,
        branch: &NewBranch,
    ) -> Result<Timeline, StoreError> {
        self.branch_as(around, branch, None)
    }

    /// The timelines that branch from it.
    pub fn branches(&self) -> Vec<TimelineId> {
        self.shared.branches()
    }

    /// What it is to those that branch from it at `lsn`.
    pub(crate) fn as_ancestor(&self, lsn: Lsn) -> Ancestor {
        Ancestor {
            shared: Arc::clone(&self.shared),
            lsn,
        }
    }

    /// Nothing rests on it any more: it lets its ancestor go.
    pub(crate) fn leave_ancestor(&self) {
        if let Some(ancestor) = &self.shared.ancestor {
            let timeline = self.shared.manifest().timeline;
            ancestor.shared.set_branch(timeline, None);
        }
    }
}

/// Makes the branch of `shared` at `lsn`, which is kept for it already.
fn make(
    shared: &Arc<Shared>,
    around: Surroundings,
    manifest: impl FnOnce() -> Manifest,
    lsn: Lsn,
) -> Result<Timeline, StoreError> {
    let progress = shared.tracker.get();
    let (from, to) = (progress.readable_from, progress.last_record);
    if lsn < from || lsn > to {
        return Err(ReadError::NotReadable { lsn, from, to }.into());
    }
    // What the branch rests on must not be lost in a crash.
    if shared.wal.synced() < lsn {
        shared.wal.sync()?;
    }
    let manifest = manifest();
    let paths = shared.paths.sibling(manifest.timeline);
    manifest.check_for(&paths.manifest())?;
    let mut dir = TimelineDir::make(
        &around,
        manifest.tenant,
        manifest.timeline,
        manifest.system_identifier,
    )?;
    copy_wal(shared, &around, &manifest, lsn)?;
    manifest.write(&*around.storage, &paths.manifest())?;
    let relatives = Relatives {
        ancestor: Some(Ancestor {
            shared: Arc::clone(shared),
            lsn,
        }),
        ..Relatives::default()
    };
    let name = manifest.name.clone();
    let timeline = open(around, manifest, relatives)?;
    dir.keep = true;
    // The branch's first read after a restart need not wait for our index then.
    shared.request_freeze();
    info!(shared.log, "branch made"; "name" => name, "lsn" => %lsn);
    Ok(timeline)
}

fn manifest_of(shared: &Shared, branch: &NewBranch, at: Boundary) -> Manifest {
    let lsn = at.end;
    let rules = shared.rules();
    let parent = shared.manifest();
    let history = parent.history.iter().enumerate();
    let history = history.filter(|(number, entry)| *number == 0 || entry.start < lsn);
    let mut manifest = Manifest {
        timeline: branch.timeline,
        name: branch.name.clone(),
        history: history
            .map(|(_, entry)| *entry)
            .collect::<Vec<HistoryEntry>>(),
        // From where the record before the branch point begins: a clone's checkpoint record names it.
        wal_start: at.last_start.segment_start(parent.segment_size),
        disk_consistent_lsn: lsn,
        next_layer: LayerId::new(1),
        layers: Vec::new(),
        rewrite: None,
        gc_cutoff: Lsn::INVALID,
        leases: Vec::new(),
        ancestor: Some(manifest::Ancestor {
            timeline: parent.timeline,
            lsn,
        }),
        upstream: None,
        replaces: None,
        superseded: None,
        ..parent.clone()
    };
    let upto = rules.0.partition_point(|(from, _)| *from <= lsn).max(1);
    manifest.set_rules(&rules.0[..upto]);
    manifest
}

/// Copies the WAL in front of the branch point, durably.
fn copy_wal(
    shared: &Shared,
    around: &Surroundings,
    manifest: &Manifest,
    lsn: Lsn,
) -> Result<(), StoreError> {
    let paths = shared.paths.sibling(manifest.timeline);
    let wal = WalStore::open(
        Arc::clone(&around.storage),
        &paths.wal(),
        manifest.segment_size,
        &manifest.history,
        manifest.wal_start(),
    )?;
    Ok(wal.append_from(&shared.wal, lsn)?)
}
