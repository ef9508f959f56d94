//! The page server as a synchronous standby: commits return, and what returned survives the loss of the page
//! server's process and then of the primary.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::{Load, PATIENCE, Scene, logger, open_store, random_seed, wait_for};
use pagecache::StoreConfig;
use pageserver_bin::checkout::{CheckoutJob, checkout};
use stockpg::{Cluster, InitOptions, Random};

/// Kills of the page server before that of the primary.
const ROUNDS: u64 = 4;

/// Commits that must return between two kills.
const COMMITS: i64 = 30;

#[test]
fn commits_that_waited_for_the_flush_survive_page_server_and_primary() -> Result<()> {
    acknowledged_commits_survive("on")
}

#[test]
fn commits_that_waited_for_the_apply_survive_page_server_and_primary() -> Result<()> {
    acknowledged_commits_survive("remote_apply")
}

fn acknowledged_commits_survive(level: &str) -> Result<()> {
    let mut random = Random::new(random_seed());
    let mut scene = Scene::new(InitOptions::default())?;
    let daemon = scene.daemon(crate::PROGRAM);
    let mut server = daemon.start()?;
    server.log.wait_for("caught up with the server")?;
    let load = Load::start(scene.primary.address())?;
    let mut client = scene.primary.client("postgres")?;
    for setting in [
        format!("ALTER SYSTEM SET synchronous_commit = {level}"),
        "ALTER SYSTEM SET synchronous_standby_names = 'pageserver'".to_owned(),
        "SELECT pg_reload_conf()".to_owned(),
    ] {
        client.batch_execute(&setting)?;
    }
    for _ in 0..ROUNDS {
        wait_for("the page server to be the synchronous standby", || {
            let text = "SELECT 1 FROM pg_stat_replication
                        WHERE application_name = 'pageserver' AND sync_state = 'sync'";
            Ok(client.query_opt(text, &[])?.map(|_| ()))
        })?;
        let before = load.acknowledged();
        wait_for("commits to return", || {
            Ok((load.acknowledged() >= before + COMMITS).then_some(()))
        })?;
        // Not to wait for something, but to kill at any moment.
        sleep(Duration::from_millis(random.below(300)));
        server.kill()?;
        server = daemon.start()?;
    }
    wait_for("commits to return", || {
        let wanted = COMMITS * (ROUNDS as i64 + 1);
        Ok((load.acknowledged() >= wanted).then_some(()))
    })?;
    server.kill()?;
    // From here on no commit can return, and the primary is lost with all that it has.
    scene.primary.kill()?;
    let acknowledged = load.stop()?;

    let store = open_store(&daemon.data_dir, StoreConfig::default())?;
    let timeline = store.timeline(None, "main")?;
    let progress = timeline.wait_examined(PATIENCE)?;
    let job = CheckoutJob {
        dir: scene.path("clone"),
        lsn: Some(progress.last_record),
        keep_config: false,
        tablespace_mapping: Vec::new(),
        port: None,
    };
    checkout(&store, &timeline, &job, &mut |_| {}, &logger())?;
    let clone = Cluster::open(&scene.install, &job.dir, &["synchronous_standby_names="])?;
    let found: i64 = clone
        .client("postgres")?
        .query_one("SELECT count(*) FROM load WHERE id <= $1", &[&acknowledged])
        .context("the table of the load")?
        .get(0);
    ensure!(
        found == acknowledged,
        "{acknowledged} commits were acknowledged; {found} of them are in the page server's WAL"
    );
    store.close();
    Ok(())
}
