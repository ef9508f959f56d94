//! Effects on blocks of relations: those that a record names, and the visibility map's that heap
//! records do not name.

use super::{Effect, EffectError, PageTouch};
use crate::record::{BlockRef, Record};
use crate::rmgr::{Rmgr, RmgrId, hash, visibility};
use crate::types::{BlockNumber, BlockTag, ForkNumber, RelFileLocator};

/// Slots of one page of the free space map (`SlotsPerFSMPage`, storage/fsm_internals.h): what 8192
/// bytes hold after page header, hint and the inner nodes.
const FSM_SLOTS_PER_PAGE: u32 = (8192 - 24 - 4) - (8192 / 2 - 1);

/// Levels of the free space map's tree (`FSM_TREE_DEPTH`, storage/freespace/freespace.c).
const FSM_TREE_DEPTH: u32 = 3;

/// The blocks that a record names and that redo changes.
#[inline]
pub(super) fn named<'a, F>(record: &Record<'a>, sink: &mut F) -> Result<(), EffectError>
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    let blocks = record.blocks();
    for (index, block) in blocks.iter().enumerate() {
        if blocks[..index].iter().any(|other| other.tag == block.tag) {
            return Err(EffectError::DuplicateBlock { tag: block.tag });
        }
        if let Some(touch) = touch(record, block)? {
            let key = block.tag.into();
            sink(Effect::Page { key, touch });
        }
    }
    Ok(())
}

/// How redo touches a block that a record names. An image comes before initialisation, as in
/// `XLogReadBufferForRedoExtended` (access/transam/xlogutils.c).
fn touch(record: &Record<'_>, block: &BlockRef<'_>) -> Result<Option<PageTouch>, EffectError> {
    if block.image.is_some_and(|image| image.apply) {
        return Ok(Some(PageTouch::Image));
    }
    if block.will_init {
        return Ok(Some(PageTouch::Init));
    }
    Ok(match record.header.rmgr {
        // FPI and FPI_FOR_HINT: nothing without an image.
        RmgrId::BuiltIn(Rmgr::Xlog) => None,
        RmgrId::BuiltIn(Rmgr::Hash) if hash::only_locks(record, block.id)? => None,
        RmgrId::BuiltIn(Rmgr::Heap2)
            if block.tag.fork == ForkNumber::Vm && visibility::sets(record) =>
        {
            Some(PageTouch::Implicit)
        }
        _ => Some(PageTouch::Delta),
    })
}

/// The pages of the visibility map in which a heap record clears bits without naming them.
#[inline]
pub(super) fn visibility<'a, F>(record: &Record<'a>, sink: &mut F) -> Result<(), EffectError>
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    let mut previous = None;
    for clear in visibility::clears(record)? {
        if !clear.registered && previous != Some(clear.map) {
            sink(Effect::Page {
                key: clear.map.into(),
                touch: PageTouch::Implicit,
            });
        }
        previous = Some(clear.map);
    }
    Ok(())
}

/// The last page of the visibility map that stays when the heap is cut to `heap_blocks` blocks, if
/// some of its bits belong to blocks that go (`visibilitymap_prepare_truncate`).
pub(super) fn vm_page_to_trim(rel: RelFileLocator, heap_blocks: BlockNumber) -> Option<BlockTag> {
    let cut = !heap_blocks.is_multiple_of(visibility::HEAP_BLOCKS_PER_PAGE);
    cut.then_some(BlockTag {
        rel,
        fork: ForkNumber::Vm,
        block: visibility::map_block(heap_blocks),
    })
}

/// Blocks of the visibility map that stay when the heap is cut to `heap_blocks` blocks.
pub(super) const fn vm_blocks(heap_blocks: BlockNumber) -> BlockNumber {
    heap_blocks.div_ceil(visibility::HEAP_BLOCKS_PER_PAGE)
}

/// Blocks of the free space map that stay when the heap is cut to `heap_blocks` blocks
/// (`FreeSpaceMapPrepareTruncateRel`). Its pages stand depth first, an upper page before those below.
pub(super) const fn fsm_blocks(heap_blocks: BlockNumber) -> BlockNumber {
    let cut = !heap_blocks.is_multiple_of(FSM_SLOTS_PER_PAGE);
    let mut leaf = heap_blocks / FSM_SLOTS_PER_PAGE;
    // The physical number of that leaf page: all pages of each level up to it, less itself.
    let mut pages = 0;
    let mut level = 0;
    while level < FSM_TREE_DEPTH {
        pages += leaf + 1;
        leaf /= FSM_SLOTS_PER_PAGE;
        level += 1;
    }
    if cut { pages } else { pages - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_visibility_map_keeps_the_page_that_is_cut_in_the_middle() {
        let rel = RelFileLocator::default();
        let per_page = visibility::HEAP_BLOCKS_PER_PAGE;
        assert_eq!(per_page, 32672);
        for (heap, blocks, trimmed) in [
            (0, 0, None),
            (1, 1, Some(0)),
            (per_page, 1, None),
            (per_page + 1, 2, Some(1)),
        ] {
            assert_eq!(vm_blocks(heap), blocks);
            assert_eq!(vm_page_to_trim(rel, heap).map(|tag| tag.block), trimmed);
        }
    }

    /// Physical layout: 0 root, 1 first inner page, 2.. its 4069 leaves, 4071 second inner page.
    #[test]
    fn a_truncated_free_space_map_keeps_what_postgres_keeps() {
        let slots = FSM_SLOTS_PER_PAGE;
        assert_eq!(slots, 4069);
        for (heap, blocks) in [
            (0, 2),
            (1, 3),
            (slots, 3),
            (slots + 1, 4),
            (slots * slots - 1, 2 + slots),
            (slots * slots, 3 + slots),
            (slots * slots + 1, 4 + slots),
        ] {
            assert_eq!(fsm_blocks(heap), blocks, "heap of {heap} blocks");
        }
    }
}
