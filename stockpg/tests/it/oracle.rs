//! Stock recovery to an LSN, and the comparison: equal is equal, and one wrong byte is found.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use stockpg::{
    BackupSource, ChecksumField, Cluster, CompareOptions, Contents, Difference, InitOptions, Phase,
    RecoveredDir, Recovery, Scratch, StopMode, TruthSubject, Workload, WorkloadOptions, compare,
};
use walrecord::{BlockTag, ForkNumber, Lsn, PageKey};

use crate::postgres;

/// A primary with a workload between its backup and `at`.
struct Primary {
    cluster: Cluster,
    backup: stockpg::BaseBackup,
    workload: Workload,
}

impl Primary {
    fn start() -> Result<Primary> {
        let options = InitOptions {
            archive: true,
            checksums: true,
            conf: Workload::CONF.map(str::to_owned).to_vec(),
            ..Default::default()
        };
        let cluster = Cluster::init(&postgres(), &options)?;
        let workload = Workload::prepare(&cluster, &WorkloadOptions::default())?;
        let backup = cluster.base_backup()?;
        Ok(Primary {
            cluster,
            backup,
            workload,
        })
    }

    fn run(&mut self, phases: &[&str]) -> Result<()> {
        phases
            .iter()
            .try_for_each(|name| self.workload.run(Phase::named(name).context("a phase")?))
    }

    /// An LSN that stock can recover to, with a checkpoint before it.
    fn point(&self) -> Result<Lsn> {
        self.cluster
            .client("postgres")?
            .batch_execute("CHECKPOINT")?;
        let lsn = self.cluster.insert_lsn()?;
        self.cluster.archived_through(lsn)?;
        Ok(lsn)
    }

    fn recovery(&self) -> Result<Recovery> {
        self.recovery_of(BackupSource::Directory(self.backup.dir()))
    }

    fn recovery_of(&self, source: BackupSource) -> Result<Recovery> {
        let archive = self.cluster.archive().context("it archives")?;
        Ok(Recovery::new(self.cluster.install(), source, archive.dir()))
    }
}

#[test]
fn two_recoveries_to_one_lsn_are_equal_and_contents_follow() -> Result<()> {
    let mut primary = Primary::start()?;
    primary.run(&[
        "oltp",
        "index builds",
        "vacuum",
        "tablespaces",
        "databases",
        "unlogged",
        "multixacts",
    ])?;
    primary.run(&[
        "subtransactions",
        "prepared transactions",
        "catalog rewrite",
    ])?;
    let at = primary.point()?;
    let then = Contents::read(primary.cluster.address())?;
    primary.run(&[
        "drop and re-create",
        "truncate and refill",
        "oltp",
        "databases",
    ])?;

    let live = Contents::read(primary.cluster.address())?;
    let untouched = fingerprint(&primary.backup.dir())?;
    let recovery = primary.recovery()?;
    let (mut truth, mut again) = (recovery.to(at)?, recovery.to(at)?);
    let found = compare(&mut truth, &mut again, &CompareOptions::default())?;
    found.must_be_equal()?;
    assert!(found.relation_pages > 3_000, "{found}");
    assert!(found.slru_pages > 40 && found.files > 10, "{found}");
    assert!(again.twophase_files()?.len() >= 2);

    // The server that opens there holds what the primary held, except what it loses in any recovery.
    let mut expected = then;
    let opened = Contents::read(recovery.open(at)?.address())?;
    for (name, table) in &mut expected.tables {
        if name.starts_with("workload.volatile") {
            assert!(table.rows > 0 && opened.tables[name].rows == 0, "{name}");
            table.clone_from(&opened.tables[name]);
        }
    }
    // Redo leaves sequences up to 32 values ahead.
    assert_eq!(expected.sequences.len(), opened.sequences.len());
    expected.sequences.clone_from(&opened.sequences);
    expected.must_equal(&opened)?;

    assert_eq!(
        fingerprint(&primary.backup.dir())?,
        untouched,
        "the backup is only read"
    );

    // The primary lost nothing by it, in its tablespaces neither; restarted, it reads its files.
    primary.cluster.restart(StopMode::Fast)?;
    let after = Contents::read(primary.cluster.address())?;
    live.must_equal(&after)?;
    Ok(())
}

/// Every file with its time and length, through links.
fn fingerprint(dir: &Path) -> Result<Vec<(PathBuf, SystemTime, u64)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let meta = path.metadata()?;
        if meta.is_dir() {
            files.extend(fingerprint(&path)?);
        } else {
            files.push((path, meta.modified()?, meta.len()));
        }
    }
    files.sort();
    Ok(files)
}

#[test]
fn an_earlier_lsn_is_another_state() -> Result<()> {
    let mut primary = Primary::start()?;
    primary.run(&["oltp"])?;
    let early = primary.point()?;
    primary.run(&["oltp", "truncate and refill"])?;
    let late = primary.point()?;
    let recovery = primary.recovery()?;
    let all = CompareOptions {
        keep: usize::MAX,
        ..Default::default()
    };
    let found = compare(&mut recovery.to(late)?, &mut recovery.to(early)?, &all)?;
    assert!(found.differing_pages > 10, "{found}");
    let absent = |d: &Difference| matches!(d, Difference::Length { subject: None, .. });
    assert!(
        found.differences.iter().any(absent),
        "tables were made in between"
    );
    Ok(())
}

#[test]
fn one_wrong_byte_one_missing_page_and_one_extra_file_are_found() -> Result<()> {
    let mut primary = Primary::start()?;
    primary.run(&["oltp"])?;
    let at = primary.point()?;
    let recovery = primary.recovery()?;
    let mut truth = recovery.to(at)?;
    let broken = recovery.to(at)?;

    let mut forks = truth.relation_forks()?;
    forks.retain(|fork| fork.fork == ForkNumber::Main && fork.blocks > 2);
    let tag = |i: usize, block| BlockTag {
        rel: forks[i].rel,
        fork: ForkNumber::Main,
        block,
    };
    let (flipped, checksum, cut) = (tag(0, 1), tag(1, 0), tag(2, 0));
    flip(&broken, flipped, 4000)?;
    flip(&broken, checksum, 8)?;
    let (path, _) = broken.block_location(cut)?;
    let length = path.metadata()?.len();
    OpenOptions::new()
        .write(true)
        .open(&path)?
        .set_len(length - 8192)?;
    let extra = path.with_file_name("999999");
    File::create(&extra)?;
    std::fs::write(path.with_file_name("pg_filenode.map"), "not a map")?;
    let mut broken = RecoveredDir::open(broken.path())?;

    let found = compare(&mut truth, &mut broken, &CompareOptions::default())?;
    assert_eq!(
        (found.difference_count, found.differing_pages),
        (5, 2),
        "{found}"
    );
    let page = |key: BlockTag, at: usize| {
        found.differences.iter().any(|difference| {
            matches!(difference, Difference::Page { key: PageKey::Block(k), offsets, bytes: 1, .. }
                     if *k == key && offsets[..] == [at])
        })
    };
    assert!(page(flipped, 4000) && page(checksum, 8), "{found}");

    let ignoring = CompareOptions {
        checksums: ChecksumField::Ignored,
        ..Default::default()
    };
    let found = compare(&mut truth, &mut broken, &ignoring)?;
    assert_eq!(
        (found.difference_count, found.differing_pages),
        (4, 1),
        "{found}"
    );
    Ok(())
}

fn flip(dir: &RecoveredDir, tag: BlockTag, at: u64) -> Result<()> {
    let (path, offset) = dir.block_location(tag)?;
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset + at)?;
    file.write_all_at(&[byte[0] ^ 1], offset + at)?;
    Ok(())
}

#[test]
fn tars_and_a_directory_of_one_backup_recover_to_the_same() -> Result<()> {
    let mut primary = Primary::start()?;
    if !primary.cluster.install().has_tool("pg_basebackup") {
        eprintln_skip("this PostgreSQL has no pg_basebackup");
        return Ok(());
    }
    primary.run(&["tablespaces"])?;
    let scratch = Scratch::new(&primary.cluster.install().user(), None)?;
    let tars = scratch.path().join("tars");
    let status = primary
        .cluster
        .install()
        .command("pg_basebackup")
        .args(["-Ft", "-X", "none", "-c", "fast", "-D"])
        .arg(&tars)
        .args(["-d", &primary.cluster.address().conninfo("postgres")])
        .stderr(std::process::Stdio::null())
        .status()?;
    ensure!(status.success());
    // The same bytes as a directory: unpacked, with its tablespace linked.
    let plain = scratch.path().join("plain");
    unpack(&tars, &plain)?;
    primary.run(&["oltp", "tablespaces"])?;
    let at = primary.point()?;
    let mut from_tars = primary.recovery_of(BackupSource::Tars(tars))?.to(at)?;
    let mut from_plain = primary
        .recovery_of(BackupSource::Directory(plain))?
        .to(at)?;
    let found = compare(&mut from_tars, &mut from_plain, &CompareOptions::default())?;
    found.must_be_equal()?;
    let forks = from_tars.relation_forks()?;
    assert!(
        forks.iter().any(|fork| fork.rel.spc > 16_000),
        "relations in the tablespace are compared"
    );
    Ok(())
}

fn unpack(tars: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(tars)? {
        let tar = entry?.path();
        let name = tar
            .file_stem()
            .context("a name")?
            .to_string_lossy()
            .into_owned();
        if tar.extension().is_none_or(|ext| ext != "tar") {
            continue;
        }
        let dir = if name == "base" {
            to.to_owned()
        } else {
            to.with_extension(&name)
        };
        std::fs::create_dir_all(&dir)?;
        ensure!(
            Command::new("tar")
                .arg("-xf")
                .arg(&tar)
                .arg("-C")
                .arg(&dir)
                .status()?
                .success()
        );
        if name != "base" {
            std::fs::create_dir_all(to.join("pg_tblspc"))?;
            std::os::unix::fs::symlink(&dir, to.join("pg_tblspc").join(&name))?;
        }
    }
    Ok(())
}

#[test]
fn files_that_recovery_did_not_write_out_are_refused() -> Result<()> {
    let mut primary = Primary::start()?;
    primary.run(&["truncate and refill"])?;
    // No checkpoint since the backup.
    let at = primary.cluster.insert_lsn()?;
    primary.cluster.archived_through(at)?;
    let error = primary.recovery()?.to(at).unwrap_err();
    assert!(
        format!("{error:#}").contains("no checkpoint after the backup"),
        "{error:#}"
    );
    Ok(())
}

#[test]
fn an_archive_that_ends_too_early_is_an_error() -> Result<()> {
    let mut primary = Primary::start()?;
    primary.run(&["truncate and refill"])?;
    let at = primary.point()?;
    let beyond = at + (1 << 30);
    let error = primary.recovery()?.to(beyond).unwrap_err();
    assert!(
        format!("{error:#}").contains("the server failed"),
        "{error:#}"
    );
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a test that cannot run says why")]
fn eprintln_skip(reason: &str) {
    eprintln!("skipped: {reason}");
}
