//! A standby takes the place of the primary, and the page server follows: pages and clones before, at and behind
//! the switch equal what stock recovery across both timelines makes. A server that lacks what we have is refused.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Daemon, Floors, PATIENCE, SLOT, Scene, logger, must_equal, open_store, random_seed, wait_for,
};
use pagecache::{Store, StoreConfig, Timeline};
use pageserver_bin::checkout::{CheckoutJob, checkout};
use stockpg::{BackupSource, Cluster, InitOptions, Phase, Random, StopMode, Workload};
use walrecord::{Lsn, Rmgr, SegmentId};

/// Kills around the switch.
const ROUNDS: u64 = 8;

/// What runs before and behind the switch. (A standby on the same machine cannot replay a tablespace that is
/// made in the primary's place.)
const PHASES: [&str; 8] = [
    "bulk load",
    "index builds",
    "oltp",
    "toast",
    "vacuum",
    "truncate and refill",
    "subtransactions",
    "prepared transactions",
];

/// Over three LSNs.
const FLOORS: Floors<'static> = Floors {
    compared: 10_000,
    rebuilt: 1_000,
    records: 10_000,
    by_rmgr: &[(Rmgr::Heap, 3_000), (Rmgr::Btree, 1_000)],
};

/// Upstream of the page server is the standby itself: its timeline ends under a running stream.
#[test]
fn a_promoted_standby_is_followed_in_the_same_stream() -> Result<()> {
    let mut pair = Pair::new()?;
    let daemon = Daemon {
        primary: Some(pair.standby.address().conninfo("postgres")),
        ..pair.scene.daemon(crate::PROGRAM)
    };
    let server = daemon.start()?;
    server.log.wait_for("primary imported")?;
    pair.work()?;
    let before = pair.scene.mark()?;
    pair.work()?;
    // A clean shutdown waits until the standby has everything.
    pair.scene.primary.stop(StopMode::Fast)?;
    pair.standby.promote()?;
    server.log.wait_for("went over to the next timeline")?;
    pair.move_workload();
    pair.work()?;
    let after = pair.mark_behind()?;
    pair.wait_acknowledged(after)?;
    let shown = daemon_status(&daemon, &server)?;
    ensure!(shown.contains("on its timeline 2"), "{shown}");

    // Connecting again compares the histories of timeline 2.
    server.stop()?;
    let server = daemon.start()?;
    pair.work()?;
    let last = pair.mark_behind()?;
    pair.wait_acknowledged(last)?;
    server.stop()?;
    pair.check(&daemon, before, last)
}

/// The page server followed the primary; it is killed again and again while it goes over to the standby.
#[test]
fn a_page_server_that_is_killed_while_it_goes_over_follows_all_the_same() -> Result<()> {
    let mut random = Random::new(random_seed());
    let mut pair = Pair::new()?;
    let daemon = pair.scene.daemon(crate::PROGRAM);
    let server = daemon.start()?;
    server.log.wait_for("primary imported")?;
    let slot = format!("SELECT pg_create_physical_replication_slot('{SLOT}', true)");
    pair.standby.client("postgres")?.batch_execute(&slot)?;
    pair.work()?;
    let before = pair.scene.mark()?;
    pair.work()?;
    pair.scene.primary.stop(StopMode::Fast)?;
    pair.standby.promote()?;
    pair.move_workload();
    server.kill()?;

    let daemon = Daemon {
        primary: Some(pair.standby.address().conninfo("postgres")),
        tee: None,
        ..daemon
    };
    for _ in 0..ROUNDS {
        let server = daemon.start()?;
        // Not to wait for something, but to kill at any moment.
        sleep(Duration::from_millis(random.below(600)));
        server.kill()?;
    }
    let server = daemon.start()?;
    pair.work()?;
    let after = pair.mark_behind()?;
    pair.wait_acknowledged(after)?;
    server.stop()?;
    pair.check(&daemon, before, after)
}

/// What we have may be the only copy of commits that were acknowledged: nothing of it is given up. The connection
/// string names both servers, and the page server runs through all of it.
#[test]
fn a_server_promoted_below_our_end_is_followed_by_a_branch_and_nothing_is_lost() -> Result<()> {
    let mut pair = Pair::new()?;
    let ports = [&pair.scene.primary, &pair.standby].map(|server| server.address().port());
    let [primary, standby] = ports;
    let daemon = Daemon {
        primary: Some(format!(
            "host=127.0.0.1,127.0.0.1 port={primary},{standby} user=postgres"
        )),
        ..pair.scene.daemon(crate::PROGRAM)
    };
    let server = daemon.start()?;
    server.log.wait_for("primary imported")?;
    pair.work()?;
    let before = pair.scene.mark()?;
    wait_for("the standby to have that", || {
        let text = "SELECT pg_last_wal_replay_lsn()::text";
        let found: String = pair
            .standby
            .client("postgres")?
            .query_one(text, &[])?
            .get(0);
        Ok((found.parse::<Lsn>()? >= before).then_some(()))
    })?;
    pair.standby.stop(StopMode::Fast)?;
    pair.work()?;
    let ours = pair.scene.mark()?;
    pair.scene.primary.archived_through(ours)?;
    pair.scene.wait_acknowledged(ours)?;
    pair.scene.primary.kill()?;
    pair.standby.start()?;
    pair.standby.promote()?;

    // It had no slot for us.
    let line = server
        .log
        .wait_until(|line| line.message.contains("a branch goes on"))?;
    let switch = pair.switch_in_history_file()?;
    ensure!(line.field("fork") == switch.to_string() && before <= switch && switch < ours);
    server
        .log
        .wait_for("slot created on a server that is new to us")?;
    pair.change_behind()?;
    let after = pair.mark_behind()?;
    pair.wait_acknowledged(after)?;
    let shown = daemon_status(&daemon, &server)?;
    let kept = format!("main.before-{}", switch.to_string().replace('/', "-"));
    for text in [
        format!("timeline {kept} "),
        format!("left it at {switch}"),
        format!("failover        at {switch}"),
        "on its timeline 2".to_owned(),
    ] {
        ensure!(shown.contains(&text), "{text:?} is not in\n{shown}");
    }
    server.stop()?;
    let server = daemon.start()?;
    pair.change_behind()?;
    let last = pair.mark_behind()?;
    pair.wait_acknowledged(last)?;
    server.stop()?;
    pair.check_both(&daemon, &kept, [before, switch, ours, after])
}

/// A primary and its standby.
struct Pair {
    scene: Scene,
    standby: Cluster,
    workload: Option<Workload>,
}

impl Pair {
    fn new() -> Result<Pair> {
        let scene = Scene::new(InitOptions {
            conf: vec!["wal_keep_size = 1GB".to_owned()],
            ..InitOptions::default()
        })?;
        let mut workload = scene.workload()?;
        run_phases(&mut workload)?;
        let standby = Cluster::standby_of(&scene.primary)?;
        Ok(Pair {
            scene,
            standby,
            workload: Some(workload),
        })
    }

    fn work(&mut self) -> Result<()> {
        run_phases(self.workload.as_mut().context("a workload")?)
    }

    /// From here on the workload runs on the standby, which was promoted.
    fn move_workload(&mut self) {
        let moved = self.workload.take();
        self.workload = moved.map(|workload| workload.moved_to(&self.standby));
    }

    /// As [`Scene::mark`], on the server that was promoted.
    fn mark_behind(&self) -> Result<Lsn> {
        let mut client = self.standby.client("postgres")?;
        client.batch_execute("CHECKPOINT")?;
        self.standby.insert_lsn()
    }

    fn wait_acknowledged(&self, lsn: Lsn) -> Result<()> {
        let mut client = self.standby.client("postgres")?;
        let text = "SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = $1";
        wait_for(&format!("the page server to acknowledge {lsn}"), || {
            let found: Option<String> = client.query_one(text, &[&SLOT])?.get(0);
            let found: Option<Lsn> = found.map(|text| text.parse()).transpose()?;
            Ok(found.filter(|found| *found >= lsn).map(|_| ()))
        })
    }

    /// Where Postgres says that timeline 2 begins.
    fn switch_in_history_file(&self) -> Result<Lsn> {
        let path = self.standby.data_dir().join("pg_wal/00000002.history");
        let text = fs::read_to_string(path)?;
        let field = text.split_whitespace().nth(1);
        Ok(field.context("a switch point")?.parse()?)
    }

    /// Compares with stock recovery, before, at and behind the switch.
    fn check(&self, daemon: &Daemon, before: Lsn, after: Lsn) -> Result<()> {
        let switch = self.switch_in_history_file()?;
        ensure!(before < switch && switch < after);
        self.standby.archived_through(after)?;
        let (store, timeline) = open_main(daemon)?;
        timeline.wait_for(after, PATIENCE)?;
        let found: Vec<_> = timeline.pg_history();
        ensure!(
            found.len() == 2 && (found[1].timeline, found[1].start) == (2, switch),
            "{found:?}, not 2 from {switch}"
        );
        let recovery = self
            .scene
            .recovery(BackupSource::Tars(self.scene.path("backup")))?
            .latest_timeline();
        let points = [before, switch, after];
        must_equal(&recovery, &timeline, &points)?.must_reach(&FLOORS)?;
        for (point, parents) in [(before, 1), (switch, 1), (after, 2)] {
            self.check_clone(&store, &timeline, point, parents)?;
        }
        self.check_segments(daemon, &timeline, switch)?;
        store.close();
        Ok(())
    }

    /// Changes on the server that was promoted; the workload does not know what of it was lost.
    fn change_behind(&self) -> Result<()> {
        let mut client = self.standby.client("postgres")?;
        client.batch_execute(
            "CREATE TABLE IF NOT EXISTS behind (i int PRIMARY KEY, t text);
             INSERT INTO behind SELECT i, repeat('x', 100)
                 FROM (SELECT coalesce(max(i), 0) m FROM behind) b, generate_series(m + 1, m + 5000) i;
             UPDATE behind SET t = 'y' WHERE i % 3 = 0; DELETE FROM behind WHERE i % 7 = 0",
        )?;
        Ok(client.batch_execute("VACUUM behind")?)
    }

    /// What was kept equals what the old primary had, and what goes on what the new one has.
    fn check_both(&self, daemon: &Daemon, kept: &str, points: [Lsn; 4]) -> Result<()> {
        let [before, switch, ours, after] = points;
        self.standby.archived_through(after)?;
        let (store, main) = open_main(daemon)?;
        let kept = store.timeline(None, kept)?;
        kept.wait_for(ours, PATIENCE)?;
        let (old, new) = (kept.info(), main.info());
        ensure!(old.pg_timeline == 1 && new.pg_timeline == 2);
        ensure!(
            old.superseded
                .is_some_and(|it| (it.by, it.fork) == (new.timeline, switch))
        );
        ensure!(new.ancestor == Some((old.timeline, switch)));
        let backup = BackupSource::Tars(self.scene.path("backup"));
        let recovery = self.scene.recovery(backup)?;
        let floors = Floors {
            compared: 3_000,
            rebuilt: 300,
            records: 3_000,
            by_rmgr: &[],
        };
        must_equal(&recovery, &kept, &[before, ours])?.must_reach(&floors)?;
        must_equal(&recovery, &main, &[switch])?;
        must_equal(&recovery.latest_timeline(), &main, &[after])?.must_reach(&floors)?;
        self.check_clone(&store, &main, after, 2)?;
        self.check_segments(daemon, &main, switch)?;
        store.close();
        Ok(())
    }

    /// A clone starts, and descends from that many timelines.
    fn check_clone(
        &self,
        store: &Store,
        timeline: &Timeline,
        point: Lsn,
        parents: usize,
    ) -> Result<()> {
        let job = CheckoutJob {
            dir: self.scene.path(&format!("clone-{:X}", point.get())),
            lsn: Some(point),
            keep_config: false,
            tablespace_mapping: Vec::new(),
            port: None,
        };
        let done = checkout(store, timeline, &job, &mut |_| {}, &logger())?;
        let name = format!("pg_wal/{:08X}.history", done.pg_timeline);
        let history = fs::read_to_string(job.dir.join(name))?;
        ensure!(history.lines().count() == parents, "{history}");
        let parent = format!("{parents}\t{}", timeline.boundary(point)?.end);
        ensure!(
            history.lines().any(|line| line.starts_with(&parent)),
            "{history}"
        );
        let kept = job.dir.join("pg_wal/00000002.history").is_file();
        ensure!(kept == (parents == 2), "the parent's history file");
        let clone = Cluster::open(&self.scene.install, &job.dir, &[])?;
        let mut client = clone.client(Workload::DATABASE)?;
        let row = client.query_one("SELECT timeline_id FROM pg_control_checkpoint()", &[])?;
        ensure!(row.get::<_, i32>(0) == done.pg_timeline as i32);
        let row = client.query_one("SELECT count(*) FROM pg_class", &[])?;
        ensure!(row.get::<_, i64>(0) > 100);
        Ok(())
    }

    /// The segment in which the switch lies is what the promoted server has, with its copy of the old bytes.
    fn check_segments(&self, daemon: &Daemon, timeline: &Timeline, switch: Lsn) -> Result<()> {
        let info = timeline.info();
        let name = SegmentId::of(2, switch, info.segment_size).file_name(info.segment_size);
        let archive = self.scene.primary.archive().context("an archive")?;
        let theirs = fs::read(archive.dir().join(&name))?;
        let below = format!("tenants/{}/timelines/{}/wal", info.tenant, info.timeline);
        let ours = fs::read(daemon.data_dir.join(below).join(&name))?;
        ensure!(
            !ours.is_empty() && theirs.starts_with(&ours),
            "{name} is not what the promoted server has"
        );
        Ok(())
    }
}

fn run_phases(workload: &mut Workload) -> Result<()> {
    for name in PHASES {
        workload.run(Phase::named(name).with_context(|| name.to_owned())?)?;
    }
    Ok(())
}

fn open_main(daemon: &Daemon) -> Result<(Store, Timeline)> {
    let store = open_store(&daemon.data_dir, StoreConfig::default())?;
    let timeline = store.timeline(None, "main")?;
    timeline.wait_examined(PATIENCE)?;
    Ok((store, timeline))
}

/// What `pageserver status` prints.
fn daemon_status(daemon: &Daemon, server: &integration_tests::PageServer) -> Result<String> {
    let line = server.log.wait_for("serving")?;
    let url = format!("http://{}", line.field("http"));
    let output = daemon.run("status", &["--server", &url])?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
