//! The transaction-status logs ("simple LRU" areas) that WAL changes without block references.

use std::fmt;

/// Pages in one SLRU segment file (`SLRU_PAGES_PER_SEGMENT`).
pub const SLRU_PAGES_PER_SEGMENT: u32 = 32;

/// The SLRU areas whose content follows from WAL. `pg_subtrans`, `pg_notify` and `pg_serial` do not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum SlruKind {
    /// `pg_xact`: two status bits a transaction, 32,768 transactions a page.
    Clog = 0,
    /// `pg_multixact/members`: 1,636 members a page.
    MultiXactMembers = 1,
    /// `pg_multixact/offsets`: 2,048 multixacts a page.
    MultiXactOffsets = 2,
    /// `pg_commit_ts`: 819 transactions a page.
    CommitTs = 3,
}

impl SlruKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [SlruKind; 4] = [
        SlruKind::Clog,
        SlruKind::MultiXactMembers,
        SlruKind::MultiXactOffsets,
        SlruKind::CommitTs,
    ];

    /// The directory that holds the segments, relative to the data directory.
    pub const fn directory(self) -> &'static str {
        match self {
            SlruKind::Clog => "pg_xact",
            SlruKind::MultiXactMembers => "pg_multixact/members",
            SlruKind::MultiXactOffsets => "pg_multixact/offsets",
            SlruKind::CommitTs => "pg_commit_ts",
        }
    }

    /// The kind with this number (the page-stream protocol's, too).
    pub const fn from_u8(value: u8) -> Option<SlruKind> {
        match value {
            0 => Some(SlruKind::Clog),
            1 => Some(SlruKind::MultiXactMembers),
            2 => Some(SlruKind::MultiXactOffsets),
            3 => Some(SlruKind::CommitTs),
            _ => None,
        }
    }
}

/// One page of an SLRU. Page numbers count from the start of the area, across segments.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlruPage {
    /// Which area.
    pub kind: SlruKind,
    /// The page number in it. 32 bits hold every page of 32-bit transaction and multixact ids.
    pub page: u32,
}

impl SlruPage {
    /// The segment file that holds the page.
    pub const fn segment(self) -> u32 {
        self.page / SLRU_PAGES_PER_SEGMENT
    }
}

impl fmt::Display for SlruPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{:04X}:{}",
            self.kind.directory(),
            self.segment(),
            self.page % SLRU_PAGES_PER_SEGMENT
        )
    }
}

impl fmt::Debug for SlruPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
