//! What redo does to a page whatever the access method: header, line pointers, adding items,
//! closing gaps (storage/page/bufpage.c). Serves every resource manager's module.
//!
//! All functions are total: a page that contradicts itself gives a [`Fault`](crate::Fault), after
//! which its bytes are unspecified and must be thrown away.

mod add;
mod compact;
mod header;
mod index;
mod item;

pub(crate) use add::{Placement, add_item, reserve_item};
pub(crate) use compact::{TrailingPointers, compact, repair_fragmentation, truncate_line_pointers};
#[cfg(test)]
pub(crate) use header::prune_xid;
pub(crate) use header::{ALL_VISIBLE, CHECKSUM};
pub(crate) use header::{
    HAS_FREE_LINES, HEADER_SIZE, PAGE_FULL, check_header, clear_flag, flags, get_u16, get_u32,
    init, lower, put_u16, put_u32, set_flag, set_lower, set_lsn, set_prunable, set_prune_xid,
    set_upper, special, special_range, upper,
};
pub use header::{header_plausible, is_new, is_zero, page_lsn};
pub(crate) use index::{
    delete_item, delete_item_keeping_numbers, delete_items, overwrite_item, start_over,
};
pub(crate) use item::{
    ITEM_ID_SIZE, ItemFlag, ItemId, item_id, item_ids_mut, item_range, max_offset,
    normal_item_range, set_item_id,
};

pub use item::{free_space_category, heap_free_space};

/// The most line pointers that a heap page may have (`MaxHeapTuplesPerPage`, access/htup_details.h).
pub(crate) const MAX_HEAP_TUPLES: u16 = 291;

/// Rounds a length up to the alignment of items (`MAXALIGN`).
pub(crate) const fn max_align(length: usize) -> usize {
    (length + 7) & !7
}
