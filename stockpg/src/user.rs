//! The user that Postgres runs as: ourselves, or an unprivileged one if we are root, because Postgres
//! refuses to run as root. Serves everything here that starts a program of Postgres.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Whom to become when we are root, in order of preference. `initdb` looks its user up, so the account
/// must exist.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// The user that Postgres's programs run as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerUser {
    uid: u32,
    gid: u32,
    /// Whether we must become that user first.
    switch: bool,
}

impl ServerUser {
    /// Ourselves; as root, `postgres` if the account exists, else `nobody`.
    ///
    /// # Errors
    /// As root, if neither account exists.
    pub fn detect() -> Result<ServerUser> {
        // SAFETY: both calls only read the ids of this process and cannot fail.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        if uid != 0 {
            return Ok(ServerUser {
                uid,
                gid,
                switch: false,
            });
        }
        let accounts =
            fs::read_to_string("/etc/passwd").context("reading the accounts in /etc/passwd")?;
        for name in CANDIDATES {
            if let Some((uid, gid)) = account(&accounts, name) {
                return Ok(ServerUser {
                    uid,
                    gid,
                    switch: true,
                });
            }
        }
        bail!(
            "PostgreSQL refuses to run as root, and there is neither an account {} nor {} to run it as; \
             create one, or run as an ordinary user",
            CANDIDATES[0],
            CANDIDATES[1]
        )
    }

    /// A command that runs as this user, from `/`, without the environment that steers Postgres
    /// (`PGDATA`, `PGPORT`, ...) and with the C locale.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let steers = name.as_bytes().starts_with(b"PG") || name.as_bytes().starts_with(b"LC_");
            if steers {
                command.env_remove(name);
            }
        }
        command
            .env("LC_ALL", "C")
            .env_remove("LANG")
            .current_dir("/");
        if self.switch {
            // Setting a uid as root also drops the supplementary groups (std::os::unix::process).
            command.gid(self.gid).uid(self.uid);
        }
        command
    }

    /// Makes this user the owner of `path` and everything below it. Symbolic links are not followed.
    ///
    /// # Errors
    /// If an entry cannot be read or given away.
    pub fn own(&self, path: &Path) -> Result<()> {
        if !self.switch {
            return Ok(());
        }
        lchown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("giving {} to the user of PostgreSQL", path.display()))?;
        if path.symlink_metadata()?.is_dir() {
            for entry in
                fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?
            {
                self.own(&entry?.path())?;
            }
        }
        Ok(())
    }

    /// Whether this user may enter every directory on the way to `path` and read what is there
    /// (judged by owner and mode bits).
    pub fn can_reach(&self, path: &Path) -> bool {
        let Ok(path) = path.canonicalize() else {
            return false;
        };
        path.ancestors().all(|step| {
            let needed = if step == path { 0o4 } else { 0o1 };
            step.metadata().is_ok_and(|meta| self.allows(&meta, needed))
        })
    }

    fn allows(&self, meta: &fs::Metadata, bits: u32) -> bool {
        let shift = if meta.uid() == self.uid {
            6
        } else if meta.gid() == self.gid {
            3
        } else {
            0
        };
        self.uid == 0 || meta.mode() >> shift & bits == bits
    }
}

/// The user and group id of an account, from the text of `/etc/passwd`.
fn account(accounts: &str, name: &str) -> Option<(u32, u32)> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_accounts() {
        let text = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533::/:/bin/false\n";
        assert_eq!(account(text, "nobody"), Some((65534, 65533)));
        assert_eq!(account(text, "nobod"), None);
        assert_eq!(account("postgres:x:what:1::", "postgres"), None);
    }

    #[test]
    fn never_runs_postgres_as_root() {
        let user = ServerUser::detect().unwrap();
        let output = user
            .command(Path::new("/usr/bin/id"))
            .arg("-u")
            .output()
            .unwrap();
        let uid: u32 = String::from_utf8(output.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        assert_eq!(uid, user.uid);
        assert_ne!(uid, 0);
    }

    #[test]
    fn a_closed_directory_on_the_way_cannot_be_passed() {
        use std::os::unix::fs::PermissionsExt;
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let user = ServerUser {
            uid: 65534,
            gid: 65534,
            switch: true,
        };
        assert!(user.can_reach(&inner));
        fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!user.can_reach(&inner));
    }
}
