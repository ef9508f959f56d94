//! Servers start, stop, survive kills, and leave nothing behind.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use stockpg::{Cluster, InitOptions, Scratch, StopMode};

use crate::postgres;

fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn wait_until_gone(pid: u32) -> Result<()> {
    let start = Instant::now();
    while runs(pid) {
        ensure!(
            start.elapsed() < Duration::from_secs(30),
            "process {pid} is still there"
        );
        std::thread::yield_now();
    }
    Ok(())
}

#[test]
fn a_server_and_its_files_go_away_with_the_value() -> Result<()> {
    let cluster = Cluster::init(&postgres(), &InitOptions::default())?;
    let (pid, data) = (
        cluster.pid().context("it runs")?,
        cluster.data_dir().to_owned(),
    );
    let socket = cluster.address().socket_dir().to_owned();
    assert!(runs(pid) && data.exists() && socket.exists());
    drop(cluster);
    assert!(!runs(pid));
    assert!(!data.exists() && !socket.exists());
    Ok(())
}

#[test]
fn a_panic_takes_the_server_along() {
    let caught = std::thread::spawn(|| {
        let cluster = Cluster::init(&postgres(), &InitOptions::default()).unwrap();
        std::panic::panic_any((cluster.pid().unwrap(), cluster.data_dir().to_owned()));
    });
    let thrown = caught.join().unwrap_err();
    let (pid, data) = thrown
        .downcast_ref::<(u32, PathBuf)>()
        .expect("the test's own panic");
    assert!(!runs(*pid));
    assert!(!data.exists());
}

#[test]
fn a_server_does_not_outlive_the_process_that_started_it() -> Result<()> {
    const MARK: &str = "STOCKPG_TEST_ORPHAN";
    if std::env::var_os(MARK).is_some() {
        // The child: starts a server in a thread that ends, says its process, and dies without clean-up.
        let cluster =
            std::thread::spawn(|| Cluster::init(&postgres(), &InitOptions::default())).join();
        let cluster = cluster.expect("no panic")?;
        cluster.client("postgres")?;
        std::fs::write(
            std::env::var(MARK)?,
            cluster.pid().context("it runs")?.to_string(),
        )?;
        std::process::abort();
    }
    // All that the child leaves behind lies here, for its parent to remove.
    let scratch = Scratch::new(&postgres().user(), None)?;
    let note = scratch.path().join("note");
    let name = "cluster::a_server_does_not_outlive_the_process_that_started_it";
    let status = Command::new(std::env::current_exe()?)
        .args([name, "--exact"])
        .env(MARK, &note)
        .env("TMPDIR", scratch.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    ensure!(!status.success());
    let text = std::fs::read_to_string(&note)?;
    wait_until_gone(
        text.parse()
            .context("the child got as far as starting a server")?,
    )
}

#[test]
fn a_killed_server_comes_back_with_what_was_committed_at_the_same_address() -> Result<()> {
    let mut cluster = Cluster::init(&postgres(), &InitOptions::default())?;
    let port = cluster.address().port();
    cluster
        .client("postgres")?
        .batch_execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i")?;
    cluster.kill()?;
    assert!(!cluster.is_running());
    cluster.start()?;
    assert_eq!(cluster.address().port(), port);
    let count: i64 = cluster
        .client("postgres")?
        .query_one("SELECT count(*) FROM t", &[])?
        .get(0);
    assert_eq!(count, 1000);
    assert!(
        cluster
            .log_text()
            .contains("automatic recovery in progress")
    );
    cluster.restart(StopMode::Fast)?;
    cluster.restart(StopMode::Immediate)?;
    Ok(())
}

#[test]
fn a_bad_setting_fails_with_the_log_of_the_server() {
    let options = InitOptions {
        conf: vec!["shared_buffers = nonsense".to_owned()],
        ..Default::default()
    };
    let error = Cluster::init(&postgres(), &options).unwrap_err();
    assert!(format!("{error:#}").contains("shared_buffers"), "{error:#}");
}

#[test]
fn options_reach_the_server() -> Result<()> {
    let options = InitOptions {
        wal_segsize_mb: 1,
        checksums: true,
        ..Default::default()
    };
    let cluster = Cluster::init(&postgres(), &options)?;
    let mut client = cluster.client("postgres")?;
    let mut show = |name: &str| -> Result<String> {
        Ok(client.query_one(&format!("SHOW {name}"), &[])?.get(0))
    };
    assert_eq!(show("wal_segment_size")?, "1MB");
    assert_eq!(show("data_checksums")?, "on");
    assert_eq!(show("listen_addresses")?, "127.0.0.1");
    Ok(())
}

#[test]
fn the_archive_holds_what_was_waited_for_even_at_a_segment_boundary() -> Result<()> {
    let options = InitOptions {
        archive: true,
        wal_segsize_mb: 1,
        ..Default::default()
    };
    let cluster = Cluster::init(&postgres(), &options)?;
    let segments = || -> Result<usize> {
        Ok(std::fs::read_dir(cluster.archive().context("it archives")?.dir())?.count())
    };
    cluster.archived_through(cluster.insert_lsn()?)?;
    let first = segments()?;
    assert!(first > 0);
    // The insert position is now at the start of a segment that holds no record yet.
    let boundary = cluster.insert_lsn()?;
    cluster.archived_through(boundary)?;
    assert!(segments()? > first);
    Ok(())
}
