//! Redo of GiST records (`gist_redo`, access/gist/gistxlog.c): who does what to which of a record's
//! blocks.

mod delete;
mod mask;
mod opaque;
mod split;
mod update;

#[cfg(test)]
mod tests;

pub(crate) use mask::mask;

use walrecord::Page;
use walrecord::rmgr::gist::GistRecord;

use self::opaque::FOLLOW_RIGHT;
use crate::error::Fault;
use crate::redo::{Context, Edit};

/// Applies a record of resource manager Gist to the page of `cx.block`.
pub(crate) fn redo(page: &mut Page, cx: &Context<'_, '_>) -> Result<Edit, Fault> {
    match (GistRecord::decode(cx.record)?, cx.block.id) {
        (GistRecord::PageUpdate(it), 0) => update::update(page, cx, it.data(cx.record)?)?,
        (GistRecord::PageUpdate(_), 1) | (GistRecord::PageSplit(_), 0) => finish_split(page, cx)?,
        (GistRecord::PageSplit(it), _) => split::make_part(page, cx, &it)?,
        (GistRecord::Delete(it), 0) => delete::delete_dead(page, cx.rules, it.offsets.iter())?,
        (GistRecord::PageDelete(it), 0) => delete::make_deleted(page, it.delete_xid)?,
        (GistRecord::PageDelete(it), 1) => delete::remove_downlink(page, it.downlink_offset)?,
        _ => return Err(cx.surplus_block()),
    }
    Ok(Edit::Changed)
}

/// The page's right sibling got its downlink (`gistRedoClearFollowRight`). The primary does this
/// when it has logged the record, so an image of the page that the record carries lacks it.
fn finish_split(page: &mut Page, cx: &Context<'_, '_>) -> Result<(), Fault> {
    opaque::set_nsn(page, cx.record.end)?;
    opaque::clear_flags(page, FOLLOW_RIGHT)
}
