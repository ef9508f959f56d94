//! Redo of WAL files on pages in memory, against the startup process of stock recovery: the same WAL on the
//! same base backup.

mod cost;
mod division;
mod memory;
mod pages;
mod replay;
mod stock;
mod wal;
mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use stockpg::{RecoveredDir, TruthSubject};
use walrecord::{ForkNumber, Lsn, Page, PageKey, PgVersion, RedoRules};
use walredo::{clear_checksum, is_zero, page_lsn};

use self::pages::Pages;
use self::replay::Job;
use self::workload::{History, Mix};
use crate::Bench;
use crate::measure::{load_average, median, own_cpu};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// MiB of WAL, of each sort.
    #[arg(long, default_value_t = 512)]
    megabytes: u64,
    /// What the WAL is made of; by default, one after the other.
    #[arg(long, value_enum)]
    mix: Option<Mix>,
    /// Show instead what each kind of record costs, in nanoseconds, and a page with 20 changes.
    #[arg(long)]
    per_record: bool,
}

/// One replay, in a process of its own.
#[derive(Debug, Args)]
pub(crate) struct ReplayOptions {
    /// The base backup.
    #[arg(long)]
    base: PathBuf,
    /// Where its replay begins.
    #[arg(long)]
    start: Lsn,
    /// The minor release of the server.
    #[arg(long)]
    minor: u16,
    /// How many threads apply records.
    #[arg(long)]
    threads: u32,
    /// A data directory that must hold the same pages afterwards.
    #[arg(long)]
    compare: Option<PathBuf>,
    /// Measure records one by one, and print a table.
    #[arg(long)]
    per_record: bool,
    /// Segment files.
    files: Vec<PathBuf>,
}

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<()> {
    let mut mixes = vec![Mix::Oltp, Mix::Images, Mix::Bulk];
    if options.per_record {
        mixes.push(Mix::Indexes);
    }
    if let Some(mix) = options.mix {
        mixes = vec![mix];
    }
    for mix in mixes {
        let history = History::new(bench, mix, options.megabytes << 20)?;
        if options.per_record {
            println!("{mix:?}");
            print!(
                "{}",
                replay_apart(bench, &history, &["--threads=1", "--per-record"])?
            );
            continue;
        }
        let rounds = (0..bench.rounds)
            .map(|number| round(bench, &history, number))
            .collect::<Result<Vec<_>>>()?;
        report(mix, &rounds);
    }
    Ok(())
}

/// What a round measured, in seconds.
struct Round {
    records: f64,
    stock: f64,
    cpu: f64,
    elapsed: f64,
    elapsed_by_two: f64,
    cpu_by_two: f64,
    /// Of two replays that have nothing to do with one another, at the same time; the mean of both.
    elapsed_abreast: f64,
}

/// The first round also compares all pages with those that recovery left.
fn round(bench: &Bench, history: &History, number: usize) -> Result<Round> {
    let recovered = stock::recover(bench, history)?;
    let compare = format!("--compare={}", recovered.data().display());
    let measured = |threads: &str| -> Result<BTreeMap<String, f64>> {
        let mut arguments = vec![threads];
        if number == 0 {
            arguments.push(&compare);
        }
        let said = replay_apart(bench, history, &arguments)?;
        if number == 0 {
            println!("{threads}: {said}");
        }
        Ok(serde_json::from_str(&said)?)
    };
    let (one, two) = (measured("--threads=1")?, measured("--threads=2")?);
    ensure!(one["records"] == two["records"] && one["changes"] == two["changes"]);
    let elapsed_abreast = thread::scope(|scope| -> Result<f64> {
        let alone = || -> Result<f64> {
            let said = replay_apart(bench, history, &["--threads=1"])?;
            let said: BTreeMap<String, f64> = serde_json::from_str(&said)?;
            Ok(said["elapsed"])
        };
        let other = scope.spawn(alone);
        let this = alone()?;
        Ok((this + other.join().expect("measuring does not panic")?) / 2.0)
    })?;
    Ok(Round {
        records: one["records"],
        stock: recovered.cpu,
        cpu: one["cpu"],
        elapsed: one["elapsed"],
        elapsed_by_two: two["elapsed"],
        cpu_by_two: two["cpu"],
        elapsed_abreast,
    })
}

fn report(mix: Mix, rounds: &[Round]) {
    let of = |value: fn(&Round) -> f64| {
        let all = || rounds.iter().map(value);
        let (least, most) = (
            all().fold(f64::INFINITY, f64::min),
            all().fold(0.0, f64::max),
        );
        (median(all()), least, most)
    };
    let (faster, least, most) = of(|it| it.stock / it.cpu);
    println!(
        "redo, {mix:?}, {:.0} records: ours {:.3} s of CPU time ({:.2} M records/s), stock {:.3} s ({:.2} M records/s): {faster:.2} times as many records per CPU second ({least:.2} to {most:.2})",
        of(|it| it.records).0,
        of(|it| it.cpu).0,
        of(|it| it.records / it.cpu / 1e6).0,
        of(|it| it.stock).0,
        of(|it| it.records / it.stock / 1e6).0,
    );
    let (faster, least, most) = of(|it| it.elapsed / it.elapsed_by_two);
    println!(
        "redo, {mix:?}, two threads: {:.3} s elapsed ({:.3} s of CPU time) against {:.3} s: {faster:.2} times as fast ({least:.2} to {most:.2}); load {}",
        of(|it| it.elapsed_by_two).0,
        of(|it| it.cpu_by_two).0,
        of(|it| it.elapsed).0,
        load_average(),
    );
    let (most_possible, ..) = of(|it| 2.0 * it.elapsed / it.elapsed_abreast);
    println!(
        "redo, {mix:?}, two replays abreast that share nothing: {most_possible:.2} times the work of one in its time"
    );
}

/// Replays in a process of its own, and gives what it said.
fn replay_apart(bench: &Bench, history: &History, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("replay-files")
        .arg("--base")
        .arg(history.backup.dir())
        .arg(format!("--start={}", history.backup.start_lsn()))
        .arg(format!("--minor={}", bench.install.minor()))
        .args(arguments)
        .args(&history.files);
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "replaying failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Replays segment files and says what it took.
///
/// # Errors
/// If replay fails, or a page is not the one that recovery left.
pub(crate) fn replay_files(options: &ReplayOptions) -> Result<()> {
    let job = Job {
        base: Arc::new(RecoveredDir::open(&options.base)?),
        files: options.files.clone(),
        start: options.start,
        rules: RedoRules {
            version: PgVersion::V15,
            minor: options.minor,
            hint_bits_logged: false,
        },
    };
    if options.per_record {
        return cost::measure(&job);
    }
    let began = Instant::now();
    let cpu = own_cpu();
    let (pages, counts) = replay::replay(&job, options.threads)?;
    let (cpu, elapsed) = (own_cpu() - cpu, began.elapsed());
    let mut said = json!({
        "records": counts.records,
        "changes": counts.changes,
        "missing": counts.missing,
        "pages": pages.iter().map(Pages::len).sum::<usize>(),
        "cpu": cpu.as_secs_f64(),
        "elapsed": elapsed.as_secs_f64(),
    });
    if let Some(dir) = &options.compare {
        said["compared"] = compare(&pages, dir)?;
    }
    println!("{said}");
    Ok(())
}

/// Holds the pages against those of a recovered directory; gives how many were equal.
fn compare(shares: &[Pages], dir: &Path) -> Result<Value> {
    let mut recovered = RecoveredDir::open(dir)?;
    let mut equal = 0u64;
    for (key, page) in shares.iter().flat_map(Pages::iter) {
        if matches!(key, PageKey::Block(tag) if tag.fork == ForkNumber::Fsm) || is_blank(&key, page)
        {
            continue;
        }
        let mut expected = match key {
            PageKey::Block(tag) => recovered.page(tag),
            PageKey::Slru(page) => recovered.slru_page(page),
        }
        .with_context(|| format!("{key} after recovery"))?;
        let mut page = *page;
        if let PageKey::Block(_) = key {
            clear_checksum(&mut page);
            clear_checksum(&mut expected);
        }
        let first = page.iter().zip(&expected).position(|(a, b)| a != b);
        ensure!(
            first.is_none(),
            "{key} differs from what recovery left, first at {first:?}"
        );
        equal += 1;
    }
    ensure!(equal > 0, "no page was compared");
    Ok(equal.into())
}

/// Recovery leaves it to chance whether such a page is written: all zeros, or a visibility map's without a bit.
fn is_blank(key: &PageKey, page: &Page) -> bool {
    let map = matches!(key, PageKey::Block(tag) if tag.fork == ForkNumber::Vm);
    is_zero(page) || map && page_lsn(page) == Lsn::INVALID && page[24..].iter().all(|it| *it == 0)
}
