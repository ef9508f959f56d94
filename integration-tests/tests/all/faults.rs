//! What goes wrong between a page server and its primary: it crashes, the connection is cut, bits flip, the slot
//! is gone, another cluster answers.

use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Busy, Daemon, Fault, Harm, Load, LogLines, PATIENCE, Proxy, SLOT, Scene, Traffic, open_store,
    random_seed, wait_for,
};
use pagecache::StoreConfig;
use pageservice::client::ReadAt;
use stockpg::{BackupSource, Cluster, InitOptions, Random, StopMode};
use walrecord::{BlockTag, ForkNumber, Lsn, RelFileLocator, SegmentId};

#[test]
fn a_primary_that_crashes_and_comes_back_is_followed_on() -> Result<()> {
    let mut scene = Scene::new(InitOptions::default())?;
    let daemon = scene.daemon(crate::PROGRAM);
    let server = daemon.start()?;
    server.log.wait_for("primary imported")?;
    let load = Load::start(scene.primary.address())?;
    let mut points = Vec::new();
    for mode in [Some(StopMode::Immediate), None, Some(StopMode::Fast)] {
        let before = load.acknowledged();
        wait_for("commits", || {
            Ok((load.acknowledged() > before + 200).then_some(()))
        })?;
        match mode {
            Some(mode) => scene.primary.stop(mode)?,
            None => scene.primary.kill()?,
        }
        scene.primary.start()?;
        points.push(scene.mark()?);
        scene.wait_acknowledged(points[points.len() - 1])?;
    }
    load.stop()?;
    server.stop()?;
    stored_pages_equal_stock(&scene, &daemon, &points)
}

#[test]
fn a_connection_that_is_cut_goes_on_where_it_ended() -> Result<()> {
    let harms = [Harm::CutInMessage, Harm::CutInRecord];
    let (scene, daemon, log, last) = cut_often(&harms, 24)?;
    ensure!(
        log.find(|line| line.level == "ERRO" || line.level == "CRIT")
            .is_none(),
        "a cut connection is no error:\n{}",
        log.tail()
    );
    stored_pages_equal_stock(&scene, &daemon, &[last])
}

#[test]
fn a_flipped_bit_is_found_named_and_received_again() -> Result<()> {
    const FLIPS: usize = 8;
    let mut random = Random::new(random_seed());
    // WAL is acknowledged when it is durable, which may be before it is found to be damaged; what was
    // acknowledged the primary may remove, and then nobody could help.
    let scene = Scene::new(InitOptions {
        conf: vec!["wal_keep_size = 256MB".to_owned()],
        ..InitOptions::default()
    })?;
    let proxy = Proxy::start(scene.primary.address().port())?;
    let daemon = Daemon {
        primary: Some(proxy.conninfo()),
        ..scene.daemon(crate::PROGRAM)
    };
    let workload = scene.workload()?;
    let server = daemon.start()?;
    server.log.wait_for("primary imported")?;
    let busy = Busy::start(workload);
    // One after the other: what follows a flip is discarded, and another flip in it with it.
    for flip in 1..=FLIPS {
        proxy.add(Fault {
            harm: Harm::FlipBit,
            traffic: Traffic::Wal,
            after: 10_000 + random.below(200_000),
        });
        proxy.wait_done(flip).with_context(|| server.log.tail())?;
        scene
            .wait_acknowledged(scene.primary.insert_lsn()?)
            .with_context(|| server.log.tail())?;
    }
    let _ = busy.stop()?;
    let last = scene.mark()?;
    scene.wait_acknowledged(last)?;
    let log = server.stop()?;
    let named = log.all();
    let named = named.iter().filter(|line| {
        line.message == "cannot follow the server; trying again"
            && line.field("reason").contains("WAL is damaged")
    });
    // A flip in padding between records harms nobody and need not be found.
    let named = named.count();
    ensure!(
        named >= FLIPS / 2,
        "{named} of {FLIPS} flips named:\n{}",
        log.tail()
    );
    stored_pages_equal_stock(&scene, &daemon, &[last])
}

/// The disk gave back something else than what was written and acknowledged.
#[test]
fn a_flipped_bit_in_our_own_newest_wal_is_received_again() -> Result<()> {
    // What was acknowledged the primary may remove, and then nobody could help.
    let scene = Scene::new(InitOptions {
        conf: vec!["wal_keep_size = 256MB".to_owned()],
        ..InitOptions::default()
    })?;
    let mut daemon = scene.daemon(crate::PROGRAM);
    // So that the WAL behind the import is not in layers yet, and is read again at start.
    daemon.config = "open_layer_wal_mb = 64\n".to_owned();
    let server = daemon.start()?;
    let imported = server.log.wait_for("primary imported")?;
    let oldest: Lsn = imported.field("readable_from").parse()?;
    let mut sql = scene.primary.client("postgres")?;
    let begin = scene.primary.insert_lsn()?;
    sql.batch_execute("CREATE TABLE damaged AS SELECT n FROM generate_series(1, 20000) n")?;
    let last = scene.mark()?;
    scene.wait_acknowledged(last)?;
    server.stop()?;
    ensure!(
        begin >= oldest && last - begin > 1_000_000,
        "too little WAL"
    );
    flip_wal_bit(&daemon, begin + (last - begin) / 2)?;

    let server = daemon.start()?;
    let line = server.log.wait_for("indexing stopped")?;
    ensure!(line.text.contains("WAL is damaged after"), "{}", line.text);
    sql.batch_execute("DELETE FROM damaged WHERE n % 2 = 0")?;
    let last = scene.mark()?;
    scene
        .wait_acknowledged(last)
        .with_context(|| server.log.tail())?;
    server.log.wait_for("indexing goes on after a rewind")?;
    server.stop()?;
    stored_pages_equal_stock(&scene, &daemon, &[last])
}

/// Flips a bit of the byte at `lsn` in the page server's WAL file.
fn flip_wal_bit(daemon: &Daemon, lsn: Lsn) -> Result<()> {
    const SEGMENT: u32 = 1 << 20;
    let id = SegmentId {
        timeline: 1,
        number: lsn.segment_number(SEGMENT),
    };
    let name = id.file_name(SEGMENT);
    let mut dirs = vec![daemon.data_dir.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.ends_with(&name) {
                let file = std::fs::File::options()
                    .read(true)
                    .write(true)
                    .open(&path)?;
                let (mut byte, offset) = ([0], u64::from(lsn.segment_offset(SEGMENT)));
                file.read_exact_at(&mut byte, offset)?;
                file.write_all_at(&[byte[0] ^ 1], offset)?;
                return Ok(());
            }
        }
    }
    anyhow::bail!("no WAL file {name}")
}

/// An import cannot go back for WAL: it fails as a whole, by name.
#[test]
fn a_flipped_bit_in_the_wal_of_an_import_fails_it_by_name() -> Result<()> {
    let scene = Scene::new(InitOptions::default())?;
    let busy = Busy::start(scene.workload()?);
    let proxy = Proxy::start(scene.primary.address().port())?;
    let daemon = Daemon {
        primary: Some(proxy.conninfo()),
        ..scene.daemon(crate::PROGRAM)
    };
    for _ in 0..3 {
        proxy.add(Fault {
            harm: Harm::FlipBit,
            traffic: Traffic::Wal,
            after: 50_000,
        });
    }
    let mut server = daemon.start()?;
    let imported = server.log.wait_for("primary imported");
    let _ = busy.stop()?;
    if imported.is_ok() {
        // Little WAL came during the import: then streaming healed it, which is tested elsewhere.
        return Ok(());
    }
    let status = server.ended()?;
    ensure!(status.code() == Some(1), "it ended ({status})");
    let named = server.log.find(|line| {
        line.text.contains("importing the primary") && line.text.contains("WAL is damaged after")
    });
    ensure!(named.is_some(), "{}", server.log.tail());
    ensure!(scene.acknowledged()?.is_none(), "the slot is still there");
    Ok(())
}

/// Follows a workload through a proxy that cuts so many times. Gives the log and the last LSN.
fn cut_often(harms: &[Harm], count: usize) -> Result<(Scene, Daemon, LogLines, Lsn)> {
    let mut random = Random::new(random_seed());
    let scene = Scene::new(InitOptions::default())?;
    let proxy = Proxy::start(scene.primary.address().port())?;
    let daemon = Daemon {
        primary: Some(proxy.conninfo()),
        ..scene.daemon(crate::PROGRAM)
    };
    let workload = scene.workload()?;
    let server = daemon.start()?;
    server.log.wait_for("primary imported")?;
    for harm in harms.iter().cycle().take(count) {
        proxy.add(Fault {
            harm: *harm,
            traffic: Traffic::Wal,
            after: 10_000 + random.below(400_000),
        });
    }
    let busy = Busy::start(workload);
    let done = proxy.wait_done(count);
    let _ = busy.stop()?;
    done.with_context(|| server.log.tail())?;
    let last = scene.mark()?;
    scene
        .wait_acknowledged(last)
        .with_context(|| server.log.tail())?;
    let log = server.stop()?;
    Ok((scene, daemon, log, last))
}

#[test]
fn a_slot_that_is_gone_ends_following_and_pages_stay_readable() -> Result<()> {
    let scene = Scene::new(InitOptions::default())?;
    let daemon = scene.daemon(crate::PROGRAM);
    let server = daemon.start()?;
    server.log.wait_for("primary imported")?;
    server.stop()?;
    let drop = format!("SELECT pg_drop_replication_slot('{SLOT}')");
    let mut client = scene.primary.client("postgres")?;
    wait_for("the slot to be dropped", || {
        // Until the primary has noticed that we left, the slot is in use.
        Ok(client.batch_execute(&drop).ok())
    })?;
    let server = daemon.start()?;
    let line = server.log.wait_for("cannot follow the server any more")?;
    let expected = format!("replication slot {SLOT} does not exist");
    ensure!(line.field("reason").contains(&expected), "{}", line.text);
    a_page_is_served(&scene.primary, &server)?;
    server.stop()?;
    Ok(())
}

#[test]
fn another_cluster_at_the_primarys_address_is_refused_and_pages_stay_readable() -> Result<()> {
    let scene = Scene::new(InitOptions::default())?;
    let daemon = scene.daemon(crate::PROGRAM);
    let server = daemon.start()?;
    server.log.wait_for("primary imported")?;
    server.stop()?;
    let other = Cluster::init(&scene.install, &InitOptions::default())?;
    let stray = Daemon {
        primary: Some(other.address().conninfo("postgres")),
        ..daemon.clone()
    };
    let server = stray.start()?;
    let line = server.log.wait_for("cannot follow the server any more")?;
    ensure!(
        line.field("reason").contains("it is another cluster"),
        "{}",
        line.text
    );
    a_page_is_served(&scene.primary, &server)?;
    server.stop()?;
    Ok(())
}

/// The first page of `pg_class`, through the page stream.
fn a_page_is_served(primary: &Cluster, server: &integration_tests::PageServer) -> Result<()> {
    let tag = first_page_of(primary, "pg_class")?;
    let mut client = server.client()?;
    let page = client.page(ReadAt::LATEST, tag)?;
    ensure!(!walredo::is_zero(page), "{tag} is empty");
    Ok(())
}

pub(crate) fn first_page_of(primary: &Cluster, relation: &str) -> Result<BlockTag> {
    let text = format!(
        "SELECT pg_relation_filenode('{relation}')::bigint,
                (SELECT oid::bigint FROM pg_database WHERE datname = current_database())"
    );
    let row = primary.client("postgres")?.query_one(&text, &[])?;
    let (rel, db): (i64, i64) = (row.get(0), row.get(1));
    Ok(BlockTag {
        rel: RelFileLocator {
            spc: walrecord::DEFAULT_TABLESPACE,
            db: u32::try_from(db)?,
            rel: u32::try_from(rel)?,
        },
        fork: ForkNumber::Main,
        block: 0,
    })
}

fn stored_pages_equal_stock(scene: &Scene, daemon: &Daemon, points: &[Lsn]) -> Result<()> {
    let store = open_store(&daemon.data_dir, StoreConfig::default())?;
    let timeline = store.timeline(None, "main")?;
    timeline.wait_examined(PATIENCE)?;
    let backup = BackupSource::Tars(daemon.tee.clone().context("a copy of the backup")?);
    scene.must_equal_stock(&timeline, &backup, points)?;
    store.close();
    Ok(())
}
