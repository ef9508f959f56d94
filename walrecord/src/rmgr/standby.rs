//! Records that hot standbys need (storage/standbydefs.h; redone by `standby_redo`,
//! storage/ipc/standby.c). They change no page.

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError, LeArray, LeItem, u32_at};
use crate::types::{Oid, Xid};

const RMGR: Rmgr = Rmgr::Standby;

/// A record of resource manager Standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandbyRecord<'a> {
    /// Access-exclusive locks that are held.
    Lock(LeArray<'a, StandbyLock>),
    /// The transactions that run.
    RunningXacts(RunningXacts<'a>),
    /// Cache invalidations of a change that belongs to no transaction.
    Invalidations(Invalidations<'a>),
}

/// `xl_standby_lock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandbyLock {
    /// The holder.
    pub xid: Xid,
    /// The database, or 0.
    pub db: Oid,
    /// The table's object id.
    pub rel: Oid,
}

/// `xl_running_xacts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningXacts<'a> {
    /// Some subtransactions are missing from the list.
    pub subxids_overflowed: bool,
    /// The next transaction id.
    pub next_xid: Xid,
    /// The oldest that runs.
    pub oldest_running: Xid,
    /// The latest that ended.
    pub latest_completed: Xid,
    /// Top-level transactions that run.
    pub xids: LeArray<'a, Xid>,
    /// Subtransactions that run.
    pub subxids: LeArray<'a, Xid>,
}

/// `xl_invalidations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalidations<'a> {
    /// The database.
    pub db: Oid,
    /// Its tablespace.
    pub spc: Oid,
    /// The relation cache's init file is invalid, too.
    pub init_file: bool,
    /// The messages.
    pub messages: LeArray<'a, InvalidationMessage>,
}

/// A shared invalidation message, undecoded: no effect of one outlives a server process
/// (`SharedInvalidationMessage`, storage/sinval.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidationMessage(pub [u8; 16]);

impl LeItem for InvalidationMessage {
    const SIZE: usize = 16;

    fn from_le(bytes: &[u8]) -> InvalidationMessage {
        let mut message = [0; 16];
        message.copy_from_slice(bytes);
        InvalidationMessage(message)
    }
}

impl LeItem for StandbyLock {
    const SIZE: usize = 12;

    fn from_le(bytes: &[u8]) -> StandbyLock {
        StandbyLock {
            xid: u32_at(bytes, 0),
            db: u32_at(bytes, 4),
            rel: u32_at(bytes, 8),
        }
    }
}

impl<'a> StandbyRecord<'a> {
    /// Decodes the main data of a Standby record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'a>) -> Result<StandbyRecord<'a>, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let decoded = match record.info() {
            0x00 => {
                let count = body.i32("lock count")?;
                StandbyRecord::Lock(body.array_i32("locks", count)?)
            }
            0x10 => StandbyRecord::RunningXacts(RunningXacts::read(body)?),
            0x20 => StandbyRecord::Invalidations(Invalidations::read(body)?),
            info => return Err(BodyError::Opcode { rmgr: RMGR, info }),
        };
        body.finish("main data")?;
        Ok(decoded)
    }
}

impl<'a> RunningXacts<'a> {
    fn read(body: &mut Body<'a>) -> Result<RunningXacts<'a>, BodyError> {
        let count = body.i32("running xid count")?;
        let subcount = body.i32("running subxid count")?;
        let subxids_overflowed = body.bool("running overflow flag")?;
        body.pad(3)?;
        Ok(RunningXacts {
            subxids_overflowed,
            next_xid: body.u32("running next xid")?,
            oldest_running: body.u32("running oldest xid")?,
            latest_completed: body.u32("running latest completed xid")?,
            xids: body.array_i32("running xids", count)?,
            subxids: body.array_i32("running subxids", subcount)?,
        })
    }
}

impl<'a> Invalidations<'a> {
    /// Also the end of the heap's INPLACE of 18 and newer.
    pub(crate) fn read(body: &mut Body<'a>) -> Result<Invalidations<'a>, BodyError> {
        let db = body.u32("invalidations database")?;
        let spc = body.u32("invalidations tablespace")?;
        let init_file = body.bool("invalidations init file flag")?;
        body.pad(3)?;
        let count = body.i32("invalidations count")?;
        Ok(Invalidations {
            db,
            spc,
            init_file,
            messages: body.array_i32("invalidations", count)?,
        })
    }
}
