//! Bits of the visibility map that heap records clear, mostly without naming the map's page
//! (access/heap/visibilitymap.c, and `visibilitymap_clear`'s callers in access/heap/heapam.c).

use crate::record::Record;
use crate::rmgr::body::{BodyError, block_tag};
use crate::rmgr::heap::{HeapRecord, OPCODE_MASK, Update};
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

/// Whether the record sets bits: VISIBLE. Only redo of that creates a map, or a page of it, that the
/// record names and that is missing (`RBM_ZERO_ON_ERROR`, `heap_xlog_visible`).
#[inline]
pub fn sets(record: &Record<'_>) -> bool {
    record.header.rmgr == RmgrId::BuiltIn(Rmgr::Heap2) && record.info() & OPCODE_MASK == 0x40
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
            update_clears(record, &update, clears)?;
        }
        HeapRecord::Lock(lock) if lock.all_frozen_cleared() => {
            clears.push(record, block(0)?, ALL_FROZEN);
        }
        _ => {}
    }
    Ok(())
}

/// An UPDATE names up to two pages of the map (17.11, 18.6 and newer): that of the new tuple's page as
/// block 2, that of the old tuple's as block 3, or one that serves both as block 2. If it names any, redo
/// clears nothing on others: their bits were clear already (`heap_xlog_update`).
#[inline]
fn update_clears(
    record: &Record<'_>,
    update: &Update<'_>,
    clears: &mut VmClears,
) -> Result<(), BodyError> {
    const BOTH: u8 = ALL_VISIBLE | ALL_FROZEN;
    let (clears_old, clears_new) = (
        update.old_all_visible_cleared(),
        update.new_all_visible_cleared(),
    );
    if !clears_old && !clears_new {
        return Ok(());
    }
    let new = block_tag(Rmgr::Heap, record, 0)?;
    // Without a block 1 both tuples are on one page.
    let old = record.block(1).map_or(new, |old| old.tag);
    let map = |id| {
        let block = record.block(id).map(|block| block.tag);
        block.filter(|tag| tag.fork == ForkNumber::Vm)
    };
    let (new_map, old_map) = (map(2), map(3));
    let unnamed = new_map.is_none() && old_map.is_none();
    let shared = new_map.is_some_and(|map| map.block == map_block(old.block));
    if clears_old && (unnamed || old_map.is_some() || shared) {
        clears.push(record, old, BOTH);
    }
    if clears_new && (unnamed || new_map.is_some()) && !(clears_old && old == new) {
        clears.push(record, new, BOTH);
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
