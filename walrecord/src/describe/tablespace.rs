//! Descriptions of Tablespace records (access/rmgrdesc/tblspcdesc.c).

use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::tablespace::TablespaceRecord;

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    match TablespaceRecord::decode(record)? {
        TablespaceRecord::Create(create) => {
            out.dec(create.spc).str(" \"").raw(create.path).byte(b'"')
        }
        TablespaceRecord::Drop(spc) => out.dec(spc),
    };
    Ok(())
}
