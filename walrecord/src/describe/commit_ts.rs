//! Descriptions of CommitTs records (access/rmgrdesc/committsdesc.c).

use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::commit_ts::CommitTsRecord;

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    match CommitTsRecord::decode(record)? {
        CommitTsRecord::ZeroPage(page) => out.dec(page),
        CommitTsRecord::Truncate(truncate) => {
            out.str("pageno ").dec(truncate.cutoff);
            out.str(", oldestXid ").dec(truncate.oldest_xid)
        }
    };
    Ok(())
}
