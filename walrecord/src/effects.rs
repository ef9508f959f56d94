//! What a record does: to which pages, and to what metadata.
//!
//! [`effects`] is the one place that knows which pages a record touches, those it names and those it
//! does not (visibility-map bits, commit log, multixacts, commit times), and which state outside
//! pages it changes. A store indexes by the first and versions the second; `walredo` then rebuilds a
//! page from the records that touched it.

mod blocks;
mod concerns;
mod meta;
mod slru;

pub use concerns::concerns;

use crate::record::Record;
use crate::rmgr::{BodyError, Rmgr, RmgrId};
use crate::rules::RedoRules;
use crate::types::{
    BlockNumber, ForkNumber, Lsn, Oid, PageKey, PgTime, PgTimelineId, RelFileLocator, SlruKind, Xid,
};

/// State that decides what some records do, as it is **before** the record.
#[derive(Clone, Copy, Debug)]
pub struct EffectContext {
    /// The rule set in force.
    pub rules: RedoRules,
    /// Commit times are kept (from the control file and PARAMETER_CHANGE; commit records do not say).
    pub track_commit_timestamp: bool,
}

/// One thing that a record does.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u32)] // In words: with the tag in one byte, page keys are put together at odd addresses, byte by byte.
pub enum Effect<'a> {
    /// It makes a new version of a page. At most one per key and record.
    Page {
        /// Which page.
        key: PageKey,
        /// How much of the page's past the new version depends on.
        touch: PageTouch,
    },
    /// It changes state that is not a page.
    Meta(MetaEffect<'a>),
}

/// How a record's version of a page depends on the version before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageTouch {
    /// A change to what is there. A missing page is not created.
    Delta,
    /// The page starts from zeros; the fork is extended to hold it.
    Init,
    /// The page is replaced by an image (redo may edit it further); the fork is extended to hold it.
    Image,
    /// A change that creates fork and page if they are missing: the page then starts from an empty
    /// initialised page (visibility map) or zeros (SLRU). The record does not name the page, except
    /// for the visibility map's page of HEAP2/VISIBLE.
    Implicit,
    /// A change that is made only if the page exists already (the last visibility-map page kept by
    /// a truncation).
    IfPresent,
}

/// A change of state outside pages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetaEffect<'a> {
    /// A fork exists from here on, with no blocks if it is new.
    RelationCreate {
        /// The relation.
        rel: RelFileLocator,
        /// The fork.
        fork: ForkNumber,
    },
    /// A fork is cut to `blocks` blocks, if it exists and is longer.
    RelationTruncate {
        /// The relation.
        rel: RelFileLocator,
        /// The fork.
        fork: ForkNumber,
        /// Blocks that stay.
        blocks: BlockNumber,
    },
    /// A relation is removed with all its forks.
    RelationDrop {
        /// The relation.
        rel: RelFileLocator,
    },
    /// Segments of an SLRU that lie wholly before the page `cutoff` (in the area's circular order)
    /// are removed.
    SlruTruncate {
        /// The area.
        kind: SlruKind,
        /// The oldest page that must stay.
        cutoff: u32,
    },
    /// Segments `first..end` (in circular order) of the multixact members area are removed.
    MembersTruncate {
        /// The first segment removed.
        first: u32,
        /// The segment after the last removed.
        end: u32,
    },
    /// All segments of an SLRU are removed (commit times, when the feature is switched off).
    SlruRemove {
        /// The area.
        kind: SlruKind,
    },
    /// A relation map (`pg_filenode.map`) is replaced.
    RelationMap {
        /// The database's tablespace, or 1664.
        spc: Oid,
        /// The database, or 0 for the shared map.
        db: Oid,
        /// The new file, whole.
        content: &'a [u8],
    },
    /// The directory of a database in a tablespace is created, with its PG_VERSION.
    DatabaseCreate {
        /// The tablespace.
        spc: Oid,
        /// The database.
        db: Oid,
    },
    /// The directory of a database in a tablespace becomes a copy of another's, file by file.
    /// What was there before is gone.
    DatabaseCopy {
        /// The new directory's tablespace.
        spc: Oid,
        /// The new directory's database.
        db: Oid,
        /// The source's tablespace.
        from_spc: Oid,
        /// The source's database.
        from_db: Oid,
    },
    /// The directory of a database in a tablespace is removed with all in it.
    DatabaseDrop {
        /// The tablespace.
        spc: Oid,
        /// The database.
        db: Oid,
    },
    /// A tablespace is created.
    TablespaceCreate {
        /// The tablespace.
        spc: Oid,
        /// Where it lies on the primary; empty for one inside the data directory (15 and newer).
        path: &'a [u8],
    },
    /// A tablespace is removed.
    TablespaceDrop {
        /// The tablespace.
        spc: Oid,
    },
    /// A transaction is prepared.
    Prepare {
        /// The transaction.
        xid: Xid,
        /// The content of its two-phase file without the CRC at the end.
        state: &'a [u8],
    },
    /// A prepared transaction ended.
    PrepareEnd {
        /// The transaction.
        xid: Xid,
    },
    /// A transaction committed or aborted.
    TransactionEnd {
        /// Which; of a prepared one the one that ended, not the one that ended it. 0 if it had no id.
        xid: Xid,
        /// Whether it committed.
        committed: bool,
        /// When, by the primary's clock. Not monotone in LSN.
        time: PgTime,
    },
    /// The next transaction id is above this one.
    XidUsed {
        /// The largest id that the record shows to be in use.
        xid: Xid,
    },
    /// The next multixact is at least this, and its members start at least here (circular orders).
    MultiXactUsed {
        /// The next multixact id.
        next: u32,
        /// The next member offset.
        next_offset: u32,
        /// Whether the values are taken as they stand (shutdown checkpoint) or only if they advance.
        exact: bool,
    },
    /// The oldest multixact and its database change (multixact truncation).
    OldestMultiXact {
        /// The oldest multixact.
        oldest: u32,
        /// The database that needs it.
        db: Oid,
    },
    /// The oldest transaction with commit status changes (commit log truncation).
    OldestXid {
        /// The oldest transaction.
        oldest: Xid,
        /// The database that needs it.
        db: Oid,
    },
    /// The oldest transaction with a commit time changes.
    OldestCommitTsXid {
        /// The oldest transaction.
        oldest: Xid,
    },
    /// The next object id is at least this.
    NextOid {
        /// The next object id.
        next: Oid,
    },
    /// A checkpoint.
    Checkpoint {
        /// What it recorded.
        checkpoint: crate::rmgr::xlog::CheckPoint,
        /// It was written at shutdown.
        shutdown: bool,
    },
    /// Settings that the control file carries changed.
    Parameters(crate::rmgr::xlog::ParameterChange),
    /// Recovery ended; WAL goes on on another Postgres timeline.
    EndOfRecovery {
        /// The new timeline.
        this: PgTimelineId,
        /// The one before.
        previous: PgTimelineId,
        /// When.
        time: PgTime,
    },
    /// A replication origin advanced.
    OriginAdvance {
        /// The origin.
        origin: u16,
        /// How far, in the origin's WAL.
        remote: Lsn,
        /// Take the position even if it goes back.
        force: bool,
    },
    /// A replication origin is removed.
    OriginDrop {
        /// The origin.
        origin: u16,
    },
}

/// A record whose effects cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EffectError {
    /// The record's body is not what its resource manager writes.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Two block references of the record name one page. No resource manager does that
    /// (`XLogRegisterBuffer`), and redo of such a record is not defined.
    #[error("block {tag} is referred to twice")]
    DuplicateBlock {
        /// The page.
        tag: crate::types::BlockTag,
    },
}

/// Tells all that a record does, one effect at a time. Page effects come first, then the others in
/// the order in which redo makes them.
///
/// A page effect means that redo of the record can change the page; whether it does (LSN test) is
/// for `walredo` to see. Block references that redo does not change, such as hash index pages that
/// are only locked, and hints without an image, are left out. Redo's heuristic updates of the free
/// space map are no effects; of a truncation only the map's length is told, not the slots that become
/// zero on its last page. An extension's record touches the blocks that it names.
///
/// # Errors
/// If the record's body cannot be decoded. Effects told before that are void.
#[inline]
pub fn effects<'a, F>(
    record: &Record<'a>,
    context: &EffectContext,
    sink: &mut F,
) -> Result<(), EffectError>
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    blocks::named(record, sink)?;
    match record.header.rmgr {
        RmgrId::BuiltIn(Rmgr::Heap | Rmgr::Heap2) => blocks::visibility(record, sink)?,
        RmgrId::BuiltIn(Rmgr::Transaction) => return meta::transaction(record, context, sink),
        RmgrId::BuiltIn(Rmgr::MultiXact) => return meta::multixact(record, context, sink),
        // Records of these touch only the blocks that they name, or nothing.
        RmgrId::BuiltIn(
            Rmgr::Btree
            | Rmgr::Hash
            | Rmgr::Gin
            | Rmgr::Gist
            | Rmgr::SpGist
            | Rmgr::Brin
            | Rmgr::Sequence
            | Rmgr::Generic
            | Rmgr::Standby
            | Rmgr::LogicalMessage,
        )
        | RmgrId::Custom(_) => {}
        RmgrId::BuiltIn(rmgr) => meta::other(rmgr, record, context, sink)?,
    }
    meta::xid_used(record.header.xid, [], sink);
    Ok(())
}
