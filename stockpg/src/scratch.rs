//! Throw-away directories that both we and the user of Postgres can use, in a place with a short path.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::ServerUser;

/// A directory owned by the user of Postgres, removed with the value unless [kept](Scratch::keep).
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
}

impl Scratch {
    /// A new directory under `parent`, or where the system keeps temporary files.
    ///
    /// # Errors
    /// If it cannot be made, or the user of Postgres could not enter it.
    pub fn new(user: &ServerUser, parent: Option<&Path>) -> Result<Scratch> {
        let parent = match parent {
            Some(parent) => parent.to_owned(),
            None => usable_parent(user)?,
        };
        let dir = tempfile::Builder::new()
            .prefix("zenith-pg-")
            .tempdir_in(&parent)
            .with_context(|| {
                format!("making a directory for PostgreSQL in {}", parent.display())
            })?;
        // Postgres insists on a data directory closed to others; what lies around it is closed too.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700))?;
        user.own(dir.path())?;
        if !user.can_reach(dir.path()) {
            bail!(
                "the user that PostgreSQL runs as cannot enter {}; choose another directory (TMPDIR)",
                parent.display()
            );
        }
        Ok(Scratch { dir })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves the directory behind.
    pub fn keep(self) -> PathBuf {
        self.dir.keep()
    }
}

/// The system's directory for temporary files, or a usual one if the user of Postgres cannot reach that.
fn usable_parent(user: &ServerUser) -> Result<PathBuf> {
    [
        std::env::temp_dir(),
        PathBuf::from("/tmp"),
        PathBuf::from("/var/tmp"),
    ]
    .into_iter()
    .find(|dir| user.can_reach(dir))
    .context("no directory for temporary files that the user of PostgreSQL can enter; set TMPDIR")
}
