//! Tuples that come and go on one page (`gistRedoPageUpdateRecord`, gistxlog.c).

use walrecord::Page;
use walrecord::rmgr::gist::PageUpdateData;

use super::delete::mark_deletion;
use super::opaque::{self, LEAF};
use crate::error::Fault;
use crate::page::{Placement, add_item, delete_items, max_offset, overwrite_item};
use crate::redo::Context;

/// Removes and appends tuples. One for one is a replacement where the old one stands, and does not
/// count as a deletion.
pub(super) fn update(
    page: &mut Page,
    cx: &Context<'_, '_>,
    data: PageUpdateData<'_>,
) -> Result<(), Fault> {
    let PageUpdateData { deleted, inserted } = data;
    if let (Some(offset), Some(tuple)) = (sole(deleted.iter()), sole(inserted)) {
        return overwrite_item(page, offset, tuple);
    }
    if !deleted.is_empty() {
        delete_items(page, deleted.iter())?;
        if opaque::flags(page)? & LEAF != 0 {
            mark_deletion(page, cx.rules)?;
        }
    }
    append(page, inserted)
}

/// Adds tuples behind the last one (`gistfillbuffer`, gistutil.c).
pub(super) fn append<'a>(
    page: &mut Page,
    tuples: impl Iterator<Item = &'a [u8]>,
) -> Result<(), Fault> {
    for tuple in tuples {
        add_item(page, max_offset(page) + 1, tuple, Placement::Shift)?;
    }
    Ok(())
}

/// The only item, if there is one and no other.
fn sole<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next();
    first.filter(|_| items.next().is_none())
}
