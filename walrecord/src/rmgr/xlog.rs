//! Records of the WAL machinery itself (catalog/pg_control.h, access/xlog_internal.h).

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError};
use crate::types::{Lsn, Oid, PgTime, PgTimelineId, PgVersion, Xid};

const RMGR: Rmgr = Rmgr::Xlog;

/// A record of resource manager XLOG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XlogRecord<'a> {
    /// A checkpoint at shutdown: nothing runs, all values are exact.
    CheckpointShutdown(CheckPoint),
    /// A checkpoint while the server runs.
    CheckpointOnline(CheckPoint),
    /// Nothing. No server writes it.
    Noop,
    /// The next object id.
    NextOid(Oid),
    /// The rest of the segment is unused.
    Switch,
    /// A base backup ended; the LSN is the redo point of the checkpoint at its start.
    BackupEnd(Lsn),
    /// Settings that the control file carries changed.
    ParameterChange(ParameterChange),
    /// A named point to recover to.
    RestorePoint(RestorePoint<'a>),
    /// `full_page_writes` was switched on or off.
    FullPageWrites(bool),
    /// Recovery ended.
    EndOfRecovery(EndOfRecovery),
    /// Page images that a hint bit made necessary. Block 0; without an image it changes nothing.
    FullPageImageForHint,
    /// Page images, one for each block.
    FullPageImage,
    /// A record that was cut off by a crash will never be completed.
    OverwriteContRecord(OverwriteContRecord),
    /// The redo point of an online checkpoint, with `wal_level` (17 and newer).
    CheckpointRedo(i32),
}

/// `xl_restore_point`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestorePoint<'a> {
    /// When.
    pub time: PgTime,
    /// Its name, at most 63 bytes.
    pub name: &'a [u8],
}

/// `xl_end_of_recovery`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndOfRecovery {
    /// When.
    pub time: PgTime,
    /// The new timeline.
    pub this_tli: PgTimelineId,
    /// The one before.
    pub prev_tli: PgTimelineId,
    /// `wal_level` as a number (17 and newer, else 0).
    pub wal_level: i32,
}

/// `xl_overwrite_contrecord`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverwriteContRecord {
    /// Where the abandoned record starts.
    pub overwritten: Lsn,
    /// When.
    pub time: PgTime,
}

/// What a checkpoint recorded (`CheckPoint`, catalog/pg_control.h; 88 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CheckPoint {
    /// Where recovery from it starts.
    pub redo: Lsn,
    /// The timeline.
    pub this_tli: PgTimelineId,
    /// The timeline before, if this record begins a new one.
    pub prev_tli: PgTimelineId,
    /// `full_page_writes` was on.
    pub full_page_writes: bool,
    /// `wal_level` as a number (17 and newer, else 0).
    pub wal_level: i32,
    /// The next transaction id with its epoch.
    pub next_full_xid: u64,
    /// The next object id.
    pub next_oid: Oid,
    /// The next multixact id.
    pub next_multi: u32,
    /// The next multixact member offset.
    pub next_multi_offset: u32,
    /// The oldest transaction with a commit status.
    pub oldest_xid: Xid,
    /// The database that needs it.
    pub oldest_xid_db: Oid,
    /// The oldest multixact.
    pub oldest_multi: u32,
    /// The database that needs it.
    pub oldest_multi_db: Oid,
    /// When it was written, in seconds since 1970-01-01 00:00:00 UTC.
    pub time: i64,
    /// The oldest transaction with a commit time, or 0.
    pub oldest_commit_ts_xid: Xid,
    /// The newest transaction with a commit time, or 0.
    pub newest_commit_ts_xid: Xid,
    /// The oldest running transaction, or 0.
    pub oldest_active_xid: Xid,
}

/// Settings that the control file carries (`xl_parameter_change`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ParameterChange {
    /// `max_connections`.
    pub max_connections: i32,
    /// `max_worker_processes`.
    pub max_worker_processes: i32,
    /// `max_wal_senders`.
    pub max_wal_senders: i32,
    /// `max_prepared_transactions`.
    pub max_prepared_xacts: i32,
    /// `max_locks_per_transaction`.
    pub max_locks_per_xact: i32,
    /// `wal_level`: 0 minimal, 1 replica, 2 logical.
    pub wal_level: i32,
    /// `wal_log_hints`.
    pub wal_log_hints: bool,
    /// `track_commit_timestamp`.
    pub track_commit_timestamp: bool,
}

impl<'a> XlogRecord<'a> {
    /// Decodes the main data of an XLOG record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'a>) -> Result<XlogRecord<'a>, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let version = record.version;
        let decoded = match record.info() {
            0x00 => XlogRecord::CheckpointShutdown(CheckPoint::read(body, version)?),
            0x10 => XlogRecord::CheckpointOnline(CheckPoint::read(body, version)?),
            0x20 => {
                // Whatever it holds means nothing.
                body.take_rest();
                XlogRecord::Noop
            }
            0x30 => XlogRecord::NextOid(body.u32("next oid")?),
            0x40 => XlogRecord::Switch,
            0x50 => XlogRecord::BackupEnd(body.lsn("backup start")?),
            0x60 => XlogRecord::ParameterChange(ParameterChange::read(body)?),
            0x70 => XlogRecord::RestorePoint(RestorePoint::read(body)?),
            0x80 => XlogRecord::FullPageWrites(body.bool("full page writes")?),
            0x90 => XlogRecord::EndOfRecovery(EndOfRecovery::read(body, version)?),
            0xA0 => XlogRecord::FullPageImageForHint,
            0xB0 => XlogRecord::FullPageImage,
            0xD0 => XlogRecord::OverwriteContRecord(OverwriteContRecord {
                overwritten: body.lsn("overwritten record")?,
                time: body.i64("overwrite time")?,
            }),
            0xE0 if version >= PgVersion::V17 => XlogRecord::CheckpointRedo(body.i32("wal level")?),
            info => return Err(BodyError::Opcode { rmgr: RMGR, info }),
        };
        body.finish("main data")?;
        Ok(decoded)
    }
}

impl CheckPoint {
    /// Bytes of a checkpoint in a record and in the control file.
    pub const SIZE: usize = 88;

    /// Decodes a checkpoint as the control file carries it (`checkPointCopy`).
    ///
    /// # Errors
    /// If there are not exactly [`CheckPoint::SIZE`] bytes.
    pub fn decode(bytes: &[u8], version: PgVersion) -> Result<CheckPoint, BodyError> {
        let mut body = Body::new(RMGR, bytes);
        let checkpoint = CheckPoint::read(&mut body, version)?;
        body.finish("checkpoint")?;
        Ok(checkpoint)
    }

    /// 17 put `wal_level` where 14 to 16 have padding.
    fn read(body: &mut Body<'_>, version: PgVersion) -> Result<CheckPoint, BodyError> {
        let redo = body.lsn("checkpoint redo")?;
        let this_tli = body.u32("checkpoint timeline")?;
        let prev_tli = body.u32("checkpoint previous timeline")?;
        let full_page_writes = body.bool("checkpoint full page writes")?;
        body.pad(3)?;
        let wal_level = body.i32("checkpoint wal level")?;
        let next_full_xid = body.u64("checkpoint next xid")?;
        let next_oid = body.u32("checkpoint next oid")?;
        let next_multi = body.u32("checkpoint next multixact")?;
        let next_multi_offset = body.u32("checkpoint next multixact offset")?;
        let oldest_xid = body.u32("checkpoint oldest xid")?;
        let oldest_xid_db = body.u32("checkpoint oldest xid database")?;
        let oldest_multi = body.u32("checkpoint oldest multixact")?;
        let oldest_multi_db = body.u32("checkpoint oldest multixact database")?;
        body.pad(4)?;
        let time = body.i64("checkpoint time")?;
        let oldest_commit_ts_xid = body.u32("checkpoint oldest commit time xid")?;
        let newest_commit_ts_xid = body.u32("checkpoint newest commit time xid")?;
        let oldest_active_xid = body.u32("checkpoint oldest active xid")?;
        body.pad(4)?;
        Ok(CheckPoint {
            redo,
            this_tli,
            prev_tli,
            full_page_writes,
            wal_level: if version >= PgVersion::V17 {
                wal_level
            } else {
                0
            },
            next_full_xid,
            next_oid,
            next_multi,
            next_multi_offset,
            oldest_xid,
            oldest_xid_db,
            oldest_multi,
            oldest_multi_db,
            time,
            oldest_commit_ts_xid,
            newest_commit_ts_xid,
            oldest_active_xid,
        })
    }

    /// The checkpoint's bytes, as record and control file carry them; padding is zero.
    pub fn encode(&self) -> [u8; CheckPoint::SIZE] {
        let mut out = [0; CheckPoint::SIZE];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.redo.get().to_le_bytes());
        put(8, &self.this_tli.to_le_bytes());
        put(12, &self.prev_tli.to_le_bytes());
        put(16, &[u8::from(self.full_page_writes)]);
        put(20, &self.wal_level.to_le_bytes());
        put(24, &self.next_full_xid.to_le_bytes());
        put(32, &self.next_oid.to_le_bytes());
        put(36, &self.next_multi.to_le_bytes());
        put(40, &self.next_multi_offset.to_le_bytes());
        put(44, &self.oldest_xid.to_le_bytes());
        put(48, &self.oldest_xid_db.to_le_bytes());
        put(52, &self.oldest_multi.to_le_bytes());
        put(56, &self.oldest_multi_db.to_le_bytes());
        put(64, &self.time.to_le_bytes());
        put(72, &self.oldest_commit_ts_xid.to_le_bytes());
        put(76, &self.newest_commit_ts_xid.to_le_bytes());
        put(80, &self.oldest_active_xid.to_le_bytes());
        out
    }
}

impl ParameterChange {
    fn read(body: &mut Body<'_>) -> Result<ParameterChange, BodyError> {
        let change = ParameterChange {
            max_connections: body.i32("max_connections")?,
            max_worker_processes: body.i32("max_worker_processes")?,
            max_wal_senders: body.i32("max_wal_senders")?,
            max_prepared_xacts: body.i32("max_prepared_transactions")?,
            max_locks_per_xact: body.i32("max_locks_per_transaction")?,
            wal_level: body.i32("wal_level")?,
            wal_log_hints: body.bool("wal_log_hints")?,
            track_commit_timestamp: body.bool("track_commit_timestamp")?,
        };
        body.pad(2)?;
        Ok(change)
    }
}

impl<'a> RestorePoint<'a> {
    /// Bytes of the name with the zeros behind it (`MAXFNAMELEN`).
    const NAME_SIZE: usize = 64;

    fn read(body: &mut Body<'a>) -> Result<RestorePoint<'a>, BodyError> {
        let time = body.i64("restore point time")?;
        let name = body.take("restore point name", Self::NAME_SIZE)?;
        let length = memchr::memchr(0, name).unwrap_or(name.len());
        Ok(RestorePoint {
            time,
            name: &name[..length],
        })
    }
}

impl EndOfRecovery {
    /// 17 added `wal_level`, and padding behind it.
    fn read(body: &mut Body<'_>, version: PgVersion) -> Result<EndOfRecovery, BodyError> {
        let mut end = EndOfRecovery {
            time: body.i64("end of recovery time")?,
            this_tli: body.u32("end of recovery timeline")?,
            prev_tli: body.u32("end of recovery previous timeline")?,
            wal_level: 0,
        };
        if version >= PgVersion::V17 {
            end.wal_level = body.i32("end of recovery wal level")?;
            body.pad(4)?;
        }
        Ok(end)
    }
}
