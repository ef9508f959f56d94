//! Splitting a page in two (`btree_xlog_split`, nbtxlog.c).

use walrecord::rmgr::btree::{Items, Split, SplitLeftData};
use walrecord::{BlockNumber, Page};

use super::finish_split;
use super::insert::{add_with_tid, restore_items};
use super::opaque::{self, INCOMPLETE_SPLIT, LEAF, NO_BLOCK, Opaque};
use super::tuple::{TID, Tuple, swap_posting};
use crate::error::Fault;
use crate::page::{self, Placement, add_item, item_range};
use crate::redo::Context;

/// One of the two pages that a split makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// The page that was split.
    Left,
    /// The new page.
    Right,
}

/// Applies a split to one of its pages; the new tuple went to `new_item`.
pub(super) fn redo(
    page: &mut Page,
    cx: &Context<'_, '_>,
    split: &Split,
    new_item: Half,
) -> Result<(), Fault> {
    match cx.block.id {
        0 => {
            let data = split.left_data(cx.record, new_item == Half::Left)?;
            make_left(page, split, new_item, data)?;
            opaque::set_next(page, block(cx, 1)?)
        }
        1 => {
            page::init(page, opaque::SIZE);
            Opaque {
                prev: block(cx, 0)?,
                next: cx.record.block(2).map_or(NO_BLOCK, |next| next.tag.block),
                level: split.level,
                flags: leaf_flag(split),
            }
            .write(page)?;
            restore_items(page, Items::of_right_page(cx.record)?)
        }
        2 => opaque::set_prev(page, block(cx, 1)?),
        3 => finish_split(page),
        _ => Err(cx.surplus_block()),
    }
}

fn block(cx: &Context<'_, '_>, id: u8) -> Result<BlockNumber, Fault> {
    let block = cx.record.block(id);
    Ok(block
        .ok_or(Fault::Missing("reference to the other half"))?
        .tag
        .block)
}

fn leaf_flag(split: &Split) -> u16 {
    if split.level == 0 { LEAF } else { 0 }
}

/// Makes the left half out of the old page. Items are added in line pointer order, as the primary
/// did it, so that they end up in the same physical order. The right link is left to the caller.
fn make_left(
    page: &mut Page,
    split: &Split,
    new_item: Half,
    data: SplitLeftData<'_>,
) -> Result<(), Fault> {
    let mut left = LeftHalf {
        old: page::start_over(page)?,
        next: 1,
        page,
    };
    left.add(data.high_key)?;
    let mut new = NewItem {
        item: data.new_item.unwrap_or(&[]),
        tid: [0; TID],
    };
    if let Some(item) = data.new_item {
        new.tid = Tuple::read(item)?.tid();
    }
    let new_at = (new_item == Half::Left).then_some(split.new_item);
    let posting_at = (split.posting_offset != 0).then(|| split.new_item.wrapping_sub(1));
    let first = if opaque::is_rightmost(&left.old)? {
        1
    } else {
        2
    };
    for offset in first..split.first_right {
        if posting_at == Some(offset) {
            new.tid = left.add_split_posting(offset, split.posting_offset, new.tid)?;
            continue;
        }
        if new_at == Some(offset) {
            left.add_new(&new)?;
        }
        left.add_old(offset)?;
    }
    if new_at == Some(split.first_right.max(first)) {
        left.add_new(&new)?;
    }
    opaque::set_flags(page, leaf_flag(split) | INCOMPLETE_SPLIT)?;
    opaque::clear_cycle_id(page)
}

/// The inserted item; its heap TID changes if it splits a posting list.
struct NewItem<'a> {
    item: &'a [u8],
    tid: [u8; TID],
}

/// The left half while it is being filled.
struct LeftHalf<'p> {
    page: &'p mut Page,
    old: Page,
    /// The next line pointer.
    next: u16,
}

impl LeftHalf<'_> {
    fn add(&mut self, item: &[u8]) -> Result<(), Fault> {
        add_item(self.page, self.next, item, Placement::Shift)?;
        self.next += 1;
        Ok(())
    }

    fn add_new(&mut self, new: &NewItem<'_>) -> Result<(), Fault> {
        add_with_tid(self.page, self.next, new.item, new.tid)?;
        self.next += 1;
        Ok(())
    }

    fn add_old(&mut self, offset: u16) -> Result<(), Fault> {
        let item = item_range(&self.old, offset)?;
        add_item(self.page, self.next, &self.old[item], Placement::Shift)?;
        self.next += 1;
        Ok(())
    }

    /// Adds an old posting list with `tid` put in at index `at`; returns the TID that falls off.
    fn add_split_posting(
        &mut self,
        offset: u16,
        at: u16,
        tid: [u8; TID],
    ) -> Result<[u8; TID], Fault> {
        let added = self.next;
        self.add_old(offset)?;
        let item = item_range(self.page, added)?;
        swap_posting(&mut self.page[item], at, tid)
    }
}
