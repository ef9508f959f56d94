//! Redo of SP-GiST records (`spg_redo`, access/spgist/spgxlog.c): who does what to which of a record's
//! blocks. All versions do the same.

mod insert;
mod opaque;
mod pick_split;
mod place;
mod tuple;
mod vacuum;

#[cfg(test)]
mod tests;

use walrecord::Page;
use walrecord::rmgr::spgist::SpGistRecord;

use crate::error::Fault;
use crate::page::delete_items;
use crate::redo::{Context, Edit};

/// Applies a record of resource manager SPGist to the page of `cx.block`.
pub(crate) fn redo(page: &mut Page, cx: &Context<'_, '_>) -> Result<Edit, Fault> {
    match (SpGistRecord::decode(cx.record)?, cx.block.id) {
        (SpGistRecord::AddLeaf(it), _) => insert::add_leaf(page, cx, &it)?,
        (SpGistRecord::MoveLeafs(it), _) => insert::move_leafs(page, cx, &it)?,
        (SpGistRecord::AddNode(it), _) => insert::add_node(page, cx, &it)?,
        (SpGistRecord::SplitTuple(it), _) => insert::split_tuple(page, cx, &it)?,
        (SpGistRecord::PickSplit(it), _) => pick_split::redo(page, cx, &it)?,
        (SpGistRecord::VacuumLeaf(it), 0) => vacuum::vacuum_leaf(page, &it)?,
        (SpGistRecord::VacuumRoot(it), 0) => delete_items(page, it.deleted.iter())?,
        (SpGistRecord::VacuumRedirect(it), 0) => vacuum::vacuum_redirect(page, &it)?,
        _ => return Err(cx.surplus_block()),
    }
    Ok(Edit::Changed)
}
