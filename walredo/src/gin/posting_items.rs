//! Inner pages of posting trees: arrays of child pages and the keys that bound them
//! (`GinDataPageAddPostingItem`, `GinPageDeletePostingItem`, gindatapage.c).

use walrecord::rmgr::gin::InsertPostingItem;
use walrecord::{BlockNumber, Page};

use super::leaf::{DATA_START, MAX_DATA, set_data_size};
use super::opaque::{self, DATA, LEAF};
use crate::error::Fault;

/// Bytes of an item (`PostingItem`): the child's block number, then the key, a heap TID.
const ITEM: usize = 10;

/// The most items that a page has room for.
const MAX_ITEMS: u16 = (MAX_DATA / ITEM) as u16;

/// Inserts an item for the left half of a child that was split; the item that was at its place moves
/// up and from now on leads to the right half.
pub(super) fn insert(
    page: &mut Page,
    new: &InsertPostingItem,
    right: BlockNumber,
) -> Result<(), Fault> {
    let count = count(page)?;
    check_number(new.offnum, count)?;
    if count == MAX_ITEMS {
        return Err(wrong_count(count + 1));
    }
    let at = position(new.offnum);
    page[at..at + 4].copy_from_slice(&block_bytes(right));
    page.copy_within(at..position(count + 1), at + ITEM);
    page[at..at + ITEM].copy_from_slice(&new.item);
    set_count(page, count + 1)
}

/// Removes an item; what follows closes up.
pub(super) fn delete(page: &mut Page, offset: u16) -> Result<(), Fault> {
    let count = count(page)?;
    check_number(offset, count)?;
    page.copy_within(position(offset + 1)..position(count + 1), position(offset));
    set_count(page, count - 1)
}

/// A block number as an item and a TID hold it: high half first, each half little-endian.
pub(super) const fn block_bytes(block: BlockNumber) -> [u8; 4] {
    let [low0, low1, high0, high1] = block.to_le_bytes();
    [high0, high1, low0, low1]
}

/// Where an item, counted from 1, lies.
fn position(offset: u16) -> usize {
    DATA_START + (usize::from(offset) - 1) * ITEM
}

fn check_number(offset: u16, count: u16) -> Result<(), Fault> {
    if (1..=count).contains(&offset) {
        return Ok(());
    }
    Err(Fault::Value {
        what: "the place of a posting item",
        found: u64::from(offset),
        expected: u64::from(count),
    })
}

/// How many items there are. Only this field says it: before 9.4 `pd_lower` did not.
fn count(page: &Page) -> Result<u16, Fault> {
    opaque::expect_flags(page, DATA | LEAF, DATA)?;
    let count = opaque::count(page)?;
    if count > MAX_ITEMS {
        return Err(wrong_count(count));
    }
    Ok(count)
}

fn set_count(page: &mut Page, count: u16) -> Result<(), Fault> {
    opaque::set_count(page, count)?;
    set_data_size(page, usize::from(count) * ITEM);
    Ok(())
}

fn wrong_count(found: u16) -> Fault {
    Fault::Value {
        what: "the number of posting items",
        found: u64::from(found),
        expected: u64::from(MAX_ITEMS),
    }
}
