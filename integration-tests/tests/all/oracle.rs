//! Every page equals, byte for byte, what stock recovery of the same backup with the same WAL makes: live import
//! under load, streaming, reads through all layers, at several LSNs, of every major version. And a clone of one of
//! these LSNs holds what stock recovery to it holds.

use std::thread;

use anyhow::{Result, ensure};
use integration_tests::{Floors, PATIENCE, Scene, Truths, logger, open_store};
use pagecache::{NewBranch, Store, StoreConfig, Timeline};
use pageserver_bin::import::{LiveImport, import_live};
use pageserver_bin::receivers::Following;
use pageserver_bin::stop::Stop;
use stockpg::{BackupSource, InitOptions, PgInstall, Workload};
use walrecord::{Lsn, PgVersion, Rmgr, TimelineId};

/// Rounds of the workload after the import. After each, pages are compared.
const ROUNDS: usize = 2;

/// The same of the long form.
const LONG_ROUNDS: usize = 8;

/// Over two LSNs. A run has about double these numbers; far fewer mean that the workload no longer does what
/// it is for, or that pages no longer need WAL to be rebuilt.
const FLOORS: Floors<'static> = Floors {
    compared: 12_000,
    rebuilt: 4_000,
    records: 100_000,
    by_rmgr: &[
        (Rmgr::Heap, 50_000),
        (Rmgr::Heap2, 2_000),
        (Rmgr::Btree, 20_000),
        (Rmgr::Hash, 3_000),
        (Rmgr::Gin, 100),
        (Rmgr::Gist, 3_000),
        (Rmgr::SpGist, 300),
        (Rmgr::Brin, 100),
        (Rmgr::Generic, 100),
        (Rmgr::Xlog, 500),
        // Few pages, each with as many records as come before where a layer happens to be cut.
        (Rmgr::Transaction, 100),
        (Rmgr::CommitTs, 10),
        (Rmgr::Sequence, 10),
        (Rmgr::MultiXact, 10),
    ],
};

/// The same of a cluster without full-page writes: where there are some, every checkpoint cuts short what pages need.
const FLOORS_WITHOUT_IMAGES: Floors<'static> = Floors {
    by_rmgr: &[
        (Rmgr::Hash, 10_000),
        (Rmgr::Gist, 10_000),
        (Rmgr::SpGist, 4_000),
        (Rmgr::Gin, 300),
        (Rmgr::Brin, 400),
        (Rmgr::Generic, 300),
    ],
    ..FLOORS
};

#[test]
fn live_import_and_stream_equal_stock_recovery() -> Result<()> {
    equal_stock(&PgInstall::tested()?, plain(), ROUNDS)
}

/// With checksums, hint bits are WAL-logged and every page carries a checksum that must be right, too.
#[test]
fn pages_with_checksums_equal_stock_recovery() -> Result<()> {
    equal_stock(&PgInstall::tested()?, checksums(), ROUNDS)
}

/// Without full-page writes no image in the WAL heals a page that redo got wrong.
#[test]
fn pages_without_full_page_writes_equal_stock_recovery() -> Result<()> {
    equal_stock(&PgInstall::tested()?, no_images(), ROUNDS)
}

#[test]
fn postgres_14_equals_stock_recovery() -> Result<()> {
    equal_stock(&PgInstall::find(PgVersion::V14)?, no_images(), ROUNDS)
}

#[test]
fn postgres_16_equals_stock_recovery() -> Result<()> {
    equal_stock(&PgInstall::find(PgVersion::V16)?, no_images(), ROUNDS)
}

#[test]
fn postgres_17_equals_stock_recovery() -> Result<()> {
    equal_stock(&PgInstall::find(PgVersion::V17)?, no_images(), ROUNDS)
}

/// Checksums are what `initdb` of 18 makes.
#[test]
fn postgres_18_equals_stock_recovery() -> Result<()> {
    let options = InitOptions {
        checksums: true,
        ..no_images()
    };
    equal_stock(&PgInstall::find(PgVersion::V18)?, options, ROUNDS)
}

#[test]
#[ignore = "a quarter of an hour: three kinds of cluster, at eight LSNs"]
fn every_kind_of_cluster_of_14_equals_stock_recovery() -> Result<()> {
    every_kind_equals_stock(PgVersion::V14)
}

#[test]
#[ignore = "a quarter of an hour: three kinds of cluster, at eight LSNs"]
fn every_kind_of_cluster_of_15_equals_stock_recovery() -> Result<()> {
    every_kind_equals_stock(PgVersion::V15)
}

#[test]
#[ignore = "a quarter of an hour: three kinds of cluster, at eight LSNs"]
fn every_kind_of_cluster_of_16_equals_stock_recovery() -> Result<()> {
    every_kind_equals_stock(PgVersion::V16)
}

#[test]
#[ignore = "a quarter of an hour: three kinds of cluster, at eight LSNs"]
fn every_kind_of_cluster_of_17_equals_stock_recovery() -> Result<()> {
    every_kind_equals_stock(PgVersion::V17)
}

#[test]
#[ignore = "a quarter of an hour: three kinds of cluster, at eight LSNs"]
fn every_kind_of_cluster_of_18_equals_stock_recovery() -> Result<()> {
    every_kind_equals_stock(PgVersion::V18)
}

fn every_kind_equals_stock(version: PgVersion) -> Result<()> {
    let install = PgInstall::find(version)?;
    for options in [plain(), checksums(), no_images()] {
        equal_stock(&install, options, LONG_ROUNDS)?;
    }
    Ok(())
}

fn plain() -> InitOptions {
    InitOptions::default()
}

fn checksums() -> InitOptions {
    InitOptions {
        checksums: true,
        ..InitOptions::default()
    }
}

const NO_IMAGES: &str = "full_page_writes = off";

fn no_images() -> InitOptions {
    let conf = ["wal_log_hints = on", NO_IMAGES];
    InitOptions {
        conf: conf.map(str::to_owned).to_vec(),
        ..InitOptions::default()
    }
}

/// Runs the workload while a primary is imported, and so often afterwards while it is followed; compares pages
/// after each time, and a clone of the first.
fn equal_stock(install: &PgInstall, options: InitOptions, rounds: usize) -> Result<()> {
    let has_images = !options.conf.iter().any(|line| line == NO_IMAGES);
    let scene = Scene::of(install, options)?;
    let mut workload = scene.workload()?;
    workload.run_all()?;
    let config = StoreConfig {
        open_layer_wal: 4 << 20,
        import_batch: 4 << 20,
        max_deltas: 64,
        compacted_layer: 8 << 20,
        // Every point is rebuilt from what is stored, not from the point before.
        hot_pages: 0,
        // Compaction would make images of what redo is to be tried on; it comes later, when told to.
        merge_runs: 1 << 20,
        ..StoreConfig::default()
    };
    let store = open_store(&scene.path("store"), config)?;
    let backup = scene.path("backup");
    std::fs::create_dir(&backup)?;
    let import = LiveImport {
        conninfo: scene.primary.address().conninfo("postgres").parse()?,
        name: "main".to_owned(),
        slot: integration_tests::SLOT.parse()?,
        tee: Some(backup.clone()),
    };
    // The import runs while the workload does.
    let busy = thread::spawn(move || -> Result<Workload> {
        workload.run_all()?;
        Ok(workload)
    });
    let timeline = import_live(&store, &import, &Stop::default(), |_| {}, &logger())?;
    let mut workload = busy.join().expect("the workload does not panic")?;
    let following = Following::start(&timeline, &import.feed(), &logger())?;
    let mut points: Vec<Lsn> = Vec::new();
    for _ in 0..rounds {
        workload.run_all()?;
        points.push(scene.mark()?);
    }
    let backup = BackupSource::Tars(backup);
    let mut truths = scene.truths(&timeline, &backup, &points)?;
    let figures = truths.must_equal(&timeline, &points)?;
    scene.clone_must_equal_stock(&store, &timeline, &backup, points[0])?;
    following.stop();
    stay_equal_when_compacted(&store, &timeline, &mut truths, &points)?;
    store.close();
    figures.must_reach(&FLOORS)?;
    match has_images {
        true => Ok(()),
        false => figures.must_reach(&FLOORS_WITHOUT_IMAGES),
    }
}

/// Compacts everything, then gives up the history before the last point: what can still be read, and what a branch
/// holds, is as before.
fn stay_equal_when_compacted(
    store: &Store,
    timeline: &Timeline,
    truths: &mut Truths,
    points: &[Lsn],
) -> Result<()> {
    let (first, last) = (points[0], points[points.len() - 1]);
    let branch = NewBranch {
        timeline: TimelineId::from_bytes([7; 16]),
        name: "kept".to_owned(),
        lsn: first,
    };
    let branch = store.branch(timeline, &branch)?;
    timeline.checkpoint(PATIENCE)?;
    timeline.compact(true)?;
    truths.must_equal(timeline, points)?;
    timeline.gc_below(last)?;
    let done = timeline.compact(true)?;
    ensure!(done.runs.1 == 1, "{done:?}");
    ensure!(timeline.snapshot(first).is_err(), "{first} is given up");
    truths.must_equal(timeline, &[last])?;
    truths.must_equal(&branch, &[first])?;
    Ok(())
}
