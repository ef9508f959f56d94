//! Runs stock recovery of a base backup to an LSN.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use walrecord::Lsn;

use super::base::{BackupLabel, BackupSource};
use super::control::{Control, SHUT_DOWN_IN_RECOVERY};
use super::recovered::RecoveredDir;
use crate::cluster::{ServerProcess, shell_word};
use crate::{Cluster, PgInstall, Scratch};

/// Time for one recovery. Long, because only a hang is an error.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Stock recovery of one backup with one archive.
///
/// **Its WAL may create a tablespace only in place.** Replay of `CREATE TABLESPACE` clears the directory
/// that the record names, whoever uses it (tablespace.c, create_tablespace_directories): recovery beside a
/// live primary would destroy the primary's tablespace. One that the backup holds already is safe.
#[derive(Debug, Clone)]
pub struct Recovery {
    install: PgInstall,
    backup: BackupSource,
    archive: PathBuf,
    parent: Option<PathBuf>,
    timeline: TargetTimeline,
}

/// Which of the archive's timelines recovery follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TargetTimeline {
    Current,
    Latest,
}

/// Where recovery stops.
#[derive(Clone, Copy)]
enum Target<'a> {
    /// Behind the last record that ends at or before this.
    Lsn(Lsn),
    /// Before the first commit or abort later than this.
    Time(&'a str),
}

/// What recovery does at its target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtTarget {
    Shutdown,
    Promote,
}

impl Recovery {
    /// Recovery with the programs of `install` (same major and, for exact pages, same minor release as the
    /// primary), from `backup`, with WAL from the directory `archive`.
    pub fn new(install: &PgInstall, backup: BackupSource, archive: &Path) -> Recovery {
        Recovery {
            install: install.clone(),
            backup,
            archive: archive.to_owned(),
            parent: None,
            timeline: TargetTimeline::Current,
        }
    }

    /// Follows promotions: to the newest timeline whose history file is in the archive.
    #[must_use]
    pub fn latest_timeline(mut self) -> Recovery {
        self.timeline = TargetTimeline::Latest;
        self
    }

    /// Puts the recovered directories under `parent` instead of where temporary files live.
    #[must_use]
    pub fn under(mut self, parent: &Path) -> Recovery {
        self.parent = Some(parent.to_owned());
        self
    }

    /// Applies exactly the records that end at or before `lsn` and stops: the files are then the truth.
    ///
    /// Needs a checkpoint between the backup and `lsn`, or the server would not write its buffers out, and a
    /// record behind `lsn` in the archive ([`Cluster::archived_through`]).
    ///
    /// # Errors
    /// If recovery fails, does not stop at `lsn`, or did not write its buffers; the message carries the end
    /// of the log.
    pub fn to(&self, lsn: Lsn) -> Result<RecoveredDir> {
        let (home, label) = self.prepare()?;
        let data = home.path().join("data");
        let log = home.path().join("log");
        let mut command = self.install.command("postgres");
        command.arg("-D").arg(&data);
        for setting in self.settings(home.path(), Target::Lsn(lsn), AtTarget::Shutdown)? {
            command.arg("-c").arg(setting);
        }
        let socket = Scratch::new(&self.install.user(), None)?;
        command.arg("-c").arg(format!(
            "unix_socket_directories={}",
            socket.path().display()
        ));
        let status = ServerProcess::spawn(command, &log)?.wait(PATIENCE)?;
        let said = fs::read_to_string(&log).unwrap_or_default();
        judge(&data, &said, status.success(), lsn, label).with_context(|| {
            format!(
                "stock recovery to {lsn}; its log ends with\n{}",
                tail(&said)
            )
        })?;
        RecoveredDir::with_home(home)
    }

    /// Applies the same records, then opens the server for queries on a timeline of its own, cut off from
    /// everything the original could reach.
    ///
    /// # Errors
    /// If the server does not come up.
    pub fn open(&self, lsn: Lsn) -> Result<Cluster> {
        let (home, _) = self.prepare()?;
        let settings = self.settings(home.path(), Target::Lsn(lsn), AtTarget::Promote)?;
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let mut cluster = Cluster::open_in(&self.install, home, &settings)?;
        let stopped = stopped_before(&cluster.log_text());
        if stopped.is_none_or(|stop| stop < lsn) {
            let log = cluster.log_text();
            _ = cluster.kill();
            bail!(
                "stock recovery opened without stopping at {lsn}:\n{}",
                tail(&log)
            );
        }
        Ok(cluster)
    }

    /// Where recovery with `recovery_target_time` (inclusive) stops: the end of the last record that it applies,
    /// from the history file of the timeline that the server then opens.
    ///
    /// # Errors
    /// If the server does not come up: the WAL in the archive may not reach a commit behind the time.
    pub fn stop_at_time(&self, time: &str) -> Result<Lsn> {
        let (home, _) = self.prepare()?;
        let settings = self.settings(home.path(), Target::Time(time), AtTarget::Promote)?;
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let mut cluster = Cluster::open_in(&self.install, home, &settings)?;
        let wal = cluster.data_dir().join("pg_wal");
        let mut histories: Vec<PathBuf> = fs::read_dir(&wal)?
            .map(|entry| Ok(entry?.path()))
            .filter(|path: &Result<PathBuf>| {
                let extension = path.as_ref().ok().and_then(|path| path.extension());
                path.is_err() || extension.is_some_and(|extension| extension == "history")
            })
            .collect::<Result<_>>()?;
        histories.sort();
        let text = match histories.last() {
            Some(path) => fs::read_to_string(path)?,
            None => bail!("stock recovery to {time} made no timeline"),
        };
        _ = cluster.kill();
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        let switch = last.and_then(|line| line.split_whitespace().nth(1));
        let switch = switch.with_context(|| format!("no switch in the history {text:?}"))?;
        Ok(switch.parse()?)
    }

    fn prepare(&self) -> Result<(Scratch, BackupLabel)> {
        let user = self.install.user();
        let home = Scratch::new(&user, self.parent.as_deref())?;
        let label = self
            .backup
            .restore(home.path())
            .context("restoring the backup for stock recovery")?;
        fs::write(home.path().join("data/recovery.signal"), "")?;
        fs::write(home.path().join("conf"), "")?;
        fs::write(
            home.path().join("hba"),
            "local all all trust\nhost all all 127.0.0.1/32 trust\n",
        )?;
        fs::write(home.path().join("ident"), "")?;
        user.own(home.path())?;
        fs::set_permissions(home.path().join("data"), fs::Permissions::from_mode(0o700))?;
        Ok((home, label))
    }

    /// All settings, given on the command line: the original's files must have no say.
    fn settings(
        &self,
        home: &Path,
        target: Target<'_>,
        at_target: AtTarget,
    ) -> Result<Vec<String>> {
        let control = Control::read(&home.join("data"))?;
        let file = |name: &str| home.join(name).display().to_string();
        let restore = format!(
            "cp {}/\"%f\" \"%p\"",
            shell_word(&self.archive.display().to_string())
        );
        let on = |flag| if flag { "on" } else { "off" };
        let promote = at_target == AtTarget::Promote;
        let mut settings = vec![
            format!("config_file={}", file("conf")),
            format!("hba_file={}", file("hba")),
            format!("ident_file={}", file("ident")),
            format!("restore_command={restore}"),
            match target {
                Target::Lsn(lsn) => format!("recovery_target_lsn={lsn}"),
                Target::Time(time) => format!("recovery_target_time={time}"),
            },
            // An LSN: stops before the first record that starts at or behind the target, so that exactly those
            // that end at or before it are applied (xlogrecovery.c, recoveryStopsBefore).
            format!(
                "recovery_target_inclusive={}",
                on(matches!(target, Target::Time(_)))
            ),
            match self.timeline {
                TargetTimeline::Current => "recovery_target_timeline=current".to_owned(),
                TargetTimeline::Latest => "recovery_target_timeline=latest".to_owned(),
            },
            format!(
                "recovery_target_action={}",
                if promote { "promote" } else { "shutdown" }
            ),
            // A standby that answers queries sets hint bits, and prunes.
            "hot_standby=off".to_owned(),
            format!("wal_log_hints={}", on(control.wal_log_hints)),
            // Enough for what the WAL may have prepared after the setting was raised.
            format!(
                "max_prepared_transactions={}",
                control.max_prepared.max(1000)
            ),
            "checkpoint_timeout=1d".to_owned(),
            format!(
                "max_wal_size={}MB",
                (control.segment_size >> 20).max(1) * 1000
            ),
            "archive_mode=off".to_owned(),
            "fsync=off".to_owned(),
            "autovacuum=off".to_owned(),
            "shared_buffers=256MB".to_owned(),
            format!(
                "track_commit_timestamp={}",
                on(control.track_commit_timestamp)
            ),
        ];
        if !promote {
            settings.push("listen_addresses=".to_owned());
        }
        if self.replays_tablespaces_in_place() {
            settings.push("allow_in_place_tablespaces=on".to_owned());
        }
        Ok(settings)
    }

    /// 15 knows the setting from the start, 14 since 14.5.
    fn replays_tablespaces_in_place(&self) -> bool {
        self.install.version().major() > 14 || self.install.minor() >= 5
    }
}

/// Whether what a recovery left is the truth at `lsn`.
fn judge(data: &Path, log: &str, success: bool, lsn: Lsn, label: BackupLabel) -> Result<()> {
    ensure!(success, "the server failed");
    let stopped = stopped_before(log).context("it did not say where it stopped")?;
    ensure!(
        stopped >= lsn,
        "it stopped before the record at {stopped}, short of the target"
    );
    let control = Control::read(data)?;
    ensure!(
        control.state == SHUT_DOWN_IN_RECOVERY,
        "its control file is in state {}, not shut down in recovery",
        control.state
    );
    // Without a newer checkpoint record to restart from, a shutdown in recovery writes no buffers
    // (xlog.c, CreateRestartPoint): the files would be stale.
    ensure!(
        control.checkpoint > label.checkpoint,
        "it replayed no checkpoint after the backup's own at {}, so its files are stale: run CHECKPOINT \
         on the primary after the backup and before the target",
        label.checkpoint
    );
    Ok(())
}

/// The start of the record that recovery stopped before, from its log.
fn stopped_before(log: &str) -> Option<Lsn> {
    let place = log
        .rsplit_once("recovery stopping before WAL location (LSN) \"")?
        .1;
    place.split_once('"')?.0.parse().ok()
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_where_recovery_stopped() {
        let log = "LOG:  starting\nLOG:  recovery stopping before WAL location (LSN) \"0/30B1BB0\"\nLOG: x";
        assert_eq!(stopped_before(log), Some("0/30B1BB0".parse().unwrap()));
        assert_eq!(stopped_before("LOG:  redo done at 0/30B1BB0"), None);
    }
}
