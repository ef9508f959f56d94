//! Descriptions of CLOG records (access/rmgrdesc/clogdesc.c).

use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::clog::ClogRecord;

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    match ClogRecord::decode(record)? {
        ClogRecord::ZeroPage(page) => out.str("page ").dec(page),
        ClogRecord::Truncate(truncate) => {
            out.str("page ").dec(truncate.cutoff);
            out.str("; oldestXact ").dec(truncate.oldest_xid)
        }
    };
    Ok(())
}
