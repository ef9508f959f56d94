//! Import of a base backup that lies on disk: a directory, or the tars of `pg_basebackup -Ft`.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use datadir::{BackupLabel, ControlFile, ImportReport, Importer};
use pagecache::{ControlState, ImportParams, ImportWriter, Store, Timeline};
use slog::{Logger, info, warn};
use walrecord::{Lsn, RedoRules};

use super::wal_files::WalFiles;
use super::{StoreSink, new_tenant, new_timeline};

/// How long indexing may make no progress before the import gives up. WAL is on disk already.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to import, and as what.
#[derive(Clone, Debug)]
pub struct FilesImport {
    /// The backup: a data directory, or a directory with `base.tar`.
    pub backup: PathBuf,
    /// Where its WAL is, if not in the backup.
    pub wal_dir: Option<PathBuf>,
    /// The timeline's name.
    pub name: String,
    /// The minor release that wrote it, the `18` of 15.18; the newest known if it is not given.
    pub minor: Option<u16>,
}

/// The newest minor release whose rules are known, for backups that do not say.
pub(crate) const NEWEST_MINOR: u16 = 99;

/// Imports a backup, and then all the WAL that there is.
///
/// # Errors
/// If the backup or its WAL cannot be used; nothing is left of the import then.
pub fn import_files(store: &Store, import: &FilesImport, log: &Logger) -> Result<Timeline> {
    let (control, label) = datadir::peek(&import.backup)
        .with_context(|| format!("reading the backup {}", import.backup.display()))?;
    let (start, pg_timeline) = start_of(&control, label.as_ref())?;
    let wal_dir = import
        .wal_dir
        .clone()
        .unwrap_or_else(|| import.backup.join("pg_wal"));
    let wal = WalFiles::new(&wal_dir, pg_timeline, control.segment_size);
    let found = wal.scan(start, control.version, control.system_identifier)?;
    if let Some(problem) = &found.stopped_by {
        info!(log, "WAL ends"; "at" => %found.end, "because" => %problem);
    }
    let stop = match label {
        Some(_) => found.backup_end,
        // A server that was shut down: the checkpoint is the whole of its WAL.
        None => found.first_end,
    };
    let Some(stop) = stop else {
        bail!(
            "WAL in {} ends at {}, before the end of the backup that starts at {start}; give the directory with its WAL by --wal-dir",
            wal_dir.display(),
            found.end
        );
    };
    let params = ImportParams {
        tenant: new_tenant()?,
        timeline: new_timeline()?,
        name: import.name.clone(),
        system_identifier: control.system_identifier,
        rules: RedoRules {
            version: control.version,
            minor: import.minor.unwrap_or(NEWEST_MINOR),
            hint_bits_logged: control.data_checksums || control.parameters.wal_log_hints,
        },
        segment_size: control.segment_size,
        pg_timeline,
        start,
        data_checksums: control.data_checksums,
    };
    let mut writer = store.begin_import(params)?;
    writer.control(&ControlState::new(
        &control.checkpoint_copy,
        control.parameters,
    ));
    writer.file(super::CONTROL_FILE, control.bytes());
    let report = read_backup(&mut writer, &control, &import.backup)?;
    report_skipped(&report, log);
    wal.append_to(writer.timeline(), found.end)?;
    let timeline = writer.finish(stop, PATIENCE)?;
    timeline.wait_for(found.end, Duration::from_secs(24 * 3600))?;
    store.add(timeline.clone());
    Ok(timeline)
}

fn start_of(control: &ControlFile, label: Option<&BackupLabel>) -> Result<(Lsn, u32)> {
    match label {
        Some(label) => Ok((label.start, label.timeline)),
        None if control.shut_down => Ok((
            control.checkpoint_copy.redo,
            control.checkpoint_copy.this_tli,
        )),
        None => bail!(
            "the backup has no backup_label and its server was not shut down cleanly: it is a copy of a running server, which cannot be made consistent"
        ),
    }
}

fn read_backup(
    writer: &mut ImportWriter,
    control: &ControlFile,
    backup: &Path,
) -> Result<ImportReport> {
    let mut sink = StoreSink(writer);
    let mut importer = Importer::new(control.version, &mut sink);
    if !backup.join("base.tar").is_file() {
        importer.directory(backup)?;
        return Ok(importer.finish()?);
    }
    let mut archives: Vec<(Option<u32>, PathBuf)> = Vec::new();
    for entry in fs::read_dir(backup).with_context(|| format!("reading {}", backup.display()))? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        if path.extension().is_none_or(|extension| extension != "tar") {
            continue;
        }
        match stem {
            Some("base") => archives.push((None, path)),
            Some("pg_wal") => {}
            Some(stem) => match stem.parse() {
                Ok(spc) => archives.push((Some(spc), path)),
                Err(_) => bail!("{} is no archive of a tablespace", path.display()),
            },
            None => {}
        }
    }
    // The tablespaces' paths are in the base archive.
    archives.sort();
    for (spc, path) in archives {
        let file = fs::File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        importer.archive(spc, BufReader::with_capacity(1 << 20, file))?;
    }
    Ok(importer.finish()?)
}

/// Says what was left out.
pub(super) fn report_skipped(report: &ImportReport, log: &Logger) {
    info!(log, "backup read"; "files" => report.files, "bytes" => report.bytes);
    for path in &report.skipped_names {
        warn!(log, "not kept from the backup"; "file" => path);
    }
    let skipped: u64 = report.skipped.values().sum();
    if skipped > report.skipped_names.len() as u64 {
        info!(log, "left out what belongs to the running server"; "files" => skipped - report.skipped_names.len() as u64);
    }
}
