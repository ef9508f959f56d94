//! Redo of hash index records (`hash_redo`, access/hash/hash_xlog.c): who does what to which of a
//! record's blocks. The page functions are the same in all versions; only what SQUEEZE_PAGE does to a
//! page without anything to do there depends on the version.

mod bitmap;
mod bucket;
mod mask;
mod meta;
mod opaque;

#[cfg(test)]
mod tests;

pub(crate) use mask::mask;

use walrecord::Page;
use walrecord::rmgr::hash::{
    AddOverflowPage, HashRecord, SplitAllocatePage, SqueezePage, only_locks,
};

use self::opaque::Opaque;
use crate::error::Fault;
use crate::page::{Placement, add_item, delete_items};
use crate::redo::{Context, Edit};

/// Applies a record of resource manager Hash to the page of `cx.block`, which may be restored from an
/// image where the record goes on to change it (`edits_restored_page`, redo.rs).
pub(crate) fn redo(page: &mut Page, cx: &Context<'_, '_>) -> Result<Edit, Fault> {
    let record = cx.record;
    let id = cx.block.id;
    if only_locks(record, id)? {
        return Ok(Edit::None);
    }
    match (HashRecord::decode(record)?, id) {
        (HashRecord::InitMetaPage(it), 0) => meta::make(page, &it)?,
        (HashRecord::InitBitmapPage { bitmap_size }, 0) => bitmap::make(page, bitmap_size)?,
        (HashRecord::InitBitmapPage { .. }, 1) => meta::add_first_bitmap(page)?,
        (HashRecord::Insert { offnum }, 0) => {
            let tuple = HashRecord::inserted_tuple(record)?;
            add_item(page, offnum, tuple, Placement::Shift)?;
        }
        (HashRecord::Insert { .. }, 1) => meta::change_tuples(page, |tuples| tuples + 1.0)?,
        (HashRecord::AddOverflowPage(it), _) => add_overflow_page(page, cx, &it)?,
        (HashRecord::SplitAllocatePage(it), _) => split_allocate_page(page, cx, &it)?,
        (HashRecord::SplitPage, 0) => return Err(Fault::Missing("image")),
        (HashRecord::SplitComplete(it), 0) => opaque::set_flags(page, it.old_flag)?,
        (HashRecord::SplitComplete(it), 1) => opaque::set_flags(page, it.new_flag)?,
        (HashRecord::MovePageContents(it), 1) => {
            bucket::add_tuples(page, &HashRecord::added(record, it.tuples)?)?;
        }
        (HashRecord::MovePageContents(_), 2) => {
            delete_items(page, HashRecord::removed(record, id)?.iter())?;
        }
        (HashRecord::SqueezePage(it), _) => squeeze_page(page, cx, &it)?,
        (HashRecord::Delete(it), 1) => {
            delete_items(page, HashRecord::removed(record, id)?.iter())?;
            if it.clear_dead_marking {
                opaque::clear_flags(page, opaque::HAS_DEAD_TUPLES)?;
            }
        }
        (HashRecord::SplitCleanup, 0) => opaque::clear_flags(page, opaque::NEEDS_SPLIT_CLEANUP)?,
        (HashRecord::UpdateMetaPage { tuples }, 0) => meta::change_tuples(page, |_| tuples)?,
        (HashRecord::VacuumOnePage(it), 0) => {
            delete_items(page, it.offsets.iter())?;
            opaque::clear_flags(page, opaque::HAS_DEAD_TUPLES)?;
        }
        (HashRecord::VacuumOnePage(it), 1) => {
            let removed = it.offsets.len() as f64;
            meta::change_tuples(page, |tuples| tuples - removed)?;
        }
        _ => return Err(cx.surplus_block()),
    }
    Ok(Edit::Changed)
}

fn add_overflow_page(
    page: &mut Page,
    cx: &Context<'_, '_>,
    it: &AddOverflowPage,
) -> Result<(), Fault> {
    let number = |id| HashRecord::block_number_data(cx.record, id);
    match cx.block.id {
        0 => Opaque {
            prev: cx.block_number(1)?,
            next: opaque::NO_BLOCK,
            bucket: number(0)?,
            flags: opaque::OVERFLOW_PAGE,
        }
        .make(page),
        1 => opaque::set_next(page, cx.block_number(0)?),
        2 => bitmap::set(page, number(2)?, true),
        3 => bitmap::make(page, it.bitmap_size),
        4 => {
            meta::set_first_free(page, number(4)?)?;
            if it.bitmap_page_found {
                return Ok(());
            }
            meta::add_spare(page)?;
            match cx.record.block(3) {
                Some(bitmap) => {
                    meta::add_bitmap(page, bitmap.tag.block)?;
                    meta::add_spare(page)
                }
                None => Ok(()),
            }
        }
        _ => Err(cx.surplus_block()),
    }
}

fn split_allocate_page(
    page: &mut Page,
    cx: &Context<'_, '_>,
    it: &SplitAllocatePage,
) -> Result<(), Fault> {
    match cx.block.id {
        0 => {
            opaque::set_flags(page, it.old_flag)?;
            opaque::set_prev(page, it.new_bucket)
        }
        1 => Opaque {
            prev: it.new_bucket,
            next: opaque::NO_BLOCK,
            bucket: it.new_bucket,
            flags: it.new_flag,
        }
        .make(page),
        2 => meta::split(page, it.new_bucket, it.meta(cx.record)?),
        _ => Err(cx.surplus_block()),
    }
}

fn squeeze_page(page: &mut Page, cx: &Context<'_, '_>, it: &SqueezePage) -> Result<(), Fault> {
    let number = |id| HashRecord::block_number_data(cx.record, id);
    match cx.block.id {
        1 => {
            bucket::add_tuples(page, &HashRecord::added(cx.record, it.tuples)?)?;
            if it.to_prev_page {
                opaque::set_next(page, it.next)?;
            }
            Ok(())
        }
        2 => Opaque {
            prev: opaque::NO_BLOCK,
            next: opaque::NO_BLOCK,
            bucket: opaque::NO_BUCKET,
            flags: opaque::UNUSED_PAGE,
        }
        .make(page),
        3 if !it.to_prev_page => opaque::set_next(page, it.next),
        4 => opaque::set_prev(page, it.prev),
        5 => bitmap::set(page, number(5)?, false),
        6 => meta::set_first_free(page, number(6)?),
        _ => Err(cx.surplus_block()),
    }
}
