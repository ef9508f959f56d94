//! A WAL archive: a directory that the server copies finished segments to.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use walrecord::Lsn;

use super::address::query_lsn;
use super::{ServerAddress, conf_string, shell_word, wait_for};
use crate::ServerUser;

/// Time for the archiver to copy the segments that are due.
const PATIENCE: Duration = Duration::from_secs(120);

/// The directory that a cluster archives its WAL to. Segments appear whole, under their own names.
#[derive(Debug, Clone)]
pub struct Archive {
    dir: PathBuf,
}

impl Archive {
    pub(super) fn create(user: &ServerUser, dir: PathBuf) -> Result<Archive> {
        fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
        user.own(&dir)?;
        Ok(Archive { dir })
    }

    /// Where the segments are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The settings that make a server archive here. Copying again is harmless, which matters after a crash.
    pub(super) fn conf(&self) -> String {
        let dir = shell_word(&self.dir.display().to_string());
        let command = format!("cp \"%p\" {dir}/\"%f\".part && mv {dir}/\"%f\".part {dir}/\"%f\"");
        format!(
            "archive_mode = on\narchive_command = {}\n",
            conf_string(&command)
        )
    }

    /// Waits until a record that starts at or after `lsn` is in the archive.
    pub(super) fn complete(&self, address: &ServerAddress, lsn: Lsn) -> Result<()> {
        let mut client = address.client("postgres")?;
        // Recovery stops before the first record at or behind its target: there has to be one.
        let marker = query_lsn(
            &mut client,
            "SELECT pg_create_restore_point('archived')::text",
        )?;
        assert!(
            marker > lsn,
            "{lsn} lies in the future of the server, which is at {marker}"
        );
        let file = format!("SELECT pg_walfile_name('{marker}')");
        let file: String = client.query_one(&file, &[])?.get(0);
        client.query("SELECT pg_switch_wal()", &[])?;
        let path = self.dir.join(&file);
        wait_for(PATIENCE, &format!("segment {file} in the archive"), || {
            Ok(path.is_file().then_some(()))
        })
    }
}
