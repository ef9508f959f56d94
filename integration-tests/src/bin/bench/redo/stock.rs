//! Stock recovery of the same backup with the same WAL, and the CPU time of its startup process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use stockpg::{Cluster, Scratch, StopMode};

use super::workload::History;
use crate::Bench;
use crate::measure::run as run_command;

/// The directory that a recovery left, stopped right behind it.
pub(super) struct Recovered {
    /// Of the startup process while it applied WAL, user and system, seconds.
    pub(super) cpu: f64,
    home: Scratch,
}

impl Recovered {
    /// Its data directory, in which every page is on disk.
    pub(super) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }
}

/// Recovers as after a crash: all WAL lies in `pg_wal`, and the backup's label says where to begin.
///
/// # Errors
/// If recovery fails, or does not say what it took.
pub(super) fn recover(bench: &Bench, history: &History) -> Result<Recovered> {
    let home = Scratch::new(&bench.install.user(), bench.dir.as_deref())?;
    let data = home.path().join("data");
    let mut copy = Command::new("cp");
    copy.arg("-R").arg(history.backup.dir()).arg(&data);
    run_command(&mut copy)?;
    for file in &history.files {
        let name = file.file_name().context("a segment without a name")?;
        fs::copy(file, data.join("pg_wal").join(name))?;
    }
    let settings = [
        "shared_buffers=4GB",
        "fsync=off",
        "autovacuum=off",
        "hot_standby=off",
        // Everything is in the page cache already: looking ahead would cost the startup process only.
        "recovery_prefetch=off",
        "max_wal_size=100GB",
        "checkpoint_timeout=1d",
        "bgwriter_lru_maxpages=0",
    ];
    let mut cluster = Cluster::open(&bench.install, &data, &settings)?;
    let cpu = cpu_of_redo(&cluster.log_text())?;
    // The checkpoint at the end of recovery has written all pages.
    cluster.stop(StopMode::Immediate)?;
    let recovered = Recovered { cpu, home };
    anyhow::ensure!(Path::new(&recovered.data()).exists());
    Ok(recovered)
}

/// From the line `redo done at 0/... system usage: CPU: user: 1.23 s, system: 0.45 s, elapsed: 1.70 s`
/// (PerformWalRecovery, access/transam/xlogrecovery.c).
fn cpu_of_redo(log: &str) -> Result<f64> {
    let line = log
        .lines()
        .find(|line| line.contains("redo done at"))
        .context("recovery did not say that redo is done")?;
    let seconds = |name: &str| -> Result<f64> {
        let text = line
            .split_once(name)
            .and_then(|(_, rest)| rest.split_once(" s"));
        let (number, _) = text.with_context(|| format!("no {name} in {line:?}"))?;
        Ok(number.trim().parse()?)
    };
    Ok(seconds("user:")? + seconds("system:")?)
}
