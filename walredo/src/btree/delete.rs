//! Deleting from leaf pages: whole tuples, and single heap TIDs of posting lists
//! (`btree_xlog_delete`, `btree_xlog_vacuum`, `btree_xlog_updates`, nbtxlog.c).

use walrecord::Page;

use super::opaque::{self, HAS_GARBAGE};
use super::tuple::{MAX_SIZE, without_tids};
use crate::error::Fault;
use crate::page::{delete_items, item_range, overwrite_item};

/// Takes heap TIDs, named by their index in ascending order, out of a tuple's posting list.
pub(super) fn shrink_posting(
    page: &mut Page,
    offset: u16,
    tids: impl Iterator<Item = u16> + Clone,
) -> Result<(), Fault> {
    let mut shrunk = [0; MAX_SIZE];
    let size = without_tids(&page[item_range(page, offset)?], tids, &mut shrunk)?;
    overwrite_item(page, offset, &shrunk[..size])
}

/// Deletes tuples, after posting lists were shrunk.
pub(super) fn delete(
    page: &mut Page,
    offsets: impl ExactSizeIterator<Item = u16> + DoubleEndedIterator,
) -> Result<(), Fault> {
    delete_items(page, offsets)?;
    opaque::clear_flags(page, HAS_GARBAGE)
}
