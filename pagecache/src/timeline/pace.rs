//! How indexing stands back when those behind it do not keep up: WAL is taken in, synced and acknowledged all the
//! same, and becomes readable later. Serves the thread that indexes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::progress::News;
use super::shared::Shared;

/// Indexing slows when there are more than so many times the runs that are merged at once: each is one more for
/// reads to look through.
const SLOW_RUNS: usize = 6;

/// It waits for compaction while there are so many times more.
const MAX_RUNS: usize = 8;

/// The pause for one layer just below that. With each run fewer it is shorter by the same, so that indexing comes
/// to the pace of compaction rather than to a halt.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How long indexing has stood back since the timeline was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct IndexingWaits {
    /// For layers to be written, the memory for those that wait being full.
    pub layers: Duration,
    /// For compaction, there being many runs of layers.
    pub compaction: Duration,
}

/// Counts what [`IndexingWaits`] tells, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct WaitCounters {
    layers: AtomicU64,
    compaction: AtomicU64,
}

impl WaitCounters {
    pub(crate) fn get(&self) -> IndexingWaits {
        let read = |counter: &AtomicU64| Duration::from_micros(counter.load(Ordering::Relaxed));
        IndexingWaits {
            layers: read(&self.layers),
            compaction: read(&self.compaction),
        }
    }
}

fn count(counter: &AtomicU64, since: Instant) {
    let waited = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
    counter.fetch_add(waited, Ordering::Relaxed);
}

/// Waits until one more layer, of so many bytes in memory, may wait to be written; less if the timeline stops.
pub(crate) fn stand_back(shared: &Shared, memory: usize) {
    let begin = Instant::now();
    shared.tracker.wait_while(News::Layers, |_| {
        let layers = shared.layers();
        !layers.frozen.is_empty() && layers.frozen_memory() + memory > shared.config.frozen_memory
    });
    count(&shared.index_waits.layers, begin);

    // What is there at a start is not kept waiting for compaction: no WAL is taken before it was looked at.
    if !shared.is_complete() || !shared.is_tail_settled() {
        return;
    }
    let pause = || match is_hindered(shared) {
        true => Duration::ZERO,
        false => pause(shared.layers().runs().len(), shared.config.merge_runs),
    };
    let begin = Instant::now();
    shared
        .tracker
        .wait_while_within(News::Layers, pause(), |_| begin.elapsed() < pause());
    let tracker = &shared.tracker;
    tracker.wait_while(News::Layers, |_| pause() >= LONGEST_PAUSE);
    count(&shared.index_waits.compaction, begin);
}

/// The pause before one more layer when there are so many runs.
fn pause(runs: usize, merge_runs: usize) -> Duration {
    let slow = merge_runs.saturating_mul(SLOW_RUNS);
    let most = merge_runs.saturating_mul(MAX_RUNS);
    if runs >= most {
        return LONGEST_PAUSE;
    }
    let above = runs.saturating_sub(slow) as f64;
    LONGEST_PAUSE.mul_f64(above / (most - slow).max(1) as f64)
}

/// Whether damage may keep compaction from ever catching up.
fn is_hindered(shared: &Shared) -> bool {
    let layers = shared.layers();
    shared.history_held().is_some() || layers.runs().iter().any(|run| run.is_damaged())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_each_run_up_to_where_indexing_waits() {
        assert_eq!(pause(36, 6), Duration::ZERO);
        for runs in 37..=48 {
            assert!(pause(runs, 6) > pause(runs - 1, 6), "{runs}");
        }
        assert!(pause(47, 6) < LONGEST_PAUSE);
        assert_eq!(pause(48, 6), LONGEST_PAUSE);
        assert_eq!(pause(1000, 6), LONGEST_PAUSE);
    }

    #[test]
    fn whoever_never_merges_never_waits_for_it() {
        assert_eq!(pause(1000, usize::MAX), Duration::ZERO);
    }
}
