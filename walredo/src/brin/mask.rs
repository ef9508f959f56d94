//! What primary and redo may leave different on a BRIN page (`brin_mask`, brin_xlog.c).

use walrecord::Page;

use super::special::{REVMAP, clear_evacuation, page_type};
use crate::mask::mask_hints;

/// What lies between line pointers and items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hole {
    /// Bytes that nothing points at, to be masked.
    IsUnused,
    /// The content of a page of the range map.
    IsContent,
}

/// Masks hints in the header, and the flag of pages that are being emptied. Says what the hole is.
pub(crate) fn mask(page: &mut Page) -> Hole {
    mask_hints(page);
    // Without a special area nothing is masked, and the page differs from any sound one.
    let _ = clear_evacuation(page);
    match page_type(page) {
        Ok(REVMAP) => Hole::IsContent,
        _ => Hole::IsUnused,
    }
}
