//! Records of insertions: what they do to which of their blocks (spgxlog.c).

use walrecord::Page;
use walrecord::rmgr::spgist::{AddLeaf, AddNode, MoveLeafs, SplitTuple};

use super::opaque::{Level, init_page};
use super::place::{
    add_tuple, bury_tuple, bury_tuples, link_tuple, redirect_downlink, replace_tuple,
};
use super::tuple::DeadTuple;
use crate::error::Fault;
use crate::redo::Context;
use crate::tuple::Tid;

/// `spgRedoAddLeaf`.
pub(super) fn add_leaf(
    page: &mut Page,
    cx: &Context<'_, '_>,
    it: &AddLeaf<'_>,
) -> Result<(), Fault> {
    match cx.block.id {
        0 => {
            if it.new_page {
                init_page(page, Level::Leaf, it.stores_nulls)?;
            }
            if it.offnum == it.head_offnum {
                // The list was empty; the dead tuple that kept its place goes.
                return replace_tuple(page, it.offnum, it.tuple);
            }
            add_tuple(page, it.offnum, it.tuple)?;
            match it.head_offnum {
                0 => Ok(()),
                head => link_tuple(page, head, it.offnum),
            }
        }
        1 if it.parent.offnum != 0 => redirect_downlink(page, it.parent, to(cx, 0, it.offnum)?),
        _ => Err(cx.surplus_block()),
    }
}

/// `spgRedoMoveLeafs`. The last tuple added is the head of the list.
pub(super) fn move_leafs(
    page: &mut Page,
    cx: &Context<'_, '_>,
    it: &MoveLeafs<'_>,
) -> Result<(), Fault> {
    let last = it.inserted.len().wrapping_sub(1);
    let head = it
        .inserted
        .get(last)
        .ok_or(Fault::Missing("tuple to add"))?;
    match cx.block.id {
        0 => {
            let moved = DeadTuple::moved(to(cx, 1, head)?, it.state);
            bury_tuples(page, it.deleted, moved, DeadTuple::Placeholder)
        }
        1 => {
            if it.new_page {
                init_page(page, Level::Leaf, it.stores_nulls)?;
            }
            it.inserted
                .iter()
                .zip(it.tuples)
                .try_for_each(|(offset, tuple)| add_tuple(page, offset, tuple))
        }
        2 => redirect_downlink(page, it.parent, to(cx, 1, head)?),
        _ => Err(cx.surplus_block()),
    }
}

/// `spgRedoAddNode`. The tuple grows where it stands, or moves; then its parent may be on any of the
/// three pages.
pub(super) fn add_node(
    page: &mut Page,
    cx: &Context<'_, '_>,
    it: &AddNode<'_>,
) -> Result<(), Fault> {
    let id = cx.block.id;
    if id == 0 && cx.record.block(1).is_none() {
        return replace_tuple(page, it.offnum, it.tuple);
    }
    let to = to(cx, 1, it.new_offnum)?;
    let has_parent = i16::from(it.parent_block) == i16::from(id);
    match id {
        0 => bury_tuple(page, it.offnum, DeadTuple::moved(to, it.state))?,
        1 => {
            if it.new_page {
                init_page(page, Level::Inner, false)?;
            }
            add_tuple(page, it.new_offnum, it.tuple)?;
        }
        2 if has_parent => {}
        _ => return Err(cx.surplus_block()),
    }
    if has_parent {
        redirect_downlink(page, it.parent, to)?;
    }
    Ok(())
}

/// `spgRedoSplitTuple`.
pub(super) fn split_tuple(
    page: &mut Page,
    cx: &Context<'_, '_>,
    it: &SplitTuple<'_>,
) -> Result<(), Fault> {
    match cx.block.id {
        0 => {
            replace_tuple(page, it.prefix_offnum, it.prefix)?;
            if it.same_page {
                add_tuple(page, it.postfix_offnum, it.postfix)?;
            }
            Ok(())
        }
        1 if !it.same_page => {
            if it.new_page {
                init_page(page, Level::Inner, false)?;
            }
            add_tuple(page, it.postfix_offnum, it.postfix)
        }
        _ => Err(cx.surplus_block()),
    }
}

/// A tuple on another of the record's pages.
pub(super) fn to(cx: &Context<'_, '_>, id: u8, offset: u16) -> Result<Tid, Fault> {
    let block = cx.block_number(id)?;
    Ok(Tid { block, offset })
}
