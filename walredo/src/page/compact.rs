//! Closing the gaps that removed items leave (`compactify_tuples`, `PageRepairFragmentation` and
//! `PageTruncateLinePointerArray`, bufpage.c).
//!
//! Byte exactness: Postgres chooses among three ways to move items, and each writes an item only to
//! its final place, padding included. So bytes below the new `pd_upper` stay what they were, and one
//! procedure serves: take items in line pointer order, put each below the one before.

use std::hint::select_unpredictable;
use std::ops::Range;

use smallvec::SmallVec;
use walrecord::Page;

use crate::error::Fault;
use crate::page::{self, ITEM_ID_SIZE, ItemId, check_header, max_align};

/// Items that lie one below the other already, and so move as one.
#[derive(Clone, Copy, Debug)]
struct Move {
    from: u16,
    to: u16,
    length: u16,
}

impl Move {
    fn source(&self) -> Range<usize> {
        usize::from(self.from)..usize::from(self.from) + usize::from(self.length)
    }

    fn make(&self, page: &mut Page) {
        page.copy_within(self.source(), self.to.into());
    }
}

/// What has to move where. Pages of which little was removed need one or two moves.
struct Plan {
    /// Each takes items from below those of the one before.
    moves: SmallVec<[Move; 8]>,
    /// The others: mostly of new items, lowest on the page, whose line pointers are low ones used again.
    strays: SmallVec<[Move; 8]>,
    /// The bytes of all items, padding included.
    total: usize,
}

/// Moves the items of all line pointers that `keeps` says yes to up against the special area, in the order of
/// the line pointers, and points these at them; sets `pd_upper`.
pub(crate) fn compact(page: &mut Page, keeps: impl Fn(ItemId) -> bool) -> Result<(), Fault> {
    check_header(page)?;
    let room = page::special(page) - page::lower(page);
    let plan = plan(page, keeps)?;
    if plan.total > usize::from(room) {
        return Err(Fault::ItemTotal {
            total: plan.total,
            room,
        });
    }
    page::set_upper(page, page::special(page) - plan.total as u16);
    plan.make(page);
    Ok(())
}

/// Finds what has to move, and points the line pointers there. The page's header is sound.
#[inline]
fn plan(page: &mut Page, keeps: impl Fn(ItemId) -> bool) -> Result<Plan, Fault> {
    let area = usize::from(page::upper(page))..usize::from(page::special(page));
    let mut plan = Plan {
        moves: SmallVec::new(),
        strays: SmallVec::new(),
        total: 0,
    };
    // Items that lie one below the other, and where they go to.
    let mut run = area.end..area.end;
    let mut to = area.end;
    let mut ids = page::item_ids_mut(page);
    let count = ids.len();
    loop {
        ids = extend_run(&mut run.start, &mut to, area.start, ids, &keeps);
        plan.push(&run, to);
        let Some(next) = ids.first() else { break };
        let id = ItemId::from_bytes(*next);
        let offset = (count - ids.len()) as u16 + 1;
        let end = end_of_item(&area, id).ok_or_else(|| id.fault(offset))?;
        run = end..end;
    }
    plan.total = area.end.wrapping_sub(to);
    Ok(plan)
}

/// Takes items into a run as long as each lies right below the one before, not below `least`. Gives the line
/// pointers from the first on whose item does not.
#[inline]
fn extend_run<'p>(
    start: &mut usize,
    to: &mut usize,
    least: usize,
    ids: &'p mut [[u8; ITEM_ID_SIZE]],
    keeps: impl Fn(ItemId) -> bool,
) -> &'p mut [[u8; ITEM_ID_SIZE]] {
    let mut joined = 0;
    for stored in ids.iter_mut() {
        let id = ItemId::from_bytes(*stored);
        // Which line pointers have items follows no pattern that a processor could foresee. So there is no branch: one
        // without joins with no bytes.
        let kept = keeps(id);
        let at = select_unpredictable(kept, usize::from(id.offset()), *start);
        let size = select_unpredictable(kept, max_align(usize::from(id.length())), 0);
        if at + size != *start || at < least {
            break;
        }
        *start = at;
        *to = to.wrapping_sub(size);
        let placed = select_unpredictable(kept, id.with_offset(*to as u16), id);
        *stored = placed.to_bytes();
        joined += 1;
    }
    &mut ids[joined..]
}

/// Where an item ends, padding included; none if it does not lie where it may.
fn end_of_item(area: &Range<usize>, id: ItemId) -> Option<usize> {
    let start = usize::from(id.offset());
    let end = start + max_align(usize::from(id.length()));
    (start >= area.start && end <= area.end && start.is_multiple_of(8)).then_some(end)
}

impl Plan {
    /// Notes that a run of items goes to `to`, which is sensible only if the total is.
    fn push(&mut self, run: &Range<usize>, to: usize) {
        if run.start == to {
            return;
        }
        let from = run.start as u16;
        while let Some(last) = self.moves.last().filter(|last| last.from < from) {
            self.strays.push(*last);
            self.moves.pop();
        }
        self.moves.push(Move {
            from,
            to: to as u16,
            length: run.len() as u16,
        });
    }

    /// Moves that keep items in order spoil none of the others' items if first those that go up are made, from the
    /// top, and then those that go down, from the bottom. Strays are put aside before, and put in place afterwards.
    fn make(&self, page: &mut Page) {
        let mut aside = SmallVec::<[u8; 1024]>::new();
        for it in &self.strays {
            aside.extend_from_slice(&page[it.source()]);
        }
        for it in self.moves.iter().filter(|it| it.to > it.from) {
            it.make(page);
        }
        for it in self.moves.iter().rev().filter(|it| it.to < it.from) {
            it.make(page);
        }
        let mut aside = &aside[..];
        for it in &self.strays {
            let (items, rest) = aside.split_at(it.length.into());
            page[usize::from(it.to)..][..items.len()].copy_from_slice(items);
            aside = rest;
        }
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
    for stored in page::item_ids_mut(page) {
        let id = ItemId::from_bytes(*stored);
        *stored = select_unpredictable(id.is_used(), id, ItemId::UNUSED).to_bytes();
    }
    compact(page, ItemId::has_storage)?;
    if trailing == TrailingPointers::Cut {
        let ids = page::item_ids_mut(page).iter().rev();
        let cut = ids.take_while(|id| !ItemId::from_bytes(**id).is_used());
        let cut = cut.count() as u16;
        cut_line_pointers(page, cut);
    }
    let ids = page::item_ids_mut(page).iter();
    let free = ids.fold(false, |free, id| free | !ItemId::from_bytes(*id).is_used());
    hint_free_lines(page, free);
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

    /// What updates leave: one item removed, and a new one, lowest on the page, under a low number. Then two
    /// items of a size that changed places, which no order of moves serves.
    #[test]
    fn items_that_change_their_order_are_put_aside() {
        for (swapped, removed) in [((2, 20), 9), ((2, 20), 20), ((1, 2), 3), ((5, 6), 30)] {
            let mut page = ZERO_PAGE;
            page::init(&mut page, 0);
            for offset in 1..=30u8 {
                let item = [offset; 40];
                add_item(&mut page, offset.into(), &item, Placement::Heap).unwrap();
            }
            let (a, b) = swapped;
            let (first, second) = (item_id(&page, a).unwrap(), item_id(&page, b).unwrap());
            set_item_id(&mut page, a, second).unwrap();
            set_item_id(&mut page, b, first).unwrap();
            set_item_id(&mut page, removed, ItemId::DEAD).unwrap();
            let expected = naive(&page);
            repair_fragmentation(&mut page, TrailingPointers::Keep).unwrap();
            assert!(page == expected, "{swapped:?} without {removed}");
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
