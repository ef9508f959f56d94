//! When a primary fails over to a server that lacks the end of what a timeline has: nothing of that is given up.
//! A branch from where the two part takes the timeline's name and place, and the timeline stays, read-only, under
//! another name.
//!
//! The branch's manifest is the step that counts: it says whose place was taken, and how that one is called
//! from then on. What a crash leaves to be done in the other manifest is done when the store is opened.

use slog::{info, warn};
use walrecord::{Lsn, TenantId, TimelineId};

use super::Timeline;
use super::branch::NewBranch;
use super::open::Surroundings;
use crate::error::{ReadError, StoreError};
use crate::manifest::{Manifest, ManifestFile, NAME_LIMIT, Replaced, Superseded, TimelinePaths};
use crate::storage::Storage;

/// What is to take a timeline's name and place.
#[derive(Clone, Copy, Debug)]
pub struct NewSuccessor {
    /// Its id.
    pub timeline: TimelineId,
    /// What the other has above here, it does not get: where a record ends.
    pub fork: Lsn,
}

/// The name of a timeline whose place is taken because its primary went another way at `fork`, one that `is_free`.
pub(crate) fn kept_name(name: &str, fork: Lsn, is_free: impl Fn(&str) -> bool) -> String {
    let position = fork.to_string().replace('/', "-");
    let mut suffix = format!(".before-{position}");
    for number in 2.. {
        // Names are ASCII.
        let stem = &name[..name.len().min(NAME_LIMIT - suffix.len())];
        let kept = format!("{stem}{suffix}");
        if is_free(&kept) {
            return kept;
        }
        suffix = format!(".before-{position}-{number}");
    }
    unreachable!("a store has fewer timelines than there are numbers")
}

impl Timeline {
    /// Makes the branch that takes this timeline's place, and opens it. It has once this returns, after a crash
    /// too; what is left to do is [`Timeline::step_back`].
    pub(crate) fn make_successor(
        &self,
        around: Surroundings,
        successor: &NewSuccessor,
        kept: &str,
    ) -> Result<Timeline, StoreError> {
        self.check_writable()?;
        let NewSuccessor { timeline, fork } = *successor;
        let info = self.info();
        let holding = self.shared.holding(fork).tracker.get();
        let (from, to) = (holding.readable_from, holding.last_record);
        if fork < from || fork > to {
            return Err(ReadError::NotReadable {
                lsn: fork,
                from,
                to,
            }
            .into());
        }
        let boundary = self.boundary(fork)?.end;
        if boundary != fork {
            let timeline = info.name;
            return Err(StoreError::ForkInRecord {
                timeline,
                fork,
                boundary,
            });
        }
        // What is above the fork may be nowhere else.
        self.shared.wal.sync()?;
        let branch = NewBranch {
            timeline,
            name: info.name,
            lsn: fork,
        };
        let replaces = Replaced {
            timeline: info.timeline,
            name: kept.to_owned(),
        };
        self.branch_as(around, &branch, Some(replaces))
    }

    /// Its place is taken: it takes no WAL any more, and has another name.
    pub(crate) fn step_back(&self, successor: &NewSuccessor, kept: &str) {
        let shared = &self.shared;
        shared.set_read_only();
        shared.settle_tail();
        let was = shared.name();
        let written = {
            let mut manifest = shared.manifest();
            give_place(&mut manifest, successor.timeline, successor.fork, kept);
            manifest.write(&*shared.storage, &shared.paths.manifest())
        };
        if let Err(error) = written {
            // The other manifest says it already: the next start writes this one.
            warn!(shared.log, "a timeline's new name could not be written yet"; "name" => kept,
                "error" => %error);
        }
        // To have it in layers, as it does not change any more.
        shared.request_freeze();
        info!(shared.log, "a branch took the place of a timeline, which is kept"; "timeline" => was,
            "fork" => %successor.fork, "kept_as" => kept);
    }
}

fn give_place(manifest: &mut Manifest, by: TimelineId, fork: Lsn, kept: &str) {
    kept.clone_into(&mut manifest.name);
    manifest.upstream = None;
    manifest.superseded = Some(Superseded { by, fork });
}

/// Does what a crash left undone when one of these timelines took the place of another.
pub(crate) fn finish_successions(
    storage: &dyn Storage,
    tenant: TenantId,
    manifests: &mut [Manifest],
) -> Result<(), StoreError> {
    let taken: Vec<_> = manifests
        .iter()
        .filter_map(|manifest| {
            let fork = manifest.ancestor.map(|ancestor| ancestor.lsn)?;
            Some((manifest.timeline, fork, manifest.replaces.clone()?))
        })
        .collect();
    for (by, fork, Replaced { timeline, name }) in taken {
        let replaced = manifests.iter_mut().find(|it| it.timeline == timeline);
        if let Some(manifest) = replaced.filter(|manifest| manifest.superseded.is_none()) {
            give_place(manifest, by, fork, &name);
            let path = TimelinePaths::new(tenant, timeline).manifest();
            manifest.write(storage, &path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_short_and_new() {
        let fork = Lsn::new(u64::MAX);
        let kept = kept_name("main", Lsn::new(0x300_0060), |_| true);
        assert_eq!(kept, "main.before-0-3000060");
        let long = "n".repeat(NAME_LIMIT);
        let first = kept_name(&long, fork, |_| true);
        assert_eq!(first.len(), NAME_LIMIT);
        assert!(first.ends_with("n.before-FFFFFFFF-FFFFFFFF"));
        let second = kept_name(&long, fork, |name| name != first);
        assert_eq!(second.len(), NAME_LIMIT);
        assert!(second.ends_with("n.before-FFFFFFFF-FFFFFFFF-2"));
    }
}
