//! Records of logical messages (replication/message.h). They change nothing.

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError};
use crate::types::Oid;

const RMGR: Rmgr = Rmgr::LogicalMessage;

/// The record of resource manager LogicalMessage (`xl_logical_message`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogicalMessage<'a> {
    /// The database that it came from.
    pub db: Oid,
    /// It belongs to the record's transaction.
    pub transactional: bool,
    /// Who wrote it, without the NUL at the end.
    pub prefix: &'a [u8],
    /// What it says.
    pub message: &'a [u8],
}

impl<'a> LogicalMessage<'a> {
    /// Decodes the main data of a LogicalMessage record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'a>) -> Result<LogicalMessage<'a>, BodyError> {
        if record.info() != 0 {
            return Err(BodyError::Opcode {
                rmgr: RMGR,
                info: record.info(),
            });
        }
        let mut body = Body::main(RMGR, record);
        let db = body.u32("message database")?;
        let transactional = body.bool("message transactional flag")?;
        body.pad(3)?;
        let prefix_size = body.u64("message prefix size")?;
        let message_size = body.u64("message size")?;
        // A size that no address space holds is larger than what is left.
        let size = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        let prefix = body.take("message prefix", size(prefix_size))?;
        let message = body.take("message", size(message_size))?;
        body.finish("message")?;
        Ok(LogicalMessage {
            db,
            transactional,
            prefix: prefix.strip_suffix(&[0]).unwrap_or(prefix),
            message,
        })
    }
}
