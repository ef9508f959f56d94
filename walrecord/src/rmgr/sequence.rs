//! Records of sequences (commands/sequence.h; redone by `seq_redo`, commands/sequence.c).

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError};
use crate::types::RelFileLocator;

const RMGR: Rmgr = Rmgr::Sequence;

/// The record of resource manager Sequence (`xl_seq_rec`). Block 0, always initialised, gets the tuple
/// as its only item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceLog<'a> {
    /// The sequence.
    pub rel: RelFileLocator,
    /// Its tuple, whole: header and columns.
    pub tuple: &'a [u8],
}

impl<'a> SequenceLog<'a> {
    /// Decodes the main data of a Sequence record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'a>) -> Result<SequenceLog<'a>, BodyError> {
        if record.info() != 0 {
            return Err(BodyError::Opcode {
                rmgr: RMGR,
                info: record.info(),
            });
        }
        let mut body = Body::main(RMGR, record);
        Ok(SequenceLog {
            rel: body.locator("sequence relation")?,
            tuple: body.take_rest(),
        })
    }
}
