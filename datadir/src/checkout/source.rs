//! What a checkout is made from. Owned here, by the side that asks; a store implements it.

use std::io;

use walrecord::rmgr::xlog::{CheckPoint, ParameterChange};
use walrecord::{
    BlockNumber, ForkNumber, Lsn, Oid, Page, PgTimelineId, RelFileLocator, SlruKind, SlruPage, Xid,
};

/// Why a source cannot answer.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Takes pages in block order. Its error ends the delivery and is handed back as it is.
pub type PageConsumer<'a> = dyn FnMut(&Page) -> io::Result<()> + 'a;

/// A cluster at one LSN, X: every answer is as of X, and asking twice gives the same. X is a boundary
/// between records, at a page boundary rather than behind the page's header.
pub trait SnapshotSource {
    /// Where the snapshot is, and the state that control file and checkpoint carry.
    ///
    /// # Errors
    /// If the source fails.
    fn control(&self) -> Result<CloneControl, SourceError>;

    /// Files kept as they were imported: path below the data directory, and content. Among them
    /// `global/pg_control`, which tells version, system identifier and layout; configuration files are
    /// taken over; others are ignored.
    ///
    /// # Errors
    /// If the source fails.
    fn files(&self) -> Result<Vec<(String, Vec<u8>)>, SourceError>;

    /// Every fork of every relation that exists, with its length in blocks (possibly 0), in any order.
    /// Main forks of unlogged relations may be there or not.
    ///
    /// # Errors
    /// If the source fails.
    fn forks(&self) -> Result<Vec<(RelFileLocator, ForkNumber, BlockNumber)>, SourceError>;

    /// Hands `count` pages of a fork to `out`, in block order from `first` on, each with the checksum that
    /// belongs in the file. The range lies inside the fork. Whole forks are asked for in pieces, ascending.
    ///
    /// # Errors
    /// If a page cannot be had; or the error of `out`, boxed.
    fn pages(
        &self,
        rel: RelFileLocator,
        fork: ForkNumber,
        first: BlockNumber,
        count: u32,
        out: &mut PageConsumer<'_>,
    ) -> Result<(), SourceError>;

    /// The segments of an SLRU with their lengths in pages (at most 32), in any order.
    ///
    /// # Errors
    /// If the source fails.
    fn slru_segments(&self, kind: SlruKind) -> Result<Vec<(u32, u32)>, SourceError>;

    /// A page of an SLRU, inside one of the segments.
    ///
    /// # Errors
    /// If the page cannot be had.
    fn slru_page(&self, page: SlruPage) -> Result<Page, SourceError>;

    /// Directories of databases, as (tablespace, database), in any order; without the shared one.
    ///
    /// # Errors
    /// If the source fails.
    fn database_directories(&self) -> Result<Vec<(Oid, Oid)>, SourceError>;

    /// The relation map of a database's directory, if it has one; of the shared relations: 1664, 0.
    ///
    /// # Errors
    /// If the source fails.
    fn relation_map(&self, spc: Oid, db: Oid) -> Result<Option<Vec<u8>>, SourceError>;

    /// Tablespaces besides the two built-in ones, with their paths on the primary (empty: inside its data
    /// directory), in any order.
    ///
    /// # Errors
    /// If the source fails.
    fn tablespaces(&self) -> Result<Vec<(Oid, Vec<u8>)>, SourceError>;

    /// Prepared transactions with the content of their two-phase files, without the CRC, in any order.
    ///
    /// # Errors
    /// If the source fails.
    fn two_phase(&self) -> Result<Vec<(Xid, Vec<u8>)>, SourceError>;

    /// Replication origins and how far they are, in any order.
    ///
    /// # Errors
    /// If the source fails.
    fn origins(&self) -> Result<Vec<(u16, Lsn)>, SourceError>;

    /// Fills `buf` with the parent's WAL from `lsn` on. Asked for what lies between the start of the segment
    /// that holds X and X, never beyond.
    ///
    /// # Errors
    /// If not all of it can be had.
    fn read_wal(&self, lsn: Lsn, buf: &mut [u8]) -> Result<(), SourceError>;

    /// The content of the parent's timeline history file; empty if it has none (timeline 1).
    ///
    /// # Errors
    /// If the source fails.
    fn history(&self) -> Result<Vec<u8>, SourceError>;
}

/// Where a snapshot is, and what a control file of a cluster shut down there says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloneControl {
    /// X.
    pub lsn: Lsn,
    /// Where the last record before X starts.
    pub last_start: Lsn,
    /// The Postgres timeline that X is on.
    pub pg_timeline: PgTimelineId,
    /// The next ids and the oldest ones still needed, `full_page_writes`. What is the clone's own is not
    /// looked at: redo position, timelines, time, oldest running transaction, `wal_level`.
    pub checkpoint: CheckPoint,
    /// Settings that the control file carries.
    pub parameters: ParameterChange,
}
