//! A base backup through SQL alone: `pg_backup_start`, a copy of the files, `pg_backup_stop`. Gives the
//! layout of `pg_basebackup -Fp`, without its WAL.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use postgres::Client;
use walrecord::{Lsn, PgVersion};

use super::Cluster;
use crate::Scratch;

/// Directories whose content a backup leaves out: it means nothing to another server
/// (basebackup.c, excludeDirContents).
const EMPTIED: [&str; 7] = [
    "pg_wal",
    "pg_replslot",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_subtrans",
];

/// Files that a backup leaves out wherever they lie (basebackup.c, excludeFiles), by the start of the name.
const LEFT_OUT: [&str; 6] = [
    "postmaster.pid",
    "postmaster.opts",
    "pg_internal.init",
    "pgsql_tmp",
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
];

/// A base backup in directories of its own, removed with the value.
#[derive(Debug)]
pub struct BaseBackup {
    home: Scratch,
    start: Lsn,
    stop: Lsn,
}

impl BaseBackup {
    /// The data directory of the backup. Links in its `pg_tblspc` lead to copies beside it.
    pub fn dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The directory that holds it, which is no longer removed with this value.
    pub(super) fn into_home(self) -> Scratch {
        self.home
    }

    /// Where replay of it has to start.
    pub fn start_lsn(&self) -> Lsn {
        self.start
    }

    /// What replay has to reach before the backup is consistent.
    pub fn stop_lsn(&self) -> Lsn {
        self.stop
    }

    pub(super) fn take(cluster: &Cluster) -> Result<BaseBackup> {
        let home = Scratch::new(&cluster.install().user(), None)?;
        // The session has to live from start to stop.
        let mut client = cluster.client("postgres")?;
        let old = cluster.install().version() == PgVersion::V14;
        let start = begin(&mut client, old)?;
        let copy = Copy {
            from: cluster.data_dir(),
            to: home.path(),
        };
        copy.all()?;
        let (stop, label) = end(&mut client, old)?;
        fs::write(home.path().join("data/backup_label"), label)?;
        ensure!(
            stop > start,
            "a backup that stops at {stop} before it starts at {start}"
        );
        cluster.install().user().own(home.path())?;
        Ok(BaseBackup { home, start, stop })
    }
}

fn begin(client: &mut Client, old: bool) -> Result<Lsn> {
    super::address::query_lsn(
        client,
        if old {
            "SELECT pg_start_backup('stockpg', true, false)::text"
        } else {
            "SELECT pg_backup_start('stockpg', true)::text"
        },
    )
}

fn end(client: &mut Client, old: bool) -> Result<(Lsn, String)> {
    let row = client.query_one(
        if old {
            "SELECT lsn::text, labelfile FROM pg_stop_backup(false, false)"
        } else {
            "SELECT lsn::text, labelfile FROM pg_backup_stop(false)"
        },
        &[],
    )?;
    Ok((row.get::<_, String>(0).parse()?, row.get(1)))
}

struct Copy<'a> {
    from: &'a Path,
    to: &'a Path,
}

impl Copy<'_> {
    fn all(&self) -> Result<()> {
        let to = self.to.join("data");
        copy_tree(self.from, &to, &|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let inside = path
                .parent()
                .and_then(|dir| dir.strip_prefix(self.from).ok());
            let emptied =
                inside.is_some_and(|dir| EMPTIED.iter().any(|name| dir == Path::new(name)));
            // Links of tablespaces come below; the control file comes last, as from pg_basebackup.
            let later =
                inside == Some(Path::new("pg_tblspc")) && path.is_symlink() || name == "pg_control";
            emptied || later || LEFT_OUT.iter().any(|start| name.starts_with(start))
        })?;
        fs::create_dir_all(to.join("pg_wal/archive_status"))?;
        for entry in fs::read_dir(self.from.join("pg_tblspc"))? {
            let entry = entry?;
            if entry.file_type()?.is_symlink() {
                let own = self.to.join(entry.file_name());
                let skip = |path: &Path| path.file_name().is_some_and(|name| name == "pgsql_tmp");
                copy_tree(&fs::read_link(entry.path())?, &own, &skip)?;
                symlink(&own, to.join("pg_tblspc").join(entry.file_name()))?;
            }
        }
        fs::copy(
            self.from.join("global/pg_control"),
            to.join("global/pg_control"),
        )?;
        Ok(())
    }
}

/// Copies directories and plain files, except what `skip` names. What vanishes under way is no error: a
/// running server drops relations, and replay of its WAL will too.
pub(crate) fn copy_tree(from: &Path, to: &Path, skip: &dyn Fn(&Path) -> bool) -> Result<()> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("reading {}", from.display()))?,
    };
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    let mode = from.metadata()?.permissions();
    fs::set_permissions(to, mode)?;
    for entry in entries {
        let path = entry?.path();
        if skip(&path) {
            continue;
        }
        let target = to.join(path.file_name().unwrap_or_default());
        let Ok(meta) = path.symlink_metadata() else {
            continue;
        };
        if meta.is_dir() {
            copy_tree(&path, &target, skip)?;
        } else if meta.is_file() {
            match fs::copy(&path, &target) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                copied => _ = copied.with_context(|| format!("copying {}", path.display()))?,
            }
        }
    }
    Ok(())
}
