//! `pageserver import`: a backup on disk, plain or as tars, and the directory of a server that was stopped; with
//! the WAL that followed. And `pageserver page get` on the result.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use integration_tests::{Daemon, PATIENCE, Scene, open_store};
use pagecache::StoreConfig;
use stockpg::{BackupSource, InitOptions, PgInstall, StopMode, Workload};
use walrecord::{Lsn, PAGE_SIZE};

/// Blocks of each relation that `page get` is asked for.
const BLOCKS: u32 = 3;

#[test]
fn a_plain_backup_with_its_archive_equals_stock_recovery() -> Result<()> {
    backup_equals_stock("p", BackupSource::Directory)
}

#[test]
fn a_backup_in_tars_with_its_archive_equals_stock_recovery() -> Result<()> {
    backup_equals_stock("t", BackupSource::Tars)
}

#[expect(clippy::print_stdout, reason = "what is skipped is said")]
fn backup_equals_stock(format: &str, source: fn(PathBuf) -> BackupSource) -> Result<()> {
    let scene = Scene::new(InitOptions::default())?;
    if !scene.install.has_tool("pg_basebackup") {
        println!("skipped: this PostgreSQL has no pg_basebackup");
        return Ok(());
    }
    let mut workload = scene.workload()?;
    workload.run_all()?;
    let backup = base_backup(&scene, format)?;
    workload.run_all()?;
    let points = [scene.mark()?, {
        workload.run_all()?;
        scene.mark()?
    }];
    scene.primary.archived_through(points[1])?;
    let archive = scene.primary.archive().context("an archive")?;
    let daemon = import(&scene, &backup, archive.dir())?;
    let store = open_store(&daemon.data_dir, StoreConfig::default())?;
    let timeline = store.timeline(None, "main")?;
    timeline.wait_examined(PATIENCE)?;
    scene.must_equal_stock(&timeline, &source(backup), &points)?;
    store.close();
    Ok(())
}

/// A server that was stopped needs no WAL but the checkpoint of its shutdown: what the page server gives is what
/// its files hold.
#[test]
fn the_directory_of_a_stopped_server_is_given_back_byte_for_byte() -> Result<()> {
    let mut scene = Scene::new(InitOptions::default())?;
    scene.workload()?.run_all()?;
    let paths: Vec<String> = scene
        .primary
        .client(Workload::DATABASE)?
        .query(
            "SELECT pg_relation_filepath(oid) FROM pg_class
             WHERE relkind IN ('r', 'i', 't') AND relpersistence = 'p' AND relpages > 0
               AND pg_relation_filepath(oid) LIKE 'base/%' ORDER BY relpages DESC LIMIT 8",
            &[],
        )?
        .iter()
        .map(|row| row.get(0))
        .collect();
    scene.primary.stop(StopMode::Fast)?;
    let data_dir = scene.primary.data_dir();
    let daemon = import(&scene, data_dir, &data_dir.join("pg_wal"))?;
    let mut compared = 0;
    for path in &paths {
        let file = File::open(data_dir.join(path))?;
        for block in 0..BLOCKS {
            let mut expected = [0; PAGE_SIZE];
            let offset = u64::from(block) * PAGE_SIZE as u64;
            if file.read_exact_at(&mut expected, offset).is_err() {
                break;
            }
            let found = page_get(&daemon, path, block, None)?;
            ensure!(found == expected, "block {block} of {path} differs");
            compared += 1;
        }
    }
    ensure!(
        compared >= 12,
        "only {compared} pages of {paths:?} were compared"
    );
    Ok(())
}

#[test]
fn a_copy_of_a_running_server_and_a_backup_without_its_wal_are_refused() -> Result<()> {
    let scene = Scene::new(InitOptions::default())?;
    let daemon = Daemon::new(crate::PROGRAM, &scene.path("pages"));
    let running = scene.primary.data_dir().to_owned();
    refused(&daemon, &running, &["running server"])?;
    let backup = scene.primary.base_backup()?;
    refused(
        &daemon,
        &backup.dir(),
        &["before the end of the backup", "--wal-dir"],
    )?;
    refused(&daemon, &scene.path("nowhere"), &["nowhere"])
}

fn refused(daemon: &Daemon, backup: &Path, words: &[&str]) -> Result<()> {
    let output = daemon.run(
        "import",
        &[text(backup)?, "--data-dir", text(&daemon.data_dir)?],
    )?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{said}");
    for word in words {
        ensure!(said.contains(word), "no word of {word:?}: {said}");
    }
    ensure!(
        std::fs::read_dir(daemon.data_dir.join("tenants")).map_or(0, Iterator::count) == 0,
        "a refused import left something"
    );
    Ok(())
}

fn base_backup(scene: &Scene, format: &str) -> Result<PathBuf> {
    let home = scene.primary.make_dir("backups")?;
    let dir = home.join(format);
    let mut command = scene.install.command("pg_basebackup");
    command
        .arg("-D")
        .arg(&dir)
        .args(["-F", format, "-X", "none", "-c", "fast", "--no-sync"]);
    command.args(["-d", &scene.primary.address().conninfo("postgres")]);
    if format == "p" {
        // A plain backup on the same machine has to put tablespaces elsewhere.
        let row = scene.primary.client("postgres")?.query(
            "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE pg_tablespace_location(oid) LIKE '/%'",
            &[],
        )?;
        for (number, row) in row.iter().enumerate() {
            let place: String = row.get(0);
            let copy = home.join(format!("tablespace{number}"));
            command.arg(format!("--tablespace-mapping={place}={}", copy.display()));
        }
    }
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "pg_basebackup: {said}");
    Ok(dir)
}

fn import(scene: &Scene, backup: &Path, wal: &Path) -> Result<Daemon> {
    let daemon = Daemon::new(crate::PROGRAM, &scene.path("pages"));
    // A backup does not tell, and redo of GiST depends on it.
    let minor = PgInstall::tested()?.minor().to_string();
    let output = daemon.run(
        "import",
        &[
            text(backup)?,
            "--minor",
            &minor,
            "--data-dir",
            text(&daemon.data_dir)?,
            "--wal-dir",
            text(wal)?,
        ],
    )?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "pageserver import: {said}");
    Ok(daemon)
}

/// A page as `pageserver page get -o -` writes it.
fn page_get(daemon: &Daemon, path: &str, block: u32, lsn: Option<Lsn>) -> Result<Vec<u8>> {
    let (block, lsn) = (block.to_string(), lsn.map(|lsn| lsn.to_string()));
    let data_dir = text(&daemon.data_dir)?;
    let mut arguments = vec![
        "get",
        "--rel",
        path,
        "--block",
        &block,
        "-o",
        "-",
        "--data-dir",
        data_dir,
    ];
    if let Some(lsn) = &lsn {
        arguments.extend(["--lsn", lsn]);
    }
    let output = daemon.run("page", &arguments)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "pageserver page get: {said}");
    Ok(output.stdout)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}
