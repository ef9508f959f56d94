//! Closing the gaps that removed items leave (`compactify_tuples`, `PageRepairFragmentation` and
//! `PageTruncateLinePointerArray`, bufpage.c).
//!
//! Byte exactness: Postgres chooses among three ways to move items, and each writes an item only to
//! its final place, padding included. So bytes below the new `pd_upper` stay what they were, and one
//! procedure serves: take items in line pointer order, put each below the one before.

use std::ops::Range;

use walrecord::{PAGE_SIZE, Page};

use crate::error::Fault;
use crate::page::{self, ITEM_ID_SIZE, ItemFlag, ItemId, check_header, max_align};

/// The most line pointers that any page of a supported build can have, and be written by Postgres
/// (`MaxIndexTuplesPerPage`; heap pages have fewer).
const MAX_ITEMS: usize = 408;

/// An item that stays: where it is now, and which line pointer it belongs to afterwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompactItem {
    /// The line pointer that will point at it.
    pub(crate) offset: u16,
    /// Where it lies.
    pub(crate) at: u16,
    /// Its length with padding.
    pub(crate) aligned: u16,
}

/// Collects the items that stay, in line pointer order, then moves them together.
pub(crate) struct Compaction {
    items: [CompactItem; MAX_ITEMS],
    count: usize,
    total: usize,
    /// Every item lies below the one before: they can be moved in place, front to back.
    descending: bool,
    last: u16,
    /// Where items may lie: `pd_upper` to `pd_special` of the page.
    area: Range<u16>,
}

impl Compaction {
    pub(crate) fn new(page: &Page) -> Result<Compaction, Fault> {
        check_header(page)?;
        let none = CompactItem {
            offset: 0,
            at: 0,
            aligned: 0,
        };
        Ok(Compaction {
            items: [none; MAX_ITEMS],
            count: 0,
            total: 0,
            descending: true,
            last: page::special(page),
            area: page::upper(page)..page::special(page),
        })
    }

    /// Keeps the item that `id` points at; line pointer `offset` will point at it afterwards.
    pub(crate) fn keep(&mut self, offset: u16, id: ItemId) -> Result<(), Fault> {
        self.keep_all(std::iter::once((offset, id)))
    }

    /// Keeps all these items, in order. (What changes with each is held in registers meanwhile.)
    #[inline]
    fn keep_all(&mut self, items: impl Iterator<Item = (u16, ItemId)>) -> Result<(), Fault> {
        let Range { start, end } = self.area;
        let (mut count, mut total) = (self.count, self.total);
        let (mut descending, mut last) = (self.descending, self.last);
        for (offset, id) in items {
            let aligned = max_align(usize::from(id.length()));
            let fits = id.offset() >= start
                && usize::from(id.offset()) + aligned <= usize::from(end)
                && id.offset().is_multiple_of(8);
            let Some(slot) = self.items.get_mut(count).filter(|_| fits) else {
                return Err(Fault::Item {
                    offset,
                    at: id.offset(),
                    length: id.length(),
                    flag: id.flag() as u8,
                });
            };
            *slot = CompactItem {
                offset,
                at: id.offset(),
                aligned: aligned as u16,
            };
            count += 1;
            total += aligned;
            descending &= last >= id.offset() + aligned as u16;
            last = id.offset();
        }
        (self.count, self.total) = (count, total);
        (self.descending, self.last) = (descending, last);
        Ok(())
    }

    /// Moves the items up against the special area, in the order in which they were kept, points
    /// their line pointers (which must exist by now) at them and sets `pd_upper`.
    pub(crate) fn finish(self, page: &mut Page) -> Result<(), Fault> {
        let room = page::special(page).saturating_sub(page::lower(page));
        if self.total > usize::from(room) {
            return Err(Fault::ItemTotal {
                total: self.total,
                room,
            });
        }
        let items = &self.items[..self.count];
        if self.descending {
            place(page, items, |page, from, to| {
                page.copy_within(from, to);
            })
        } else {
            let old: Page = *page;
            place(page, items, |page, from, to| {
                page[to..to + from.len()].copy_from_slice(&old[from]);
            })
        }
    }
}

/// Walks the items downward from the special area; runs of items that are adjacent already are
/// moved by one `copy`.
fn place(
    page: &mut Page,
    items: &[CompactItem],
    copy: impl Fn(&mut Page, Range<usize>, usize),
) -> Result<(), Fault> {
    let mut upper = usize::from(page::special(page));
    // The run seen but not yet moved; `upper` is its destination.
    let mut run = upper..upper;
    for item in items {
        let start = usize::from(item.at);
        let end = start + usize::from(item.aligned);
        if end != run.start {
            move_run(page, &run, upper, &copy);
            run.end = end;
        }
        run.start = start;
        upper -= usize::from(item.aligned);
        page::move_item_id(page, item.offset, upper as u16)?;
    }
    move_run(page, &run, upper, &copy);
    page::set_upper(page, upper as u16);
    Ok(())
}

fn move_run(
    page: &mut Page,
    run: &Range<usize>,
    to: usize,
    copy: &impl Fn(&mut Page, Range<usize>, usize),
) {
    if run.start != to && to + run.len() <= PAGE_SIZE {
        copy(page, run.clone(), to);
    }
}

/// What becomes of unused line pointers at the end of the array.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TrailingPointers {
    /// They are cut off (15 and newer).
    Cut,
    /// They stay (14).
    Keep,
}

/// Closes the gaps of a heap page after line pointers were cleared (`PageRepairFragmentation`).
pub(crate) fn repair_fragmentation(
    page: &mut Page,
    trailing: TrailingPointers,
) -> Result<(), Fault> {
    let mut compaction = Compaction::new(page)?;
    let count = page::max_offset(page);
    let mut last_used = 0;
    let mut unused = 0;
    let stored = (1..=count).zip(page::item_ids_mut(page));
    compaction.keep_all(stored.filter_map(|(offset, stored)| {
        let id = ItemId::from_bytes(*stored);
        if id.flag() == ItemFlag::Unused {
            *stored = ItemId::UNUSED.to_bytes();
            unused += 1;
            return None;
        }
        last_used = offset;
        id.has_storage().then_some((offset, id))
    }))?;
    compaction.finish(page)?;
    if trailing == TrailingPointers::Cut {
        unused -= count - last_used;
        cut_line_pointers(page, count - last_used);
    }
    hint_free_lines(page, unused > 0);
    Ok(())
}

/// Cuts unused line pointers off the end of a heap page's array, but never the first one
/// (`PageTruncateLinePointerArray`).
pub(crate) fn truncate_line_pointers(page: &mut Page) -> Result<(), Fault> {
    check_header(page)?;
    let count = page::max_offset(page);
    let mut kept = count;
    while kept > 1 && !page::item_id(page, kept)?.is_used() {
        kept -= 1;
    }
    cut_line_pointers(page, count - kept);
    let mut free = false;
    for offset in 1..=kept {
        free |= !page::item_id(page, offset)?.is_used();
    }
    hint_free_lines(page, free);
    Ok(())
}

/// The caller knows that the array has that many.
fn cut_line_pointers(page: &mut Page, count: u16) {
    let lower = page::lower(page) - count * ITEM_ID_SIZE as u16;
    page::set_lower(page, lower);
}

fn hint_free_lines(page: &mut Page, free: bool) {
    if free {
        page::set_flag(page, page::HAS_FREE_LINES);
    } else {
        page::clear_flag(page, page::HAS_FREE_LINES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{Placement, add_item, item_id, item_range, max_offset, set_item_id};
    use crate::testing::Random;
    use walrecord::ZERO_PAGE;

    /// A heap page with items of random lengths in line pointer order, its hole full of marks.
    fn filled(random: &mut Random) -> Page {
        let mut page = ZERO_PAGE;
        page::init(&mut page, 0);
        page[24..].fill(0xA5);
        for offset in 1..=200u8 {
            let item = vec![offset; 1 + random.below(60)];
            if add_item(&mut page, u16::from(offset), &item, Placement::Heap).is_err() {
                break;
            }
        }
        page
    }

    /// Item by item through a copy: what all of Postgres's ways amount to.
    fn naive(page: &Page) -> Page {
        let mut out = *page;
        let mut upper = page::special(page);
        for offset in 1..=max_offset(page) {
            let id = item_id(page, offset).unwrap();
            if id.is_used() && id.has_storage() {
                let aligned = max_align(usize::from(id.length()));
                upper -= aligned as u16;
                let from = usize::from(id.offset());
                out[usize::from(upper)..usize::from(upper) + aligned]
                    .copy_from_slice(&page[from..from + aligned]);
                set_item_id(&mut out, offset, id.with_offset(upper)).unwrap();
            }
        }
        page::set_upper(&mut out, upper);
        out
    }

    #[test]
    fn compaction_moves_items_and_touches_no_other_byte() {
        let mut random = Random::new(7);
        for round in 0..400 {
            let mut page = filled(&mut random);
            let count = max_offset(&page);
            // Odd rounds: items out of line pointer order. Later rounds: few survive.
            for _ in 0..if round % 2 == 0 { 0 } else { count } {
                let (a, b) = (random.offset(count), random.offset(count));
                let (first, second) = (item_id(&page, a).unwrap(), item_id(&page, b).unwrap());
                set_item_id(&mut page, a, second).unwrap();
                set_item_id(&mut page, b, first).unwrap();
            }
            for offset in 1..count {
                if random.below(400) < round {
                    let id = [ItemId::UNUSED, ItemId::DEAD][random.below(2)];
                    set_item_id(&mut page, offset, id).unwrap();
                }
            }
            let mut expected = naive(&page);
            repair_fragmentation(&mut page, TrailingPointers::Keep).unwrap();
            let unused = |n| !item_id(&page, n).unwrap().is_used();
            if (1..=count).any(unused) {
                page::set_flag(&mut expected, page::HAS_FREE_LINES);
            }
            assert!(page == expected, "round {round}");
        }
    }

    #[test]
    fn unused_line_pointers_at_the_end_are_cut_or_kept_by_version() {
        let mut page = filled(&mut Random::new(1));
        let count = max_offset(&page);
        for offset in [2, count - 1, count] {
            set_item_id(&mut page, offset, ItemId::UNUSED).unwrap();
        }
        let mut kept = page;
        repair_fragmentation(&mut page, TrailingPointers::Cut).unwrap();
        assert_eq!(max_offset(&page), count - 2);
        assert_ne!(page::flags(&page) & page::HAS_FREE_LINES, 0);
        repair_fragmentation(&mut kept, TrailingPointers::Keep).unwrap();
        assert_eq!(max_offset(&kept), count);

        set_item_id(&mut page, 2, ItemId::DEAD).unwrap();
        repair_fragmentation(&mut page, TrailingPointers::Cut).unwrap();
        assert_eq!(page::flags(&page) & page::HAS_FREE_LINES, 0);
    }

    #[test]
    fn an_emptied_page_keeps_its_first_line_pointer_in_truncation_but_not_in_repair() {
        let mut page = filled(&mut Random::new(2));
        for offset in 1..=max_offset(&page) {
            set_item_id(&mut page, offset, ItemId::UNUSED).unwrap();
        }
        let mut repaired = page;
        truncate_line_pointers(&mut page).unwrap();
        assert_eq!(max_offset(&page), 1);
        assert_ne!(page::flags(&page) & page::HAS_FREE_LINES, 0);
        repair_fragmentation(&mut repaired, TrailingPointers::Cut).unwrap();
        assert_eq!((max_offset(&repaired), page::upper(&repaired)), (0, 8192));
        assert_eq!(page::flags(&repaired) & page::HAS_FREE_LINES, 0);
    }

    #[test]
    fn items_that_overlap_or_leave_the_page_are_faults() {
        let mut page = filled(&mut Random::new(3));
        let first = item_range(&page, 1).unwrap();
        for id in [
            ItemId::normal(8184, 9),
            ItemId::normal(first.start as u16 + 4, 1),
            ItemId::normal(page::upper(&page) - 8, 8),
        ] {
            let mut damaged = page;
            set_item_id(&mut damaged, 1, id).unwrap();
            assert!(matches!(
                repair_fragmentation(&mut damaged, TrailingPointers::Cut),
                Err(Fault::Item { offset: 1, .. })
            ));
        }
        let all = ItemId::normal(page::upper(&page), 8192 - page::upper(&page));
        set_item_id(&mut page, 1, all).unwrap();
        assert!(matches!(
            repair_fragmentation(&mut page, TrailingPointers::Cut),
            Err(Fault::ItemTotal { .. })
        ));
    }
}
