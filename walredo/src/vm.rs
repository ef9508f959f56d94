//! The visibility map: two bits for each heap block (access/heap/visibilitymap.c).
//!
//! Most changes come from records that do not name the map's page, and then take special rules: the
//! page's LSN is neither asked nor set, and a missing page starts as an empty one.

use walrecord::rmgr::heap2::Heap2Record;
use walrecord::rmgr::storage::StorageRecord;
use walrecord::rmgr::visibility::{
    ALL_FROZEN, ALL_VISIBLE, VmClear, clears, map_block, map_byte, map_shift, sets,
};
use walrecord::{BlockNumber, BlockTag, Page, Record, Rmgr, RmgrId};

use crate::error::Fault;
use crate::page;
use crate::redo::{Context, Edit};

/// All bits of one heap block.
const BLOCK_BITS: u8 = ALL_VISIBLE | ALL_FROZEN;

/// A page of the map that a heap record refers to: of VISIBLE, or with bits to clear (17.11, 18.6 and
/// newer). VISIBLE makes a page that was never written an empty one first; of others such a page does
/// not get here.
pub(crate) fn redo_named(page: &mut Page, cx: &Context<'_, '_>) -> Result<Edit, Fault> {
    let created = init_if_new(page);
    let changed = if cx.record.header.rmgr == RmgrId::BuiltIn(Rmgr::Heap2)
        && let Heap2Record::Visible(visible) = Heap2Record::decode(cx.record)?
    {
        let heap = cx.record.block(1).ok_or(Fault::Missing("block 1"))?.tag;
        if map_block(heap.block) != cx.block.tag.block {
            return Err(Fault::Value {
                what: "map block of the heap block",
                found: u64::from(map_block(heap.block)),
                expected: u64::from(cx.block.tag.block),
            });
        }
        set(page, heap.block, visible.bits)
    } else {
        clear_all(page, cx.record, &cx.block.tag)?
    };
    Ok(match (changed, created) {
        (true, _) => Edit::Changed,
        (false, true) => Edit::KeepLsn,
        (false, false) => Edit::None,
    })
}

/// A page of the map that a heap record changes without referring to it: bits are cleared whatever
/// the page's LSN is. Where Postgres extends the map by several pages, those before the one that it
/// wants become empty pages, too (14 and 15). None if the record leaves the page alone.
pub(crate) fn redo_unnamed(
    page: &mut Page,
    record: &Record<'_>,
    map: &BlockTag,
) -> Result<Option<Edit>, Fault> {
    let reaches = |clear: VmClear| clear.map.rel == map.rel && clear.map.block >= map.block;
    if !clears(record)?.any(reaches) {
        return Ok(None);
    }
    let created = init_if_new(page);
    let changed = clear_all(page, record, map)? || created;
    Ok(Some(if changed { Edit::KeepLsn } else { Edit::None }))
}

/// Clears what the record clears on this page of the map. Says whether a bit was set.
fn clear_all(page: &mut Page, record: &Record<'_>, map: &BlockTag) -> Result<bool, Fault> {
    let mut changed = false;
    for clear in clears(record)?.filter(|clear| clear.map == *map) {
        let byte = &mut page[map_byte(clear.heap_block)];
        let mask = clear.bits << map_shift(clear.heap_block);
        changed |= *byte & mask != 0;
        *byte &= !mask;
    }
    Ok(changed)
}

/// The bits on this page of the map that a record is about: of one heap block, or of two (UPDATE).
pub(crate) fn named_bits(
    record: &Record<'_>,
    map: &BlockTag,
) -> Result<[Option<(BlockNumber, u8)>; 2], Fault> {
    if sets(record) {
        let heap = record.block(1).ok_or(Fault::Missing("block 1"))?;
        return Ok([Some((heap.tag.block, BLOCK_BITS)), None]);
    }
    let mut bits = clears(record)?
        .filter(|clear| clear.map == *map)
        .map(|clear| (clear.heap_block, clear.bits));
    Ok([bits.next(), bits.next()])
}

/// Makes a page that was never written an empty one. Says whether it did.
fn init_if_new(page: &mut Page) -> bool {
    let new = page::is_new(page);
    if new {
        page::init(page, 0);
    }
    new
}

/// Sets bits of a heap block whose bits this page holds (`visibilitymap_set`); bits that are set
/// stay. Says whether they were other bits than these, even if more.
fn set(page: &mut Page, heap_block: BlockNumber, bits: u8) -> bool {
    let byte = &mut page[map_byte(heap_block)];
    let shift = map_shift(heap_block);
    let differ = (*byte >> shift) & BLOCK_BITS != bits;
    *byte |= bits << shift;
    differ
}

/// The last page of the map that a truncation keeps: bits of heap blocks that are gone are cleared,
/// whatever the page's LSN is. None if the record leaves the page alone.
pub(crate) fn redo_truncation(
    page: &mut Page,
    record: &Record<'_>,
    map: &BlockTag,
) -> Result<Option<Edit>, Fault> {
    Ok(match StorageRecord::decode(record)? {
        StorageRecord::Truncate(cut) if cut.cuts_vm() && cut.rel == map.rel => {
            truncate(page, map.block, cut.blocks)
        }
        _ => None,
    })
}

/// Clears the bits of all heap blocks from `heap_blocks` on that this page, the map's block
/// `map`, holds (`visibilitymap_prepare_truncate`). None if that is none of them.
fn truncate(page: &mut Page, map: BlockNumber, heap_blocks: BlockNumber) -> Option<Edit> {
    if map_block(heap_blocks) != map {
        return None;
    }
    let mut changed = init_if_new(page);
    // What stays of each byte: the low bits of the first, nothing of those behind.
    let mut kept = (1 << map_shift(heap_blocks)) - 1;
    for byte in &mut page[map_byte(heap_blocks)..] {
        changed |= *byte & !kept != 0;
        *byte &= kept;
        kept = 0;
    }
    Some(if changed { Edit::KeepLsn } else { Edit::None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use walrecord::ZERO_PAGE;

    fn empty() -> Page {
        let mut page = ZERO_PAGE;
        assert!(init_if_new(&mut page));
        assert!(!init_if_new(&mut page));
        page
    }

    #[test]
    fn setting_the_same_bits_changes_nothing_and_setting_fewer_moves_the_lsn() {
        let mut page = empty();
        assert!(set(&mut page, 5, BLOCK_BITS));
        assert_eq!(page[25], 0b1100);
        assert!(!set(&mut page, 5, BLOCK_BITS));
        assert!(set(&mut page, 5, ALL_VISIBLE));
        assert_eq!(page[25], 0b1100);
    }

    #[test]
    fn truncation_clears_the_tail_of_the_last_page_only() {
        let mut page = empty();
        page[24..].fill(0xFF);
        let full = page;
        assert_eq!(truncate(&mut page, 1, 7), None);
        assert_eq!(page, full);
        assert_eq!(truncate(&mut page, 0, 7), Some(Edit::KeepLsn));
        assert_eq!(page[24..27], [0xFF, 0b0011_1111, 0]);
        assert!(page[27..].iter().all(|byte| *byte == 0));
        assert_eq!(truncate(&mut page, 0, 8), Some(Edit::None));
    }
}
