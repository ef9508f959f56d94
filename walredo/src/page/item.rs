//! Line pointers (`ItemIdData`, storage/itemid.h) and the items that they point at.

use std::ops::Range;

use walrecord::{PAGE_SIZE, Page};

use crate::error::Fault;
use crate::page::{self, HEADER_SIZE, MAX_HEAP_TUPLES, max_align};

/// Bytes of one line pointer.
pub(crate) const ITEM_ID_SIZE: usize = 4;

/// What a line pointer says of itself (`lp_flags`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum ItemFlag {
    Unused = 0,
    Normal = 1,
    Redirect = 2,
    Dead = 3,
}

/// One line pointer: 15 bits offset, 2 bits flag, 15 bits length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ItemId(u32);

impl ItemId {
    pub(crate) const UNUSED: ItemId = ItemId(0);
    pub(crate) const DEAD: ItemId = ItemId::new(ItemFlag::Dead, 0, 0);

    pub(crate) const fn new(flag: ItemFlag, offset: u16, length: u16) -> ItemId {
        ItemId((offset & 0x7FFF) as u32 | (flag as u32) << 15 | (length as u32) << 17)
    }

    /// A normal item at `offset` with `length` bytes.
    pub(crate) const fn normal(offset: u16, length: u16) -> ItemId {
        ItemId::new(ItemFlag::Normal, offset, length)
    }

    /// A redirection to another line pointer of the page.
    pub(crate) const fn redirect(to: u16) -> ItemId {
        ItemId::new(ItemFlag::Redirect, to, 0)
    }

    /// As it is stored.
    pub(crate) const fn from_bytes(bytes: [u8; ITEM_ID_SIZE]) -> ItemId {
        ItemId(u32::from_le_bytes(bytes))
    }

    pub(crate) const fn to_bytes(self) -> [u8; ITEM_ID_SIZE] {
        self.0.to_le_bytes()
    }

    pub(crate) const fn flag(self) -> ItemFlag {
        match (self.0 >> 15) & 3 {
            0 => ItemFlag::Unused,
            1 => ItemFlag::Normal,
            2 => ItemFlag::Redirect,
            _ => ItemFlag::Dead,
        }
    }

    pub(crate) const fn offset(self) -> u16 {
        (self.0 & 0x7FFF) as u16
    }

    pub(crate) const fn length(self) -> u16 {
        (self.0 >> 17) as u16
    }

    pub(crate) fn is_used(self) -> bool {
        self.flag() != ItemFlag::Unused
    }

    /// Only the length tells (`ItemIdHasStorage`): a dead index entry keeps its item.
    pub(crate) const fn has_storage(self) -> bool {
        self.length() != 0
    }

    pub(crate) const fn with_offset(self, offset: u16) -> ItemId {
        ItemId(self.0 & !0x7FFF | (offset & 0x7FFF) as u32)
    }

    pub(crate) const fn with_length(self, length: u16) -> ItemId {
        ItemId(self.0 & 0x1_FFFF | (length as u32) << 17)
    }

    pub(crate) const fn with_flag(self, flag: ItemFlag) -> ItemId {
        ItemId(self.0 & !(3 << 15) | (flag as u32) << 15)
    }

    /// The fault of this line pointer, which has that number.
    #[cold]
    pub(crate) const fn fault(self, offset: u16) -> Fault {
        Fault::Item {
            offset,
            at: self.offset(),
            length: self.length(),
            flag: self.flag() as u8,
        }
    }
}

/// The number of line pointers, which are counted from 1 (`PageGetMaxOffsetNumber`). Never more
/// than fit into a page.
pub(crate) fn max_offset(page: &Page) -> u16 {
    let lower = usize::from(page::lower(page)).min(PAGE_SIZE);
    (lower.saturating_sub(HEADER_SIZE) / ITEM_ID_SIZE) as u16
}

/// Where the line pointer with this number lies; it need not be in use.
pub(crate) const fn item_id_at(offset: u16) -> usize {
    HEADER_SIZE + (offset as usize - 1) * ITEM_ID_SIZE
}

/// The line pointer with this number.
pub(crate) fn item_id(page: &Page, offset: u16) -> Result<ItemId, Fault> {
    check_offset(page, offset)?;
    let at = item_id_at(offset);
    Ok(ItemId(u32::from_le_bytes([
        page[at],
        page[at + 1],
        page[at + 2],
        page[at + 3],
    ])))
}

/// Replaces the line pointer with this number, which must exist.
pub(crate) fn set_item_id(page: &mut Page, offset: u16, id: ItemId) -> Result<(), Fault> {
    check_offset(page, offset)?;
    let at = item_id_at(offset);
    page[at..at + ITEM_ID_SIZE].copy_from_slice(&id.0.to_le_bytes());
    Ok(())
}

/// All line pointers as they are stored, by number from 1.
pub(crate) fn item_ids_mut(page: &mut Page) -> &mut [[u8; ITEM_ID_SIZE]] {
    let count = usize::from(max_offset(page));
    let (ids, _) = page[HEADER_SIZE..].as_chunks_mut();
    &mut ids[..count]
}

fn check_offset(page: &Page, offset: u16) -> Result<(), Fault> {
    let max = max_offset(page);
    if (1..=max).contains(&offset) {
        Ok(())
    } else {
        Err(Fault::Offset { offset, max })
    }
}

/// Where the item of a line pointer lies, whatever the pointer's flag. It lies inside the page's
/// item area, and is not empty.
pub(crate) fn item_range(page: &Page, offset: u16) -> Result<Range<usize>, Fault> {
    let id = item_id(page, offset)?;
    let start = usize::from(id.offset());
    let end = start + usize::from(id.length());
    let (upper, special) = (page::upper(page), page::special(page));
    let fits = id.has_storage()
        && start >= usize::from(upper)
        && end <= usize::from(special).min(PAGE_SIZE)
        && start == max_align(start);
    if !fits {
        return Err(id.fault(offset));
    }
    Ok(start..end)
}

/// Where the item of a line pointer lies that must be a normal one (`ItemIdIsNormal`).
pub(crate) fn normal_item_range(page: &Page, offset: u16) -> Result<Range<usize>, Fault> {
    let id = item_id(page, offset)?;
    if id.flag() != ItemFlag::Normal {
        return Err(id.fault(offset));
    }
    item_range(page, offset)
}

/// Bytes that a new tuple with its line pointer may take on a heap page, less the line pointer
/// (`PageGetHeapFreeSpace`, bufpage.c); what the free space map stores, before it rounds. Zero for a
/// page that is new, or has as many line pointers as a heap page may have and none is free.
pub fn heap_free_space(page: &Page) -> u16 {
    let hole = page::upper(page).saturating_sub(page::lower(page));
    let space = hole.saturating_sub(ITEM_ID_SIZE as u16);
    if space == 0 || max_offset(page) < MAX_HEAP_TUPLES {
        return space;
    }
    // The flag is a hint, but Postgres will not look for a free pointer without it.
    let recyclable = page::flags(page) & page::HAS_FREE_LINES != 0
        && (1..=max_offset(page)).any(|n| item_id(page, n).is_ok_and(|id| !id.is_used()));
    if recyclable { space } else { 0 }
}

/// The category that the free space map stores for `space` bytes: units of 32 bytes, rounded down;
/// 255 only if the largest tuple fits (`fsm_space_avail_to_cat`, storage/freespace/freespace.c).
pub const fn free_space_category(space: u16) -> u8 {
    const STEP: u16 = PAGE_SIZE as u16 / 256;
    const LARGEST_TUPLE: u16 = (PAGE_SIZE - max_align(HEADER_SIZE + ITEM_ID_SIZE)) as u16;
    if space >= LARGEST_TUPLE {
        return 255;
    }
    let category = space / STEP;
    if category > 254 { 254 } else { category as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use walrecord::ZERO_PAGE;

    #[test]
    fn a_line_pointer_packs_as_in_postgres() {
        let id = ItemId::normal(8160, 32);
        assert_eq!(id.0, 8160 | 1 << 15 | 32 << 17);
        assert_eq!((id.offset(), id.length()), (8160, 32));
        assert_eq!(id.flag(), ItemFlag::Normal);
        assert_eq!(
            id.with_offset(8).with_length(7).with_flag(ItemFlag::Dead).0,
            { 8 | 3 << 15 | 7 << 17 }
        );
        assert_eq!(ItemId::redirect(9).0, 9 | 2 << 15);
    }

    #[test]
    fn pointers_outside_the_array_and_items_outside_the_page_are_faults() {
        let mut page = ZERO_PAGE;
        page::init(&mut page, 0);
        page::set_lower(&mut page, 28);
        page::set_upper(&mut page, 8000);
        for offset in [0, 2, u16::MAX] {
            assert_eq!(
                item_id(&page, offset),
                Err(Fault::Offset { offset, max: 1 })
            );
        }
        for (at, length) in [(7992, 8), (8185, 8), (8192, 8), (8004, 8), (8000, 0)] {
            set_item_id(&mut page, 1, ItemId::normal(at, length)).unwrap();
            assert!(matches!(item_range(&page, 1), Err(Fault::Item { .. })));
        }
        set_item_id(&mut page, 1, ItemId::normal(8000, 192)).unwrap();
        assert_eq!(item_range(&page, 1), Ok(8000..8192));
        page::set_lower(&mut page, u16::MAX);
        assert_eq!(max_offset(&page), 2042);
        assert!(item_id(&page, 2042).is_ok());
    }

    #[test]
    fn free_space_of_a_heap_page_with_all_line_pointers_is_zero_unless_one_is_free() {
        let mut page = ZERO_PAGE;
        assert_eq!(heap_free_space(&page), 0);
        page::init(&mut page, 0);
        assert_eq!(heap_free_space(&page), 8164);
        page::set_lower(&mut page, 24 + 4 * MAX_HEAP_TUPLES);
        for n in 1..=MAX_HEAP_TUPLES {
            set_item_id(&mut page, n, ItemId::DEAD).unwrap();
        }
        page::set_flag(&mut page, page::HAS_FREE_LINES);
        assert_eq!(heap_free_space(&page), 0);
        set_item_id(&mut page, 7, ItemId::UNUSED).unwrap();
        assert_eq!(heap_free_space(&page), 8192 - 24 - 4 * 291 - 4);
        page::clear_flag(&mut page, page::HAS_FREE_LINES);
        assert_eq!(heap_free_space(&page), 0);
    }

    #[test]
    fn free_space_categories_are_steps_of_32_with_a_place_of_its_own_for_a_whole_page() {
        for (space, category) in [
            (0, 0),
            (31, 0),
            (32, 1),
            (8159, 254),
            (8160, 255),
            (8164, 255),
        ] {
            assert_eq!(free_space_category(space), category);
        }
    }
}
