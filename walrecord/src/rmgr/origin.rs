//! Records of replication origins (replication/origin.h; redone by `replorigin_redo`,
//! replication/logical/origin.c).

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError};
use crate::types::Lsn;

const RMGR: Rmgr = Rmgr::ReplicationOrigin;

/// A record of resource manager ReplicationOrigin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginRecord {
    /// An origin's progress is set.
    Set(Set),
    /// An origin's progress is removed.
    Drop(u16),
}

/// `xl_replorigin_set`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set {
    /// How far, in the origin's WAL.
    pub remote: Lsn,
    /// The origin.
    pub origin: u16,
    /// Take the position even if it goes back.
    pub force: bool,
}

impl OriginRecord {
    /// Decodes the main data of a ReplicationOrigin record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'_>) -> Result<OriginRecord, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let decoded = match record.info() {
            0x00 => {
                let set = Set {
                    remote: body.lsn("origin position")?,
                    origin: body.u16("origin")?,
                    force: body.bool("origin force flag")?,
                };
                // The structure is written whole, with the padding at its end.
                body.pad(5)?;
                OriginRecord::Set(set)
            }
            0x10 => OriginRecord::Drop(body.u16("origin")?),
            info => return Err(BodyError::Opcode { rmgr: RMGR, info }),
        };
        body.finish("main data")?;
        Ok(decoded)
    }
}
