//! Descriptions of Storage records (access/rmgrdesc/smgrdesc.c).

use crate::describe::Text;
use crate::describe::path::path;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::storage::StorageRecord;
use crate::types::ForkNumber;

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    match StorageRecord::decode(record)? {
        StorageRecord::Create(create) => path(out, create.rel, create.fork, record.version),
        StorageRecord::Truncate(truncate) => {
            path(out, truncate.rel, ForkNumber::Main, record.version);
            out.str(" to ").dec(truncate.blocks);
            out.str(" blocks flags ").signed(truncate.flags as i32);
        }
    }
    Ok(())
}
