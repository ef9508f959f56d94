//! The Postgres timelines that a timeline's WAL goes through: a promotion is followed by going over to the
//! next one, durably, before any WAL of it is taken.

use walrecord::{Lsn, PgTimelineId, WAL_PAGE_SIZE};

use super::Timeline;
use super::shared::Shared;
use crate::error::StoreError;
use crate::manifest::HistoryEntry;
use crate::storage::{read_whole, replace_file};

/// The longest history file that is read. A line takes some fifty bytes, and a cluster that was promoted a
/// thousand times is rare.
const MAX_HISTORY_FILE: u64 = 1 << 20;

/// Where the timeline stands in the header of a WAL page (access/xlog_internal.h, XLogPageHeaderData).
const PAGE_TIMELINE: usize = 4;

impl Timeline {
    /// The Postgres timelines that its WAL goes through, in order, each with where it begins.
    pub fn pg_history(&self) -> Vec<HistoryEntry> {
        self.shared.wal.history()
    }

    /// The Postgres timeline that wrote the record that ends at `lsn`.
    pub fn pg_timeline_at(&self, lsn: Lsn) -> PgTimelineId {
        let history = self.pg_history();
        let entry = history.iter().rev().find(|entry| entry.start < lsn);
        entry.map_or(history[0].timeline, |entry| entry.timeline)
    }

    /// The lowest position that [`Timeline::rewind`] ever takes: where its WAL, or the Postgres timeline that
    /// is written, begins. A record that a promotion cut off stands before it and never ends.
    pub fn rewind_floor(&self) -> Lsn {
        self.shared.wal.floor()
    }

    /// The history file of a Postgres timeline, if it is kept: here, or by one that this branches from.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn pg_history_file(&self, timeline: PgTimelineId) -> Result<Option<Vec<u8>>, StoreError> {
        let mut next = Some(&*self.shared);
        while let Some(shared) = next {
            let found = shared.pg_history_file(timeline)?;
            if found.is_some() {
                return Ok(found);
            }
            next = shared.ancestor.as_ref().map(|ancestor| &*ancestor.shared);
        }
        Ok(None)
    }
    /// Keeps the history file of a Postgres timeline that the WAL goes through, as `pg_wal` would.
    ///
    /// # Errors
    /// If it is too long or cannot be written.
    pub fn keep_pg_history_file(
        &self,
        timeline: PgTimelineId,
        content: &[u8],
    ) -> Result<(), StoreError> {
        self.check_writable()?;
        let path = self.shared.paths.pg_history(timeline);
        let length = content.len() as u64;
        if length > MAX_HISTORY_FILE {
            return Err(StoreError::HistoryFile { path, length });
        }
        replace_file(&*self.shared.storage, &path, content).map_err(StoreError::io("writing", path))
    }

    /// Goes over to the Postgres timeline `to`, which begins at `at`, where the WAL must end: the primary was
    /// promoted there. `history` is the content of its history file. Once this returns, what is appended is of
    /// the new timeline, after a restart too.
    ///
    /// The WAL below must have been looked at ([`Timeline::wait_examined`]): a record ends at `at`, or a record
    /// was cut off there and `at` begins a page, which then says so (`XLP_FIRST_IS_OVERWRITE_CONTRECORD`).
    ///
    /// # Errors
    /// If WAL ends elsewhere: below our end means that the new timeline does not have what we have. Or if a
    /// record goes on across `at`, or the disk refuses. Nothing has changed then.
    pub fn switch_pg_timeline(
        &self,
        to: PgTimelineId,
        at: Lsn,
        history: &[u8],
    ) -> Result<(), StoreError> {
        self.check_writable()?;
        if let Some(failure) = self.shared.tracker.failure() {
            return Err(StoreError::Failed(failure));
        }
        let from = self.shared.wal.timeline();
        if to <= from {
            return Err(StoreError::SwitchBack { from, to });
        }
        let _tail = self.shared.tail();
        let end = self.shared.wal.end();
        if !self.shared.is_tail_settled() {
            return Err(StoreError::TailUnsettled(end));
        }
        if at != end {
            return Err(StoreError::SwitchElsewhere { to, at, end });
        }
        let last_record = self.shared.tracker.get().last_record;
        if last_record != at && at.page_offset() != 0 {
            return Err(StoreError::SwitchInRecord {
                to,
                at,
                last_record,
            });
        }
        // In this order: what the manifest names is there, and a timeline that has WAL is named.
        self.shared.wal.sync()?;
        self.shared.tell_synced();
        self.keep_pg_history_file(to, history)?;
        let entry = HistoryEntry {
            timeline: to,
            start: at,
        };
        self.shared
            .change_manifest(|manifest| manifest.history.push(entry))?;
        Ok(self.shared.wal.switch_timeline(to, at)?)
    }
}

impl Shared {
    fn pg_history_file(&self, timeline: PgTimelineId) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.paths.pg_history(timeline);
        match read_whole(&*self.storage, &path, MAX_HISTORY_FILE) {
            Ok(Ok(content)) => Ok(Some(content)),
            Ok(Err(length)) => Err(StoreError::HistoryFile { path, length }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("reading", path)(error)),
        }
    }
}

/// Whether the pages that begin in `bytes` are of the Postgres timeline that is followed there: a server that
/// sends another's WAL is found out before any of it is kept.
///
/// In the first timeline's first segment may stand pages of those before it, which we know nothing of.
pub(super) fn check_pages(shared: &Shared, lsn: Lsn, bytes: &[u8]) -> Result<(), StoreError> {
    let into = lsn.page_offset() as usize;
    let mut at = (WAL_PAGE_SIZE - into) % WAL_PAGE_SIZE;
    if at >= bytes.len() {
        return Ok(());
    }
    let expected = shared.wal.timeline();
    let is_first = shared.wal.history().len() == 1;
    while let Some(header) = bytes.get(at..at + PAGE_TIMELINE + 4) {
        let (start, found) = header.split_at(PAGE_TIMELINE);
        let found = found.try_into().map_or(0, PgTimelineId::from_le_bytes);
        let fits = found == expected || (is_first && found < expected);
        // What is no page at all is the decoder's to judge.
        if !fits && start.iter().any(|byte| *byte != 0) {
            return Err(StoreError::OtherPgTimeline {
                page: lsn + at as u64,
                found,
                expected,
            });
        }
        at += WAL_PAGE_SIZE;
    }
    Ok(())
}
