//! `kill -9` of the page server at random moments of import, ingest and flush: what it acknowledged is there when
//! it starts again, nothing half done shows, and every page is right.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Busy, Daemon, LogLines, PATIENCE, SLOT, Scene, logger, open_store, random_seed, wait_for,
};
use pagecache::StoreConfig;
use stockpg::{BackupSource, InitOptions, Random};
use walrecord::Lsn;

/// How often the process is killed while it imports, and while it ingests. `ZENITH_KILL_ROUNDS` sets the second.
const IMPORT_ROUNDS: u64 = 12;
const INGEST_ROUNDS: u64 = 38;

#[test]
fn a_killed_page_server_keeps_what_it_acknowledged_and_shows_nothing_half_done() -> Result<()> {
    let mut random = Random::new(random_seed());
    let scene = Scene::new(InitOptions::default())?;
    let mut workload = scene.workload()?;
    workload.run_all()?;
    let busy = Busy::start(workload);
    let daemon = scene.daemon(crate::PROGRAM);

    kill_imports(&scene, &daemon, &mut random)?;
    // Unharmed, this time.
    let server = daemon.start()?;
    server.log.wait_for("primary imported")?;
    server.kill()?;
    let mut points = vec![scene.mark()?];

    let given = std::env::var("ZENITH_KILL_ROUNDS").ok();
    let rounds = given.map_or(Ok(INGEST_ROUNDS), |text| text.parse())?;
    for round in 0..rounds {
        kill_ingest(&scene, &daemon, random.below(900))
            .with_context(|| format!("round {round}"))?;
        if round == rounds / 2 {
            points.push(scene.mark()?);
        }
    }
    let _ = busy.stop()?;
    points.push(scene.mark()?);
    let server = Daemon {
        arguments: ["--self-test-interval", "100ms"]
            .map(str::to_owned)
            .to_vec(),
        ..daemon.clone()
    }
    .start()?;
    scene.wait_acknowledged(*points.last().context("points")?)?;
    server.log.wait_for("self-test passed")?;
    let log = server.stop()?;
    no_failed_self_test(&log)?;

    let store = open_store(&daemon.data_dir, StoreConfig::default())?;
    let timeline = store.timeline(None, "main")?;
    timeline.wait_examined(PATIENCE)?;
    let sizes = timeline.sizes();
    ensure!(
        sizes.layers > 20,
        "only {} layers: nothing was flushed between kills",
        sizes.layers
    );
    scene.must_equal_stock(
        &timeline,
        &BackupSource::Tars(scene.path("backup")),
        &points,
    )?;
    store.close();
    Ok(())
}

/// Kills imports. If one is faster than the kill, its timeline is thrown away.
fn kill_imports(scene: &Scene, daemon: &Daemon, random: &mut Random) -> Result<()> {
    let mut killed = 0;
    for _ in 0..IMPORT_ROUNDS {
        let server = daemon.start()?;
        // Not to wait for something, but to kill at any moment.
        sleep(Duration::from_millis(random.below(1_500)));
        let log = server.kill()?;
        let complete = log.find(|line| line.message == "import complete").is_some();
        killed += u64::from(!complete);
        let shown = timelines(&daemon.data_dir)?;
        // The manifest is the moment of truth; the log line comes just behind it.
        ensure!(
            shown <= 1,
            "{shown} timelines after an import that was killed"
        );
        ensure!(
            shown == 1 || !complete,
            "an import that was complete is gone"
        );
        slot_is_free(scene)?;
        if shown == 1 {
            std::fs::remove_dir_all(&daemon.data_dir)?;
        } else {
            nothing_left(&daemon.data_dir)?;
        }
    }
    ensure!(
        killed >= IMPORT_ROUNDS / 3,
        "only {killed} kills hit an import"
    );
    Ok(())
}

fn kill_ingest(scene: &Scene, daemon: &Daemon, milliseconds: u64) -> Result<()> {
    let before = scene.acknowledged()?.context("the slot")?;
    let server = daemon.start()?;
    // Half of the moments lie in the start, half in the stream.
    if milliseconds % 2 == 0 {
        server.log.wait_for("streaming from the server")?;
    }
    sleep(Duration::from_millis(milliseconds));
    let log = server.kill()?;
    no_failed_self_test(&log)?;
    let Some(opened) = log.find(|line| line.message == "timeline opened") else {
        return Ok(());
    };
    let wal_end: Lsn = opened.field("wal_end").parse()?;
    ensure!(
        wal_end >= before,
        "WAL up to {before} was acknowledged, but after a kill it ends at {wal_end}"
    );
    Ok(())
}

fn timelines(data_dir: &Path) -> Result<usize> {
    if !data_dir.exists() {
        return Ok(0);
    }
    let store = open_store(data_dir, StoreConfig::default())?;
    Ok(store.timelines().len())
}

/// Nothing of an import is left once a store was opened.
fn nothing_left(data_dir: &Path) -> Result<()> {
    let tenants = data_dir.join("tenants");
    let Ok(entries) = std::fs::read_dir(&tenants) else {
        return Ok(());
    };
    for entry in entries {
        let timelines = entry?.path().join("timelines");
        let left = std::fs::read_dir(&timelines).map_or(0, Iterator::count);
        ensure!(left == 0, "{left} directories in {}", timelines.display());
    }
    Ok(())
}

/// The primary notices that the page server is gone, and the slot can be used again.
fn slot_is_free(scene: &Scene) -> Result<()> {
    let mut client = scene.primary.client("postgres")?;
    wait_for("the slot to be free", || {
        let text = "SELECT active FROM pg_replication_slots WHERE slot_name = $1";
        let row = client.query_opt(text, &[&SLOT])?;
        Ok(row.is_none_or(|row| !row.get::<_, bool>(0)).then_some(()))
    })
}

fn no_failed_self_test(log: &LogLines) -> Result<()> {
    if let Some(line) = log.find(|line| line.level == "CRIT" || line.text.contains("panicked")) {
        slog::crit!(logger(), "{}", line.text);
        anyhow::bail!("{}", line.text);
    }
    Ok(())
}
