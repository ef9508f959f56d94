//! Descriptions of RelMap records (access/rmgrdesc/relmapdesc.c).

use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::relmap::RelMapUpdate;

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    let update = RelMapUpdate::decode(record)?;
    out.str("database ").dec(update.db);
    out.str(" tablespace ").dec(update.spc);
    out.str(" size ").dec(update.content.len() as u64);
    Ok(())
}
