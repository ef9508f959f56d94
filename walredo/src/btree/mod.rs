//! Redo of B-tree records (`btree_redo`, access/nbtree/nbtxlog.c): who does what to which of a
//! record's blocks. Pages come out byte for byte as recovery leaves them, holes included.

mod dedup;
mod delete;
mod insert;
mod mask;
mod meta;
mod opaque;
mod split;
mod tuple;
mod unlink;

#[cfg(test)]
mod tests;

pub(crate) use mask::mask;

use walrecord::rmgr::btree::{
    BtreeRecord, DeletionCounts, MarkPageHalfDead, Metadata, NewRoot, UnlinkPage,
};
use walrecord::{Page, PgVersion};

use self::split::Half;
use crate::error::Fault;
use crate::page::{Placement, add_item};
use crate::redo::{Context, Edit};

/// Applies a record of resource manager Btree to the page of `cx.block`.
pub(crate) fn redo(page: &mut Page, cx: &Context<'_, '_>) -> Result<Edit, Fault> {
    let record = cx.record;
    let id = cx.block.id;
    match (BtreeRecord::decode(record)?, id) {
        (
            BtreeRecord::InsertLeaf(it)
            | BtreeRecord::InsertUpper(it)
            | BtreeRecord::InsertMeta(it),
            0,
        ) => add_item(page, it.offnum, it.item(record)?, Placement::Shift)?,
        (BtreeRecord::InsertUpper(_) | BtreeRecord::InsertMeta(_), 1) => finish_split(page)?,
        (BtreeRecord::InsertMeta(_), 2) => meta::make(page, &Metadata::decode(record, id)?)?,
        (BtreeRecord::InsertPost(it), 0) => {
            insert::insert_splitting_posting(page, it.offnum, it.posting(record)?)?;
        }
        (BtreeRecord::SplitLeft(it), _) => split::redo(page, cx, &it, Half::Left)?,
        (BtreeRecord::SplitRight(it), _) => split::redo(page, cx, &it, Half::Right)?,
        (BtreeRecord::Dedup(it), 0) => dedup::dedup(page, it.intervals(record)?.iter())?,
        (BtreeRecord::Delete(it), 0) => delete(page, cx, it.counts)?,
        (BtreeRecord::Vacuum(it), 0) => {
            delete(page, cx, it.counts)?;
            if cx.rules.version >= PgVersion::V18 {
                opaque::clear_cycle_id(page)?;
            }
        }
        (BtreeRecord::MarkPageHalfDead(it), _) => mark_half_dead(page, cx, &it)?,
        (BtreeRecord::UnlinkPage(it) | BtreeRecord::UnlinkPageMeta(it), 0..=3) => {
            unlink(page, id, &it)?;
        }
        (BtreeRecord::UnlinkPageMeta(_), 4) => meta::make(page, &Metadata::decode(record, id)?)?,
        (BtreeRecord::NewRoot(it), _) => new_root(page, cx, &it)?,
        (BtreeRecord::MetaCleanup, 0) => meta::make(page, &Metadata::decode(record, id)?)?,
        _ => return Err(cx.surplus_block()),
    }
    Ok(Edit::Changed)
}

/// A downlink to the right half was inserted one level up (`_bt_clear_incomplete_split`).
fn finish_split(page: &mut Page) -> Result<(), Fault> {
    opaque::clear_flags(page, opaque::INCOMPLETE_SPLIT)
}

/// Posting lists shrink before tuples go: the offsets of both count from the page as it was.
fn delete(page: &mut Page, cx: &Context<'_, '_>, counts: DeletionCounts) -> Result<(), Fault> {
    let deletions = counts.deletions(cx.record)?;
    for update in deletions.updated {
        delete::shrink_posting(page, update.offnum, update.deleted_tids.iter())?;
    }
    delete::delete(page, deletions.deleted.iter())
}

fn mark_half_dead(
    page: &mut Page,
    cx: &Context<'_, '_>,
    it: &MarkPageHalfDead,
) -> Result<(), Fault> {
    match cx.block.id {
        0 => unlink::make_half_dead(page, it.left, it.right, it.top_parent),
        1 => unlink::remove_downlink(page, it.parent_offset),
        _ => Err(cx.surplus_block()),
    }
}

fn unlink(page: &mut Page, id: u8, it: &UnlinkPage) -> Result<(), Fault> {
    match id {
        0 => unlink::make_deleted(page, it),
        1 => opaque::set_next(page, it.right),
        2 => opaque::set_prev(page, it.left),
        _ => unlink::make_half_dead(page, it.leaf_left, it.leaf_right, it.leaf_top_parent),
    }
}

fn new_root(page: &mut Page, cx: &Context<'_, '_>, it: &NewRoot) -> Result<(), Fault> {
    match cx.block.id {
        0 if it.level == 0 => meta::make_root(page, it.level),
        0 => {
            meta::make_root(page, it.level)?;
            insert::restore_items(page, it.items(cx.record)?)
        }
        1 => finish_split(page),
        2 => meta::make(page, &Metadata::decode(cx.record, 2)?),
        _ => Err(cx.surplus_block()),
    }
}
