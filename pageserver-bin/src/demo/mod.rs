//! `pageserver demo`: the whole product on one machine, alone, against a throw-away stock PostgreSQL.
//! Every claim it prints was checked in the same run; the first that fails ends it.

mod figures;
mod scene;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use slog::Logger;
use stockpg::{Cluster, CompareOptions, Contents, PgInstall, amcheck, compare};
use walrecord::{Lsn, PgVersion};

use crate::checkout::{CheckoutJob, checkout};
use crate::cli::Demo;
use crate::truth::StoreSubject;
use figures::Figures;
use scene::Scene;

/// The version that the demo runs.
const VERSION: PgVersion = PgVersion::V15;

/// How long the store may take to have what the primary has.
const CATCH_UP: Duration = Duration::from_secs(120);

/// Runs the demo.
///
/// # Errors
/// With the first comparison that does not hold, or whatever else stands in the way.
pub fn demo(args: &Demo, log: &Logger) -> Result<()> {
    let begin = Instant::now();
    let install = match &args.pg_bin {
        Some(dir) => PgInstall::at(dir, VERSION)?,
        None => PgInstall::find(VERSION)?,
    };
    say(&format!(
        "stock PostgreSQL {}.{} from {}",
        install.version(),
        install.minor(),
        install.bin_dir().display()
    ));
    let mut figures = Figures::default();
    let mut scene = Scene::set(&install, log)?;
    let points = story(&mut scene, &mut figures)?;
    for point in &points {
        compare_with_stock(&scene, *point, &mut figures)?;
    }
    clone_the_past(&scene, points[1], &mut figures, log)?;
    figures.measure_page_stream(&scene)?;
    scene.primary_is_untouched()?;
    figures.print();
    if args.keep {
        say(&format!("kept: {}", scene.keep()?.display()));
    }
    say(&format!(
        "all comparisons held; {:.0} s",
        begin.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Imports while a workload runs, follows, and marks three moments: one soon long past, one in between, the
/// last. Returns their LSNs.
fn story(scene: &mut Scene, figures: &mut Figures) -> Result<Vec<Lsn>> {
    say(
        "a workload of OLTP, bulk loads, DDL, VACUUM, subtransactions, prepared transactions, ... begins",
    );
    scene.work()?;
    say("the page server imports the primary while the workload goes on");
    scene.import_during_work(figures)?;
    let mut points = vec![scene.mark()?];
    for _ in 0..2 {
        let from = scene.end()?;
        let begin = Instant::now();
        scene.work()?;
        let point = scene.mark()?;
        scene.timeline().wait_for(point, CATCH_UP)?;
        figures.streamed(point - from, begin.elapsed());
        points.push(point);
    }
    let last = points[points.len() - 1];
    scene.archive_through(last)?;
    scene.timeline().wait_for(last, CATCH_UP)?;
    figures.measure_decode(scene.timeline())?;
    Ok(points)
}

fn compare_with_stock(scene: &Scene, point: Lsn, figures: &mut Figures) -> Result<()> {
    let begin = Instant::now();
    let mut truth = scene.recovery().to(point)?;
    figures.stock_recovery(point, begin.elapsed());
    let end = scene.timeline().boundary(point)?.end;
    let mut subject = StoreSubject::new(scene.timeline().snapshot(end)?);
    let comparison = compare(&mut truth, &mut subject, &CompareOptions::default())?;
    comparison
        .must_be_equal()
        .with_context(|| format!("pages at {point}"))?;
    say(&format!(
        "at {point}: {} pages and {} status-log pages of {} forks equal stock recovery's, byte for byte; {} needed WAL, {} records ({})",
        comparison.relation_pages,
        comparison.slru_pages,
        comparison.forks,
        subject.rebuilt,
        subject.records,
        subject.rmgr_counts()
    ));
    ensure!(
        comparison.relation_pages > 1_000 && subject.rebuilt > 500,
        "the comparison is too small to mean anything"
    );
    figures.rebuilt(&subject);
    Ok(())
}

/// Checks a data directory out of the past, starts stock Postgres on it beside the primary, and compares
/// what SQL says with stock recovery to the same LSN.
fn clone_the_past(scene: &Scene, point: Lsn, figures: &mut Figures, log: &Logger) -> Result<()> {
    let dir = scene.home().join("clone");
    let job = CheckoutJob {
        dir: dir.clone(),
        lsn: Some(point),
        keep_config: false,
        tablespace_mapping: Vec::new(),
        port: None,
    };
    let begin = Instant::now();
    let done = checkout(scene.store(), scene.timeline(), &job, &mut |_| {}, log)?;
    figures.checkout(begin.elapsed(), done.bytes);
    let begin = Instant::now();
    let clone = Cluster::open(scene.install(), &dir, &[])?;
    figures.clone_started(begin.elapsed());
    let ours = Contents::read(clone.address())?;
    let theirs = scene.recovery().open(point)?;
    Contents::read(theirs.address())?
        .must_equal(&ours)
        .with_context(|| format!("the clone at {point}"))?;
    say(&format!(
        "a clone at {point} runs in stock PostgreSQL without replay: {} tables, {} rows, {} sequences, {} prepared transactions equal stock recovery's",
        ours.tables.len(),
        ours.rows(),
        ours.sequences.len(),
        ours.prepared.len()
    ));
    match amcheck(clone.address())? {
        Some(checked) => say(&format!(
            "amcheck finds no fault in {checked} relations of the clone"
        )),
        None => say("amcheck is not installed there: skipped"),
    }
    Ok(())
}

/// One line for the person who watches.
#[expect(clippy::print_stdout, reason = "this is the demo's output")]
fn say(line: &str) {
    println!("{line}");
}
