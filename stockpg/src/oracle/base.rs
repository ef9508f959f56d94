//! Backups as recovery starts from them: a copy of the data directory, with tablespaces mapped into a
//! directory of its own, so that nothing of the original is touched.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use walrecord::{Lsn, Oid};

use super::control::Control;
use crate::cluster::copy_tree;

/// A base backup on disk. It is only read.
#[derive(Debug, Clone)]
pub enum BackupSource {
    /// A data directory, as `pg_basebackup -Fp` makes it, or a copy of that of a server that was shut down. Links in
    /// its `pg_tblspc` are followed.
    Directory(PathBuf),
    /// A directory with `base.tar` and an `<oid>.tar` for each tablespace, as `pg_basebackup -Ft` makes it.
    Tars(PathBuf),
}

/// Where recovery starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct BackupLabel {
    /// The start of the record of the backup's checkpoint.
    pub(super) checkpoint: Lsn,
}

impl BackupSource {
    /// Makes `home/data` from the backup, and `home/tablespaces/<oid>` that its `pg_tblspc` leads to.
    pub(super) fn restore(&self, home: &Path) -> Result<BackupLabel> {
        let data = home.join("data");
        match self {
            BackupSource::Directory(dir) => copy_directory(dir, home)?,
            BackupSource::Tars(dir) => unpack_tars(dir, home)?,
        }
        // WAL comes from the archive alone; settings from us alone; signals are ours to give.
        for name in [
            "pg_wal",
            "postgresql.auto.conf",
            "standby.signal",
            "tablespace_map",
            "postmaster.pid",
        ] {
            remove(&data.join(name))?;
        }
        fs::create_dir_all(data.join("pg_wal/archive_status"))?;
        BackupLabel::read(&data)
    }
}

impl BackupLabel {
    fn read(data: &Path) -> Result<BackupLabel> {
        let path = data.join("backup_label");
        let text = match fs::read_to_string(&path) {
            // A copy of a server that was not running.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let checkpoint = Control::read(data)?.checkpoint;
                return Ok(BackupLabel { checkpoint });
            }
            text => text.with_context(|| format!("reading {}", path.display()))?,
        };
        let checkpoint = text
            .lines()
            .find_map(|line| line.strip_prefix("CHECKPOINT LOCATION: "))
            .context("backup_label names no checkpoint")?;
        Ok(BackupLabel {
            checkpoint: checkpoint.trim().parse()?,
        })
    }
}

fn copy_directory(dir: &Path, home: &Path) -> Result<()> {
    let data = home.join("data");
    copy_tree(dir, &data, &|path| {
        path.parent() == Some(&dir.join("pg_wal"))
    })?;
    let links = dir.join("pg_tblspc");
    for entry in fs::read_dir(&links).with_context(|| format!("reading {}", links.display()))? {
        let entry = entry?;
        // A real directory is a tablespace in place (15+), copied already.
        if entry.file_type()?.is_symlink() {
            let own = tablespace_dir(home, &entry.file_name().to_string_lossy())?;
            copy_tree(&entry.path().canonicalize()?, &own, &|_| false)?;
            link(&data, &own)?;
        }
    }
    Ok(())
}

fn unpack_tars(dir: &Path, home: &Path) -> Result<()> {
    let data = home.join("data");
    unpack(&dir.join("base.tar"), &data)?;
    let listed = match fs::read_to_string(data.join("tablespace_map")) {
        Ok(map) => tablespace_map(&map)?,
        Err(_) => BTreeMap::new(),
    };
    for oid in listed.keys() {
        let own = tablespace_dir(home, &oid.to_string())?;
        unpack(&dir.join(format!("{oid}.tar")), &own)?;
        link(&data, &own)?;
    }
    Ok(())
}

fn unpack(tar: &Path, to: &Path) -> Result<()> {
    let file = File::open(tar).with_context(|| format!("opening {}", tar.display()))?;
    fs::create_dir_all(to)?;
    let mut archive = tar::Archive::new(std::io::BufReader::with_capacity(1 << 20, file));
    archive.set_preserve_mtime(false);
    archive
        .unpack(to)
        .with_context(|| format!("unpacking {}", tar.display()))
}

fn tablespace_dir(home: &Path, oid: &str) -> Result<PathBuf> {
    let dir = home.join("tablespaces").join(oid);
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Lets the tablespace in `own` appear in the data directory under its number.
fn link(data: &Path, own: &Path) -> Result<()> {
    let name = own.file_name().context("a tablespace without a number")?;
    let link = data.join("pg_tblspc").join(name);
    remove(&link)?;
    symlink(own, &link).with_context(|| format!("linking {}", link.display()))
}

fn remove(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Err(_) => Ok(()),
        Ok(meta) if meta.is_dir() => Ok(fs::remove_dir_all(path)?),
        Ok(_) => Ok(fs::remove_file(path)?),
    }
}

/// The tablespaces that a map names, with their original places.
fn tablespace_map(text: &str) -> Result<BTreeMap<Oid, String>> {
    let mut map = BTreeMap::new();
    for line in text.lines() {
        let Some((oid, path)) = line.split_once(' ') else {
            bail!("tablespace_map holds the line {line:?}");
        };
        map.insert(
            oid.parse()
                .with_context(|| format!("tablespace_map names {oid:?}"))?,
            path.to_owned(),
        );
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_map_of_tablespaces() {
        let map = tablespace_map("16400 /srv/one\n16401 /srv/with space\n").unwrap();
        assert_eq!(map[&16401], "/srv/with space");
        assert!(tablespace_map("nonsense\n").is_err());
    }
}
