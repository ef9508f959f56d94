//! Descriptions of Sequence records (access/rmgrdesc/seqdesc.c).

use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::sequence::SequenceLog;

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    let log = SequenceLog::decode(record)?;
    out.str("rel ").rel(log.rel);
    Ok(())
}
