//! Moving tuples within a bucket (`hash_xlog_move_page_contents`, `hash_xlog_squeeze_page`,
//! hash_xlog.c).

use walrecord::Page;
use walrecord::rmgr::hash::AddedTuples;

use crate::error::Fault;
use crate::page::{Placement, add_item};

/// Adds tuples under the line pointers that they get one after the other. An item is as long as its
/// tuple with padding.
pub(super) fn add_tuples(page: &mut Page, added: &AddedTuples<'_>) -> Result<(), Fault> {
    for (offset, tuple) in added.offsets.iter().zip(added.tuples) {
        add_item(page, offset, tuple, Placement::Shift)?;
    }
    Ok(())
}
