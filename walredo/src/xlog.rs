//! Redo of page images that belong to no other change (`xlog_redo`, access/transam/xlog.c).

use walrecord::Page;

use crate::error::Fault;
use crate::redo::{Context, Edit};

const FPI_FOR_HINT: u8 = 0xA0;

/// Comes here only without an image to restore, which may be so for hint bits only: the primary
/// needed none.
pub(crate) fn redo(_page: &mut Page, cx: &Context<'_, '_>) -> Result<Edit, Fault> {
    match cx.record.info() {
        FPI_FOR_HINT => Ok(Edit::None),
        _ => Err(Fault::Missing("image")),
    }
}
