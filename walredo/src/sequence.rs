//! Redo of sequences (`seq_redo`, commands/sequence.c): each record carries the page's whole content.

use walrecord::Page;
use walrecord::rmgr::sequence::SequenceLog;

use crate::error::Fault;
use crate::page::{self, Placement};
use crate::redo::{Context, Edit};

/// What the special area begins with (`SEQ_MAGIC`).
const MAGIC: u32 = 0x1717;
const SPECIAL_SIZE: usize = 4;

/// Makes the page anew with the tuple that the record carries.
pub(crate) fn redo(page: &mut Page, cx: &Context<'_, '_>) -> Result<Edit, Fault> {
    let log = SequenceLog::decode(cx.record)?;
    page::init(page, SPECIAL_SIZE);
    let special = page::special_range(page, SPECIAL_SIZE)?.start;
    page[special..special + SPECIAL_SIZE].copy_from_slice(&MAGIC.to_le_bytes());
    page::add_item(page, 1, log.tuple, Placement::Shift)?;
    Ok(Edit::Changed)
}
