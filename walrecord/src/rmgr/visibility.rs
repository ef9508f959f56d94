//! Bits of the visibility map that heap records clear, mostly without naming the map's page
//! (access/heap/visibilitymap.c, and `visibilitymap_clear`'s callers in access/heap/heapam.c).

use crate::record::Record;
use crate::rmgr::body::{BodyError, block_tag};
use crate::rmgr::heap::HeapRecord;
use crate::rmgr::heap2::Heap2Record;
use crate::rmgr::{Rmgr, RmgrId};
use crate::types::{BlockNumber, BlockTag, ForkNumber, PAGE_SIZE};

/// Bytes of a page in front of the map (`PageHeaderData`, which needs no padding to 8).
pub const MAP_START: usize = 24;

/// Heap blocks in one byte of the map, the lowest bits first.
pub const HEAP_BLOCKS_PER_BYTE: u32 = 4;

/// Heap blocks on one page of the map.
pub const HEAP_BLOCKS_PER_PAGE: u32 = (PAGE_SIZE - MAP_START) as u32 * HEAP_BLOCKS_PER_BYTE;

/// All tuples of the heap block are visible to everybody (`VISIBILITYMAP_ALL_VISIBLE`).
pub const ALL_VISIBLE: u8 = 0x01;

/// All tuples of the heap block are frozen (`VISIBILITYMAP_ALL_FROZEN`).
pub const ALL_FROZEN: u8 = 0x02;

/// The block of the map with the bits of `heap_block`.
pub const fn map_block(heap_block: BlockNumber) -> BlockNumber {
    heap_block / HEAP_BLOCKS_PER_PAGE
}

/// The byte of its page with the bits of `heap_block`, counted from the start of the page.
pub const fn map_byte(heap_block: BlockNumber) -> usize {
    MAP_START + (heap_block % HEAP_BLOCKS_PER_PAGE / HEAP_BLOCKS_PER_BYTE) as usize
}

/// How far left in its byte the bits of `heap_block` are.
pub const fn map_shift(heap_block: BlockNumber) -> u32 {
    heap_block % HEAP_BLOCKS_PER_BYTE * 2
}

/// Bits of one heap block that a record clears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmClear {
    /// The page of the map.
    pub map: BlockTag,
    /// The heap block.
    pub heap_block: BlockNumber,
    /// [`ALL_VISIBLE`] and [`ALL_FROZEN`], those that are cleared.
    pub bits: u8,
    /// The record refers to the map's page (17.11, 18.6 and newer, if a bit was really set): redo tests
    /// and sets its LSN. Otherwise the bits are cleared whatever the page's LSN, the LSN is left
    /// alone, and a missing map is created.
    pub registered: bool,
}

/// The bits that a record clears: none, those of one heap block, or of two (UPDATE across pages). Only
/// records of Heap and Heap2 clear any.
///
/// # Errors
/// If the record's main data is not what it should be, or it clears bits and names no heap block.
#[inline]
pub fn clears(record: &Record<'_>) -> Result<VmClears, BodyError> {
    let mut clears = VmClears::default();
    match record.header.rmgr {
        RmgrId::BuiltIn(Rmgr::Heap) => heap_clears(record, &mut clears)?,
        RmgrId::BuiltIn(Rmgr::Heap2) => heap2_clears(record, &mut clears)?,
        _ => {}
    }
    Ok(clears)
}

/// At most two [`VmClear`]s. An iterator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmClears {
    items: [Option<VmClear>; 2],
}

impl Iterator for VmClears {
    type Item = VmClear;

    #[inline]
    fn next(&mut self) -> Option<VmClear> {
        let next = self.items[0].take();
        self.items.swap(0, 1);
        next
    }
}

impl VmClears {
    fn push(&mut self, record: &Record<'_>, heap: BlockTag, bits: u8) {
        let map = BlockTag {
            rel: heap.rel,
            fork: ForkNumber::Vm,
            block: map_block(heap.block),
        };
        let clear = Some(VmClear {
            map,
            heap_block: heap.block,
            bits,
            registered: record.blocks().iter().any(|block| block.tag == map),
        });
        let free = usize::from(self.items[0].is_some());
        self.items[free] = clear;
    }
}

#[inline]
fn heap_clears(record: &Record<'_>, clears: &mut VmClears) -> Result<(), BodyError> {
    const BOTH: u8 = ALL_VISIBLE | ALL_FROZEN;
    let block = |id| block_tag(Rmgr::Heap, record, id);
    match HeapRecord::decode(record)? {
        HeapRecord::Insert(insert) if insert.all_visible_cleared() => {
            clears.push(record, block(0)?, BOTH);
        }
        HeapRecord::Delete(delete) if delete.all_visible_cleared() => {
            clears.push(record, block(0)?, BOTH);
        }
        HeapRecord::Update(update) | HeapRecord::HotUpdate(update) => {
            // Block 1 is the old tuple's page if that is not block 0, too.
            let old = record.block(1).filter(|old| old.tag.fork != ForkNumber::Vm);
            if update.old_all_visible_cleared() {
                let old = match old {
                    Some(old) => old.tag,
                    None => block(0)?,
                };
                clears.push(record, old, BOTH);
            }
            if update.new_all_visible_cleared()
                && (old.is_some() || !update.old_all_visible_cleared())
            {
                clears.push(record, block(0)?, BOTH);
            }
        }
        HeapRecord::Lock(lock) if lock.all_frozen_cleared() => {
            clears.push(record, block(0)?, ALL_FROZEN);
        }
        _ => {}
    }
    Ok(())
}

fn heap2_clears(record: &Record<'_>, clears: &mut VmClears) -> Result<(), BodyError> {
    let heap = || block_tag(Rmgr::Heap2, record, 0);
    match Heap2Record::decode(record)? {
        Heap2Record::MultiInsert(insert) if insert.all_visible_cleared() => {
            clears.push(record, heap()?, ALL_VISIBLE | ALL_FROZEN);
        }
        Heap2Record::LockUpdated(lock) if lock.all_frozen_cleared() => {
            clears.push(record, heap()?, ALL_FROZEN);
        }
        _ => {}
    }
    Ok(())
}
