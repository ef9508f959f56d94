//! An import that fails leaves nothing: no files, no timeline, no slot that it made, nothing acknowledged.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use integration_tests::{Daemon, Fault, Harm, PageServer, Proxy, SLOT, Scene, Traffic, wait_for};
use stockpg::{InitOptions, StopMode};
use walrecord::Lsn;

/// Where in the backup's files the import fails: a new cluster has some 23 MB.
const MIDDLE: u64 = 8 << 20;

/// What the small file system holds: less than a new cluster takes, compressed and with its WAL.
const SMALL_DISK: &str = "size=4m";

#[test]
fn a_connection_that_breaks_during_import_leaves_nothing() -> Result<()> {
    let scene = Scene::new(InitOptions::default())?;
    let proxy = Proxy::start(scene.primary.address().port())?;
    let daemon = through(&proxy, &scene);
    for harm in [Harm::CutInMessage, Harm::CutInRecord] {
        cut_backup(&proxy, harm);
        let mut server = daemon.start()?;
        must_fail(&mut server, "importing the primary")?;
        nothing_is_left(&daemon.data_dir)?;
        ensure!(scene.acknowledged()?.is_none(), "the slot is still there");
    }
    Ok(())
}

#[test]
fn a_slot_that_was_there_before_a_failed_import_stays_as_it_was() -> Result<()> {
    let scene = Scene::new(InitOptions::default())?;
    let text = format!("SELECT pg_create_physical_replication_slot('{SLOT}', true)");
    scene.primary.client("postgres")?.batch_execute(&text)?;
    let before = scene.acknowledged()?;
    let proxy = Proxy::start(scene.primary.address().port())?;
    let daemon = through(&proxy, &scene);
    cut_backup(&proxy, Harm::CutInMessage);
    let mut server = daemon.start()?;
    must_fail(&mut server, "importing the primary")?;
    nothing_is_left(&daemon.data_dir)?;
    ensure!(
        before.is_some() && scene.acknowledged()? == before,
        "the slot moved from {before:?}"
    );
    // And the same slot serves the next attempt.
    let server = daemon.start()?;
    server.log.wait_for("primary imported")?;
    server.stop()?;
    Ok(())
}

#[test]
fn a_primary_that_goes_down_during_import_has_nothing_acknowledged() -> Result<()> {
    let mut scene = Scene::new(InitOptions::default())?;
    let proxy = Proxy::start(scene.primary.address().port())?;
    let daemon = through(&proxy, &scene);
    let mut server = daemon.start()?;
    let started = server.log.wait_for("base backup started")?;
    scene.primary.stop(StopMode::Immediate)?;
    if server
        .log
        .find(|line| line.message == "import complete")
        .is_some()
    {
        // Too fast for us: there is nothing to say about a failed import then.
        return Ok(());
    }
    must_fail(&mut server, "importing the primary")?;
    nothing_is_left(&daemon.data_dir)?;
    scene.primary.start()?;
    // Nobody could drop the slot; an operator is told to, and until then all WAL is kept.
    let told = server
        .log
        .find(|line| line.message.contains("drop it on the primary"));
    ensure!(told.is_some(), "{}", server.log.tail());
    let start: Lsn = started.field("start").parse()?;
    let kept = scene.acknowledged()?.context("the slot")?;
    ensure!(
        kept <= start,
        "the slot moved to {kept}, beyond the backup's start {start}"
    );
    Ok(())
}

#[test]
fn a_directory_that_vanishes_during_import_is_an_error() -> Result<()> {
    let scene = Scene::new(InitOptions::default())?;
    scene.workload()?.run_all()?;
    let daemon = scene.daemon(crate::PROGRAM);
    let mut server = daemon.start()?;
    // The directory is there before the stream begins.
    server.log.wait_for("streaming from the server")?;
    let tenants = daemon.data_dir.join("tenants");
    wait_for("the directory to be removed", || {
        // Files appear while we remove.
        let _ = std::fs::remove_dir_all(&tenants);
        Ok((!tenants.exists()).then_some(()))
    })?;
    must_fail(&mut server, "importing the primary")?;
    nothing_is_left(&daemon.data_dir)?;
    ensure!(scene.acknowledged()?.is_none(), "the slot is still there");
    Ok(())
}

#[test]
fn a_full_disk_during_import_is_named_and_leaves_nothing() -> Result<()> {
    let scene = Scene::new(InitOptions::default())?;
    let disk = match SmallDisk::mount(&scene.path("disk"))? {
        Some(disk) => disk,
        None => return Ok(()),
    };
    scene.workload()?.run_all()?;
    let daemon = Daemon {
        data_dir: disk.0.join("pages"),
        tee: None,
        ..scene.daemon(crate::PROGRAM)
    };
    let mut server = daemon.start()?;
    must_fail(&mut server, "No space left on device")?;
    nothing_is_left(&daemon.data_dir)?;
    ensure!(scene.acknowledged()?.is_none(), "the slot is still there");
    Ok(())
}

fn through(proxy: &Proxy, scene: &Scene) -> Daemon {
    Daemon {
        primary: Some(proxy.conninfo()),
        ..scene.daemon(crate::PROGRAM)
    }
}

fn cut_backup(proxy: &Proxy, harm: Harm) {
    proxy.add(Fault {
        harm,
        traffic: Traffic::Backup,
        after: MIDDLE,
    });
}

/// The process ends with an error that says this.
fn must_fail(server: &mut PageServer, words: &str) -> Result<()> {
    let status = server.ended().with_context(|| server.log.tail())?;
    ensure!(
        status.code() == Some(1),
        "it ended ({status}):\n{}",
        server.log.tail()
    );
    ensure!(
        server.log.find(|line| line.text.contains(words)).is_some(),
        "no word of {words:?}:\n{}",
        server.log.tail()
    );
    let panicked = server.log.find(|line| line.text.contains("panicked"));
    ensure!(panicked.is_none(), "{}", server.log.tail());
    Ok(())
}

/// No file and no directory below `tenants/`.
fn nothing_is_left(data_dir: &Path) -> Result<()> {
    let tenants = data_dir.join("tenants");
    let Ok(mut entries) = std::fs::read_dir(&tenants) else {
        return Ok(());
    };
    let left = entries.next().transpose()?;
    ensure!(left.is_none(), "a failed import left {left:?}");
    Ok(())
}

/// A small file system in memory, unmounted with the value.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// None where mounting is not allowed.
    #[expect(clippy::print_stdout, reason = "what is skipped is said")]
    fn mount(dir: &Path) -> Result<Option<SmallDisk>> {
        std::fs::create_dir(dir)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SMALL_DISK, "zenith-test"]);
        let mounted = mount.arg(dir).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Ok(Some(SmallDisk(dir.to_owned())));
        }
        println!("skipped: no file system can be mounted here");
        Ok(None)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}
