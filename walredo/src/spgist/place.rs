//! What redo does to the tuples of one page. Line pointers never move: downlinks and links of lists
//! name them.

use walrecord::Page;
use walrecord::rmgr::LeArray;
use walrecord::rmgr::spgist::ParentLink;

use super::opaque::{Counter, count};
use super::tuple::{DeadTuple, TupleState, set_downlink, set_link};
use crate::error::Fault;
use crate::page::{Placement, add_item, delete_item, delete_items, item_range, max_offset};
use crate::tuple::Tid;

/// The most tuples that a page can hold: one takes 16 bytes and a line pointer.
const MAX_TUPLES: usize = 408;

/// Adds a tuple at the end, or in place of a placeholder (`addOrReplaceTuple`, spgxlog.c).
pub(super) fn add_tuple(page: &mut Page, offset: u16, tuple: &[u8]) -> Result<(), Fault> {
    if offset <= max_offset(page) {
        TupleState::Placeholder.check(&page[item_range(page, offset)?])?;
        count(page, Counter::Placeholders, -1)?;
        delete_item(page, offset)?;
    }
    add_item(page, offset, tuple, Placement::Shift)
}

/// Puts another tuple in a tuple's place. Postgres does not overwrite it: the new one goes where the
/// hole begins.
pub(super) fn replace_tuple(page: &mut Page, offset: u16, tuple: &[u8]) -> Result<(), Fault> {
    delete_item(page, offset)?;
    add_item(page, offset, tuple, Placement::Shift)
}

/// Replaces tuples by dead ones: the first of the list by `first`, all others by `rest`
/// (`spgPageIndexMultiDelete`, spgdoinsert.c).
pub(super) fn bury_tuples(
    page: &mut Page,
    offsets: LeArray<'_, u16>,
    first: DeadTuple,
    rest: DeadTuple,
) -> Result<(), Fault> {
    let mut sorted = [0; MAX_TUPLES];
    let Some(sorted) = sorted.get_mut(..offsets.len()) else {
        return Err(Fault::Value {
            what: "the number of tuples to delete",
            found: offsets.len() as u64,
            expected: MAX_TUPLES as u64,
        });
    };
    let Some(head) = offsets.get(0) else {
        return Ok(());
    };
    for (to, from) in sorted.iter_mut().zip(offsets) {
        *to = from;
    }
    sorted.sort_unstable();
    delete_items(page, sorted.iter().copied())?;
    for offset in sorted.iter().copied() {
        let dead = if offset == head { first } else { rest };
        add_item(page, offset, &dead.to_bytes(), Placement::Shift)?;
        count_dead(page, dead)?;
    }
    Ok(())
}

/// Replaces a tuple by a dead one.
pub(super) fn bury_tuple(page: &mut Page, offset: u16, dead: DeadTuple) -> Result<(), Fault> {
    replace_tuple(page, offset, &dead.to_bytes())?;
    count_dead(page, dead)
}

fn count_dead(page: &mut Page, dead: DeadTuple) -> Result<(), Fault> {
    match dead {
        DeadTuple::Redirect { .. } => count(page, Counter::Redirections, 1),
        DeadTuple::Placeholder => count(page, Counter::Placeholders, 1),
        DeadTuple::Dead => Ok(()),
    }
}

/// Links the leaf tuple at `offset` to the one at `next`.
pub(super) fn link_tuple(page: &mut Page, offset: u16, next: u16) -> Result<(), Fault> {
    let range = item_range(page, offset)?;
    set_link(&mut page[range], next)
}

/// Makes a downlink lead to `to`.
pub(super) fn redirect_downlink(page: &mut Page, link: ParentLink, to: Tid) -> Result<(), Fault> {
    let range = item_range(page, link.offnum)?;
    set_downlink(&mut page[range], link.node, to)
}
