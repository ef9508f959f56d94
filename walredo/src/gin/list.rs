//! Pages of the pending list (`ginRedoUpdateMetapage`, `ginRedoInsertListPage`, ginxlog.c).

use walrecord::rmgr::IndexTuples;
use walrecord::{BlockNumber, Page};

use super::opaque::{self, LIST, LIST_FULL_ROW, NO_BLOCK};
use crate::error::Fault;
use crate::page::{Placement, add_item, max_offset};

/// Makes a page of a list. Only the last page of a new list ends a heap tuple, and counts it.
pub(super) fn make(
    page: &mut Page,
    right_link: BlockNumber,
    tuples: IndexTuples<'_>,
) -> Result<(), Fault> {
    opaque::make(page, LIST)?;
    opaque::set_right_link(page, right_link)?;
    if right_link == NO_BLOCK {
        opaque::set_flags(page, LIST_FULL_ROW)?;
        opaque::set_count(page, 1)?;
    }
    add_tuples(page, tuples)
}

/// Appends the tuples of one more heap tuple to the last page.
pub(super) fn append(page: &mut Page, tuples: IndexTuples<'_>) -> Result<(), Fault> {
    opaque::expect_flags(page, LIST, LIST)?;
    add_tuples(page, tuples)?;
    let count = opaque::count(page)?;
    match count.checked_add(1) {
        Some(count) => opaque::set_count(page, count),
        None => Err(Fault::Value {
            what: "the number of heap tuples on a page of a pending list",
            found: u64::from(count),
            expected: u64::from(count) - 1,
        }),
    }
}

fn add_tuples(page: &mut Page, tuples: IndexTuples<'_>) -> Result<(), Fault> {
    for (offset, tuple) in (max_offset(page) + 1..).zip(tuples) {
        add_item(page, offset, tuple, Placement::Shift)?;
    }
    Ok(())
}
