//! Compaction: few runs of layers for reads to look through, short chains of changes, and nothing kept that
//! nobody can ask for.
//!
//! Layer files lie in runs ([`super::runs`]). Flushes make small ones; a compaction merges adjacent runs into
//! one, a sorted list of files, from the first key to the last. Those below the cutoff are merged with the base
//! that all others rest on, and of their versions only the newest at each point that is kept stays, as an image.
//! What a compaction has done so far counts: `Rewrite` in the manifest says up to which key the new run holds,
//! and from there on the old ones; a reader of a key sees one or the other.

mod chain;
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
use super::shared::Shared;
use crate::error::StoreError;
use crate::layer::RunId;
use policy::{Policy, RunSize};

/// How far the thread stands back (the system's nice value): behind the one that writes layers.
const NICE: i32 = 15;

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
}

/// Compacts whenever there is something to, until the timeline stops.
pub(super) fn run(shared: &Arc<Shared>) {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        debug!(shared.log, "layers are compacted at full priority"; "error" => %error);
    }
    let mut seen = None;
    loop {
        let waited = shared
            .tracker
            .wait_while(|_| seen == Some(shared.layer_changes()) || !shared.is_complete());
        if waited.is_none() {
            return;
        }
        seen = Some(shared.layer_changes());
        let result = shared
            .collect_due()
            .and_then(|()| compact(shared, &lock(shared), false));
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
    /// may go by the present cutoff goes.
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
    loop {
        if shared.tracker.is_stopping() {
            return Err(StoreError::Stopping);
        }
        let begun = shared.manifest().rewrite.clone();
        let Some(rewrite) = begun else {
            let chosen = if std::mem::take(&mut fully) {
                all_runs(shared)
            } else {
                choose(shared)
            };
            match chosen {
                Some(from) => job::begin(shared, from)?,
                None => return Ok(merges),
            }
            continue;
        };
        if job::go_on(shared, &rewrite)? {
            merges += 1;
            info!(shared.log, "layers compacted"; "runs" => rewrite.from.len(),
                "runs_left" => shared.layers().runs().len());
        }
    }
}

fn all_runs(shared: &Shared) -> Option<Vec<RunId>> {
    let layers = shared.layers();
    let runs: Vec<RunId> = layers.runs().iter().map(|run| run.id()).collect();
    (!runs.is_empty()).then_some(runs)
}

fn choose(shared: &Shared) -> Option<Vec<RunId>> {
    let layers = shared.layers();
    let runs: Vec<RunSize> = layers.runs().iter().map(|run| (&**run).into()).collect();
    let policy = {
        let manifest = shared.manifest();
        Policy {
            merge_runs: shared.config.merge_runs.max(2),
            small: shared.config.compacted_layer / SMALL_PART,
            has_base: manifest.ancestor.is_none(),
            cutoff: manifest.gc_cutoff,
            last: manifest.disk_consistent_lsn,
        }
    };
    policy.choose(&runs)
}
