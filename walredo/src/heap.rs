//! Redo of the heap's own records (`heap_redo`, access/heap/heapam.c).

use std::ops::Range;

use walrecord::Page;
use walrecord::rmgr::heap::{
    Confirm, Delete, HeapRecord, Inplace, Insert, Lock, Update, UpdatedTuple,
};

use crate::error::Fault;
use crate::page;
use crate::redo::{Context, Edit};
use crate::tuple::{NewTuple, TUPLE_HEADER_SIZE, Tid, TupleHeader, columns_range, tuple_range};

/// Edits a heap page as the record says.
pub(crate) fn redo(page: &mut Page, cx: &Context<'_, '_>) -> Result<Edit, Fault> {
    match HeapRecord::decode(cx.record)? {
        HeapRecord::Insert(insert) => redo_insert(page, cx, &insert)?,
        HeapRecord::Delete(delete) => redo_delete(page, cx, &delete)?,
        HeapRecord::Update(update) => redo_update(page, cx, &update, false)?,
        HeapRecord::HotUpdate(update) => redo_update(page, cx, &update, true)?,
        HeapRecord::Truncate(_) => return Ok(Edit::None),
        HeapRecord::Confirm(confirm) => redo_confirm(page, cx, confirm)?,
        HeapRecord::Lock(lock) => redo_lock(page, cx, lock)?,
        HeapRecord::Inplace(inplace) => redo_inplace(page, cx, &inplace)?,
    }
    Ok(Edit::Changed)
}

/// Makes an empty heap page if the record says so. The block reference must say the same: Postgres
/// panics otherwise.
pub(crate) fn init_if(page: &mut Page, cx: &Context<'_, '_>, init_page: bool) -> Result<(), Fault> {
    if init_page != cx.block.will_init {
        return Err(Fault::Value {
            what: "will-init flag of the block",
            found: u64::from(cx.block.will_init),
            expected: u64::from(init_page),
        });
    }
    if init_page {
        page::init(page, 0);
    }
    Ok(())
}

fn redo_insert(page: &mut Page, cx: &Context<'_, '_>, insert: &Insert) -> Result<(), Fault> {
    init_if(page, cx, insert.init_page)?;
    let tuple = insert.tuple(cx.record)?;
    let new = NewTuple {
        tid: cx.tid(insert.offnum),
        header: tuple.header,
        xmin: cx.record.header.xid,
        xmax: 0,
    };
    let place = new.place(page, tuple.data.len())?;
    page[place].copy_from_slice(tuple.data);
    if insert.all_visible_cleared() {
        page::clear_flag(page, page::ALL_VISIBLE);
    }
    Ok(())
}

fn redo_delete(page: &mut Page, cx: &Context<'_, '_>, delete: &Delete<'_>) -> Result<(), Fault> {
    let mut tuple = TupleHeader::of(page, delete.offnum)?;
    tuple.set_xmax_kind(delete.infobits);
    tuple.set_hot_updated(false);
    if delete.is_super() {
        tuple.set_xmin(0);
    } else {
        tuple.set_xmax(delete.xmax);
    }
    tuple.clear_command_id();
    tuple.set_ctid(if delete.is_partition_move() {
        Tid::MOVED_PARTITIONS
    } else {
        cx.tid(delete.offnum)
    });
    page::set_prunable(page, cx.record.header.xid);
    if delete.all_visible_cleared() {
        page::clear_flag(page, page::ALL_VISIBLE);
    }
    Ok(())
}

/// Block 0 gets the new tuple, block 1 holds the old one; without a block 1 both are on block 0, and
/// then the old one is changed first.
fn redo_update<'r>(
    page: &mut Page,
    cx: &Context<'_, 'r>,
    update: &Update<'r>,
    hot: bool,
) -> Result<(), Fault> {
    let one_page = cx.record.block(1).is_none();
    let new_block = cx.record.block(0).ok_or(Fault::Missing("block 0"))?;
    let tid = Tid {
        block: new_block.tag.block,
        offset: update.new_offnum,
    };
    let mut old = None;
    if one_page || cx.block.id == 1 {
        old = Some(mark_updated(page, cx, update, tid, hot)?);
    }
    if cx.block.id == 0 {
        if !one_page {
            init_if(page, cx, update.init_page)?;
        }
        add_updated(page, cx, update, tid, old)?;
    }
    Ok(())
}

/// Points the old tuple at the new one. Gives the place of the old tuple.
fn mark_updated<'r>(
    page: &mut Page,
    cx: &Context<'_, 'r>,
    update: &Update<'r>,
    new: Tid,
    hot: bool,
) -> Result<Range<usize>, Fault> {
    let range = tuple_range(page, update.old_offnum)?;
    let mut tuple = TupleHeader::at(page, range.start)?;
    tuple.set_xmax_kind(update.old_infobits);
    tuple.set_hot_updated(hot);
    tuple.set_xmax(update.old_xmax);
    tuple.clear_command_id();
    tuple.set_ctid(new);
    page::set_prunable(page, cx.record.header.xid);
    if update.old_all_visible_cleared() {
        page::clear_flag(page, page::ALL_VISIBLE);
    }
    Ok(range)
}

/// Adds the new tuple. What it has in common with the old one at either end comes from there, which
/// happens only if both are on this page.
fn add_updated<'r>(
    page: &mut Page,
    cx: &Context<'_, 'r>,
    update: &Update<'r>,
    tid: Tid,
    old: Option<Range<usize>>,
) -> Result<(), Fault> {
    let tuple = update.tuple(cx.record)?;
    let (prefix, suffix) = match old {
        Some(old) => shared_ranges(page, &old, &tuple)?,
        None if tuple.prefix_length == 0 && tuple.suffix_length == 0 => (0..0, 0..0),
        None => return Err(Fault::Missing("old tuple on this page")),
    };
    // With a prefix, null bitmap and padding come before it.
    let head_length = if prefix.is_empty() {
        tuple.data.len()
    } else {
        usize::from(tuple.header.hoff).saturating_sub(TUPLE_HEADER_SIZE)
    };
    let Some((head, middle)) = tuple.data.split_at_checked(head_length) else {
        return Err(Fault::Value {
            what: "length of an updated tuple's data",
            found: tuple.data.len() as u64,
            expected: head_length as u64,
        });
    };
    let new = NewTuple {
        tid,
        header: tuple.header,
        xmin: cx.record.header.xid,
        xmax: update.new_xmax,
    };
    let length = tuple.data.len() + prefix.len() + suffix.len();
    let mut at = new.place(page, length)?.start;
    page[at..at + head.len()].copy_from_slice(head);
    at += head.len();
    page.copy_within(prefix.clone(), at);
    at += prefix.len();
    page[at..at + middle.len()].copy_from_slice(middle);
    at += middle.len();
    page.copy_within(suffix, at);
    if update.new_all_visible_cleared() {
        page::clear_flag(page, page::ALL_VISIBLE);
    }
    Ok(())
}

/// Where prefix and suffix lie in the old tuple.
fn shared_ranges(
    page: &Page,
    old: &Range<usize>,
    new: &UpdatedTuple<'_>,
) -> Result<(Range<usize>, Range<usize>), Fault> {
    let columns = columns_range(page, old)?;
    let (prefix, suffix) = (
        usize::from(new.prefix_length),
        usize::from(new.suffix_length),
    );
    if prefix.max(suffix) > columns.len() {
        return Err(Fault::Value {
            what: "bytes shared with the old tuple",
            found: prefix.max(suffix) as u64,
            expected: columns.len() as u64,
        });
    }
    Ok((
        columns.start..columns.start + prefix,
        columns.end - suffix..columns.end,
    ))
}

fn redo_confirm(page: &mut Page, cx: &Context<'_, '_>, confirm: Confirm) -> Result<(), Fault> {
    TupleHeader::of(page, confirm.offnum)?.set_ctid(cx.tid(confirm.offnum));
    Ok(())
}

fn redo_lock(page: &mut Page, cx: &Context<'_, '_>, lock: Lock) -> Result<(), Fault> {
    let mut tuple = TupleHeader::of(page, lock.offnum)?;
    tuple.set_xmax_kind(lock.infobits);
    // A lock that keeps an earlier update must keep the link to its new tuple, too.
    if tuple.is_locked_only() {
        tuple.set_hot_updated(false);
        tuple.set_ctid(cx.tid(lock.offnum));
    }
    tuple.set_xmax(lock.xmax);
    tuple.clear_command_id();
    Ok(())
}

/// `heap_xlog_lock_updated`, a record of Heap2: the tuple has an update of its own, which stays.
pub(crate) fn redo_lock_updated(page: &mut Page, lock: Lock) -> Result<(), Fault> {
    let mut tuple = TupleHeader::of(page, lock.offnum)?;
    tuple.set_xmax_kind(lock.infobits);
    tuple.set_xmax(lock.xmax);
    Ok(())
}

fn redo_inplace<'r>(
    page: &mut Page,
    cx: &Context<'_, 'r>,
    inplace: &Inplace<'r>,
) -> Result<(), Fault> {
    let content = inplace.content(cx.record)?;
    let tuple = tuple_range(page, inplace.offnum)?;
    let columns = columns_range(page, &tuple)?;
    if columns.len() != content.len() {
        return Err(Fault::Value {
            what: "length of a tuple overwritten in place",
            found: columns.len() as u64,
            expected: content.len() as u64,
        });
    }
    page[columns].copy_from_slice(content);
    Ok(())
}
