//! Records of hash indexes (access/hash_xlog.h; redone by `hash_redo`, access/hash/hash_xlog.c).

use crate::record::Record;
use crate::rmgr::BodyError;

/// Whether redo of a Hash record only locks block `id` and leaves the page as it is: the bucket page
/// of MOVE_PAGE_CONTENTS, SQUEEZE_PAGE and DELETE when another page of the bucket changes.
///
/// # Errors
/// Not yet.
pub fn only_locks(record: &Record<'_>, id: u8) -> Result<bool, BodyError> {
    Ok(id == 0 && matches!(record.info(), 0x70..=0x90))
}
