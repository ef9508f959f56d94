//! Time to take in a backlog of WAL that a primary holds for a slot, until all of it is synced and
//! readable, against `pg_receivewal --synchronous` of the same backlog.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use pagecache::storage::LocalStorage;
use pagecache::{Progress, Store, StoreConfig, Timeline};
use pageserver_bin::cli::PeerKind;
use pageserver_bin::import::{LiveImport, import_live};
use pageserver_bin::receivers::{Feed, Following};
use pageserver_bin::stop::Stop;
use stockpg::{Cluster, Scratch};
use walreceiver::SlotName;
use walrecord::Lsn;

use crate::Bench;
use crate::measure::{Round, peak_memory, report, reset_peak_memory, run as run_command};
use crate::wal::{self, Sort};

/// How long one side may take.
const LIMIT: Duration = Duration::from_secs(1800);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// MiB of WAL in the backlog.
    #[arg(long, default_value_t = 2048)]
    megabytes: u64,
    /// What the WAL is made of; by default, one after the other.
    #[arg(long, value_enum)]
    sort: Option<Sort>,
}

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<()> {
    for sort in [Sort::Small, Sort::Images] {
        if options.sort.is_none_or(|wanted| wanted == sort) {
            backlog(bench, sort, options.megabytes << 20)?;
        }
    }
    Ok(())
}

/// One backlog: every round has its own imported store and its own slots, made before the WAL was.
fn backlog(bench: &Bench, sort: Sort, bytes: u64) -> Result<()> {
    let cluster = wal::primary(bench, &[])?;
    wal::prepare(&cluster)?;
    let mut homes = Vec::new();
    for number in 0..bench.rounds {
        let home = bench.home()?;
        import(bench, &cluster, home.path(), number)?;
        let slot = receive_slot(number);
        cluster.client("postgres")?.execute(
            "SELECT pg_create_physical_replication_slot($1, true)",
            &[&slot],
        )?;
        homes.push(home);
    }
    let start = cluster.insert_lsn()?;
    let end = wal::write(&cluster, sort, bytes)?;
    let mut rounds = Vec::new();
    let mut peak = 0;
    for (number, home) in homes.into_iter().enumerate() {
        reset_peak_memory();
        let ours = ingest(bench, &cluster, home.path(), number, end)?;
        peak = peak.max(peak_memory()?);
        drop(home);
        let stock = receive(bench, &cluster, number, end)?;
        println!("round {number}: ours {ours:.1} s, pg_receivewal {stock:.1} s");
        rounds.push(Round { ours, stock });
    }
    report(
        &format!("ingest, {sort:?}"),
        &rounds,
        end.saturating_sub(start),
    );
    println!("peak memory of the ingest: {peak} MiB");
    Ok(())
}

pub(crate) fn our_slot(number: usize) -> Result<SlotName> {
    Ok(format!("ours_{number}").parse()?)
}

pub(crate) fn receive_slot(number: usize) -> String {
    format!("receive_{number}")
}

pub(crate) fn open(bench: &Bench, home: &Path) -> Result<Store> {
    let storage = Arc::new(LocalStorage::new(home)?);
    Ok(Store::open(
        storage,
        StoreConfig::default(),
        bench.log.clone(),
    )?)
}

pub(crate) fn import(bench: &Bench, cluster: &Cluster, home: &Path, number: usize) -> Result<()> {
    let store = open(bench, home)?;
    let import = LiveImport {
        conninfo: cluster.address().conninfo("postgres").parse()?,
        name: "main".to_owned(),
        slot: our_slot(number)?,
        tee: None,
    };
    import_live(&store, &import, &Stop::default(), |_| {}, &bench.log)?;
    store.close();
    Ok(())
}

fn ingest(bench: &Bench, cluster: &Cluster, home: &Path, number: usize, end: Lsn) -> Result<f64> {
    let store = open(bench, home)?;
    let timeline = store.timeline(None, "main")?;
    timeline.wait_examined(LIMIT)?;
    let began = Instant::now();
    let following = follow(bench, cluster, &timeline, &our_slot(number)?)?;
    let done = wait_durable(&timeline, end);
    let seconds = began.elapsed().as_secs_f64();
    following.stop();
    store.close();
    done.map(|()| seconds)
}

pub(crate) fn follow(
    bench: &Bench,
    cluster: &Cluster,
    timeline: &Timeline,
    slot: &SlotName,
) -> Result<Following> {
    let feed = Feed {
        conninfo: cluster.address().conninfo("postgres").parse()?,
        slot: slot.clone(),
        peer: PeerKind::Postgres,
    };
    Following::start(timeline, &feed, &bench.log)
}

/// Waits until everything up to `end` is synced and readable.
pub(crate) fn wait_durable(timeline: &Timeline, end: Lsn) -> Result<()> {
    let is_there = move |progress: &Progress| progress.last_record >= end && progress.synced >= end;
    let changed = Arc::new((Mutex::new(()), Condvar::new()));
    let other = Arc::clone(&changed);
    timeline.on_progress(Box::new(move |progress| {
        if is_there(progress) {
            let _held = other.0.lock().unwrap_or_else(PoisonError::into_inner);
            other.1.notify_all();
        }
    }));
    let began = Instant::now();
    let mut held = changed.0.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if is_there(&timeline.progress()) {
            return Ok(());
        }
        if let Some(failure) = timeline.failure() {
            anyhow::bail!("indexing failed: {failure}");
        }
        let left = LIMIT.checked_sub(began.elapsed()).context("too slow")?;
        // Not longer than a second, because a failure is no progress.
        held = changed
            .1
            .wait_timeout(held, left.min(Duration::from_secs(1)))
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}

pub(crate) fn receive(bench: &Bench, cluster: &Cluster, number: usize, end: Lsn) -> Result<f64> {
    let home = Scratch::new(&bench.install.user(), bench.dir.as_deref())?;
    let mut command = bench.install.command("pg_receivewal");
    command
        .args(["--synchronous", "--no-loop", "-S"])
        .arg(receive_slot(number))
        .arg(format!("--endpos={end}"))
        .arg("-d")
        .arg(cluster.address().conninfo("postgres"))
        .arg("-D")
        .arg(home.path());
    let began = Instant::now();
    run_command(&mut command)?;
    Ok(began.elapsed().as_secs_f64())
}
