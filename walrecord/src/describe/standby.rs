//! Descriptions of Standby records.

use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::standby::Invalidations;

pub(super) fn describe(_record: &Record<'_>, _out: &mut Text) -> Result<(), BodyError> {
    Ok(())
}

/// Cache invalidations, which other resource managers' records hold, too.
pub(super) fn describe_invalidations(_invalidations: &Invalidations<'_>, _out: &mut Text) {}
