//! Records of transactions (access/xact.h; redone by `xact_redo`, access/transam/xact.c; taken apart
//! by `ParseCommitRecord` and its like, access/rmgrdesc/xactdesc.c).

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError, LeArray, LeItem, u32_at};
use crate::rmgr::standby::InvalidationMessage;
use crate::types::{Lsn, Oid, PgTime, PgVersion, RelFileLocator, Xid};

const RMGR: Rmgr = Rmgr::Transaction;

/// The bits of the flag byte that tell records apart (`XLOG_XACT_OPMASK`).
pub(crate) const OPCODE_MASK: u8 = 0x70;

/// The fixed part is followed by flags (`XLOG_XACT_HAS_INFO`).
const HAS_INFO: u8 = 0x80;

/// A record of resource manager Transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XactRecord<'a> {
    /// A transaction commits.
    Commit(XactEnd<'a>),
    /// A transaction is prepared for two-phase commit.
    Prepare(Prepare<'a>),
    /// A transaction aborts.
    Abort(XactEnd<'a>),
    /// A prepared transaction commits. Which one is in `two_phase`.
    CommitPrepared(XactEnd<'a>),
    /// A prepared transaction aborts. Which one is in `two_phase`.
    AbortPrepared(XactEnd<'a>),
    /// Subtransactions are made known to hot standbys.
    Assignment(Assignment<'a>),
    /// Cache invalidations, for logical decoding.
    Invalidations(LeArray<'a, InvalidationMessage>),
}

/// The end of a transaction (`xl_xact_commit`, `xl_xact_abort`, with all that may follow them).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XactEnd<'a> {
    /// When, by the clock of the server that wrote the record. Not monotone in LSN.
    pub time: PgTime,
    /// `XACT_XINFO_*` and `XACT_COMPLETION_*`; 0 if there are none.
    pub xinfo: u32,
    /// Database and its tablespace.
    pub database: Option<DatabaseInfo>,
    /// Committed (or aborted) subtransactions, in ascending order.
    pub subxids: LeArray<'a, Xid>,
    /// Relations that are dropped, with all their forks.
    pub dropped_relations: LeArray<'a, RelFileLocator>,
    /// Statistics entries that are dropped (15 and newer).
    pub dropped_stats: DroppedStats<'a>,
    /// Cache invalidations (commits only).
    pub invalidations: LeArray<'a, InvalidationMessage>,
    /// The prepared transaction that ends.
    pub two_phase: Option<TwoPhase<'a>>,
    /// Where the transaction came from, if it was replicated.
    pub origin: Option<XactOrigin>,
}

/// `xl_xact_dbinfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseInfo {
    /// The database.
    pub db: Oid,
    /// Its tablespace.
    pub spc: Oid,
}

/// `xl_xact_twophase`, and the name under which the transaction was prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwoPhase<'a> {
    /// The prepared transaction.
    pub xid: Xid,
    /// Its name without the NUL at the end (`wal_level = logical` only).
    pub gid: Option<&'a [u8]>,
}

/// `xl_xact_origin`. The origin's number is in the record's header part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XactOrigin {
    /// The end of the commit in the origin's WAL.
    pub lsn: Lsn,
    /// When it committed there; the commit's time for `pg_commit_ts`.
    pub time: PgTime,
}

/// A statistics entry (`xl_xact_stats_item`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatsEntry {
    /// The kind of object.
    pub kind: i32,
    /// The database.
    pub db: Oid,
    /// The object. 64 bits since 18.
    pub object: u64,
}

/// The statistics entries that a record drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DroppedStats<'a> {
    /// 12 bytes each (15 to 17). Also the empty list of 14.
    Narrow(LeArray<'a, NarrowStatsEntry>),
    /// 16 bytes each (18).
    Wide(LeArray<'a, WideStatsEntry>),
}

/// A statistics entry of 15 to 17, 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NarrowStatsEntry(StatsEntry);

/// A statistics entry of 18, 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WideStatsEntry(StatsEntry);

/// `xl_xact_prepare` with all that follows it. The record's main data, whole, becomes the two-phase
/// file: what is in `pg_twophase` under the transaction's id is that and its CRC-32C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepare<'a> {
    /// The transaction.
    pub xid: Xid,
    /// Its database.
    pub db: Oid,
    /// When it was prepared.
    pub prepared_at: PgTime,
    /// The role that ran it.
    pub owner: Oid,
    /// The relation cache's init file becomes invalid at commit.
    pub init_file: bool,
    /// The name, without the NUL at the end.
    pub gid: &'a [u8],
    /// Where it came from, if it was replicated, else zeros.
    pub origin: XactOrigin,
    /// Its subtransactions, in ascending order.
    pub subxids: LeArray<'a, Xid>,
    /// Relations to drop at commit.
    pub commit_relations: LeArray<'a, RelFileLocator>,
    /// Relations to drop at abort.
    pub abort_relations: LeArray<'a, RelFileLocator>,
    /// Statistics entries to drop at commit (15 and newer).
    pub commit_stats: DroppedStats<'a>,
    /// Statistics entries to drop at abort (15 and newer).
    pub abort_stats: DroppedStats<'a>,
    /// Cache invalidations to send at commit.
    pub invalidations: LeArray<'a, InvalidationMessage>,
    /// What the resource managers of two-phase commit keep: locks, multixacts.
    pub rmgr_records: &'a [u8],
}

/// `xl_xact_assignment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The top-level transaction.
    pub top_xid: Xid,
    /// Subtransactions of it.
    pub subxids: LeArray<'a, Xid>,
}

impl LeItem for NarrowStatsEntry {
    const SIZE: usize = 12;

    fn from_le(bytes: &[u8]) -> NarrowStatsEntry {
        NarrowStatsEntry(StatsEntry {
            kind: u32_at(bytes, 0) as i32,
            db: u32_at(bytes, 4),
            object: u64::from(u32_at(bytes, 8)),
        })
    }
}

impl LeItem for WideStatsEntry {
    const SIZE: usize = 16;

    fn from_le(bytes: &[u8]) -> WideStatsEntry {
        WideStatsEntry(StatsEntry {
            kind: u32_at(bytes, 0) as i32,
            db: u32_at(bytes, 4),
            object: u64::from(u32_at(bytes, 8)) | u64::from(u32_at(bytes, 12)) << 32,
        })
    }
}

impl<'a> XactRecord<'a> {
    /// Decodes the main data of a Transaction record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'a>) -> Result<XactRecord<'a>, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let info = record.info();
        let version = record.version;
        Ok(match info & OPCODE_MASK {
            0x00 => XactRecord::Commit(XactEnd::read(body, info, version)?),
            0x10 => XactRecord::Prepare(Prepare::read(body, version)?),
            0x20 => XactRecord::Abort(XactEnd::read(body, info, version)?),
            0x30 => XactRecord::CommitPrepared(XactEnd::read(body, info, version)?),
            0x40 => XactRecord::AbortPrepared(XactEnd::read(body, info, version)?),
            0x50 => XactRecord::Assignment(Assignment::read(body)?),
            0x60 => {
                let count = body.i32("invalidation count")?;
                let messages = body.array_i32("invalidations", count)?;
                body.finish("invalidations")?;
                XactRecord::Invalidations(messages)
            }
            _ => return Err(BodyError::Opcode { rmgr: RMGR, info }),
        })
    }
}

impl<'a> XactEnd<'a> {
    const HAS_DATABASE: u32 = 1 << 0;
    const HAS_SUBXACTS: u32 = 1 << 1;
    const HAS_RELATIONS: u32 = 1 << 2;
    const HAS_INVALIDATIONS: u32 = 1 << 3;
    const HAS_TWO_PHASE: u32 = 1 << 4;
    const HAS_ORIGIN: u32 = 1 << 5;
    const HAS_GID: u32 = 1 << 7;
    const HAS_DROPPED_STATS: u32 = 1 << 8;
    const APPLY_FEEDBACK: u32 = 1 << 29;
    const UPDATE_RELCACHE_FILE: u32 = 1 << 30;
    const FORCE_SYNC_COMMIT: u32 = 1 << 31;

    /// The transaction that ends: the prepared one if the record names one, else the record's own.
    pub fn xid(&self, record: &Record<'_>) -> Xid {
        self.two_phase.map_or(record.header.xid, |it| it.xid)
    }

    /// The time that `pg_commit_ts` keeps: the origin's, if the transaction was replicated.
    pub fn commit_ts_time(&self) -> PgTime {
        self.origin.map_or(self.time, |origin| origin.time)
    }

    /// The primary waits until a standby has applied the record (`XactCompletionApplyFeedback`).
    pub const fn applies_feedback(&self) -> bool {
        self.xinfo & Self::APPLY_FEEDBACK != 0
    }

    /// The relation cache's init file becomes invalid (`XactCompletionRelcacheInitFileInval`).
    pub const fn updates_relcache_file(&self) -> bool {
        self.xinfo & Self::UPDATE_RELCACHE_FILE != 0
    }

    /// A standby makes the commit durable before it shows (`XactCompletionForceSyncCommit`).
    pub const fn forces_sync(&self) -> bool {
        self.xinfo & Self::FORCE_SYNC_COMMIT != 0
    }

    /// The parts stand in this order, each only if its flag is set.
    fn read(body: &mut Body<'a>, info: u8, version: PgVersion) -> Result<XactEnd<'a>, BodyError> {
        let time = body.i64("xact time")?;
        let xinfo = match info & HAS_INFO {
            0 => 0,
            _ => body.u32("xact flags")?,
        };
        let has = |flag| xinfo & flag != 0;
        let database = match has(Self::HAS_DATABASE) {
            true => Some(DatabaseInfo {
                db: body.u32("xact database")?,
                spc: body.u32("xact tablespace")?,
            }),
            false => None,
        };
        let subxids = counted(body, has(Self::HAS_SUBXACTS), "xact subxids")?;
        let dropped_relations = counted(body, has(Self::HAS_RELATIONS), "xact relations")?;
        let with_stats = version >= PgVersion::V15 && has(Self::HAS_DROPPED_STATS);
        let stats_count = match with_stats {
            true => body.i32("xact stats")?,
            false => 0,
        };
        let dropped_stats = DroppedStats::read(body, version, stats_count)?;
        let invalidations = counted(body, has(Self::HAS_INVALIDATIONS), "xact invalidations")?;
        let two_phase = match has(Self::HAS_TWO_PHASE) {
            true => Some(TwoPhase {
                xid: body.u32("xact two-phase xid")?,
                gid: match has(Self::HAS_GID) {
                    true => Some(body.cstr("xact gid")?),
                    false => None,
                },
            }),
            false => None,
        };
        let origin = match has(Self::HAS_ORIGIN) {
            true => Some(XactOrigin {
                lsn: body.lsn("xact origin position")?,
                time: body.i64("xact origin time")?,
            }),
            false => None,
        };
        body.finish("xact parts")?;
        Ok(XactEnd {
            time,
            xinfo,
            database,
            subxids,
            dropped_relations,
            dropped_stats,
            invalidations,
            two_phase,
            origin,
        })
    }
}

impl<'a> DroppedStats<'a> {
    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = StatsEntry> + use<'a> {
        let (narrow, wide) = match *self {
            DroppedStats::Narrow(entries) => (entries, LeArray::EMPTY),
            DroppedStats::Wide(entries) => (LeArray::EMPTY, entries),
        };
        let narrow = narrow.iter().map(|entry| entry.0);
        narrow.chain(wide.iter().map(|entry| entry.0))
    }

    fn read(
        body: &mut Body<'a>,
        version: PgVersion,
        count: i32,
    ) -> Result<DroppedStats<'a>, BodyError> {
        Ok(match version >= PgVersion::V18 {
            true => DroppedStats::Wide(body.array_i32("dropped stats", count)?),
            false => DroppedStats::Narrow(body.array_i32("dropped stats", count)?),
        })
    }
}

impl<'a> Prepare<'a> {
    /// `TWOPHASE_MAGIC`, the same in 14 to 18.
    const MAGIC: u32 = 0x57F9_4534;

    /// The header, then blocks that are padded to 8 bytes each (`ParsePrepareRecord`). 15 added the
    /// two counts of statistics entries.
    fn read(body: &mut Body<'a>, version: PgVersion) -> Result<Prepare<'a>, BodyError> {
        let with_stats = version >= PgVersion::V15;
        let magic = body.u32("prepare magic")?;
        if magic != Self::MAGIC {
            return Err(body.value("prepare magic", i64::from(magic)));
        }
        body.u32("prepare total length")?;
        let xid = body.u32("prepare xid")?;
        let db = body.u32("prepare database")?;
        let prepared_at = body.i64("prepare time")?;
        let owner = body.u32("prepare owner")?;
        let subxids = body.i32("prepare subxid count")?;
        let commit_relations = body.i32("prepare commit relation count")?;
        let abort_relations = body.i32("prepare abort relation count")?;
        let (commit_stats, abort_stats) = match with_stats {
            true => (
                body.i32("prepare commit stats count")?,
                body.i32("prepare abort stats count")?,
            ),
            false => (0, 0),
        };
        let invalidations = body.i32("prepare invalidation count")?;
        let init_file = body.bool("prepare init file flag")?;
        body.pad(1)?;
        let gid_length = body.u16("prepare gid length")?;
        let origin = XactOrigin {
            lsn: body.lsn("prepare origin position")?,
            time: body.i64("prepare origin time")?,
        };
        let gid = body.take("prepare gid", usize::from(gid_length))?;
        align(body, gid.len())?;
        let subxids: LeArray<'_, Xid> = body.array_i32("prepare subxids", subxids)?;
        align(body, subxids.as_bytes().len())?;
        let commit_relations = aligned_relations(body, commit_relations)?;
        let abort_relations = aligned_relations(body, abort_relations)?;
        let commit_stats = aligned_stats(body, version, commit_stats)?;
        let abort_stats = aligned_stats(body, version, abort_stats)?;
        // 16 bytes each: aligned.
        let invalidations = body.array_i32("prepare invalidations", invalidations)?;
        Ok(Prepare {
            xid,
            db,
            prepared_at,
            owner,
            init_file,
            gid: gid.strip_suffix(&[0]).unwrap_or(gid),
            origin,
            subxids,
            commit_relations,
            abort_relations,
            commit_stats,
            abort_stats,
            invalidations,
            rmgr_records: body.take_rest(),
        })
    }
}

impl<'a> Assignment<'a> {
    fn read(body: &mut Body<'a>) -> Result<Assignment<'a>, BodyError> {
        let top_xid = body.u32("assignment xid")?;
        let count = body.i32("assignment subxid count")?;
        let subxids = body.array_i32("assignment subxids", count)?;
        body.finish("assignment")?;
        Ok(Assignment { top_xid, subxids })
    }
}

/// An array behind its count, if it is `present`.
fn counted<'a, T: LeItem>(
    body: &mut Body<'a>,
    present: bool,
    field: &'static str,
) -> Result<LeArray<'a, T>, BodyError> {
    if !present {
        return Ok(LeArray::EMPTY);
    }
    let count = body.i32(field)?;
    body.array_i32(field, count)
}

/// Skips the padding behind a block of `length` bytes.
fn align(body: &mut Body<'_>, length: usize) -> Result<(), BodyError> {
    body.pad(length.next_multiple_of(8) - length)
}

fn aligned_relations<'a>(
    body: &mut Body<'a>,
    count: i32,
) -> Result<LeArray<'a, RelFileLocator>, BodyError> {
    let relations: LeArray<'_, RelFileLocator> = body.array_i32("prepare relations", count)?;
    align(body, relations.as_bytes().len())?;
    Ok(relations)
}

fn aligned_stats<'a>(
    body: &mut Body<'a>,
    version: PgVersion,
    count: i32,
) -> Result<DroppedStats<'a>, BodyError> {
    let stats = DroppedStats::read(body, version, count)?;
    let length = match stats {
        DroppedStats::Narrow(entries) => entries.as_bytes().len(),
        DroppedStats::Wide(entries) => entries.as_bytes().len(),
    };
    align(body, length)?;
    Ok(stats)
}
