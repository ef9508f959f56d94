//! Deleting dead tuples and empty pages (`gistRedoDeleteRecord` and `gistRedoPageDelete`, gistxlog.c).

use walrecord::{Page, RedoRules};

use super::opaque::{self, DELETED, HAS_GARBAGE, TUPLES_DELETED};
use crate::error::Fault;
use crate::page::{self, HEADER_SIZE, delete_item, delete_items};

/// Deletes tuples that scans found dead.
pub(super) fn delete_dead(
    page: &mut Page,
    rules: &RedoRules,
    offsets: impl ExactSizeIterator<Item = u16> + DoubleEndedIterator,
) -> Result<(), Fault> {
    delete_items(page, offsets)?;
    opaque::clear_flags(page, HAS_GARBAGE)?;
    mark_deletion(page, rules)
}

/// Marks the page as one that lost tuples, where the release does so.
pub(super) fn mark_deletion(page: &mut Page, rules: &RedoRules) -> Result<(), Fault> {
    if !rules.gist_marks_deleted_tuples() {
        return Ok(());
    }
    opaque::set_flags(page, TUPLES_DELETED)
}

/// Makes an empty page a deleted one. In place of line pointers it holds the transaction id from which
/// on the block may be reused (`GistPageSetDeleted`, access/gist.h); its links stay for scans that are
/// still on their way.
pub(super) fn make_deleted(page: &mut Page, delete_xid: u64) -> Result<(), Fault> {
    let tuples = page::max_offset(page);
    if tuples != 0 {
        return Err(Fault::Value {
            what: "the number of tuples on a page to delete",
            found: u64::from(tuples),
            expected: 0,
        });
    }
    opaque::set_flags(page, DELETED)?;
    let end = HEADER_SIZE + size_of::<u64>();
    page::set_lower(page, end as u16);
    // There may be too little room on a page that is damaged.
    page::check_header(page)?;
    page[HEADER_SIZE..end].copy_from_slice(&delete_xid.to_le_bytes());
    Ok(())
}

/// Removes a deleted page's downlink from its parent.
pub(super) fn remove_downlink(page: &mut Page, offset: u16) -> Result<(), Fault> {
    delete_item(page, offset)
}
