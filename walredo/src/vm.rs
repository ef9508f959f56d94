//! The visibility map: two bits for each heap block (access/heap/visibilitymap.c).
//!
//! Most changes come from records that do not name the map's page, and then take special rules: the
//! page's LSN is neither asked nor set, and a missing page starts as an empty one.

use walrecord::{BlockNumber, PAGE_SIZE, Page};

use crate::page::{self, HEADER_SIZE};
use crate::redo::Edit;

/// Every tuple of the heap block is visible to everyone.
pub(crate) const VISIBLE: u8 = 0x01;
/// Every tuple of the heap block is frozen.
pub(crate) const FROZEN: u8 = 0x02;
/// Both.
pub(crate) const ALL_BITS: u8 = VISIBLE | FROZEN;

const BLOCKS_PER_BYTE: u32 = 4;
/// Heap blocks that one page of the map covers.
const BLOCKS_PER_PAGE: u32 = (PAGE_SIZE - HEADER_SIZE) as u32 * BLOCKS_PER_BYTE;

/// Where a heap block's bits are: page of the map, byte in the page, shift in the byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    page: BlockNumber,
    byte: usize,
    shift: u32,
}

const fn place(heap_block: BlockNumber) -> Place {
    let in_page = heap_block % BLOCKS_PER_PAGE;
    Place {
        page: heap_block / BLOCKS_PER_PAGE,
        byte: HEADER_SIZE + (in_page / BLOCKS_PER_BYTE) as usize,
        shift: 2 * (in_page % BLOCKS_PER_BYTE),
    }
}

/// The page of the map that holds a heap block's bits.
pub(crate) const fn map_block(heap_block: BlockNumber) -> BlockNumber {
    place(heap_block).page
}

/// Makes a page that was never written an empty one. Says whether it did.
pub(crate) fn init_if_new(page: &mut Page) -> bool {
    let new = page::is_new(page);
    if new {
        page::init(page, 0);
    }
    new
}

/// Clears bits of a heap block whose bits this page holds (`visibilitymap_clear`). Says whether any
/// was set.
pub(crate) fn clear(page: &mut Page, heap_block: BlockNumber, bits: u8) -> bool {
    let place = place(heap_block);
    let old = page[place.byte];
    page[place.byte] = old & !(bits << place.shift);
    page[place.byte] != old
}

/// Sets bits of a heap block whose bits this page holds (`visibilitymap_set`). Bits that are set
/// stay; the page's LSN moves unless the bits were exactly these.
pub(crate) fn set(page: &mut Page, heap_block: BlockNumber, bits: u8) -> Edit {
    let place = place(heap_block);
    if (page[place.byte] >> place.shift) & ALL_BITS == bits {
        return Edit::None;
    }
    page[place.byte] |= bits << place.shift;
    Edit::Changed
}

/// Clears the bits of all heap blocks from `heap_blocks` on that this page, the map's block
/// `map_block`, holds (`visibilitymap_prepare_truncate`).
pub(crate) fn truncate(page: &mut Page, map_block: BlockNumber, heap_blocks: BlockNumber) -> Edit {
    let first = place(heap_blocks);
    if first.page != map_block {
        return Edit::None;
    }
    let mut changed = init_if_new(page);
    let tail = &mut page[first.byte..];
    changed |= tail.iter().any(|byte| *byte != 0);
    tail[0] &= (1 << first.shift) - 1;
    tail[1..].fill(0);
    if changed { Edit::KeepLsn } else { Edit::None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use walrecord::ZERO_PAGE;

    #[test]
    fn a_page_holds_the_bits_of_32672_heap_blocks() {
        assert_eq!(BLOCKS_PER_PAGE, 32_672);
        assert_eq!(place(0), Place { page: 0, byte: 24, shift: 0 });
        assert_eq!(place(32_671), Place { page: 0, byte: 8191, shift: 6 });
        assert_eq!(place(32_672 + 5), Place { page: 1, byte: 25, shift: 2 });
    }

    #[test]
    fn setting_the_same_bits_changes_nothing_and_setting_fewer_moves_the_lsn() {
        let mut page = ZERO_PAGE;
        assert!(init_if_new(&mut page));
        assert_eq!(set(&mut page, 5, ALL_BITS), Edit::Changed);
        assert_eq!(page[25], 0b1100);
        assert_eq!(set(&mut page, 5, ALL_BITS), Edit::None);
        assert_eq!(set(&mut page, 5, VISIBLE), Edit::Changed);
        assert_eq!(page[25], 0b1100);
        assert!(clear(&mut page, 5, FROZEN));
        assert_eq!(page[25], 0b0100);
        assert!(!clear(&mut page, 5, FROZEN));
        assert!(!init_if_new(&mut page));
    }

    #[test]
    fn truncation_clears_the_tail_only_and_on_the_last_page_only() {
        let mut page = ZERO_PAGE;
        page::init(&mut page, 0);
        page[HEADER_SIZE..].fill(0xFF);
        let full = page;
        assert_eq!(truncate(&mut page, 1, 7), Edit::None);
        assert_eq!(page, full);
        assert_eq!(truncate(&mut page, 0, 7), Edit::KeepLsn);
        assert_eq!(page[24..27], [0xFF, 0b0011_1111, 0]);
        assert!(page[27..].iter().all(|byte| *byte == 0));
        assert_eq!(truncate(&mut page, 0, 8), Edit::None);
    }
}
