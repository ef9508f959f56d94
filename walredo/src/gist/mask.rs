//! What primary and redo may leave different on a GiST page (`gist_mask`, gistxlog.c).

use walrecord::{Lsn, Page};

use super::opaque::{self, FOLLOW_RIGHT, HAS_GARBAGE, LEAF, TUPLES_DELETED};
use crate::mask::{mask_hints, mask_item_flags};

/// Masks hints in the header, dead line pointers of leaves, and what the primary changes after it
/// has logged the end of a split.
///
/// More than Postgres masks is the mark of pages that lost tuples: redo of DELETE makes it, the
/// primary (`gistprunepage`, gist.c) does not. Stock recovery stops there as "inconsistent".
pub(crate) fn mask(page: &mut Page) {
    mask_hints(page);
    let Ok(flags) = opaque::flags(page) else {
        return;
    };
    if flags & LEAF != 0 {
        mask_item_flags(page);
    }
    // The special area exists: its flags were read.
    let _ = opaque::set_nsn(page, Lsn::INVALID);
    let _ = opaque::clear_flags(page, FOLLOW_RIGHT | HAS_GARBAGE | TUPLES_DELETED);
}
