//! Sources for the tests: the data directory of a stopped server, and one that stands elsewhere in WAL.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use datadir::{
    CloneControl, ControlFile, DataFile, PageConsumer, SnapshotSource, SourceError, parse_origins,
    parse_two_phase,
};
use stockpg::{RecoveredDir, TruthSubject};
use walrecord::{
    BlockNumber, BlockTag, DecoderOptions, ForkNumber, Lsn, Oid, Page, RecordReader,
    RelFileLocator, SegmentId, SlruKind, SlruPage, WalSource, Xid,
};

/// A stopped server's data directory at its end: behind its shutdown checkpoint.
pub(crate) struct StoppedServer {
    data: PathBuf,
    dir: RefCell<RecoveredDir>,
    pub(crate) imported: ControlFile,
    control: CloneControl,
}

impl StoppedServer {
    pub(crate) fn open(data: &Path) -> Result<StoppedServer> {
        let imported = ControlFile::parse(&fs::read(data.join("global/pg_control"))?)?;
        assert!(imported.shut_down, "the source was not shut down cleanly");
        let wal = PgWal {
            dir: data.join("pg_wal"),
            control: imported.clone(),
        };
        let mut reader = RecordReader::new(wal, DecoderOptions::default());
        let end = reader.read(imported.checkpoint)?.end;
        let control = CloneControl {
            lsn: end,
            last_start: imported.checkpoint,
            pg_timeline: imported.checkpoint_copy.this_tli,
            checkpoint: imported.checkpoint_copy,
            parameters: imported.parameters,
        };
        Ok(StoppedServer {
            data: data.to_owned(),
            dir: RefCell::new(RecoveredDir::open(data)?),
            imported,
            control,
        })
    }

    pub(crate) fn lsn(&self) -> Lsn {
        self.control.lsn
    }

    fn wal(&self) -> PgWal {
        PgWal {
            dir: self.data.join("pg_wal"),
            control: self.imported.clone(),
        }
    }
}

/// The segment files of a stopped server.
struct PgWal {
    dir: PathBuf,
    control: ControlFile,
}

impl WalSource for PgWal {
    type Error = io::Error;

    fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> io::Result<usize> {
        let size = self.control.segment_size;
        let timeline = self.control.checkpoint_copy.this_tli;
        let name = SegmentId::of(timeline, lsn, size).file_name(size);
        let file = File::open(self.dir.join(name))?;
        let offset = lsn.segment_offset(size);
        let count = buf.len().min((size - offset) as usize);
        file.read_exact_at(&mut buf[..count], u64::from(offset))?;
        Ok(count)
    }
}

impl SnapshotSource for StoppedServer {
    fn control(&self) -> Result<CloneControl, SourceError> {
        Ok(self.control)
    }

    fn files(&self) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.data)? {
            let name = entry?.file_name().into_string().unwrap();
            if DataFile::at(&name, self.imported.version) == DataFile::Config {
                let mut content = fs::read(self.data.join(&name))?;
                if name == "postgresql.conf" {
                    // As Debian's has it: would start the original.
                    let data = self.data.display();
                    content.extend(format!("\n  data_directory = '{data}'\n").bytes());
                    content.extend(format!("hba_file '{data}/pg_hba.conf'\n").bytes());
                    content.extend(b"include 'nowhere.conf'\n");
                }
                files.push((name, content));
            }
        }
        let control_file = self.imported.bytes().to_vec();
        files.push(("global/pg_control".to_owned(), control_file));
        // What no source should have: a path that leads outside.
        files.push(("conf.d/../../outside.conf".to_owned(), Vec::new()));
        Ok(files)
    }

    fn forks(&self) -> Result<Vec<(RelFileLocator, ForkNumber, BlockNumber)>, SourceError> {
        let forks = self.dir.borrow_mut().relation_forks()?;
        Ok(forks.iter().map(|f| (f.rel, f.fork, f.blocks)).collect())
    }

    fn pages(
        &self,
        rel: RelFileLocator,
        fork: ForkNumber,
        first: BlockNumber,
        count: u32,
        out: &mut PageConsumer<'_>,
    ) -> Result<(), SourceError> {
        let tag = BlockTag {
            rel,
            fork,
            block: first,
        };
        for page in self.dir.borrow_mut().pages(tag, count)? {
            out(&page)?;
        }
        Ok(())
    }

    fn slru_segments(&self, kind: SlruKind) -> Result<Vec<(u32, u32)>, SourceError> {
        let segments = self.dir.borrow_mut().slru_segments(kind)?;
        Ok(segments.iter().map(|s| (s.number, s.pages)).collect())
    }

    fn slru_page(&self, page: SlruPage) -> Result<Page, SourceError> {
        Ok(self.dir.borrow_mut().slru_page(page)?)
    }

    fn database_directories(&self) -> Result<Vec<(Oid, Oid)>, SourceError> {
        let files = self.dir.borrow_mut().state_files()?;
        let directory = |path: &str| match DataFile::at(path, self.imported.version) {
            DataFile::DatabaseVersion { spc, db } => Some((spc, db)),
            _ => None,
        };
        Ok(files.iter().filter_map(|f| directory(&f.path)).collect())
    }

    fn relation_map(&self, spc: Oid, db: Oid) -> Result<Option<Vec<u8>>, SourceError> {
        let wanted = DataFile::RelationMap { spc, db };
        let files = self.dir.borrow_mut().state_files()?;
        let map = files
            .into_iter()
            .find(|file| DataFile::at(&file.path, self.imported.version) == wanted);
        Ok(map.map(|file| file.bytes))
    }

    fn tablespaces(&self) -> Result<Vec<(Oid, Vec<u8>)>, SourceError> {
        let mut tablespaces = Vec::new();
        for entry in fs::read_dir(self.data.join("pg_tblspc"))? {
            let entry = entry?;
            let oid = entry.file_name().to_string_lossy().parse()?;
            let path = match fs::read_link(entry.path()) {
                Ok(target) => target.into_os_string().into_encoded_bytes(),
                Err(_) => Vec::new(),
            };
            tablespaces.push((oid, path));
        }
        Ok(tablespaces)
    }

    fn two_phase(&self) -> Result<Vec<(Xid, Vec<u8>)>, SourceError> {
        let mut found = Vec::new();
        for file in self.dir.borrow_mut().twophase_files()? {
            let DataFile::TwoPhase { xid } = DataFile::at(&file.path, self.imported.version) else {
                return Err(file.path.into());
            };
            found.push((xid as Xid, parse_two_phase(&file.bytes)?.to_vec()));
        }
        Ok(found)
    }

    fn origins(&self) -> Result<Vec<(u16, Lsn)>, SourceError> {
        match fs::read(self.data.join("pg_logical/replorigin_checkpoint")) {
            Ok(file) => Ok(parse_origins(&file)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    fn read_wal(&self, lsn: Lsn, buf: &mut [u8]) -> Result<(), SourceError> {
        let count = self.wal().read_at(lsn, buf)?;
        if count == buf.len() {
            Ok(())
        } else {
            Err(format!("WAL ends at {}", lsn + count as u64).into())
        }
    }

    fn history(&self) -> Result<Vec<u8>, SourceError> {
        let name = format!("{:08X}.history", self.control.pg_timeline);
        match fs::read(self.data.join("pg_wal").join(name)) {
            Ok(content) => Ok(content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Changes some answers of a stopped server.
pub(crate) struct Altered<'a> {
    pub(crate) server: &'a StoppedServer,
    /// Another X, above the true one. WAL up to there is made of empty pages.
    pub(crate) lsn: Lsn,
    /// Called before each piece of WAL or pages; its error is the source's.
    pub(crate) before: Box<dyn Fn(Asked) -> Result<()> + 'a>,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    Pages,
    Wal,
}

impl<'a> Altered<'a> {
    pub(crate) fn at(server: &'a StoppedServer, lsn: Lsn) -> Altered<'a> {
        Altered {
            server,
            lsn,
            before: Box::new(|_| Ok(())),
        }
    }
}

impl SnapshotSource for Altered<'_> {
    fn control(&self) -> Result<CloneControl, SourceError> {
        Ok(CloneControl {
            lsn: self.lsn,
            ..self.server.control()?
        })
    }

    fn files(&self) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        self.server.files()
    }

    fn forks(&self) -> Result<Vec<(RelFileLocator, ForkNumber, BlockNumber)>, SourceError> {
        self.server.forks()
    }

    fn pages(
        &self,
        rel: RelFileLocator,
        fork: ForkNumber,
        first: BlockNumber,
        count: u32,
        out: &mut PageConsumer<'_>,
    ) -> Result<(), SourceError> {
        (self.before)(Asked::Pages)?;
        self.server.pages(rel, fork, first, count, out)
    }

    fn slru_segments(&self, kind: SlruKind) -> Result<Vec<(u32, u32)>, SourceError> {
        self.server.slru_segments(kind)
    }

    fn slru_page(&self, page: SlruPage) -> Result<Page, SourceError> {
        self.server.slru_page(page)
    }

    fn database_directories(&self) -> Result<Vec<(Oid, Oid)>, SourceError> {
        self.server.database_directories()
    }

    fn relation_map(&self, spc: Oid, db: Oid) -> Result<Option<Vec<u8>>, SourceError> {
        self.server.relation_map(spc, db)
    }

    fn tablespaces(&self) -> Result<Vec<(Oid, Vec<u8>)>, SourceError> {
        self.server.tablespaces()
    }

    fn two_phase(&self) -> Result<Vec<(Xid, Vec<u8>)>, SourceError> {
        self.server.two_phase()
    }

    fn origins(&self) -> Result<Vec<(u16, Lsn)>, SourceError> {
        self.server.origins()
    }

    fn read_wal(&self, lsn: Lsn, buf: &mut [u8]) -> Result<(), SourceError> {
        (self.before)(Asked::Wal)?;
        if self.lsn == self.server.lsn() {
            return self.server.read_wal(lsn, buf);
        }
        // Pieces begin at page boundaries. Headers are those of the server's own WAL, moved here.
        let size = self.server.imported.segment_size;
        for (index, page) in buf.chunks_mut(8192).enumerate() {
            let at = lsn + index as u64 * 8192;
            let model = match at.segment_offset(size) {
                0 => self.server.lsn().segment_start(size),
                _ => self.server.lsn().segment_start(size) + 8192,
            };
            let mut header = [0; 40];
            self.server.read_wal(model, &mut header)?;
            let length = if at.segment_offset(size) == 0 { 40 } else { 24 };
            header[2] &= !1;
            header[8..16].copy_from_slice(&at.get().to_le_bytes());
            header[16..20].fill(0);
            page.fill(0);
            page[..length].copy_from_slice(&header[..length]);
        }
        Ok(())
    }

    fn history(&self) -> Result<Vec<u8>, SourceError> {
        self.server.history()
    }
}

/// Every file below a directory with its length and the time of its last change.
pub(crate) fn listing(dir: &Path) -> Result<Vec<(PathBuf, u64, std::time::SystemTime)>> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            let meta = fs::symlink_metadata(&path)?;
            found.push((path.clone(), meta.len(), meta.modified()?));
            if meta.is_dir() {
                pending.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
