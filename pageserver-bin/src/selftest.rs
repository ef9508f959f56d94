//! `run --self-test-interval`: rebuilds random pages at random LSNs, by two paths, and compares.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use pagecache::{Snapshot, Store};
use slog::{Logger, crit, info, warn};
use stockpg::Random;
use walrecord::{BlockTag, ForkNumber, Lsn, PageKey};

use crate::stop::Stop;

/// Starts the self-test's thread.
///
/// # Errors
/// If the system gives no thread.
pub(crate) fn start(
    store: &Arc<Store>,
    period: Duration,
    stop: &Stop,
    log: &Logger,
) -> Result<JoinHandle<()>> {
    let (store, stop, log) = (Arc::clone(store), stop.clone(), log.clone());
    let seed = std::process::id().into();
    let handle = std::thread::Builder::new()
        .name("self-test".to_owned())
        .spawn(move || {
            let mut random = Random::new(seed);
            while !stop.wait(period) {
                if let Err(error) = round(&store, &mut random, &log) {
                    crit!(log, "self-test failed"; "error" => format!("{error:#}"));
                }
            }
        })?;
    Ok(handle)
}

/// One page of each timeline.
fn round(store: &Store, random: &mut Random, log: &Logger) -> Result<()> {
    for timeline in store.timelines() {
        let progress = timeline.progress();
        let (from, to) = (progress.readable_from, progress.last_record);
        if to < from {
            continue;
        }
        let asked = Lsn::new(from.get() + random.below(to - from + 1));
        let lsn = timeline.boundary(asked)?.end.clamp(from, to);
        let snapshot = timeline.snapshot(lsn)?;
        let Some(tag) = random_page(&snapshot, random)? else {
            warn!(log, "self-test found no page"; "lsn" => %lsn);
            continue;
        };
        check(&snapshot, tag, log)?;
    }
    Ok(())
}

fn random_page(snapshot: &Snapshot, random: &mut Random) -> Result<Option<BlockTag>> {
    let mut forks = snapshot.forks()?;
    forks.retain(|fork| fork.blocks > 0 && fork.fork != ForkNumber::Fsm);
    if forks.is_empty() {
        return Ok(None);
    }
    let fork = forks[random.below(forks.len() as u64) as usize];
    Ok(Some(BlockTag {
        rel: fork.rel,
        fork: fork.fork,
        block: random.below(fork.blocks.into()) as u32,
    }))
}

fn check(snapshot: &Snapshot, tag: BlockTag, log: &Logger) -> Result<()> {
    let key = PageKey::Block(tag);
    let begin = Instant::now();
    let (page, stats) = snapshot
        .page(key)
        .with_context(|| format!("{tag} at {}", snapshot.lsn()))?;
    let took = begin.elapsed();
    let (again, _) = snapshot
        .page_uncached(key)
        .with_context(|| format!("{tag} at {} without caches", snapshot.lsn()))?;
    if page != again {
        bail!(
            "{tag} at {}: two ways of rebuilding the page differ",
            snapshot.lsn()
        );
    }
    info!(log, "self-test passed"; "block" => %tag, "lsn" => %snapshot.lsn(),
        "records" => stats.records, "microseconds" => took.as_micros() as u64);
    Ok(())
}
