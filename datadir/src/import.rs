//! Reads base backups, as a stream of tar archives or as a directory, and hands their parts to a sink.
//! Bounded memory: a relation file passes through one buffer.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use walrecord::{Oid, PAGE_SIZE, PgVersion, RELSEG_BLOCKS, SLRU_PAGES_PER_SEGMENT, Xid};

use crate::control::{ControlError, ControlFile};
use crate::label::{BackupLabel, LabelError, parse_tablespace_map};
use crate::path::{DataFile, Skipped};
use crate::sink::{BackupSink, SinkError};
use crate::small::{StateFileError, parse_origins, parse_two_phase};

/// Bytes of a relation file read at a time.
const BUFFER: usize = 64 * PAGE_SIZE;

/// The largest configuration file that is kept, in bytes. Larger ones are no configuration.
const MAX_CONFIG: u64 = 1 << 20;

/// The largest state file (prepared transaction, relation map, label) that is read, in bytes. A
/// transaction with millions of locks stays below it.
const MAX_STATE: u64 = 64 << 20;

/// Skipped files that are named in the report; more are counted.
const MAX_NAMED: usize = 100;

/// What can be wrong with a backup.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be read.
    #[error("reading {path}: {source}")]
    Read {
        /// The file in the backup.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file of pages does not consist of whole pages.
    #[error("{path} has {bytes} bytes, which are no whole pages")]
    Partial {
        /// The file in the backup.
        path: String,
        /// Its length.
        bytes: u64,
    },
    /// A file is longer than it can be.
    #[error("{path} has {bytes} bytes, more than the {limit} that such a file can have")]
    TooLong {
        /// The file in the backup.
        path: String,
        /// Its length.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A state file is damaged.
    #[error("{path} is damaged: {source}")]
    State {
        /// The file in the backup.
        path: String,
        /// What is wrong.
        source: StateFileError,
    },
    /// The control file cannot be used.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The label cannot be used.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// Something that every backup has is missing.
    #[error("the backup has no {0}")]
    Missing(&'static str),
    /// It is of another version than announced.
    #[error("the backup is of PostgreSQL {found}, not {expected}")]
    Version {
        /// The version announced.
        expected: PgVersion,
        /// The version of its control file.
        found: PgVersion,
    },
    /// The sink refused.
    #[error("storing {path}: {source}")]
    Sink {
        /// The file in the backup.
        path: String,
        /// Why.
        source: SinkError,
    },
}

/// What a backup held besides what went to the sink.
#[derive(Debug, Default)]
pub struct ImportReport {
    /// The control file.
    pub control: Option<ControlFile>,
    /// The label, which a stopped server's directory does not have.
    pub label: Option<BackupLabel>,
    /// Tablespaces with their paths on the primary.
    pub tablespaces: BTreeMap<Oid, Vec<u8>>,
    /// Bytes of all files read.
    pub bytes: u64,
    /// Files that were stored.
    pub files: u64,
    /// Files that were not kept, by reason.
    pub skipped: BTreeMap<Skipped, u64>,
    /// The first of them that are not of the running server's own.
    pub skipped_names: Vec<String>,
}

/// Reads one base backup.
pub struct Importer<'a> {
    version: PgVersion,
    sink: &'a mut dyn BackupSink,
    report: ImportReport,
    buffer: Vec<u8>,
}

impl<'a> Importer<'a> {
    /// An importer of a backup of this version.
    pub fn new(version: PgVersion, sink: &'a mut dyn BackupSink) -> Importer<'a> {
        Importer {
            version,
            sink,
            report: ImportReport::default(),
            buffer: vec![0; BUFFER],
        }
    }

    /// Notes a tablespace before its archive comes.
    pub fn tablespace(&mut self, spc: Oid, path: &[u8]) {
        if self.report.tablespaces.insert(spc, path.to_vec()).is_none() {
            self.sink.tablespace(spc, path);
        }
    }

    /// Reads a tar archive: the data directory's, or a tablespace's.
    ///
    /// # Errors
    /// If the archive cannot be read, a file in it is damaged, or the sink refuses.
    pub fn archive(&mut self, spc: Option<Oid>, archive: impl Read) -> Result<(), ImportError> {
        let prefix = spc.map_or(String::new(), |spc| format!("pg_tblspc/{spc}/"));
        let name = || spc.map_or("base.tar".to_owned(), |spc| format!("{spc}.tar"));
        let read = |source| ImportError::Read {
            path: name(),
            source,
        };
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries().map_err(read)? {
            let entry = entry.map_err(read)?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = format!("{prefix}{}", path.trim_start_matches("./"));
            match entry.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    let size = entry.size();
                    self.file(&path, size, entry)?;
                }
                tar::EntryType::Symlink => {
                    if let (Some(spc), Some(target)) =
                        (linked_tablespace(&path), entry.link_name_bytes())
                    {
                        self.tablespace(spc, &target);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads a data directory, tablespaces behind its links included.
    ///
    /// # Errors
    /// If a file cannot be read or is damaged, or the sink refuses.
    pub fn directory(&mut self, root: &Path) -> Result<(), ImportError> {
        self.walk(root, "")
    }

    fn walk(&mut self, dir: &Path, prefix: &str) -> Result<(), ImportError> {
        let read = |source| ImportError::Read {
            path: dir.display().to_string(),
            source,
        };
        let mut entries: Vec<_> = fs::read_dir(dir)
            .and_then(Iterator::collect)
            .map_err(read)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if let (Some(spc), Ok(target)) = (linked_tablespace(&path), fs::read_link(entry.path()))
            {
                self.tablespace(spc, target.as_os_str().as_encoded_bytes());
            }
            // WAL is handed in on its own; what else is in there is the server's.
            if path == "pg_wal" {
                continue;
            }
            // Follows links: a tablespace's, or a configuration file's.
            let metadata = fs::metadata(entry.path()).map_err(read)?;
            if metadata.is_dir() {
                self.walk(&entry.path(), &format!("{path}/"))?;
            } else if metadata.is_file() {
                let file = fs::File::open(entry.path()).map_err(read)?;
                self.file(&path, metadata.len(), file)?;
            }
        }
        Ok(())
    }

    /// What was found.
    ///
    /// # Errors
    /// If the backup has no control file, or is of another version than announced.
    pub fn finish(self) -> Result<ImportReport, ImportError> {
        let control = self
            .report
            .control
            .as_ref()
            .ok_or(ImportError::Missing("global/pg_control"))?;
        if control.version != self.version {
            return Err(ImportError::Version {
                expected: self.version,
                found: control.version,
            });
        }
        Ok(self.report)
    }

    fn file(&mut self, path: &str, size: u64, content: impl Read) -> Result<(), ImportError> {
        let what = DataFile::at(path, self.version);
        self.report.bytes += size;
        if let DataFile::Skipped(why) = what {
            self.skip(path, why);
            return Ok(());
        }
        self.report.files += 1;
        match what {
            DataFile::Relation { rel, fork, segment } => {
                let pages = whole_pages(path, size, RELSEG_BLOCKS)?;
                let first = u64::from(segment) * u64::from(RELSEG_BLOCKS);
                let Ok(first) = u32::try_from(first) else {
                    self.skip(path, Skipped::Unknown);
                    return Ok(());
                };
                self.relation(path, (rel, fork, first), pages, content)?;
                self.sink
                    .relation_blocks(rel, fork, first.saturating_add(pages));
            }
            DataFile::Slru { kind, segment } => {
                whole_pages(path, size, SLRU_PAGES_PER_SEGMENT)?;
                let bytes = whole(path, size, MAX_STATE, content)?;
                self.sink
                    .slru_segment(kind, segment, &bytes)
                    .map_err(refused(path))?;
            }
            DataFile::Config if size > MAX_CONFIG => self.skip(path, Skipped::Unknown),
            what => {
                let bytes = whole(path, size, MAX_STATE, content)?;
                self.small(path, &what, &bytes)?;
            }
        }
        Ok(())
    }

    fn relation(
        &mut self,
        path: &str,
        (rel, fork, first): (walrecord::RelFileLocator, walrecord::ForkNumber, u32),
        pages: u32,
        mut content: impl Read,
    ) -> Result<(), ImportError> {
        let mut done = 0;
        while done < pages {
            let count = (pages - done).min((BUFFER / PAGE_SIZE) as u32);
            let buffer = &mut self.buffer[..count as usize * PAGE_SIZE];
            content
                .read_exact(buffer)
                .map_err(|source| ImportError::Read {
                    path: path.to_owned(),
                    source,
                })?;
            self.sink
                .relation_pages(rel, fork, first.saturating_add(done), buffer)
                .map_err(refused(path))?;
            done += count;
        }
        Ok(())
    }

    fn small(&mut self, path: &str, what: &DataFile, bytes: &[u8]) -> Result<(), ImportError> {
        let damaged = |source| ImportError::State {
            path: path.to_owned(),
            source,
        };
        match what {
            DataFile::RelationMap { spc, db } => self.sink.relation_map(*spc, *db, bytes),
            DataFile::DatabaseVersion { spc, db } => self.sink.database_directory(*spc, *db),
            DataFile::Control => self.report.control = Some(ControlFile::parse(bytes)?),
            DataFile::BackupLabel => {
                let text = String::from_utf8_lossy(bytes);
                self.report.label = Some(BackupLabel::parse(&text)?);
            }
            DataFile::TablespaceMap => {
                for (spc, path) in parse_tablespace_map(bytes) {
                    self.tablespace(spc, &path);
                }
            }
            DataFile::TwoPhase { xid } => {
                let state = parse_two_phase(bytes).map_err(damaged)?;
                self.sink.two_phase(*xid as Xid, state);
            }
            DataFile::Origins => {
                for (origin, remote) in parse_origins(bytes).map_err(damaged)? {
                    self.sink.origin(origin, remote);
                }
            }
            DataFile::Config => self.sink.config(path, bytes),
            DataFile::ClusterVersion
            | DataFile::Wal
            | DataFile::Relation { .. }
            | DataFile::Slru { .. }
            | DataFile::Skipped(_) => {}
        }
        Ok(())
    }

    fn skip(&mut self, path: &str, why: Skipped) {
        *self.report.skipped.entry(why).or_default() += 1;
        let own = matches!(why, Skipped::RunTime | Skipped::Derived);
        if !own && self.report.skipped_names.len() < MAX_NAMED {
            self.report.skipped_names.push(path.to_owned());
        }
    }
}

/// The tablespace that `pg_tblspc/OID` is the link of.
fn linked_tablespace(path: &str) -> Option<Oid> {
    path.trim_end_matches('/')
        .strip_prefix("pg_tblspc/")?
        .parse()
        .ok()
}

fn refused(path: &str) -> impl FnOnce(SinkError) -> ImportError {
    let path = path.to_owned();
    move |source| ImportError::Sink { path, source }
}

/// The number of pages in a file, at most `limit`.
fn whole_pages(path: &str, size: u64, limit: u32) -> Result<u32, ImportError> {
    let page = PAGE_SIZE as u64;
    if !size.is_multiple_of(page) {
        return Err(ImportError::Partial {
            path: path.to_owned(),
            bytes: size,
        });
    }
    let limit = u64::from(limit) * page;
    if size > limit {
        return Err(ImportError::TooLong {
            path: path.to_owned(),
            bytes: size,
            limit,
        });
    }
    Ok((size / page) as u32)
}

/// Reads a file of at most `limit` bytes whole; that it ends before `size` is an error.
fn whole(path: &str, size: u64, limit: u64, content: impl Read) -> Result<Vec<u8>, ImportError> {
    if size > limit {
        return Err(ImportError::TooLong {
            path: path.to_owned(),
            bytes: size,
            limit,
        });
    }
    let read = |source| ImportError::Read {
        path: path.to_owned(),
        source,
    };
    // Not sized by what the archive says: the bytes may not be there.
    let mut bytes = Vec::new();
    content.take(size).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() as u64 != size {
        return Err(read(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(bytes)
}

/// Reads only the control file and the label out of a backup: what has to be known before its pages
/// can be taken.
///
/// # Errors
/// If the backup cannot be read or has no control file.
pub fn peek(backup: &Path) -> Result<(ControlFile, Option<BackupLabel>), ImportError> {
    let base = backup.join("base.tar");
    let read_error = |path: &Path| {
        let path = path.display().to_string();
        move |source| ImportError::Read { path, source }
    };
    let mut control = None;
    let mut label = None;
    let mut take = |path: &str, bytes: &[u8]| -> Result<(), ImportError> {
        match path {
            "global/pg_control" => control = Some(ControlFile::parse(bytes)?),
            "backup_label" => {
                label = Some(BackupLabel::parse(&String::from_utf8_lossy(bytes))?);
            }
            _ => {}
        }
        Ok(())
    };
    if base.is_file() {
        let file = fs::File::open(&base).map_err(read_error(&base))?;
        let mut archive = tar::Archive::new(io::BufReader::with_capacity(1 << 20, file));
        // Entries that are not read are seeked over.
        for entry in archive.entries_with_seek().map_err(read_error(&base))? {
            let entry = entry.map_err(read_error(&base))?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path.trim_start_matches("./");
            if matches!(path, "global/pg_control" | "backup_label") {
                let bytes = whole(path, entry.size(), MAX_STATE, entry)?;
                take(path, &bytes)?;
            }
        }
    } else {
        for path in ["global/pg_control", "backup_label"] {
            match fs::read(backup.join(path)) {
                Ok(bytes) => take(path, &bytes)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(read_error(&backup.join(path))(error)),
            }
        }
    }
    let control = control.ok_or(ImportError::Missing("global/pg_control"))?;
    Ok((control, label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::Bounded;

    /// Found by the fuzz target `backup`: an archive that was cut off inside a segment of an SLRU gave the
    /// sink what there was of it, half a page included.
    #[test]
    fn a_file_that_is_cut_off_is_an_error_whatever_kind_it_is() {
        for (path, size) in [
            ("pg_xact/0000", 2 * PAGE_SIZE),
            ("base/5/1259", 2 * PAGE_SIZE),
            ("base/5/PG_VERSION", 3),
            ("postgresql.auto.conf", 100),
            ("backup_label", 100),
        ] {
            for there in [0, 1, size / 2, size - 1] {
                let mut sink = Bounded::default();
                let mut importer = Importer::new(PgVersion::V15, &mut sink);
                let file = importer.file(path, size as u64, &vec![1; there][..]);
                let cut = matches!(&file, Err(ImportError::Read { source, .. })
                    if source.kind() == io::ErrorKind::UnexpectedEof);
                assert!(cut, "{path}, {there} bytes of {size}: {file:?}");
            }
        }
    }
}
