//! Deleting a page in two steps: it loses its downlink, then its siblings (`btree_xlog_mark_page_halfdead`
//! and `btree_xlog_unlink_page`, nbtxlog.c).

use walrecord::rmgr::btree::UnlinkPage;
use walrecord::{BlockNumber, Page};

use super::opaque::{self, DELETED, HALF_DEAD, HAS_FULL_XID, LEAF, Opaque};
use super::tuple::{downlink_at, set_downlink, top_parent};
use crate::error::Fault;
use crate::page::{self, HEADER_SIZE, Placement, add_item, delete_item, item_range};

/// Removes the downlink at `offset` from the parent: it takes over the downlink of its right
/// neighbour, whose tuple goes away. So the key space of the page goes to its right sibling.
pub(super) fn remove_downlink(page: &mut Page, offset: u16) -> Result<(), Fault> {
    let neighbour = offset.wrapping_add(1);
    let child = downlink_at(&page[item_range(page, neighbour)?])?;
    let item = item_range(page, offset)?;
    set_downlink(&mut page[item], child)?;
    delete_item(page, neighbour)
}

/// Makes a half-dead leaf. In place of a high key it holds the topmost parent that will go with it.
pub(super) fn make_half_dead(
    page: &mut Page,
    prev: BlockNumber,
    next: BlockNumber,
    parent: BlockNumber,
) -> Result<(), Fault> {
    page::init(page, opaque::SIZE);
    Opaque {
        prev,
        next,
        level: 0,
        flags: HALF_DEAD | LEAF,
    }
    .write(page)?;
    add_item(page, 1, &top_parent(parent), Placement::Shift)
}

/// Makes a deleted page: no items, but the transaction id from which on the block may be reused
/// (`BTPageSetDeleted`, access/nbtree.h). Its links stay for scans that are still on their way.
pub(super) fn make_deleted(page: &mut Page, unlink: &UnlinkPage) -> Result<(), Fault> {
    page::init(page, opaque::SIZE);
    let leaf = if unlink.level == 0 { LEAF } else { 0 };
    Opaque {
        prev: unlink.left,
        next: unlink.right,
        level: unlink.level,
        flags: DELETED | HAS_FULL_XID | leaf,
    }
    .write(page)?;
    let end = HEADER_SIZE + size_of::<u64>();
    page[HEADER_SIZE..end].copy_from_slice(&unlink.safe_xid.to_le_bytes());
    page::set_lower(page, end as u16);
    Ok(())
}
