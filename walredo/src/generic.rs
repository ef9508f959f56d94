//! Redo of generic records, byte ranges of pages (`generic_redo`, access/transam/generic_xlog.c).
//! Used by bloom and by extensions.

use walrecord::{PAGE_SIZE, Page, Reader};

use crate::error::Fault;
use crate::page;
use crate::redo::{Context, Edit};

/// Overwrites the ranges that the block's data lists, then zeroes the hole, of which the ranges say
/// nothing.
pub(crate) fn redo(page: &mut Page, cx: &Context<'_, '_>) -> Result<Edit, Fault> {
    let mut reader = Reader::new(cx.block.data.unwrap_or(&[]));
    while reader.left() > 0 {
        let start = usize::from(reader.u16("generic offset")?);
        let length = usize::from(reader.u16("generic length")?);
        let bytes = reader.take("generic bytes", length)?;
        let range = page.get_mut(start..start + length).ok_or(Fault::Value {
            what: "end of a byte range",
            found: (start + length) as u64,
            expected: PAGE_SIZE as u64,
        })?;
        range.copy_from_slice(bytes);
    }
    page::check_header(page)?;
    let hole = usize::from(page::lower(page))..usize::from(page::upper(page));
    page[hole].fill(0);
    Ok(Edit::Changed)
}
