//! Descriptions of Tablespace records.

use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;

pub(super) fn describe(_record: &Record<'_>, _out: &mut Text) -> Result<(), BodyError> {
    Ok(())
}
