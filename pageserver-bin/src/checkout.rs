//! A timeline at an LSN as a data directory.

use std::io;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use datadir::{CheckoutOptions, CloneControl, PageConsumer, SnapshotSource, SourceError};
use pagecache::{ControlState, Snapshot, Store, Timeline};
use serde::Serialize;
use slog::{Logger, info};
use walrecord::rmgr::xlog::CheckPoint;
use walrecord::{
    BlockNumber, BlockTag, Boundary, ForkNumber, Lsn, Oid, Page, PgTimelineId, RelFileLocator,
    SlruKind, SlruPage, Xid,
};

/// What to check out, and where to.
#[derive(Clone, Debug)]
pub struct CheckoutJob {
    /// The new data directory.
    pub dir: PathBuf,
    /// The LSN; the newest readable if none. Inside a record it means the end of the one before.
    pub lsn: Option<Lsn>,
    /// Keep preloaded libraries.
    pub keep_config: bool,
    /// Places of tablespaces, `OLD=NEW`.
    pub tablespace_mapping: Vec<(String, String)>,
    /// The port that the clone listens on.
    pub port: Option<u16>,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct CheckoutDone {
    /// The directory.
    pub dir: PathBuf,
    /// The LSN that it is at.
    pub lsn: String,
    /// The Postgres timeline that the clone goes on.
    pub pg_timeline: u32,
    /// Bytes written.
    pub bytes: u64,
    /// Files written.
    pub files: u64,
    /// Relations in it.
    pub relations: u64,
    /// Prepared transactions in it.
    pub prepared: u64,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// Writes a data directory.
///
/// # Errors
/// If the LSN is not readable, the directory cannot be written, or a page cannot be rebuilt. Nothing is
/// left behind then.
pub fn checkout(
    store: &Store,
    timeline: &Timeline,
    job: &CheckoutJob,
    progress: &mut dyn FnMut(u64),
    log: &Logger,
) -> Result<CheckoutDone> {
    let begin = Instant::now();
    let asked = job.lsn.unwrap_or(timeline.progress().last_record);
    let boundary = timeline.boundary(asked)?;
    let source = TimelineAt {
        snapshot: timeline.snapshot(boundary.end)?,
        timeline: timeline.clone(),
        boundary,
    };
    let pg_timeline = store.clone_pg_timeline(timeline, boundary.end)?;
    let options = CheckoutOptions {
        pg_timeline,
        now: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs() as i64),
        keep_preload: job.keep_config,
        tablespace_mapping: job.tablespace_mapping.clone(),
        port: job.port,
        sync: true,
    };
    let report = datadir::checkout(&source, &job.dir, &options, progress)
        .with_context(|| format!("checking out {} into {}", boundary.end, job.dir.display()))?;
    let done = CheckoutDone {
        dir: job.dir.clone(),
        lsn: boundary.end.to_string(),
        pg_timeline,
        bytes: report.bytes,
        files: report.files,
        relations: report.relations,
        prepared: report.prepared,
        milliseconds: begin.elapsed().as_millis() as u64,
    };
    info!(log, "checked out"; "dir" => %done.dir.display(), "lsn" => &done.lsn,
        "bytes" => done.bytes, "milliseconds" => done.milliseconds);
    Ok(done)
}

/// A timeline at a boundary between records.
struct TimelineAt {
    snapshot: Snapshot,
    timeline: Timeline,
    boundary: Boundary,
}

impl TimelineAt {
    /// The Postgres timeline of the last record. (The control state follows only when a record says so, and
    /// others may come first.)
    fn pg_timeline(&self) -> PgTimelineId {
        self.timeline.pg_timeline_at(self.boundary.end)
    }
}

impl SnapshotSource for TimelineAt {
    fn control(&self) -> Result<CloneControl, SourceError> {
        let state = self.snapshot.control()?;
        Ok(CloneControl {
            lsn: self.boundary.end,
            last_start: self.boundary.last_start,
            pg_timeline: self.pg_timeline(),
            checkpoint: checkpoint(&state),
            parameters: state.parameters,
        })
    }

    fn files(&self) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        Ok(self.snapshot.files()?)
    }

    fn forks(&self) -> Result<Vec<(RelFileLocator, ForkNumber, BlockNumber)>, SourceError> {
        let forks = self.snapshot.forks()?;
        Ok(forks
            .into_iter()
            .map(|fork| (fork.rel, fork.fork, fork.blocks))
            .collect())
    }

    fn pages(
        &self,
        rel: RelFileLocator,
        fork: ForkNumber,
        first: BlockNumber,
        count: u32,
        out: &mut PageConsumer<'_>,
    ) -> Result<(), SourceError> {
        for block in first..first + count {
            let tag = BlockTag { rel, fork, block };
            let (page, _) = self.snapshot.page(tag.into())?;
            out(&page)?;
        }
        Ok(())
    }

    fn slru_segments(&self, kind: SlruKind) -> Result<Vec<(u32, u32)>, SourceError> {
        Ok(self.snapshot.slru_segments(kind)?)
    }

    fn slru_page(&self, page: SlruPage) -> Result<Page, SourceError> {
        Ok(self.snapshot.page(page.into())?.0)
    }

    fn database_directories(&self) -> Result<Vec<(Oid, Oid)>, SourceError> {
        Ok(self.snapshot.database_directories())
    }

    fn relation_map(&self, spc: Oid, db: Oid) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.snapshot.relation_map(spc, db)?)
    }

    fn tablespaces(&self) -> Result<Vec<(Oid, Vec<u8>)>, SourceError> {
        Ok(self.snapshot.tablespaces()?)
    }

    fn two_phase(&self) -> Result<Vec<(Xid, Vec<u8>)>, SourceError> {
        Ok(self.snapshot.two_phase()?)
    }

    fn origins(&self) -> Result<Vec<(u16, Lsn)>, SourceError> {
        Ok(self.snapshot.origins()?)
    }

    fn read_wal(&self, lsn: Lsn, buf: &mut [u8]) -> Result<(), SourceError> {
        let mut filled = 0;
        while filled < buf.len() {
            let at = lsn + filled as u64;
            match self.timeline.read_wal(at, &mut buf[filled..])? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                read => filled += read,
            }
        }
        Ok(())
    }

    fn history(&self) -> Result<Vec<u8>, SourceError> {
        let file = self.timeline.pg_history_file(self.pg_timeline())?;
        Ok(file.unwrap_or_default())
    }
}

fn checkpoint(state: &ControlState) -> CheckPoint {
    CheckPoint {
        redo: state.redo,
        this_tli: state.tli,
        prev_tli: state.tli,
        full_page_writes: state.full_page_writes,
        wal_level: state.parameters.wal_level,
        next_full_xid: state.next_full_xid,
        next_oid: state.next_oid,
        next_multi: state.next_multi,
        next_multi_offset: state.next_multi_offset,
        oldest_xid: state.oldest_xid,
        oldest_xid_db: state.oldest_xid_db,
        oldest_multi: state.oldest_multi,
        oldest_multi_db: state.oldest_multi_db,
        time: state.checkpoint_time,
        oldest_commit_ts_xid: state.oldest_commit_ts_xid,
        newest_commit_ts_xid: state.newest_commit_ts_xid,
        oldest_active_xid: 0,
    }
}
