//! Redo of the second half of the heap's records (`heap2_redo`, access/heap/heapam.c).

use walrecord::rmgr::heap2::{FrozenTuples, Heap2Record, MultiInsert, PruneFreeze, PruneOffsets};
use walrecord::{Page, RedoRules};

use crate::error::Fault;
use crate::heap::{init_if, redo_lock_updated};
use crate::page::{self, ItemId, TrailingPointers};
use crate::redo::{Context, Edit};
use crate::tuple::{NewTuple, TupleHeader};

/// The transaction id of what is frozen (`FrozenTransactionId`).
const FROZEN_XID: u32 = 2;
/// `t_xvac` becomes the frozen id (`XLH_FREEZE_XVAC`).
const FREEZE_XVAC: u8 = 0x02;
/// `t_xvac` becomes invalid (`XLH_INVALID_XVAC`).
const INVALID_XVAC: u8 = 0x04;

/// Edits a heap page as the record says.
pub(crate) fn redo(page: &mut Page, cx: &Context<'_, '_>) -> Result<Edit, Fault> {
    match Heap2Record::decode(cx.record)? {
        Heap2Record::Prune(prune) => {
            set_line_pointers(page, &prune.offsets(cx.record)?)?;
            page::repair_fragmentation(page, trailing(cx.rules))?;
        }
        Heap2Record::Vacuum(vacuum) => {
            for offset in vacuum.offsets(cx.record)? {
                page::set_item_id(page, offset, ItemId::UNUSED)?;
            }
            page::truncate_line_pointers(page)?;
        }
        Heap2Record::Freeze(freeze) => freeze_tuples(page, freeze.tuples(cx.record)?)?,
        Heap2Record::PruneFreeze(prune) => redo_prune_freeze(page, cx, &prune)?,
        Heap2Record::Visible(_) => return Ok(set_all_visible(page, cx.rules)),
        Heap2Record::MultiInsert(insert) => redo_multi_insert(page, cx, &insert)?,
        Heap2Record::LockUpdated(lock) => redo_lock_updated(page, lock)?,
        Heap2Record::Rewrite(_) | Heap2Record::NewCid(_) => return Ok(Edit::None),
    }
    Ok(Edit::Changed)
}

fn trailing(rules: &RedoRules) -> TrailingPointers {
    if rules.repair_truncates_line_pointers() {
        TrailingPointers::Cut
    } else {
        TrailingPointers::Keep
    }
}

/// `heap_page_prune_execute` (access/heap/pruneheap.c) up to the compaction. `pd_prune_xid` stays.
fn set_line_pointers(page: &mut Page, offsets: &PruneOffsets<'_>) -> Result<(), Fault> {
    for redirect in offsets.redirected {
        page::set_item_id(page, redirect.from, ItemId::redirect(redirect.to))?;
    }
    for offset in offsets.dead {
        page::set_item_id(page, offset, ItemId::DEAD)?;
    }
    for offset in offsets.unused {
        page::set_item_id(page, offset, ItemId::UNUSED)?;
    }
    Ok(())
}

/// `heap_xlog_prune_freeze` (17 and newer): the flags decide, not which of the three opcodes it is.
fn redo_prune_freeze(
    page: &mut Page,
    cx: &Context<'_, '_>,
    prune: &PruneFreeze,
) -> Result<(), Fault> {
    let data = prune.data(cx.record)?;
    let lists = &data.offsets;
    if !(lists.redirected.is_empty() && lists.dead.is_empty() && lists.unused.is_empty()) {
        set_line_pointers(page, lists)?;
        if prune.has_cleanup_lock() {
            page::repair_fragmentation(page, trailing(cx.rules))?;
        } else {
            page::truncate_line_pointers(page)?;
        }
    }
    freeze_tuples(page, data.frozen)
}

/// `heap_execute_freeze_tuple` for each.
fn freeze_tuples(page: &mut Page, tuples: FrozenTuples<'_>) -> Result<(), Fault> {
    for frozen in tuples {
        let mut tuple = TupleHeader::of(page, frozen.offnum)?;
        tuple.set_xmax(frozen.xmax);
        if frozen.frzflags & FREEZE_XVAC != 0 {
            tuple.set_xvac(FROZEN_XID);
        }
        if frozen.frzflags & INVALID_XVAC != 0 {
            tuple.set_xvac(0);
        }
        tuple.set_infomask(frozen.infomask);
        tuple.set_infomask2(frozen.infomask2);
    }
    Ok(())
}

/// The heap page of VISIBLE. Whether its LSN moves depends on the server that replays.
fn set_all_visible(page: &mut Page, rules: &RedoRules) -> Edit {
    page::set_flag(page, page::ALL_VISIBLE);
    if rules.visible_sets_heap_lsn() {
        Edit::Changed
    } else {
        Edit::KeepLsn
    }
}

fn redo_multi_insert<'r>(
    page: &mut Page,
    cx: &Context<'_, 'r>,
    insert: &MultiInsert<'r>,
) -> Result<(), Fault> {
    init_if(page, cx, insert.init_page)?;
    for numbered in insert.tuples(cx.record)? {
        let numbered = numbered?;
        let new = NewTuple {
            tid: cx.tid(numbered.offnum),
            header: numbered.tuple.header,
            xmin: cx.record.header.xid,
            xmax: 0,
        };
        let place = new.place(page, numbered.tuple.data.len())?;
        page[place].copy_from_slice(numbered.tuple.data);
    }
    if insert.all_visible_cleared() {
        page::clear_flag(page, page::ALL_VISIBLE);
    }
    if insert.all_frozen_set() {
        page::set_flag(page, page::ALL_VISIBLE);
    }
    Ok(())
}
