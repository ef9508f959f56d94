//! A branch takes WAL from a primary of its own, a clone that was checked out where it branches, while `main` goes on
//! with its: pages of both equal what stock recovery makes. Any other server is refused, and it is said why.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Daemon, Floors, PATIENCE, PageServer, Scene, must_equal, open_store, wait_for,
};
use pagecache::StoreConfig;
use serde_json::Value;
use stockpg::{BackupSource, Cluster, InitOptions, Phase, Recovery, Workload};
use walrecord::{Lsn, PAGE_SIZE, PgTimelineId};

/// What runs before the branch, and on it.
const PHASES: [&str; 5] = [
    "bulk load",
    "index builds",
    "oltp",
    "vacuum",
    "prepared transactions",
];

/// Over the two LSNs behind the branch point.
const FLOORS: Floors<'static> = Floors {
    compared: 3_000,
    rebuilt: 300,
    records: 3_000,
    by_rmgr: &[],
};

/// The Postgres timeline of the tenant's first clone.
const FIRST_CLONE: PgTimelineId = 0x1000_0000;

#[test]
fn a_branch_follows_its_clone_beside_main_and_goes_on_after_a_restart() -> Result<()> {
    let mut stage = Stage::new()?;
    let mut workload = stage.scene.workload()?;
    run_phases(&mut workload)?;
    let point = stage.acknowledged_mark()?;
    stage.timeline(&["branch", "b", "--lsn", &point.to_string()])?;
    stage.change_main()?;
    stage.acknowledged_mark()?;
    let clone = stage.clone_of("b", None)?;

    let primary = clone.address().conninfo("postgres");
    let with_password = format!("{primary} password=hidden");
    let told = stage.timeline(&["follow", "b", "--primary", &with_password])?;
    ensure!(
        told.contains("zenith_b") && !told.contains("hidden"),
        "{told}"
    );
    let mut workload = workload.moved_to(&clone);
    run_phases(&mut workload)?;
    let first = wait_for_branch(&clone)?;
    stage.change_main()?;
    stage.acknowledged_mark()?;
    for name in ["main", "b"] {
        let shown = stage.status_of(name)?;
        ensure!(shown["receiver"]["phase"] == "streaming", "{shown}");
        ensure!(shown["receiver"]["last_error"] == Value::Null, "{shown}");
    }
    // What it was told is not told again, and nothing secret was written down.
    let again = stage.refused(&["follow", "b", "--primary", &primary])?;
    ensure!(again.contains("follows a primary already"), "{again}");

    stage.stop()?;
    let shown = stage.status_of("b")?;
    ensure!(shown["upstream"]["slot"] == "zenith_b", "{shown}");
    let conninfo = shown["upstream"]["conninfo"].as_str().context("kept")?;
    ensure!(conninfo.contains("127.0.0.1") && !conninfo.contains("hidden"));
    stage.start()?;
    run_phases(&mut workload)?;
    let last = wait_for_branch(&clone)?;
    stage.change_main()?;
    let on_main = stage.acknowledged_mark()?;
    // Who is told to follow no more does not, and keeps what it has.
    stage.timeline(&["unfollow", "b"])?;
    ensure!(stage.status_of("b")?["receiver"] == Value::Null);
    stage.stop()?;
    stage.check(&clone, [point, first, last], on_main)
}

#[test]
fn a_branch_follows_no_server_but_a_clone_of_its_branch_point() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.change_main()?;
    let point = stage.acknowledged_mark()?;
    stage.timeline(&["branch", "b", "--lsn", &point.to_string()])?;
    stage.change_main()?;
    let later = stage.acknowledged_mark()?;
    let other_point = stage.clone_of("main", Some(later))?;
    let other_cluster = Cluster::init(&stage.scene.install, &InitOptions::default())?;
    let refusals = [
        (&stage.scene.primary, "is on timeline 1 itself"),
        (&other_point, "history left timeline 1 at"),
        (&other_cluster, "another cluster"),
    ];
    let refuse_all = |stage: &Stage| -> Result<()> {
        for (server, reason) in &refusals {
            let primary = server.address().conninfo("postgres");
            let said = stage.refused(&["follow", "b", "--primary", &primary])?;
            ensure!(said.contains(reason), "{said}");
        }
        let nobody = "host=127.0.0.1 port=1 user=nobody";
        let said = stage.refused(&["follow", "b", "--primary", nobody])?;
        ensure!(said.contains("port") || said.contains("refused"), "{said}");
        Ok(())
    };
    refuse_all(&stage)?;
    let server = stage.server.take().context("running")?;
    server.stop()?;
    // Without a server the same is checked.
    refuse_all(&stage)?;
    let shown = stage.status_of("b")?;
    ensure!(shown["upstream"] == Value::Null, "{shown}");
    ensure!(shown["last_record_lsn"] == point.to_string(), "{shown}");
    // Nothing was made on those that were refused.
    for (server, _) in &refusals {
        let text = "SELECT 1 FROM pg_replication_slots WHERE slot_name = 'zenith_b'";
        let row = server.client("postgres")?.query_opt(text, &[])?;
        ensure!(row.is_none(), "a slot for a branch that does not follow");
    }
    Ok(())
}

/// A primary, and the page server that follows it.
struct Stage {
    scene: Scene,
    daemon: Daemon,
    server: Option<PageServer>,
}

impl Stage {
    fn new() -> Result<Stage> {
        let scene = Scene::new(InitOptions::default())?;
        let daemon = scene.daemon(crate::PROGRAM);
        let server = daemon.start()?;
        server.log.wait_for("primary imported")?;
        Ok(Stage {
            scene,
            daemon,
            server: Some(server),
        })
    }

    fn start(&mut self) -> Result<()> {
        let server = self.daemon.start()?;
        server.log.wait_for("serving")?;
        self.server = Some(server);
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        self.server.take().context("running")?.stop()?;
        Ok(())
    }

    /// A checkpoint of the primary that the page server has.
    fn acknowledged_mark(&self) -> Result<Lsn> {
        let mark = self.scene.mark()?;
        self.scene.wait_acknowledged(mark)?;
        Ok(mark)
    }

    fn change_main(&self) -> Result<()> {
        let mut client = self.scene.primary.client("postgres")?;
        Ok(client.batch_execute(
            "CREATE TABLE IF NOT EXISTS beside (i int, t text);
             INSERT INTO beside SELECT i, md5(i::text) FROM generate_series(1, 5000) i;
             UPDATE beside SET t = 'y' WHERE i % 3 = 0",
        )?)
    }

    /// A clone of a timeline, running.
    fn clone_of(&self, timeline: &str, at: Option<Lsn>) -> Result<Cluster> {
        let dir = self.scene.path(&format!("clone-of-{timeline}"));
        let dir_text = dir.display().to_string();
        let mut arguments = vec![dir_text.as_str(), "--timeline", timeline];
        let at = at.map(|lsn| lsn.to_string());
        if let Some(at) = &at {
            arguments.extend(["--lsn", at]);
        }
        self.run("checkout", &arguments)?;
        let mut copy = Command::new("cp");
        let copied = copy.arg("-a").arg(&dir).arg(cold(&dir)).status()?;
        ensure!(copied.success(), "copying the clone");
        trim_status_logs(&cold(&dir))?;
        Cluster::open(&self.scene.install, &dir, &["wal_keep_size=1GB"])
    }

    fn timeline(&self, arguments: &[&str]) -> Result<String> {
        self.run("timeline", arguments)
    }

    /// What a command prints that succeeds.
    fn run(&self, command: &str, arguments: &[&str]) -> Result<String> {
        let (done, out, err) = self.try_run(command, arguments)?;
        ensure!(done, "{command} {arguments:?}: {err}");
        Ok(out)
    }

    /// What `timeline` says when it refuses.
    fn refused(&self, arguments: &[&str]) -> Result<String> {
        let (done, out, err) = self.try_run("timeline", arguments)?;
        ensure!(!done, "{arguments:?} was done: {out}");
        Ok(err)
    }

    /// Asks the server, or the data directory if none runs.
    fn try_run(&self, command: &str, arguments: &[&str]) -> Result<(bool, String, String)> {
        let mut arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        match &self.server {
            Some(server) => {
                let line = server.log.wait_for("serving")?;
                arguments.push(format!("--server=http://{}", line.field("http")));
            }
            None => arguments.push(format!("--data-dir={}", self.daemon.data_dir.display())),
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = self.daemon.run(command, &arguments)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((
            output.status.success(),
            text(&output.stdout),
            text(&output.stderr),
        ))
    }

    fn status_of(&self, name: &str) -> Result<Value> {
        let all: Vec<Value> = serde_json::from_str(&self.run("status", &["--json"])?)?;
        let found = all.into_iter().find(|one| one["name"] == name);
        found.with_context(|| format!("no timeline {name}"))
    }

    /// Compares the branch with stock recovery onto the clone's timeline, and `main` with that of its own.
    fn check(&self, clone: &Cluster, points: [Lsn; 3], on_main: Lsn) -> Result<()> {
        let store = open_store(&self.daemon.data_dir, StoreConfig::default())?;
        let (main, branch) = (store.timeline(None, "main")?, store.timeline(None, "b")?);
        let info = branch.info();
        ensure!(info.ancestor.map(|(_, lsn)| lsn) == Some(points[0]));
        ensure!(info.pg_timeline == FIRST_CLONE, "{}", info.pg_timeline);
        ensure!(main.info().pg_timeline == 1);
        self.scene.primary.archived_through(on_main)?;
        for timeline in [&main, &branch] {
            timeline.wait_examined(PATIENCE)?;
        }
        branch.wait_for(points[2], PATIENCE)?;
        let backup = BackupSource::Tars(self.scene.path("backup"));
        let recovery = self.scene.recovery(backup)?;
        must_equal(&recovery, &main, &[on_main])?;
        must_equal(&recovery, &branch, &points[..1])?;
        // Recovery of the parent's backup onto a timeline with so high a number would ask the archive for the
        // history of every number up to it (restoreTimeLineHistoryFiles, access/transam/timeline.c).
        let backup = BackupSource::Directory(cold(clone.data_dir()));
        let archive = self.archive_of(clone)?;
        let recovery = Recovery::new(&self.scene.install, backup, &archive);
        must_equal(&recovery, &branch, &points[1..])?.must_reach(&FLOORS)?;
        store.close();
        Ok(())
    }

    /// What the clone, which archives nothing, has in `pg_wal`.
    fn archive_of(&self, clone: &Cluster) -> Result<PathBuf> {
        // Recovery stops before a record, so there has to be one behind the last point.
        let mut client = clone.client("postgres")?;
        client.batch_execute("CREATE TABLE behind_the_last ()")?;
        client.batch_execute("SELECT pg_switch_wal()")?;
        let archive = self.scene.path("archive-of-clone");
        fs::create_dir(&archive)?;
        for entry in fs::read_dir(clone.data_dir().join("pg_wal"))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), archive.join(entry.file_name()))?;
            }
        }
        self.scene.install.user().own(&archive)?;
        Ok(archive)
    }
}

/// Where the clone in `dir` is as it was before it was started.
fn cold(dir: &Path) -> PathBuf {
    dir.with_extension("cold")
}

/// A checkout has whole segments of them, whose last pages no server has written yet.
fn trim_status_logs(data: &Path) -> Result<()> {
    const LOGS: [&str; 4] = [
        "pg_xact",
        "pg_multixact/offsets",
        "pg_multixact/members",
        "pg_commit_ts",
    ];
    for log in LOGS {
        for entry in fs::read_dir(data.join(log))? {
            let path = entry?.path();
            let content = fs::read(&path)?;
            let written = content.iter().rposition(|byte| *byte != 0).unwrap_or(0);
            let pages = written / PAGE_SIZE + 1;
            let file = fs::OpenOptions::new().write(true).open(&path)?;
            file.set_len((pages * PAGE_SIZE) as u64)?;
        }
    }
    Ok(())
}

fn run_phases(workload: &mut Workload) -> Result<()> {
    for name in PHASES {
        workload.run(Phase::named(name).with_context(|| name.to_owned())?)?;
    }
    Ok(())
}

/// A checkpoint of the clone, once the page server has told that it has it.
fn wait_for_branch(clone: &Cluster) -> Result<Lsn> {
    let mut client = clone.client("postgres")?;
    client.batch_execute("CHECKPOINT")?;
    let mark = clone.insert_lsn()?;
    let text = "SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = 'zenith_b'";
    wait_for(
        &format!("the page server to acknowledge {mark} to the clone"),
        || {
            let row = client.query_opt(text, &[])?;
            let found: Option<String> = row.and_then(|row| row.get(0));
            let found: Option<Lsn> = found.map(|text| text.parse()).transpose()?;
            Ok(found.filter(|found| *found >= mark).map(|_| ()))
        },
    )?;
    Ok(mark)
}
