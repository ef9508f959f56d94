//! Redo of generic records, byte ranges of pages (`generic_redo`, access/transam/generic_xlog.c).
//! Used by bloom and by extensions.

use walrecord::Page;
use walrecord::rmgr::generic::Fragments;

use crate::error::Fault;
use crate::page;
use crate::redo::{Context, Edit};

/// Overwrites what the block's data lists, then zeroes the hole, of which the list says nothing.
pub(crate) fn redo(page: &mut Page, cx: &Context<'_, '_>) -> Result<Edit, Fault> {
    if cx.block.data.is_some() {
        for fragment in Fragments::decode(cx.record, cx.block.id)? {
            let start = usize::from(fragment.offset);
            page[start..start + fragment.bytes.len()].copy_from_slice(fragment.bytes);
        }
    }
    page::check_header(page)?;
    let hole = usize::from(page::lower(page))..usize::from(page::upper(page));
    page[hole].fill(0);
    Ok(Edit::Changed)
}
