//! What goes wrong between a page server and its primary: it crashes, the connection is cut, bits flip, the slot
//! is gone, another cluster answers.

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Busy, Daemon, Fault, Harm, Load, LogLines, PATIENCE, Proxy, SLOT, Scene, Traffic, open_store,
    random_seed, wait_for,
};
use pagecache::StoreConfig;
use pageservice::client::ReadAt;
use stockpg::{BackupSource, Cluster, InitOptions, Random, StopMode};
use walrecord::{BlockTag, ForkNumber, Lsn, RelFileLocator};

#[test]
fn a_primary_that_crashes_and_comes_back_is_followed_on() -> Result<()> {
    let mut scene = Scene::new(InitOptions::default())?;
    let daemon = scene.daemon(crate::PROGRAM);
    let server = daemon.start()?;
    server.log.wait_for("caught up with the server")?;
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
    let (scene, daemon, log, last) = follow_through(&harms, 24)?;
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
    let (scene, daemon, log, last) = follow_through(&[Harm::FlipBit], FLIPS)?;
    let named = log.all();
    let named = named.iter().filter(|line| {
        line.message == "cannot follow the server; trying again"
            && line.field("reason").contains("WAL")
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

/// Follows a workload through a proxy that does harm so many times. Gives the log and the last LSN.
fn follow_through(harms: &[Harm], count: usize) -> Result<(Scene, Daemon, LogLines, Lsn)> {
    let mut random = Random::new(random_seed());
    let scene = Scene::new(InitOptions::default())?;
    let proxy = Proxy::start(scene.primary.address().port())?;
    let daemon = Daemon {
        primary: Some(proxy.conninfo()),
        ..scene.daemon(crate::PROGRAM)
    };
    let workload = scene.workload()?;
    let server = daemon.start()?;
    server.log.wait_for("caught up with the server")?;
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
    server.log.wait_for("caught up with the server")?;
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
    server.log.wait_for("caught up with the server")?;
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
