//! Which Postgres timeline a position belongs to, and so in which file its byte lies.

use walrecord::{Lsn, PgTimelineId, SegmentId};

use crate::manifest::HistoryEntry;

/// How the segment files of a store are laid out: their size, and the Postgres timelines that the WAL goes
/// through.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) segment_size: u32,
    /// Where the store's WAL begins.
    pub(super) start: Lsn,
    /// Not empty; numbers ascend and starts do not descend. What is before the second start is of the first.
    history: Vec<HistoryEntry>,
}

/// A piece of WAL that lies in one file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) segment: SegmentId,
    /// Of the byte in the file.
    pub(super) offset: u64,
    /// Bytes from there to where the segment or its timeline ends.
    pub(super) room: u64,
}

impl Layout {
    pub(super) fn new(segment_size: u32, start: Lsn, history: &[HistoryEntry]) -> Layout {
        assert!(!history.is_empty(), "WAL is of some Postgres timeline");
        Layout {
            segment_size,
            start,
            history: history.to_vec(),
        }
    }

    /// The same with one more timeline behind.
    pub(super) fn with_timeline(&self, next: HistoryEntry) -> Layout {
        let mut layout = self.clone();
        layout.history.push(next);
        layout
    }

    /// The same without what is below `start`.
    pub(super) fn begun_at(&self, start: Lsn) -> Layout {
        Layout {
            start,
            ..self.clone()
        }
    }

    pub(super) fn history(&self) -> &[HistoryEntry] {
        &self.history
    }

    /// The timeline that is written.
    pub(super) fn last(&self) -> HistoryEntry {
        self.history[self.history.len() - 1]
    }

    /// Where the timeline that is written begins: what is below stays.
    pub(super) fn floor(&self) -> Lsn {
        match self.history.len() {
            1 => self.start,
            _ => self.last().start.max(self.start),
        }
    }

    /// The timeline of the byte at `lsn`, and where the next begins.
    fn timeline_of(&self, lsn: Lsn) -> (PgTimelineId, Lsn) {
        let begun = self.history.partition_point(|entry| entry.start <= lsn);
        let next = self.history.get(begun.max(1));
        let current = self.history[begun.saturating_sub(1)];
        (current.timeline, next.map_or(Lsn::MAX, |next| next.start))
    }

    /// Where the byte at `lsn` lies.
    pub(super) fn place(&self, lsn: Lsn) -> Place {
        let size = self.segment_size;
        let (timeline, end) = self.timeline_of(lsn);
        let offset = lsn.segment_offset(size);
        Place {
            segment: SegmentId::of(timeline, lsn, size),
            offset: u64::from(offset),
            room: u64::from(size - offset).min(end.saturating_sub(lsn)),
        }
    }

    /// The bytes in front of a file's own, which are those of the timelines before: a timeline that begins
    /// inside a segment begins with a copy of it (`XLogInitNewTimeline`, access/transam/xlog.c).
    pub(super) fn inherited(&self, segment: SegmentId) -> Option<(Lsn, Lsn)> {
        let start = segment.start(self.segment_size)?;
        let own = self.history[1..]
            .iter()
            .find(|entry| entry.timeline == segment.timeline)?;
        (own.start > start && own.start.segment_number(self.segment_size) == segment.number)
            .then_some((start.max(self.start), own.start))
    }

    pub(super) fn knows(&self, timeline: PgTimelineId) -> bool {
        let mut known = self.history.iter();
        known.any(|entry| entry.timeline == timeline)
    }

    pub(super) fn file_name(&self, segment: SegmentId) -> String {
        segment.file_name(self.segment_size)
    }
}
