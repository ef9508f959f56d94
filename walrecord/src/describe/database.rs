//! Descriptions of Database records (access/rmgrdesc/dbasedesc.c).

use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::database::{DatabaseDirectory, DatabaseRecord};

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    match DatabaseRecord::decode(record)? {
        DatabaseRecord::CreateFileCopy(copy) => {
            directory(out.str("copy dir "), copy.source);
            directory(out.str(" to "), copy.target);
        }
        DatabaseRecord::CreateWalLog(created) => directory(out.str("create dir "), created),
        DatabaseRecord::Drop(dropped) => {
            out.str("dir");
            let db = dropped.db;
            for spc in dropped.tablespaces {
                directory(out.byte(b' '), DatabaseDirectory { db, spc });
            }
        }
    }
    Ok(())
}

fn directory(out: &mut Text, directory: DatabaseDirectory) {
    out.dec(directory.spc).byte(b'/').dec(directory.db);
}
