//! A long backlog of small changes, taken in while layers are compacted and pages are read, against
//! `pg_receivewal --synchronous` of the same backlog.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use pagecache::Timeline;
use walrecord::{ForkNumber, Lsn, RelFileLocator};

use crate::Bench;
use crate::ingest::{follow, import, open, our_slot, receive, receive_slot, wait_durable};
use crate::measure::{Round, peak_memory, report, reset_peak_memory, written_bytes};
use crate::reads::{Reads, Sampler, Shuffled, block, relation};
use crate::wal::{self, Sort};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// MiB of WAL in the backlog.
    #[arg(long, default_value_t = 20 << 10)]
    megabytes: u64,
    /// Reads for the comparison, when nothing else is done.
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
}

/// Pause between two reads while WAL is taken in: they are to be answered, not to compete.
const BETWEEN_READS: Duration = Duration::from_millis(2);

/// How often debt is looked at.
const LOOKS: u64 = 20;

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<()> {
    let cluster = wal::primary(bench, &[])?;
    wal::prepare(&cluster)?;
    let home = bench.home()?;
    import(bench, &cluster, home.path(), 0)?;
    cluster.client("postgres")?.execute(
        "SELECT pg_create_physical_replication_slot($1, true)",
        &[&receive_slot(0)],
    )?;
    let start = cluster.insert_lsn()?;
    let end = wal::write(&cluster, Sort::Small, options.megabytes << 20)?;
    let rels = [relation(&cluster, "wide")?, relation(&cluster, "small")?];

    reset_peak_memory();
    let written = written_bytes()?;
    let store = open(bench, home.path())?;
    let timeline = store.timeline(None, "main")?;
    let began = Instant::now();
    let following = follow(bench, &cluster, &timeline, &our_slot(0)?)?;
    let over = AtomicBool::new(false);
    let (ours, busy, debt) = thread::scope(|scope| -> Result<_> {
        let reading = scope.spawn(|| read_until(&timeline, &rels, &over));
        let watching = scope.spawn(|| watch(&timeline, start, end, &over));
        let done = wait_durable(&timeline, end);
        let seconds = began.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        let busy = reading.join().expect("reading does not panic")?;
        let debt = watching.join().expect("watching does not panic");
        done.map(|()| (seconds, busy, debt))
    })?;
    following.stop();
    timeline.checkpoint(Duration::from_secs(3600))?;
    timeline.compact(false)?;
    let wal_bytes = end.saturating_sub(start);
    println!(
        "ingest with compaction: {:.2} bytes written for each of WAL, its own among them; peak memory {} MiB",
        (written_bytes()? - written) as f64 / wal_bytes as f64,
        peak_memory()?
    );
    let mut idle = Pages::new(&timeline, &rels);
    for _ in 0..options.requests {
        idle.read_one()?;
    }
    let idle = idle.sampler.figures();
    println!(
        "ingest with compaction: read meanwhile {busy}; idle {idle}; p99 {:.1} times",
        busy.p99 / idle.p99
    );
    for look in &debt {
        println!("{look}");
    }
    store.close();
    drop(home);
    let stock = receive(bench, &cluster, 0, end)?;
    report(
        "ingest with compaction",
        &[Round { ours, stock }],
        wal_bytes,
    );
    Ok(())
}

/// Reads of pages all over some relations at the newest LSN.
struct Pages<'a> {
    timeline: &'a Timeline,
    rels: &'a [RelFileLocator],
    order: Shuffled,
    sampler: Sampler,
}

impl<'a> Pages<'a> {
    fn new(timeline: &'a Timeline, rels: &'a [RelFileLocator]) -> Pages<'a> {
        Pages {
            timeline,
            rels,
            order: Shuffled::new(),
            sampler: Sampler::default(),
        }
    }

    fn read_one(&mut self) -> Result<()> {
        let lsn = self.timeline.progress().last_record;
        let rel = self.rels[self.order.below(self.rels.len() as u64) as usize];
        let blocks = self
            .timeline
            .snapshot(lsn)?
            .fork_blocks(rel, ForkNumber::Main)?
            .unwrap_or_default();
        if blocks == 0 {
            return Ok(());
        }
        let number = self.order.below(u64::from(blocks)) as u32;
        self.sampler.read(self.timeline, block(rel, number), lsn)
    }
}

fn read_until(timeline: &Timeline, rels: &[RelFileLocator], over: &AtomicBool) -> Result<Reads> {
    let mut pages = Pages::new(timeline, rels);
    while !over.load(Ordering::Relaxed) {
        pages.read_one()?;
        thread::sleep(BETWEEN_READS);
    }
    Ok(pages.sampler.figures())
}

/// What is still to be done at points of the way.
fn watch(timeline: &Timeline, start: Lsn, end: Lsn, over: &AtomicBool) -> Vec<String> {
    let mut looks = Vec::new();
    let step = end.saturating_sub(start) / LOOKS;
    let began = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let progress = timeline.progress();
        let done = progress.last_record.saturating_sub(start);
        if done >= step * looks.len() as u64 {
            let sizes = timeline.sizes();
            looks.push(format!(
                "debt after {} MiB ({:.0} s): {} MiB not indexed, {} MiB not in layers, {} runs, {} layers of {} MiB",
                done >> 20,
                began.elapsed().as_secs_f64(),
                progress.written.saturating_sub(progress.last_record) >> 20,
                progress.last_record.saturating_sub(progress.disk_consistent) >> 20,
                sizes.runs,
                sizes.layers,
                sizes.layer_bytes >> 20,
            ));
        }
        thread::sleep(Duration::from_millis(100));
    }
    looks
}
