//! A compaction from its first key to its last: what is done counts file by file, and goes on where it stood
//! after a crash.

use std::sync::Arc;
use std::time::Duration;

use slog::warn;
use walrecord::Lsn;

use super::effort::Effort;
use super::merge::Merge;
use super::output::Outputs;
use super::retention::Retention;
use super::rewrite::Rewriter;
use crate::error::StoreError;
use crate::key::Key;
use crate::layer::{LayerId, RunId};
use crate::manifest::Rewrite;
use crate::timeline::shared::Shared;
use crate::timeline::stored_layer::StoredLayer;

/// Keys after which a compaction looks whether others wait for it.
const KEYS_PER_LOOK: u64 = 256;

/// How long compaction stands back before it looks again.
const MOMENT: Duration = Duration::from_millis(50);

/// Begins to rewrite `from` as one run, durably: from now on it is what the timeline is doing. Only whoever
/// holds `compacting` may.
pub(super) fn begin(shared: &Shared, mut from: Vec<RunId>) -> Result<(), StoreError> {
    from.sort_unstable();
    shared.change_manifest(|manifest| {
        let into = RunId::new(manifest.next_layer.get());
        manifest.next_layer = LayerId::new(manifest.next_layer.get() + 1);
        let cutoff = shared.cutoff_of_merges(manifest);
        // Asked for behind the cutoff: what comes to be held below it was held, or is refused.
        let points = shared.retained_points();
        let below = |point: &Lsn| *point < cutoff;
        manifest.rewrite = Some(Rewrite {
            from,
            into,
            done: Key::all().start,
            cutoff,
            points: points.into_iter().filter(below).collect(),
        });
    })
}

/// Whether what was begun cannot go on: a layer that it reads is damaged, or it gives up versions and nobody can
/// tell any more whether it may.
pub(super) fn is_stuck(shared: &Shared, rewrite: &Rewrite) -> bool {
    let layers = shared.layers();
    let inputs = layers.files().filter(|(run, _)| rewrite.from.contains(run));
    let mut to_come = inputs.filter(|(_, layer)| layer.summary().last_key >= rewrite.done);
    let gives_up = rewrite.cutoff != Lsn::INVALID;
    to_come.any(|(_, layer)| layer.damage().is_some())
        || (gives_up && shared.history_held().is_some())
}

/// After damage stopped it: holds what is to be kept, if the damage is not in what is merged but where that is
/// looked up. It is stuck then.
pub(super) fn account_for(
    shared: &Shared,
    rewrite: &Rewrite,
    damage: StoreError,
) -> Result<(), StoreError> {
    if !is_stuck(shared, rewrite) {
        if shared.history_held().is_some() {
            return Err(damage);
        }
        shared.hold_history(Arc::new(damage));
    }
    Ok(())
}

/// Gives up what is stuck, as if it had not been begun. Returns false if some of it counts already: then it stays as
/// far as it is, for readers know how to read that.
pub(super) fn give_up(shared: &Shared, rewrite: &Rewrite) -> Result<bool, StoreError> {
    if rewrite.done != Key::all().start {
        return Ok(false);
    }
    shared.change_manifest(|manifest| manifest.rewrite = None)?;
    shared.change_layers(|set| {
        let files: Vec<_> = set
            .files()
            .map(|(run, layer)| (run, Arc::clone(layer)))
            .collect();
        set.set_files(files, None);
    });
    Ok(true)
}

/// Goes on with what was begun, by the effort that `effort` says for each file. Returns whether it came to its end:
/// if the timeline stops, it does not.
pub(super) fn go_on(
    shared: &Arc<Shared>,
    rewrite: &Rewrite,
    effort: impl Fn() -> Effort,
) -> Result<bool, StoreError> {
    let layers = shared.layers();
    // What was made so far may be all that is left of the oldest.
    let mut older = layers.runs().iter().rev().map(|run| run.id());
    let oldest = older.find(|run| *run != rewrite.into);
    let is_bottom = shared.manifest().ancestor.is_none()
        && oldest.is_none_or(|run| rewrite.from.contains(&run));
    let inputs: Vec<Arc<StoredLayer>> = layers
        .files()
        .filter(|(run, _)| rewrite.from.contains(run))
        .map(|(_, layer)| Arc::clone(layer))
        .collect();
    let retention = Retention::new(rewrite.cutoff, &rewrite.points, &shared.directories);
    let summaries = || inputs.iter().map(|layer| layer.summary());
    let min = summaries().map(|it| it.min_lsn).min().unwrap_or(Lsn::MAX);
    let lsns = min..=summaries().map(|it| it.max_lsn).max().unwrap_or_default();
    let mut rewriter = Rewriter::new(shared, layers, retention, is_bottom, &lsns);
    let mut merge = Merge::new(inputs.iter(), rewrite.done);
    let mut out = Outputs::new(shared, effort());
    let mut keys = 0_u64;
    while let Some(key) = merge.peek()? {
        if keys.is_multiple_of(KEYS_PER_LOOK) && !wait_for_ingest(shared) {
            return Ok(false);
        }
        keys += 1;
        if out.is_due(&key) {
            publish(shared, rewrite, out.finish_file(effort())?, Some(key))?;
            rewriter.layers = shared.layers();
        }
        if let Some(block) = rewriter.whole_block(&mut merge, out.effort())? {
            out.add_block(block)?;
            merge.leave_block()?;
            continue;
        }
        rewriter.key(&key, &mut merge, &mut out)?;
    }
    publish(shared, rewrite, out.finish_file(effort())?, None)?;
    Ok(true)
}

/// Stands back while layers wait to be written, unless runs have become too many for reads; a full disk, which
/// compaction may free, is not waited for. Returns false if the timeline stops.
fn wait_for_ingest(shared: &Shared) -> bool {
    let goes_before = || {
        let layers = shared.layers();
        !layers.frozen.is_empty()
            && layers.runs().len() < shared.config.hurried_runs
            && shared.tracker.flush_failure().is_none()
    };
    while goes_before() {
        if shared.tracker.pause(MOMENT) {
            return false;
        }
    }
    !shared.tracker.is_stopping()
}

/// Makes it count that everything below `done` (everything, if there is none) is in the new run, whose newest
/// layer is `layer`; then removes the files that hold nothing else.
fn publish(
    shared: &Shared,
    rewrite: &Rewrite,
    layer: Option<Arc<StoredLayer>>,
    done: Option<Key>,
) -> Result<(), StoreError> {
    let is_over =
        |run: RunId, last: Key| rewrite.from.contains(&run) && done.is_none_or(|done| last < done);
    let next = done.map(|done| Rewrite {
        done,
        ..rewrite.clone()
    });
    let mut gone = Vec::new();
    shared.change_manifest(|manifest| {
        manifest.layers.retain(|record| {
            let stays = !is_over(record.run, record.summary.last_key);
            if !stays {
                gone.push(record.id);
            }
            stays
        });
        if let Some(layer) = &layer {
            manifest.layers.push(layer.manifest_record(rewrite.into));
            manifest.layers.sort_by_key(|layer| layer.id);
        }
        manifest.rewrite.clone_from(&next);
    })?;
    shared.change_layers(|set| {
        let mut files: Vec<_> = set
            .files()
            .filter(|(run, layer)| !is_over(*run, layer.summary().last_key))
            .map(|(run, layer)| (run, Arc::clone(layer)))
            .collect();
        files.extend(layer.map(|layer| (rewrite.into, layer)));
        set.set_files(files, next.as_ref());
    });
    remove(shared, &gone);
    Ok(())
}

/// Removes layer files that the manifest does not name any more. One that cannot be removed is a stray, for the
/// next start.
fn remove(shared: &Shared, layers: &[LayerId]) {
    // Whoever opens the files of the present layers holds it.
    let _manifest = shared.manifest();
    for id in layers {
        let path = shared.paths.layer(*id);
        if let Err(error) = shared.storage.remove_file(&path) {
            warn!(shared.log, "a layer file stays behind"; "path" => %path.display(), "error" => %error);
        }
    }
}
