//! Inserting a tuple into a posting list's range, and filling a fresh page with tuples.

use walrecord::Page;
use walrecord::rmgr::btree::{Items, PostingInsert};

use super::tuple::{TID, Tuple, swap_posting};
use crate::error::Fault;
use crate::page::{self, HEADER_SIZE, ITEM_ID_SIZE, ItemId, Placement, item_range, reserve_item};

/// Inserts a tuple whose heap TID falls into the posting list before it, which takes it in and
/// gives its last one to the new tuple (the posting half of `btree_xlog_insert`, nbtxlog.c).
pub(super) fn insert_splitting_posting(
    page: &mut Page,
    offset: u16,
    insert: PostingInsert<'_>,
) -> Result<(), Fault> {
    let new = Tuple::read(insert.item)?.tid();
    let posting = item_range(page, offset.wrapping_sub(1))?;
    let tid = swap_posting(&mut page[posting], insert.posting_offset, new)?;
    add_with_tid(page, offset, insert.item, tid)
}

/// Adds an item whose heap TID is to be `tid`, whatever it says.
pub(super) fn add_with_tid(
    page: &mut Page,
    offset: u16,
    tuple: &[u8],
    tid: [u8; TID],
) -> Result<(), Fault> {
    // Reading it makes sure that there is a heap TID to replace.
    Tuple::read(tuple)?;
    let place = reserve_item(page, offset, tuple.len(), Placement::Shift)?;
    let item = &mut page[place];
    item.copy_from_slice(tuple);
    item[..TID].copy_from_slice(&tid);
    Ok(())
}

/// Fills an empty page with tuples in the order in which they lay on the page they were logged from:
/// the one with the highest line pointer first (`_bt_restore_page`, nbtxlog.c). Postgres adds them
/// back to front, which puts the bytes where they were: as one run at the end of the page.
pub(super) fn restore_items(page: &mut Page, items: Items<'_>) -> Result<(), Fault> {
    let (count, total) = items.fold((0, 0), |(count, total), item| {
        (count + 1, total + item.len())
    });
    let special = usize::from(page::special(page));
    let lower = HEADER_SIZE + count * ITEM_ID_SIZE;
    let upper = special.checked_sub(total).filter(|upper| lower <= *upper);
    let upper = upper.ok_or(Fault::ItemTotal {
        total,
        room: (special - HEADER_SIZE) as u16,
    })?;
    page::set_lower(page, lower as u16);
    page::set_upper(page, upper as u16);
    let mut at = upper;
    for (item, offset) in items.zip((1..=count as u16).rev()) {
        page[at..at + item.len()].copy_from_slice(item);
        let id = ItemId::normal(at as u16, item.len() as u16);
        page::set_item_id(page, offset, id)?;
        at += item.len();
    }
    Ok(())
}
