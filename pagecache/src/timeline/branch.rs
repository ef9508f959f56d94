//! Making a branch: a manifest, and the WAL around the branch point, whatever the size of what it branches
//! from.

use std::sync::Arc;

use slog::info;
use walrecord::{Lsn, TimelineId};

use super::open::{Relatives, Surroundings, open};
use super::shared::Shared;
use super::timeline_dir::TimelineDir;
use super::{Ancestor, Timeline};
use crate::error::{ReadError, StoreError};
use crate::layer::LayerId;
use crate::manifest::{self, HistoryEntry, Manifest, ManifestFile};
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
    pub(crate) fn branch(
        &self,
        around: Surroundings,
        branch: &NewBranch,
    ) -> Result<Timeline, StoreError> {
        let lsn = self.boundary(branch.lsn)?.end;
        let shared = self.shared.holding(lsn);
        shared.set_branch(branch.timeline, Some(lsn));
        let made = make(shared, around, branch, lsn);
        if made.is_err() {
            shared.set_branch(branch.timeline, None);
        }
        made
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
    branch: &NewBranch,
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
    let manifest = manifest_of(shared, branch, lsn)?;
    let contradiction = |damage| {
        StoreError::Manifest(manifest::ManifestError::Damaged {
            path: shared.paths.sibling(branch.timeline).manifest(),
            damage: manifest::ManifestDamage::Contradiction(damage),
        })
    };
    manifest.check().map_err(contradiction)?;
    let mut dir = TimelineDir::make(
        &around,
        manifest.tenant,
        manifest.timeline,
        manifest.system_identifier,
    )?;
    copy_wal(shared, &around, &manifest, lsn)?;
    manifest.write(&*around.storage, &dir.paths().manifest())?;
    let relatives = Relatives {
        ancestor: Some(Ancestor {
            shared: Arc::clone(shared),
            lsn,
        }),
        ..Relatives::default()
    };
    let timeline = open(around, manifest, relatives)?;
    dir.keep = true;
    // The branch's first read after a restart need not wait for our index then.
    shared.request_freeze();
    info!(shared.log, "branch made"; "name" => &branch.name, "lsn" => %lsn);
    Ok(timeline)
}

fn manifest_of(shared: &Shared, branch: &NewBranch, lsn: Lsn) -> Result<Manifest, StoreError> {
    let last = walrecord::record_boundary(&shared.wal, shared.wal.segment_size(), lsn);
    let last = last.map_err(|source| StoreError::BadRecord {
        start: lsn,
        end: lsn,
        source: Box::new(source),
    })?;
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
        wal_start: last.last_start.segment_start(parent.segment_size),
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
        ..parent.clone()
    };
    let upto = rules.0.partition_point(|(from, _)| *from <= lsn).max(1);
    manifest.set_rules(&rules.0[..upto]);
    Ok(manifest)
}

/// Copies the WAL in front of the branch point, durably.
fn copy_wal(
    shared: &Shared,
    around: &Surroundings,
    manifest: &Manifest,
    lsn: Lsn,
) -> Result<(), StoreError> {
    let paths = shared.paths.sibling(manifest.timeline);
    let start = manifest.wal_start();
    let wal = WalStore::open(
        Arc::clone(&around.storage),
        &paths.wal(),
        manifest.segment_size,
        &manifest.history,
        start,
    )?;
    let mut piece = vec![0; 1 << 20];
    let mut at = start;
    while at < lsn {
        // A Postgres timeline begins with a copy of what is there before it.
        let mut begins = manifest.history.iter().map(|entry| entry.start);
        let end = begins.find(|begin| *begin > at).unwrap_or(lsn).min(lsn);
        let want = piece
            .len()
            .min(usize::try_from(end - at).unwrap_or(usize::MAX));
        let read = shared
            .wal
            .read_at(at, &mut piece[..want])
            .map_err(StoreError::io("reading WAL at", at.to_string()))?;
        if read == 0 {
            return Err(StoreError::WalMissing {
                end: at,
                disk_consistent: lsn,
            });
        }
        wal.append(at, &piece[..read])?;
        at = at + read as u64;
    }
    wal.sync()?;
    Ok(())
}
