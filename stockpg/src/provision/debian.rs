//! Servers from Debian's packages, unpacked without installing them: for machines with apt and no npm.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use walrecord::PgVersion;

use super::run;

/// The directory below `home` that the packages are unpacked into.
const ROOT: &str = "root";

/// Unpacks the server of this version and the libraries it needs into `home`, so that `home/bin/postgres`
/// runs.
pub(super) fn fetch(version: PgVersion, home: &Path) -> Result<()> {
    let downloads = home.join("packages");
    fs::create_dir(&downloads)?;
    let mut packages = vec![
        format!("postgresql-{version}"),
        format!("postgresql-client-{version}"),
    ];
    packages.extend(libraries(&packages[0])?);
    run(Command::new("apt-get")
        .arg("download")
        .args(&packages)
        .current_dir(&downloads))?;
    for entry in fs::read_dir(&downloads)? {
        run(Command::new("dpkg-deb")
            .arg("-x")
            .arg(entry?.path())
            .arg(home.join(ROOT)))?;
    }
    fs::remove_dir_all(&downloads)?;
    symlink(
        format!("{ROOT}/usr/lib/postgresql/{version}/bin"),
        home.join("bin"),
    )?;
    Ok(())
}

/// Where the libraries of an unpacked server lie, if `bin_dir` is in one.
pub(super) fn library_dir(bin_dir: &Path) -> Option<PathBuf> {
    let lib = bin_dir.ancestors().nth(3)?;
    let root = lib.parent()?.parent()?;
    // The system's own /usr/lib needs no help, and must not shadow other libraries.
    if root.file_name()? != ROOT {
        return None;
    }
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    let dir = lib.join(triple);
    dir.is_dir().then_some(dir)
}

/// The libraries that a package depends on, directly and indirectly, and that are not installed.
fn libraries(package: &str) -> Result<Vec<String>> {
    let listed = run(Command::new("apt-cache").args([
        "depends",
        "--recurse",
        "--no-recommends",
        "--no-suggests",
        "--no-conflicts",
        "--no-breaks",
        "--no-replaces",
        "--no-enhances",
        package,
    ]))
    .with_context(|| format!("asking what {package} depends on"))?;
    // Lines without indentation name the packages themselves; the C library always comes from the system.
    let names = listed
        .lines()
        .filter(|line| line.starts_with("lib") && !line.starts_with("libc6"));
    Ok(names
        .filter(|name| !installed(name))
        .map(str::to_owned)
        .collect())
}

fn installed(package: &str) -> bool {
    let status = Command::new("dpkg-query")
        .args(["-W", "-f=${Status}", package])
        .output();
    status.is_ok_and(|output| output.stdout.ends_with(b"install ok installed"))
}
