//! What primary and redo may leave different on a GIN page (`gin_mask`, ginxlog.c).

use walrecord::Page;

use super::opaque::{self, DELETED};
use crate::mask::{mask_content, mask_hints, mask_hole};
use crate::page::{self, HEADER_SIZE};

/// Masks hints in the header, all of a deleted page, which redo makes anew, and the hole. Pages that
/// come from 9.3 or older may have content where their header says that the hole is.
pub(crate) fn mask(page: &mut Page) {
    mask_hints(page);
    let Ok(flags) = opaque::flags(page) else {
        return;
    };
    if flags & DELETED != 0 {
        mask_content(page);
    } else if usize::from(page::lower(page)) > HEADER_SIZE {
        mask_hole(page);
    }
}
