//! What primary and redo may leave different on a B-tree page (`btree_mask`, nbtxlog.c).

use walrecord::Page;

use super::opaque::{self, HAS_GARBAGE, LEAF, SPLIT_END};
use crate::mask::{mask_hints, mask_item_flags};

/// Masks hints in the header, dead line pointers of leaves, and what is left of vacuum cycles.
pub(crate) fn mask(page: &mut Page) {
    mask_hints(page);
    let Ok(flags) = opaque::flags(page) else {
        return;
    };
    if flags & LEAF != 0 {
        mask_item_flags(page);
    }
    // The special area exists: its flags were read.
    let _ = opaque::clear_flags(page, HAS_GARBAGE | SPLIT_END);
    let _ = opaque::clear_cycle_id(page);
}
