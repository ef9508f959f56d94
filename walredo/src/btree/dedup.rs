//! Merging tuples of equal keys into posting lists (`btree_xlog_dedup`, nbtxlog.c, and
//! `_bt_dedup_finish_pending`, nbtdedup.c).

use walrecord::Page;
use walrecord::rmgr::btree::DedupInterval;

use super::opaque::{self, HAS_GARBAGE};
use super::tuple::{MAX_SIZE, TID, Tuple, formed_size, set_form};
use crate::error::Fault;
use crate::page::{self, Placement, add_item, item_range, max_offset, reserve_item};

/// Rebuilds the page with the tuples of each interval merged; `intervals` ascend.
pub(super) fn dedup(
    page: &mut Page,
    intervals: impl Iterator<Item = DedupInterval>,
) -> Result<(), Fault> {
    let old = page::start_over(page)?;
    let mut intervals = intervals.peekable();
    let max = max_offset(&old);
    let mut offset = 1;
    if !opaque::is_rightmost(&old)? {
        add_old(page, &old, offset, item_range(&old, offset)?.len())?;
        offset += 1;
    }
    while offset <= max {
        match intervals.next_if(|interval| interval.base == offset) {
            Some(DedupInterval { base, count }) if count > 1 && count <= max - base + 1 => {
                merge(page, &old, base, count)?;
                offset += count;
            }
            Some(interval) => return Err(wrong(interval)),
            None => {
                let size = Tuple::read(&old[item_range(&old, offset)?])?.bytes().len();
                add_old(page, &old, offset, size)?;
                offset += 1;
            }
        }
    }
    match intervals.next() {
        Some(interval) => Err(wrong(interval)),
        None => opaque::clear_flags(page, HAS_GARBAGE),
    }
}

fn wrong(interval: DedupInterval) -> Fault {
    Fault::Value {
        what: "the number of tuples to merge",
        found: u64::from(interval.count),
        expected: u64::from(interval.base),
    }
}

fn add_old(page: &mut Page, old: &Page, offset: u16, size: usize) -> Result<(), Fault> {
    let start = item_range(old, offset)?.start;
    let next = max_offset(page) + 1;
    add_item(page, next, &old[start..start + size], Placement::Shift)
}

/// Adds one tuple with the key of the tuple at `base` and the heap TIDs of `count` tuples from there.
fn merge(page: &mut Page, old: &Page, base: u16, count: u16) -> Result<(), Fault> {
    let parts = |offset| Tuple::read(&old[item_range(old, offset)?])?.key_and_tids();
    let mut total = 0;
    for offset in base..base + count {
        total += parts(offset)?.1.len() / TID;
    }
    let (key, _) = parts(base)?;
    let size = formed_size(key.len(), total);
    if size > MAX_SIZE {
        return Err(Fault::Value {
            what: "the size of a merged tuple",
            found: size as u64,
            expected: MAX_SIZE as u64,
        });
    }
    let next = max_offset(page) + 1;
    let place = reserve_item(page, next, size, Placement::Shift)?;
    let tuple = &mut page[place];
    tuple[..key.len()].copy_from_slice(key);
    let mut list = set_form(tuple, key.len(), total);
    for offset in base..base + count {
        let (_, tids) = parts(offset)?;
        let (place, rest) = list.split_at_mut(tids.len());
        place.copy_from_slice(tids);
        list = rest;
    }
    Ok(())
}
