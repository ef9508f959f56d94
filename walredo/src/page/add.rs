//! Adding an item to a page (`PageAddItemExtended`, bufpage.c).

use std::ops::Range;

use walrecord::Page;

use crate::error::Fault;
use crate::page::item::item_id_at;
use crate::page::{self, ITEM_ID_SIZE, ItemId, MAX_HEAP_TUPLES, check_header, max_align};

/// How a new item's line pointer takes its number. In each case a number one past the last
/// extends the array.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Placement {
    /// Line pointers from that number on move up by one.
    Shift,
    /// The line pointer of that number is taken, which must be unused, within the bound on line
    /// pointers of a heap page (`PAI_OVERWRITE | PAI_IS_HEAP`).
    Heap,
    /// The line pointer of that number is taken, which must be unused (`PAI_OVERWRITE`).
    Reuse,
}

/// Adds an item with line pointer number `offset`. Alignment padding behind it keeps the bytes that
/// the hole had there.
pub(crate) fn add_item(
    page: &mut Page,
    offset: u16,
    item: &[u8],
    placement: Placement,
) -> Result<(), Fault> {
    let range = reserve_item(page, offset, item.len(), placement)?;
    page[range].copy_from_slice(item);
    Ok(())
}

/// Makes room for an item of `size` bytes as [`add_item`] does, and says where; the bytes there are
/// the hole's old ones until the caller fills them in.
pub(crate) fn reserve_item(
    page: &mut Page,
    offset: u16,
    size: usize,
    placement: Placement,
) -> Result<Range<usize>, Fault> {
    check_header(page)?;
    let limit = page::max_offset(page) + 1;
    let refused = Fault::AddItem {
        offset,
        size,
        next: limit,
        lower: page::lower(page),
        upper: page::upper(page),
    };
    let bound = match placement {
        Placement::Heap => limit.min(MAX_HEAP_TUPLES),
        Placement::Shift | Placement::Reuse => limit,
    };
    if !(1..=bound).contains(&offset) {
        return Err(refused);
    }
    let extends = match placement {
        Placement::Shift => true,
        Placement::Heap | Placement::Reuse => offset == limit,
    };
    if !extends {
        let old = page::item_id(page, offset)?;
        if old.is_used() || old.has_storage() {
            return Err(refused);
        }
    }
    let lower = usize::from(page::lower(page)) + if extends { ITEM_ID_SIZE } else { 0 };
    let upper = usize::from(page::upper(page))
        .checked_sub(max_align(size))
        .filter(|upper| lower <= *upper)
        .ok_or(refused)?;
    if placement == Placement::Shift && offset < limit {
        let tail = item_id_at(offset)..item_id_at(limit);
        page.copy_within(tail, item_id_at(offset) + ITEM_ID_SIZE);
    }
    page::set_lower(page, lower as u16);
    page::set_item_id(page, offset, ItemId::normal(upper as u16, size as u16))?;
    page::set_upper(page, upper as u16);
    Ok(upper..upper + size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{item_id, item_range, max_offset, set_item_id};
    use walrecord::ZERO_PAGE;

    fn empty() -> Page {
        let mut page = ZERO_PAGE;
        page::init(&mut page, 0);
        page
    }

    #[test]
    fn copies_the_item_and_leaves_the_padding_alone() {
        let mut page = empty();
        page[24..].fill(0xEE);
        add_item(&mut page, 1, &[1; 13], Placement::Heap).unwrap();
        assert_eq!(item_range(&page, 1), Ok(8176..8189));
        assert_eq!(page[8176..], *[&[1; 13][..], &[0xEE; 3]].concat());
        assert_eq!((page::lower(&page), page::upper(&page)), (28, 8176));
        assert!(page[28..8176].iter().all(|b| *b == 0xEE));
    }

    #[test]
    fn shifts_or_reuses_line_pointers() {
        let mut page = empty();
        for value in [1, 3] {
            let next = max_offset(&page) + 1;
            add_item(&mut page, next, &[value; 8], Placement::Shift).unwrap();
        }
        add_item(&mut page, 2, &[2; 8], Placement::Shift).unwrap();
        let values: Vec<u8> = (1..=3)
            .map(|n| page[item_range(&page, n).unwrap().start])
            .collect();
        assert_eq!(values, [1, 2, 3]);

        assert!(matches!(
            add_item(&mut page, 2, &[9; 8], Placement::Heap),
            Err(Fault::AddItem { .. })
        ));
        set_item_id(&mut page, 2, ItemId::UNUSED).unwrap();
        add_item(&mut page, 2, &[9; 8], Placement::Heap).unwrap();
        assert_eq!(max_offset(&page), 3);
        assert_eq!(item_id(&page, 2), Ok(ItemId::normal(8160, 8)));
    }

    #[test]
    fn refuses_gaps_and_what_does_not_fit() {
        let mut page = empty();
        for (offset, size) in [(0, 8), (2, 8), (1, 8168), (1, 9000), (1, usize::MAX / 2)] {
            assert!(matches!(
                reserve_item(&mut page, offset, size, Placement::Heap),
                Err(Fault::AddItem { .. })
            ));
        }
        assert!(reserve_item(&mut page, 1, 8160, Placement::Heap).is_ok());
        let mut page = empty();
        page::set_lower(&mut page, 24 + 4 * MAX_HEAP_TUPLES);
        let next = MAX_HEAP_TUPLES + 1;
        assert!(reserve_item(&mut page, next, 8, Placement::Heap).is_err());
        for placement in [Placement::Shift, Placement::Reuse] {
            assert!(reserve_item(&mut page.clone(), next, 8, placement).is_ok());
        }
    }
}
