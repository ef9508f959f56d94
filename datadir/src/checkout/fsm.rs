//! The free space map of a heap, made from its pages as they pass. Redo does not keep the map (its
//! heuristics need the heap page), so whoever streams a whole heap makes it anew, as a vacuum would.
//!
//! Layout after storage/freespace/freespace.c and fsmpage.c: a tree of three levels of pages, each page a
//! binary tree of maxima over its slots. A bottom slot is the category of a heap page, a higher slot
//! the maximum of the page below.

use walrecord::{BlockNumber, PAGE_SIZE, Page, ZERO_PAGE};
use walredo::{free_space_category, heap_free_space, is_new};

const HEADER: usize = 24;

/// Where the nodes begin: behind the page header and the hint where to search next.
const NODES: usize = HEADER + 4;
const NODES_PER_PAGE: usize = PAGE_SIZE - NODES;
const INNER_NODES: usize = PAGE_SIZE / 2 - 1;

/// Slots of a page (`SlotsPerFSMPage`).
pub(crate) const SLOTS: usize = NODES_PER_PAGE - INNER_NODES;

const _: () = assert!(SLOTS == 4069);
// Three levels hold every block number.
const _: () = assert!((SLOTS as u64).pow(3) > u32::MAX as u64);

/// What a page that was never used has to give (as `lazy_scan_new_or_empty` in vacuumlazy.c records it).
const NEW_PAGE_SPACE: u16 = (PAGE_SIZE - HEADER) as u16;

/// Makes a free space map from categories, in block order. Holds one page, and a byte for every 4069
/// heap blocks.
#[derive(Default)]
pub(crate) struct FsmBuilder {
    /// The slots of the bottom page begun.
    slots: Vec<u8>,
    /// The maxima of the bottom pages before it.
    bottom: Vec<u8>,
}

impl FsmBuilder {
    /// Takes the next heap page. Gives a page of the map when one is complete.
    pub(crate) fn push(&mut self, heap_page: &Page) -> Option<(BlockNumber, Page)> {
        self.slots.push(category(heap_page));
        (self.slots.len() == SLOTS).then(|| self.bottom_page())
    }

    /// The remaining pages; none if there was no heap page.
    pub(crate) fn finish(mut self) -> Vec<(BlockNumber, Page)> {
        let mut pages = Vec::new();
        if !self.slots.is_empty() {
            pages.push(self.bottom_page());
        }
        if self.bottom.is_empty() {
            return pages;
        }
        let mut middle = Vec::new();
        for (number, slots) in self.bottom.chunks(SLOTS).enumerate() {
            let (page, maximum) = map_page(slots);
            middle.push(maximum);
            pages.push((middle_block(number as u32), page));
        }
        pages.push((0, map_page(&middle).0));
        pages
    }

    fn bottom_page(&mut self) -> (BlockNumber, Page) {
        let (page, maximum) = map_page(&self.slots);
        let block = bottom_block(self.bottom.len() as u32);
        self.slots.clear();
        self.bottom.push(maximum);
        (block, page)
    }
}

/// Where the bottom page of this number lies: pages are stored depth first (`fsm_logical_to_physical`).
const fn bottom_block(number: u32) -> BlockNumber {
    number + number / SLOTS as u32 + 2
}

/// Where the page of the middle level lies.
const fn middle_block(number: u32) -> BlockNumber {
    number * (SLOTS as u32 + 1) + 1
}

fn category(heap_page: &Page) -> u8 {
    free_space_category(match is_new(heap_page) {
        true => NEW_PAGE_SPACE,
        false => heap_free_space(heap_page),
    })
}

/// A page with these slots, and their maximum.
fn map_page(slots: &[u8]) -> (Page, u8) {
    let mut page = empty_page();
    let nodes = &mut page[NODES..];
    nodes[INNER_NODES..INNER_NODES + slots.len()].copy_from_slice(slots);
    for node in (0..INNER_NODES).rev() {
        // The last inner nodes have one child or none.
        let child = |at: usize| nodes.get(at).copied().unwrap_or(0);
        nodes[node] = child(2 * node + 1).max(child(2 * node + 2));
    }
    let maximum = nodes[0];
    (page, maximum)
}

/// `PageInit` without a special area: lower, upper, special, then size and layout version 4.
fn empty_page() -> Page {
    let mut page = ZERO_PAGE;
    let words = [
        HEADER as u16,
        PAGE_SIZE as u16,
        PAGE_SIZE as u16,
        PAGE_SIZE as u16 | 4,
    ];
    for (index, word) in words.into_iter().enumerate() {
        let at = 12 + 2 * index;
        page[at..at + 2].copy_from_slice(&word.to_le_bytes());
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_lie_depth_first() {
        // From `fsm_logical_to_physical` by hand: root, middle, then 4069 bottom pages, the next middle.
        assert_eq!(bottom_block(0), 2);
        assert_eq!(bottom_block(4068), 4070);
        assert_eq!(middle_block(1), 4071);
        assert_eq!(bottom_block(4069), 4072);
        assert_eq!(middle_block(2), 8141);
        assert_eq!(bottom_block(8138), 8142);
    }

    #[test]
    fn a_slot_shows_at_the_root_through_all_levels() {
        let mut builder = FsmBuilder::default();
        let mut pages = Vec::new();
        for block in 0..SLOTS + 2 {
            let mut page = empty_page();
            // 320 bytes free above the line pointer array, in one page only; the others are full.
            let free: u16 = if block == SLOTS + 1 { 324 } else { 0 };
            page[14..16].copy_from_slice(&(HEADER as u16 + free).to_le_bytes());
            pages.extend(builder.push(&page));
        }
        pages.extend(builder.finish());
        pages.sort_by_key(|(block, _)| *block);
        let blocks: Vec<u32> = pages.iter().map(|(block, _)| *block).collect();
        assert_eq!(blocks, [0, 1, 2, 3]);
        let node = |page: usize, node: usize| pages[page].1[NODES + node];
        assert_eq!(node(3, INNER_NODES + 1), 10, "the slot");
        assert_eq!(node(3, 0), 10, "its page's root");
        assert_eq!(node(2, 0), 0, "the page before is full");
        assert_eq!(node(1, INNER_NODES + 1), 10, "the middle level");
        assert_eq!(node(1, INNER_NODES), 0);
        assert_eq!(node(0, INNER_NODES), 10, "the top");
        assert_eq!(node(0, 0), 10);
    }

    #[test]
    fn an_unused_page_has_all_its_space_and_no_page_needs_no_map() {
        assert_eq!(category(&ZERO_PAGE), 255);
        assert!(FsmBuilder::default().finish().is_empty());
    }
}
