//! A primary with its archive and a workload, and the comparison with stock recovery.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use pagecache::{Store, Timeline};
use pageserver_bin::checkout::{CheckoutJob, checkout};
use pageserver_bin::truth::StoreSubject;
use stockpg::{
    BackupSource, Cluster, CompareOptions, Contents, InitOptions, PgInstall, RecoveredDir,
    Recovery, Workload, WorkloadOptions, compare,
};
use tempfile::TempDir;
use walrecord::{Lsn, Rmgr};

use crate::{Daemon, SLOT, wait_for};

/// A primary that archives, and a directory for everything else. All goes with the value.
pub struct Scene {
    /// The primary.
    pub primary: Cluster,
    /// The programs of Postgres.
    pub install: PgInstall,
    home: TempDir,
}

impl Scene {
    /// [`Scene::of`] the version that tests run on.
    ///
    /// # Errors
    /// If Postgres does not start.
    pub fn new(options: InitOptions) -> Result<Scene> {
        Scene::of(&PgInstall::tested()?, options)
    }

    /// A primary with segments of 1 MB, so that WAL crosses their borders often, and archiving on.
    ///
    /// # Errors
    /// If Postgres does not start.
    pub fn of(install: &PgInstall, options: InitOptions) -> Result<Scene> {
        let mut conf = Workload::CONF.map(str::to_owned).to_vec();
        conf.extend(options.conf);
        let options = InitOptions {
            wal_segsize_mb: 1,
            archive: true,
            conf,
            ..options
        };
        Ok(Scene {
            primary: Cluster::init(install, &options)?,
            install: install.clone(),
            home: tempfile::tempdir()?,
        })
    }

    /// A place below the scene's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The workload, prepared.
    ///
    /// # Errors
    /// If the primary refuses.
    pub fn workload(&self) -> Result<Workload> {
        Workload::prepare(&self.primary, &WorkloadOptions::default())
    }

    /// A page server that imports and follows the primary, with small layers, so that much is written and
    /// switched in a short time.
    pub fn daemon(&self, program: &str) -> Daemon {
        Daemon {
            config: "open_layer_wal_mb = 1\nimport_batch_mb = 1\n".to_owned(),
            primary: Some(self.primary.address().conninfo("postgres")),
            tee: Some(self.path("backup")),
            ..Daemon::new(program, &self.path("pages"))
        }
    }

    /// Checkpoints, without which stock recovery would not write its pages out, and gives the LSN behind.
    ///
    /// # Errors
    /// If the primary refuses.
    pub fn mark(&self) -> Result<Lsn> {
        self.primary
            .client("postgres")?
            .batch_execute("CHECKPOINT")?;
        self.primary.insert_lsn()
    }

    /// Up to where the page server has acknowledged WAL: the slot's `restart_lsn`; none without a slot.
    ///
    /// # Errors
    /// If the primary cannot be asked.
    pub fn acknowledged(&self) -> Result<Option<Lsn>> {
        let text = "SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = $1";
        let row = self.primary.client("postgres")?.query_opt(text, &[&SLOT])?;
        let text: Option<String> = row.and_then(|row| row.get(0));
        Ok(text.map(|text| text.parse()).transpose()?)
    }

    /// Waits until the page server has told the primary that it has everything up to `lsn`.
    ///
    /// # Errors
    /// If that does not come.
    pub fn wait_acknowledged(&self, lsn: Lsn) -> Result<()> {
        let what = format!("the page server to acknowledge {lsn}");
        wait_for(&what, || {
            let reached = self.acknowledged()?.is_some_and(|reached| reached >= lsn);
            Ok(reached.then_some(()))
        })
    }

    /// Stock recovery of a backup with the archive.
    ///
    /// # Errors
    /// If the primary does not archive.
    pub fn recovery(&self, backup: BackupSource) -> Result<Recovery> {
        let archive = self.primary.archive().context("an archive")?;
        Ok(Recovery::new(&self.install, backup, archive.dir()))
    }

    /// Compares every page of the timeline at each point with what stock recovery of `backup` makes, and
    /// prints and adds up what that took.
    ///
    /// # Errors
    /// If a page differs, or anything fails.
    pub fn must_equal_stock(
        &self,
        timeline: &Timeline,
        backup: &BackupSource,
        points: &[Lsn],
    ) -> Result<Figures> {
        let last = points.iter().max().context("no LSN to compare at")?;
        self.primary.archived_through(*last)?;
        timeline.wait_for(*last, crate::PATIENCE)?;
        must_equal(&self.recovery(backup.clone())?, timeline, points)
    }

    /// What stock recovery of `backup` makes at each point, to compare with more than once.
    ///
    /// # Errors
    /// If the WAL does not arrive, or recovery fails.
    pub fn truths(
        &self,
        timeline: &Timeline,
        backup: &BackupSource,
        points: &[Lsn],
    ) -> Result<Truths> {
        let last = points.iter().max().context("no LSN to compare at")?;
        self.primary.archived_through(*last)?;
        timeline.wait_for(*last, crate::PATIENCE)?;
        let recovery = self.recovery(backup.clone())?;
        let recovered = |point: &Lsn| Ok((*point, recovery.to(*point)?));
        Ok(Truths(points.iter().map(recovered).collect::<Result<_>>()?))
    }

    /// Checks out a point, starts stock Postgres on that, and compares what it holds with what stock recovery of
    /// `backup` to that point holds. The clone replays nothing when it starts, and prepared transactions can be
    /// committed there.
    ///
    /// # Errors
    /// If anything differs or fails.
    pub fn clone_must_equal_stock(
        &self,
        store: &Store,
        timeline: &Timeline,
        backup: &BackupSource,
        point: Lsn,
    ) -> Result<()> {
        let job = CheckoutJob {
            dir: self.path(&format!("clone-{:X}", point.get())),
            lsn: Some(point),
            keep_config: false,
            tablespace_mapping: Vec::new(),
            port: None,
        };
        let done = checkout(store, timeline, &job, &mut |_| {}, &crate::logger())?;
        let clone = Cluster::open(&self.install, &job.dir, &["autovacuum=off"])?;
        let log = clone.log_text();
        ensure!(log.contains("database system was shut down at"), "{log}");
        for phrase in ["redo", "recovery", "WARNING", "ERROR", "PANIC"] {
            ensure!(!log.contains(phrase), "the log speaks of {phrase}:\n{log}");
        }
        let held = Contents::read(clone.address())?;
        ensure!(held.prepared.len() as u64 == done.prepared && done.prepared >= 2);
        let stock = self.recovery(backup.clone())?.open(point)?;
        Contents::read(stock.address())?.must_equal(&held)?;
        let mut client = clone.client(Workload::DATABASE)?;
        let rows = client.query("SELECT gid FROM pg_prepared_xacts", &[])?;
        for gid in rows.iter().map(|row| row.get::<_, String>(0)) {
            client.batch_execute(&format!("COMMIT PREPARED '{gid}'"))?;
        }
        client.batch_execute("CHECKPOINT")?;
        Ok(())
    }
}

/// Compares every page of the timeline at each point with what that recovery makes, and prints and adds up
/// what that took. The archive has all WAL that is needed, the timeline too.
///
/// # Errors
/// If a page differs, or anything fails.
pub fn must_equal(recovery: &Recovery, timeline: &Timeline, points: &[Lsn]) -> Result<Figures> {
    let mut figures = Figures::default();
    for point in points {
        figures.compare(timeline, *point, &mut recovery.to(*point)?)?;
    }
    Ok(figures)
}

/// What stock recovery made at some points.
pub struct Truths(Vec<(Lsn, RecoveredDir)>);

impl Truths {
    /// As [`must_equal`], at the points that `timeline` can be read at.
    ///
    /// # Errors
    /// If a page differs, or anything fails.
    pub fn must_equal(&mut self, timeline: &Timeline, points: &[Lsn]) -> Result<Figures> {
        let mut figures = Figures::default();
        for (point, truth) in &mut self.0 {
            if points.contains(point) {
                figures.compare(timeline, *point, truth)?;
            }
        }
        Ok(figures)
    }
}

/// What comparisons took, added up.
#[derive(Debug, Default)]
pub struct Figures {
    /// Pages that were compared.
    pub compared: u64,
    /// Pages that needed at least one record.
    pub rebuilt: u64,
    /// Records applied.
    pub records: u64,
    by_rmgr: [u64; Rmgr::ALL.len()],
}

/// The least that a comparison must have seen to mean anything.
pub struct Floors<'a> {
    /// Pages compared.
    pub compared: u64,
    /// Pages that needed at least one record.
    pub rebuilt: u64,
    /// Records applied.
    pub records: u64,
    /// Records of resource managers.
    pub by_rmgr: &'a [(Rmgr, u64)],
}

impl Figures {
    #[expect(
        clippy::print_stdout,
        reason = "the figures belong to the test's output"
    )]
    fn compare(&mut self, timeline: &Timeline, point: Lsn, truth: &mut RecoveredDir) -> Result<()> {
        let snapshot = timeline.snapshot(timeline.boundary(point)?.end)?;
        let mut subject = StoreSubject::new(snapshot);
        let comparison = compare(truth, &mut subject, &CompareOptions::default())?;
        println!(
            "{} at {point}: {comparison}; {} of {} pages needed records: {} ({})",
            timeline.info().name,
            subject.rebuilt,
            subject.pages,
            subject.records,
            subject.rmgr_counts()
        );
        comparison.must_be_equal()?;
        self.add(comparison.relation_pages + comparison.slru_pages, &subject);
        Ok(())
    }

    fn add(&mut self, compared: u64, subject: &StoreSubject) {
        self.compared += compared;
        self.rebuilt += subject.rebuilt;
        self.records += subject.records;
        for (total, count) in self.by_rmgr.iter_mut().zip(subject.by_rmgr) {
            *total += count;
        }
    }

    /// Fails if there is less than the floors say.
    ///
    /// # Errors
    /// With the first figure that is too small.
    pub fn must_reach(&self, floors: &Floors<'_>) -> Result<()> {
        let mut pairs = vec![
            ("pages compared", self.compared, floors.compared),
            ("pages that needed records", self.rebuilt, floors.rebuilt),
            ("records", self.records, floors.records),
        ];
        for (rmgr, floor) in floors.by_rmgr {
            pairs.push((rmgr.name(), self.by_rmgr[*rmgr as usize], *floor));
        }
        for (what, found, floor) in pairs {
            ensure!(
                found >= floor,
                "{what}: {found}, below the floor of {floor}"
            );
        }
        Ok(())
    }
}

/// The workload in a thread of its own, round after round.
pub struct Busy {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Workload>>>,
}

impl Busy {
    /// Starts it.
    pub fn start(mut workload: Workload) -> Busy {
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for phase in Workload::phases().iter().cycle() {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                workload.run(*phase)?;
            }
            Ok(workload)
        });
        Busy {
            stop,
            thread: Some(thread),
        }
    }

    /// Stops it after the phase that it is in.
    ///
    /// # Errors
    /// If the workload failed.
    pub fn stop(mut self) -> Result<Workload> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("stopped once")?;
        match thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("the workload panicked"),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Not joined: its server may be gone already, and then it fails by itself.
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The seed of a test's random moments: that of the environment variable `ZENITH_TEST_SEED`, or the time. It
/// is printed, to repeat a run as far as a machine's timing allows.
#[expect(clippy::print_stdout, reason = "the seed belongs to the test's output")]
pub fn random_seed() -> u64 {
    let given = std::env::var("ZENITH_TEST_SEED").ok();
    let seed = given.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(0, |now| now.as_nanos() as u64)
    });
    println!("ZENITH_TEST_SEED={seed}");
    seed
}
