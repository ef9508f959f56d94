//! Removing and replacing items of index pages, whose line pointers close up
//! (`PageIndexTupleDelete` and its kin, bufpage.c), and rebuilding a page from its own items.

use walrecord::{PAGE_SIZE, Page};

use crate::error::Fault;
use crate::page::item::item_id_at;
use crate::page::{
    self, HEADER_SIZE, ITEM_ID_SIZE, ItemId, check_header, item_id, item_range, max_align,
    max_offset, set_item_id,
};

/// From how many items on a deletion compacts the page once instead of closing gap after gap. The
/// two differ in the bytes that they leave in the hole (`PageIndexMultiDelete`).
const BULK_DELETE: usize = 3;

/// Removes an item and its line pointer (`PageIndexTupleDelete`).
pub(crate) fn delete_item(page: &mut Page, offset: u16) -> Result<(), Fault> {
    check_header(page)?;
    let item = item_range(page, offset)?;
    remove_line_pointer(page, offset);
    let size = max_align(item.len()) as i32;
    move_items_below(page, item.start, size)
}

/// Removes several items and their line pointers; `offsets` ascend (`PageIndexMultiDelete`).
pub(crate) fn delete_items(
    page: &mut Page,
    mut offsets: impl ExactSizeIterator<Item = u16> + DoubleEndedIterator,
) -> Result<(), Fault> {
    if offsets.len() < BULK_DELETE {
        return offsets
            .rev()
            .try_for_each(|offset| delete_item(page, offset));
    }
    check_header(page)?;
    let mut deleted = offsets.next();
    let mut kept = 0;
    for offset in 1..=max_offset(page) {
        if deleted == Some(offset) {
            deleted = offsets.next();
            continue;
        }
        let id = item_id(page, offset)?;
        kept += 1;
        // `kept` is at most `offset`: no line pointer is overwritten before it was read.
        set_item_id(page, kept, id)?;
    }
    if let Some(offset) = deleted {
        // Not there, or out of order.
        return Err(Fault::Offset {
            offset,
            max: max_offset(page),
        });
    }
    page::set_lower(
        page,
        (HEADER_SIZE + usize::from(kept) * ITEM_ID_SIZE) as u16,
    );
    page::compact(page, |_| true)
}

/// Removes an item; its line pointer becomes unused, unless it is the last, which goes away
/// (`PageIndexTupleDeleteNoCompact`).
pub(crate) fn delete_item_keeping_numbers(page: &mut Page, offset: u16) -> Result<(), Fault> {
    check_header(page)?;
    let item = item_range(page, offset)?;
    if offset < max_offset(page) {
        set_item_id(page, offset, ItemId::UNUSED)?;
    } else {
        remove_line_pointer(page, offset);
    }
    let size = max_align(item.len()) as i32;
    move_items_below(page, item.start, size)
}

/// Replaces an item where it stands; its line pointer keeps number and flag
/// (`PageIndexTupleOverwrite`).
pub(crate) fn overwrite_item(page: &mut Page, offset: u16, item: &[u8]) -> Result<(), Fault> {
    check_header(page)?;
    let old = item_range(page, offset)?;
    let hole = usize::from(page::upper(page) - page::lower(page));
    let (old_size, size) = (max_align(old.len()), max_align(item.len()));
    if size > old_size + hole {
        return Err(Fault::AddItem {
            offset,
            size: item.len(),
            next: max_offset(page) + 1,
            lower: page::lower(page),
            upper: page::upper(page),
        });
    }
    let shift = old_size as i32 - size as i32;
    move_items_below(page, old.start, shift)?;
    let start = (old.start as i32 + shift) as usize;
    let id = item_id(page, offset)?
        .with_offset(start as u16)
        .with_length(item.len() as u16);
    set_item_id(page, offset, id)?;
    page[start..start + item.len()].copy_from_slice(item);
    Ok(())
}

/// Empties the page down to its special area, which stays, and returns it as it was. What Postgres
/// builds in a temporary page and copies back (`PageGetTempPageCopySpecial`, `PageRestoreTempPage`)
/// is built in place: all else in the page becomes zero either way.
pub(crate) fn start_over(page: &mut Page) -> Result<Page, Fault> {
    check_header(page)?;
    let old = *page;
    let special = usize::from(page::special(page));
    page::init(page, PAGE_SIZE - special);
    page[special..].copy_from_slice(&old[special..]);
    Ok(old)
}

/// The caller knows that it exists.
fn remove_line_pointer(page: &mut Page, offset: u16) {
    let lower = usize::from(page::lower(page));
    let at = item_id_at(offset);
    page.copy_within(at + ITEM_ID_SIZE..lower, at);
    page::set_lower(page, (lower - ITEM_ID_SIZE) as u16);
}

/// Moves all items that lie below `start` up by `shift` bytes (down if negative), and the line
/// pointers of items that begin at `start` or below with them. The caller knows that there is room.
fn move_items_below(page: &mut Page, start: usize, shift: i32) -> Result<(), Fault> {
    if shift == 0 {
        return Ok(());
    }
    let upper = usize::from(page::upper(page));
    let new_upper = (upper as i32 + shift) as usize;
    page.copy_within(upper..start, new_upper);
    page::set_upper(page, new_upper as u16);
    for offset in 1..=max_offset(page) {
        let id = item_id(page, offset)?;
        if id.has_storage() && usize::from(id.offset()) <= start {
            let moved = i32::from(id.offset()) + shift;
            set_item_id(page, offset, id.with_offset(moved as u16))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{ItemFlag, Placement, add_item, init};
    use walrecord::ZERO_PAGE;

    const SPECIAL: usize = PAGE_SIZE - 16;

    /// Items 1 to `count` of 13 bytes of their own number, with `0xEE` in the hole and the padding.
    fn filled(count: u16) -> Page {
        let mut page = ZERO_PAGE;
        init(&mut page, 16);
        page[HEADER_SIZE..SPECIAL].fill(0xEE);
        page[SPECIAL..].fill(0x55);
        for n in 1..=count {
            add_item(&mut page, n, &[n as u8; 13], Placement::Shift).unwrap();
        }
        page
    }

    fn values(page: &Page) -> Vec<u8> {
        (1..=max_offset(page))
            .map(|n| {
                let item = &page[item_range(page, n).unwrap()];
                assert!(item.iter().all(|b| *b == item[0]), "item {n} is torn");
                item[0]
            })
            .collect()
    }

    #[test]
    fn deleting_an_item_closes_both_gaps_and_leaves_the_hole_stale() {
        let mut page = filled(4);
        delete_item(&mut page, 2).unwrap();
        assert_eq!(values(&page), [1, 3, 4]);
        let upper = SPECIAL - 3 * 16;
        assert_eq!(
            (page::lower(&page), usize::from(page::upper(&page))),
            (36, upper)
        );
        // What was item 4 stays behind, as does the last line pointer.
        assert_eq!(page[upper - 16..upper - 3], [4; 13]);
        assert_eq!(page[36..40], page_item_bytes(&filled(4), 4));
    }

    fn page_item_bytes(page: &Page, offset: u16) -> [u8; 4] {
        page[item_id_at(offset)..][..4].try_into().unwrap()
    }

    #[test]
    fn bulk_deletion_keeps_order_and_compacts() {
        let mut page = filled(9);
        delete_items(&mut page, [1, 4, 5, 9].into_iter()).unwrap();
        assert_eq!(values(&page), [2, 3, 6, 7, 8]);
        assert_eq!(usize::from(page::upper(&page)), SPECIAL - 5 * 16);
        assert_eq!(page[SPECIAL..], [0x55; 16]);
        // Each item moved once, to its place: the hole keeps what it had.
        assert_eq!(page[SPECIAL - 96..SPECIAL - 83], [6; 13]);
    }

    #[test]
    fn bulk_deletion_reorders_items_that_were_not_in_line_pointer_order() {
        let mut page = ZERO_PAGE;
        init(&mut page, 16);
        for n in [5, 4, 3, 2, 1] {
            add_item(&mut page, 1, &[n; 8], Placement::Shift).unwrap();
        }
        delete_items(&mut page, [2, 3, 5].into_iter()).unwrap();
        assert_eq!(values(&page), [1, 4]);
        assert_eq!(item_range(&page, 1).unwrap().start, SPECIAL - 8);
        assert_eq!(item_range(&page, 2).unwrap().start, SPECIAL - 16);
    }

    #[test]
    fn deletions_of_two_and_of_all_items_work() {
        let mut page = filled(5);
        delete_items(&mut page, [2, 4].into_iter()).unwrap();
        assert_eq!(values(&page), [1, 3, 5]);
        // One gap closed after the other: item 5 was twice in what is hole now.
        assert_eq!(page[SPECIAL - 64..SPECIAL - 51], [5; 13]);
        assert_eq!(page[SPECIAL - 80..SPECIAL - 67], [5; 13]);
        delete_items(&mut page, [1, 2, 3].into_iter()).unwrap();
        assert_eq!(max_offset(&page), 0);
        assert_eq!(usize::from(page::upper(&page)), SPECIAL);
    }

    #[test]
    fn offsets_that_do_not_exist_or_do_not_ascend_are_refused() {
        for wrong in [&[6][..], &[0], &[1, 2, 6], &[3, 2, 1], &[0, 1, 2]] {
            let fault = delete_items(&mut filled(5), wrong.iter().copied());
            assert!(matches!(fault, Err(Fault::Offset { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn deleting_without_closing_up_keeps_the_numbers_of_others() {
        let mut page = filled(3);
        delete_item_keeping_numbers(&mut page, 2).unwrap();
        assert_eq!(item_id(&page, 2), Ok(ItemId::UNUSED));
        assert_eq!(page[item_range(&page, 3).unwrap()], [3; 13]);
        delete_item_keeping_numbers(&mut page, 3).unwrap();
        assert_eq!(max_offset(&page), 2);
        assert_eq!(usize::from(page::upper(&page)), SPECIAL - 16);
    }

    #[test]
    fn overwriting_shrinks_grows_and_keeps_the_flag() {
        let mut page = filled(3);
        let dead = item_id(&page, 2).unwrap().with_flag(ItemFlag::Dead);
        set_item_id(&mut page, 2, dead).unwrap();
        overwrite_item(&mut page, 2, &[7; 5]).unwrap();
        assert_eq!(values(&page), [1, 7, 3]);
        assert_eq!(usize::from(page::upper(&page)), SPECIAL - 16 - 8 - 16);
        overwrite_item(&mut page, 2, &[8; 40]).unwrap();
        assert_eq!(values(&page), [1, 8, 3]);
        assert_eq!(item_id(&page, 2).unwrap().flag(), ItemFlag::Dead);
        let hole = page::upper(&page) - page::lower(&page);
        let fault = overwrite_item(&mut page, 2, &vec![9; usize::from(hole) + 41]);
        assert!(matches!(fault, Err(Fault::AddItem { .. })));
    }

    #[test]
    fn starting_over_keeps_only_the_special_area() {
        let mut page = filled(3);
        page::set_flag(&mut page, page::HAS_FREE_LINES);
        let before = page;
        assert_eq!(start_over(&mut page), Ok(before));
        let mut expected = ZERO_PAGE;
        init(&mut expected, 16);
        expected[SPECIAL..].fill(0x55);
        assert_eq!(page, expected);
    }

    #[test]
    fn a_damaged_header_or_line_pointer_is_a_fault() {
        let mut page = filled(3);
        page::set_upper(&mut page, 8190);
        assert!(matches!(
            delete_item(&mut page, 1),
            Err(Fault::Header { .. })
        ));
        assert!(matches!(start_over(&mut page), Err(Fault::Header { .. })));
        let mut page = filled(3);
        set_item_id(&mut page, 2, ItemId::normal(8, 13)).unwrap();
        assert!(matches!(delete_item(&mut page, 2), Err(Fault::Item { .. })));
        let all = [1, 2, 3].into_iter();
        let mut page = filled(4);
        set_item_id(&mut page, 4, ItemId::normal(8, 13)).unwrap();
        assert!(matches!(
            delete_items(&mut page, all),
            Err(Fault::Item { .. })
        ));
    }
}
