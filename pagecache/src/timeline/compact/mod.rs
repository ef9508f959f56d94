//! Compaction: few runs of layers for reads to look through, short chains of changes, and nothing kept that
//! nobody can ask for.
//!
//! Layer files lie in runs ([`super::runs`]). Flushes make small ones; a compaction merges adjacent runs into
//! one, a sorted list of files, from the first key to the last. Those below the cutoff are merged with the base
//! that all others rest on, and of their versions only the newest at each point that is kept stays, as an image.
//! What a compaction has done so far counts: `Rewrite` in the manifest says up to which key the new run holds,
//! and from there on the old ones; a reader of a key sees one or the other.

mod chain;
mod effort;
mod job;
mod merge;
mod output;
mod policy;
mod retention;
mod rewrite;

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use slog::{debug, info, warn};

use super::Timeline;
use super::progress::News;
use super::shared::Shared;
use crate::error::StoreError;
use crate::layer::RunId;
use effort::Effort;
use policy::{Policy, RunSize};

/// How far the thread stands back (the system's nice value): as the one that writes layers. Which of them goes first
/// is decided by what waits.
const NICE: i32 = 5;

/// Pause before a compaction that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A run below this part of the size at which a compaction ends its files is small.
const SMALL_PART: u64 = 8;

/// What a compaction made of the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CompactionReport {
    /// Merges that were done.
    pub merges: u64,
    /// Runs before and after.
    pub runs: (u64, u64),
    /// Layer files before and after.
    pub layers: (u64, u64),
    /// Bytes of layer files before and after.
    pub bytes: (u64, u64),
    /// Layer files that were left as they are because they are damaged.
    pub damaged: u64,
}

/// Compacts whenever there is something to, until the timeline stops.
pub(super) fn run(shared: &Arc<Shared>) {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        debug!(shared.log, "layers are compacted at full priority"; "error" => %error);
    }
    let mut seen = None;
    loop {
        let waited = shared.tracker.wait_while(News::Layers, |_| {
            seen == Some(shared.layer_changes()) || !shared.is_complete()
        });
        if waited.is_none() {
            return;
        }
        seen = Some(shared.layer_changes());
        let result = shared
            .collect_due()
            .and_then(|()| compact(shared, &lock(shared), false));
        // Indexing may wait for there to be fewer runs; damage that was met may mean that there never will be.
        shared.tracker.announce(News::Layers);
        if let Err(error) = result {
            warn!(shared.log, "compaction failed, will try again"; "error" => %error);
            seen = None;
            if shared.tracker.pause(RETRY) {
                return;
            }
        }
    }
}

impl Timeline {
    /// Merges layers as far as the background work would by now; with `fully`, all of them into one run. What
    /// may go by the present cutoff goes. Damaged files stay where and as they are, and with them the order of what
    /// is above and below: those are merged apart.
    ///
    /// # Errors
    /// If a layer cannot be read or written, or the timeline stops. What was done until then counts.
    pub fn compact(&self, fully: bool) -> Result<CompactionReport, StoreError> {
        let shared = &self.shared;
        let before = self.sizes();
        let merges = compact(shared, &lock(shared), fully)?;
        let after = self.sizes();
        Ok(CompactionReport {
            merges,
            runs: (before.runs, after.runs),
            layers: (before.layers, after.layers),
            bytes: (before.layer_bytes, after.layer_bytes),
            damaged: self.damage().len() as u64,
        })
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, ()> {
    let compacting = &shared.compacting;
    compacting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Merges until there is nothing more to. Returns how often.
fn compact(
    shared: &Arc<Shared>,
    _one_at_a_time: &MutexGuard<'_, ()>,
    mut fully: bool,
) -> Result<u64, StoreError> {
    let mut merges = 0;
    let wants_all = fully;
    let mut all = Vec::new();
    loop {
        if shared.tracker.is_stopping() {
            return Err(StoreError::Stopping);
        }
        let begun = shared.manifest().rewrite.clone();
        let Some(rewrite) = begun else {
            if std::mem::take(&mut fully) {
                all = all_runs(shared);
            }
            match all.pop().or_else(|| choose(shared)) {
                Some(from) => job::begin(shared, from)?,
                None => return Ok(merges),
            }
            continue;
        };
        if job::is_stuck(shared, &rewrite) {
            if job::give_up(shared, &rewrite)? {
                fully = wants_all;
                continue;
            }
            warn!(shared.log, "a compaction stays as it is: damage is in its way"; "into" => %rewrite.into);
            return Ok(merges);
        }
        let effort = || match wants_all {
            true => Effort::of_all(shared),
            false => Effort::affordable(shared),
        };
        let done = match job::go_on(shared, &rewrite, effort) {
            Err(error) if error.is_damage() => {
                warn!(shared.log, "compaction leaves what is damaged"; "error" => %error);
                // It is stuck now.
                job::account_for(shared, &rewrite, error)?;
                continue;
            }
            done => done?,
        };
        if done {
            merges += 1;
            info!(shared.log, "layers compacted"; "runs" => rewrite.from.len(),
                "runs_left" => shared.layers().runs().len());
        }
    }
}

/// The runs between damaged ones, the newest last.
fn all_runs(shared: &Shared) -> Vec<Vec<RunId>> {
    let layers = shared.layers();
    let stretches = layers.runs().split(|run| run.is_damaged());
    let ids = stretches.map(|runs| runs.iter().map(|run| run.id()).collect());
    let mut all: Vec<Vec<RunId>> = ids.filter(|runs: &Vec<RunId>| !runs.is_empty()).collect();
    all.reverse();
    all
}

fn choose(shared: &Shared) -> Option<Vec<RunId>> {
    let layers = shared.layers();
    let (has_base, policy) = {
        let manifest = shared.manifest();
        let policy = Policy {
            merge_runs: shared.config.merge_runs.max(2),
            small: shared.config.compacted_layer / SMALL_PART,
            has_base: false,
            cutoff: shared.cutoff_of_merges(&manifest),
            last: manifest.disk_consistent_lsn,
            hurries: Effort::affordable(shared) == Effort::Quick,
        };
        (manifest.ancestor.is_none(), policy)
    };
    let oldest = layers.runs().last().map(|run| run.id());
    let mut stretches = layers.runs().split(|run| run.is_damaged());
    stretches.find_map(|runs| {
        let holds_oldest = runs.last().map(|run| run.id()) == oldest;
        let sizes: Vec<RunSize> = runs.iter().map(|run| (&**run).into()).collect();
        let policy = Policy {
            has_base: has_base && holds_oldest,
            ..policy
        };
        policy.choose(&sizes)
    })
}
