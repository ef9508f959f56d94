//! What primary and redo may leave different on a hash index page (`hash_mask`, hash_xlog.c).

use walrecord::Page;

use super::opaque::{self, BUCKET_PAGE, HAS_DEAD_TUPLES, OVERFLOW_PAGE, PAGE_TYPE, UNUSED_PAGE};
use crate::mask::{mask_content, mask_hints, mask_item_flags};

/// Masks hints in the header, all of a freed page, and which tuples scans found dead.
pub(crate) fn mask(page: &mut Page) {
    mask_hints(page);
    let Ok(flags) = opaque::flags(page) else {
        return;
    };
    match flags & PAGE_TYPE {
        UNUSED_PAGE => return mask_content(page),
        BUCKET_PAGE | OVERFLOW_PAGE => mask_item_flags(page),
        _ => {}
    }
    // The special area exists: its flags were read.
    let _ = opaque::clear_flags(page, HAS_DEAD_TUPLES);
}
