//! Records of VACUUM (spgxlog.c).

use walrecord::Page;
use walrecord::rmgr::spgist::{VacuumLeaf, VacuumRedirect};

use super::opaque::{Counter, count};
use super::place::{bury_tuples, link_tuple};
use super::tuple::{DeadTuple, redirect_to_placeholder};
use crate::error::Fault;
use crate::page::{delete_items, item_id, item_range, max_offset, set_item_id};

/// `spgRedoVacuumLeaf`. Heads of lists whose place a downlink names are kept as dead tuples, or take
/// over what follows: the two tuples change line pointers.
pub(super) fn vacuum_leaf(page: &mut Page, it: &VacuumLeaf<'_>) -> Result<(), Fault> {
    const PLACEHOLDER: DeadTuple = DeadTuple::Placeholder;
    bury_tuples(page, it.dead, DeadTuple::Dead, DeadTuple::Dead)?;
    bury_tuples(page, it.placeholder, PLACEHOLDER, PLACEHOLDER)?;
    for (from, to) in it.move_from.iter().zip(it.move_to) {
        let (source, target) = (item_id(page, from)?, item_id(page, to)?);
        set_item_id(page, from, target)?;
        set_item_id(page, to, source)?;
    }
    bury_tuples(page, it.move_from, PLACEHOLDER, PLACEHOLDER)?;
    it.chain_from
        .iter()
        .zip(it.chain_to)
        .try_for_each(|(offset, next)| link_tuple(page, offset, next))
}

/// `spgRedoVacuumRedirect`. Redirections become placeholders; those at the end of the page go.
pub(super) fn vacuum_redirect(page: &mut Page, it: &VacuumRedirect<'_>) -> Result<(), Fault> {
    for offset in it.to_placeholder {
        let range = item_range(page, offset)?;
        redirect_to_placeholder(&mut page[range])?;
    }
    // No more than there are line pointers: each was a redirection once.
    let changed = it.to_placeholder.len() as i32;
    count(page, Counter::Redirections, -changed)?;
    count(page, Counter::Placeholders, changed)?;
    if it.first_placeholder == 0 {
        return Ok(());
    }
    let last = max_offset(page);
    if it.first_placeholder > last {
        return Err(Fault::Offset {
            offset: it.first_placeholder,
            max: last,
        });
    }
    let removed = it.first_placeholder..=last;
    count(page, Counter::Placeholders, -(removed.len() as i32))?;
    delete_items(page, removed)
}
