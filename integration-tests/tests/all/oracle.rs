//! Every page equals, byte for byte, what stock recovery of the same backup with the same WAL makes.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use integration_tests::{logger, open_store};
use pagecache::StoreConfig;
use pageserver_bin::follow::{Acknowledge, TimelineSink};
use pageserver_bin::import::{LiveImport, import_live};
use pageserver_bin::truth::StoreSubject;
use stockpg::{
    BackupSource, Cluster, CompareOptions, InitOptions, PgInstall, Recovery, Workload,
    WorkloadOptions, compare,
};
use walreceiver::{Control, FollowOptions, Peer, ReceiverStatus, SystemTiming, follow};
use walrecord::{Lsn, PgVersion};

#[test]
fn live_import_and_stream_equal_stock_recovery() -> Result<()> {
    let install = PgInstall::find(PgVersion::V15)?;
    let options = InitOptions {
        wal_segsize_mb: 1,
        archive: true,
        conf: Workload::CONF.map(str::to_owned).to_vec(),
        ..InitOptions::default()
    };
    let cluster = Cluster::init(&install, &options)?;
    let mut workload = Workload::prepare(&cluster, &WorkloadOptions::default())?;
    workload.run_all()?;
    let home = tempfile::tempdir()?;
    let config = StoreConfig {
        open_layer_wal: 4 << 20,
        import_batch: 4 << 20,
        ..StoreConfig::default()
    };
    let store = open_store(&home.path().join("store"), config)?;
    let tee = home.path().join("backup");
    std::fs::create_dir(&tee)?;
    let import = LiveImport {
        conninfo: cluster.address().conninfo("postgres").parse()?,
        name: "main".to_owned(),
        slot: "zenith_main".parse()?,
        tee: Some(tee.clone()),
    };
    // The import runs while the workload does.
    let busy = thread::spawn(move || -> Result<Workload> {
        workload.run_all()?;
        Ok(workload)
    });
    let control = Control::new();
    let timeline = import_live(&store, &import, &control, |_| {}, &logger())?;
    let mut workload = busy.join().expect("the workload does not panic")?;

    let mut sink = TimelineSink::new(&timeline, Acknowledge::Truth, &control);
    let follow_options = {
        let info = timeline.info();
        let mut options = FollowOptions::new(
            import.conninfo.clone(),
            Peer::Postgres(info.version),
            info.system_identifier,
        );
        options.slot = Some(import.slot.clone());
        options
    };
    let stop = control.clone();
    let following = thread::spawn(move || {
        let mut timing = SystemTiming::default();
        let status = ReceiverStatus::new();
        follow(
            &follow_options,
            &mut sink,
            &stop,
            &status,
            &mut timing,
            &logger(),
        )
    });

    let mut points: Vec<Lsn> = Vec::new();
    for _ in 0..3 {
        workload.run_all()?;
        cluster.client("postgres")?.batch_execute("CHECKPOINT")?;
        points.push(cluster.insert_lsn()?);
    }
    let last = *points.last().expect("three points");
    cluster.archived_through(last)?;
    timeline.wait_for(last, Duration::from_secs(60))?;

    let archive = cluster.archive().context("an archive")?.dir().to_owned();
    let recovery = Recovery::new(&install, BackupSource::Tars(tee), &archive);
    for point in points {
        let mut truth = recovery.to(point)?;
        let mut subject = StoreSubject::new(timeline.snapshot(timeline.boundary(point)?.end)?);
        let comparison = compare(&mut truth, &mut subject, &CompareOptions::default())?;
        println!(
            "at {point}: {comparison:?}; rebuilt {} of {}, {} records",
            subject.rebuilt, subject.pages, subject.records
        );
        comparison.must_be_equal()?;
    }
    control.stop();
    following.join().expect("following does not panic")?;
    store.close();
    Ok(())
}
