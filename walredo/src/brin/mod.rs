//! Redo of BRIN records (`brin_redo`, access/brin/brin_xlog.c): who does what to which of a record's
//! blocks. All versions do the same.

mod mask;
mod meta;
mod revmap;
mod special;

#[cfg(test)]
mod tests;

pub(crate) use mask::{Hole, mask};

use walrecord::Page;
use walrecord::rmgr::brin::{BrinRecord, Insert};

use self::special::{REGULAR, REVMAP};
use crate::error::Fault;
use crate::page::{Placement, add_item, delete_item_keeping_numbers, overwrite_item};
use crate::redo::{Context, Edit};
use crate::tuple::Tid;

/// The flag that says that block 0 is initialised first (`XLOG_BRIN_INIT_PAGE`).
const INIT_PAGE: u8 = 0x80;

/// Applies a record of resource manager BRIN to the page of `cx.block`.
pub(crate) fn redo(page: &mut Page, cx: &Context<'_, '_>) -> Result<Edit, Fault> {
    match (BrinRecord::decode(cx.record)?, cx.block.id) {
        (BrinRecord::CreateIndex(it), 0) => meta::make(page, &it)?,
        (BrinRecord::Insert(it), id @ (0 | 1)) => insert(page, cx, id, &it)?,
        (BrinRecord::Update(it), id @ (0 | 1)) => insert(page, cx, id, &it.insert)?,
        (BrinRecord::Update(it), 2) => delete_item_keeping_numbers(page, it.old_offnum)?,
        (BrinRecord::SamepageUpdate { offnum }, 0) => {
            overwrite_item(page, offnum, BrinRecord::tuple(cx.record)?)?;
        }
        (BrinRecord::RevmapExtend { target }, 0) => meta::extend_revmap(page, target)?,
        (BrinRecord::RevmapExtend { .. }, 1) => special::init_page(page, REVMAP)?,
        (BrinRecord::Desummarize(it), 0) => {
            revmap::set_summary(page, it.heap_block, it.pages_per_range, revmap::NONE)?;
        }
        (BrinRecord::Desummarize(it), 1) => delete_item_keeping_numbers(page, it.offnum)?,
        _ => return Err(cx.surplus_block()),
    }
    Ok(Edit::Changed)
}

/// Adds a summary to its page, or its address to the range map (`brin_xlog_insert_update`).
fn insert(page: &mut Page, cx: &Context<'_, '_>, id: u8, it: &Insert) -> Result<(), Fault> {
    if id == 0 {
        if cx.record.info() & INIT_PAGE != 0 {
            special::init_page(page, REGULAR)?;
        }
        let tuple = BrinRecord::tuple(cx.record)?;
        return add_item(page, it.offnum, tuple, Placement::Reuse);
    }
    let block = cx.block_number(0)?;
    let summary = Tid {
        block,
        offset: it.offnum,
    };
    revmap::set_summary(page, it.heap_block, it.pages_per_range, summary.to_bytes())
}
