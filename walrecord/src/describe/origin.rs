//! Descriptions of ReplicationOrigin records (access/rmgrdesc/replorigindesc.c).

use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::origin::OriginRecord;

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    match OriginRecord::decode(record)? {
        OriginRecord::Set(set) => {
            out.str("set ").dec(set.origin);
            out.str("; lsn ").lsn(set.remote, false);
            out.str("; force: ").dec(set.force)
        }
        OriginRecord::Drop(origin) => out.str("drop ").dec(origin),
    };
    Ok(())
}
