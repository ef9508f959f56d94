//! Every page equals, byte for byte, what stock recovery of the same backup with the same WAL makes: live import
//! under load, streaming, reads through all layers, at several LSNs.

use std::thread;

use anyhow::Result;
use integration_tests::{Figures, Floors, Scene, logger, open_store};
use pagecache::StoreConfig;
use pageserver_bin::cli::PeerKind;
use pageserver_bin::import::{LiveImport, import_live};
use pageserver_bin::run::{Following, follow_options};
use pageserver_bin::stop::Stop;
use stockpg::{BackupSource, InitOptions, Workload};
use walreceiver::ReceiverStatus;
use walrecord::{Lsn, Rmgr};

/// Rounds of the workload after the import. After each, pages are compared.
const ROUNDS: usize = 3;

/// Over three LSNs. A run has about double these numbers; far fewer mean that the workload no longer does what
/// it is for, or that pages no longer need WAL to be rebuilt.
const FLOORS: Floors<'static> = Floors {
    compared: 20_000,
    rebuilt: 4_000,
    records: 50_000,
    by_rmgr: &[
        (Rmgr::Heap, 10_000),
        (Rmgr::Heap2, 200),
        (Rmgr::Btree, 5_000),
        (Rmgr::Xlog, 1_000),
        (Rmgr::Clog, 1),
        (Rmgr::Transaction, 500),
        (Rmgr::Sequence, 10),
        (Rmgr::MultiXact, 10),
    ],
};

#[test]
fn live_import_and_stream_equal_stock_recovery() -> Result<()> {
    equal_stock(InitOptions::default())?.must_reach(&FLOORS)
}

/// With checksums, hint bits are WAL-logged and every page carries a checksum that must be right, too.
#[test]
fn pages_with_checksums_equal_stock_recovery() -> Result<()> {
    let options = InitOptions {
        checksums: true,
        ..InitOptions::default()
    };
    equal_stock(options)?.must_reach(&FLOORS)
}

/// Without full-page writes no image in the WAL heals a page that redo got wrong.
#[test]
fn pages_without_full_page_writes_equal_stock_recovery() -> Result<()> {
    let conf = ["wal_log_hints = on", "full_page_writes = off"];
    let options = InitOptions {
        conf: conf.map(str::to_owned).to_vec(),
        ..InitOptions::default()
    };
    equal_stock(options)?.must_reach(&FLOORS)
}

fn equal_stock(options: InitOptions) -> Result<Figures> {
    let scene = Scene::new(options)?;
    let mut workload = scene.workload()?;
    workload.run_all()?;
    let config = StoreConfig {
        open_layer_wal: 4 << 20,
        import_batch: 4 << 20,
        max_deltas: 64,
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
    let following = Following::start(
        &timeline,
        follow_options(
            &timeline,
            &import.conninfo,
            &import.slot,
            PeerKind::Postgres,
        ),
        &ReceiverStatus::new(),
        &logger(),
    )?;
    let mut points: Vec<Lsn> = Vec::new();
    for _ in 0..ROUNDS {
        workload.run_all()?;
        points.push(scene.mark()?);
    }
    let figures = scene.must_equal_stock(&timeline, &BackupSource::Tars(backup), &points)?;
    following.stop();
    store.close();
    Ok(figures)
}
