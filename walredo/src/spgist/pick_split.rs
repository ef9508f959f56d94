//! Splitting a list of leaf tuples under a new inner tuple (`spgRedoPickSplit`, spgxlog.c).

use walrecord::Page;
use walrecord::rmgr::spgist::PickSplit;

use super::insert::to;
use super::opaque::{Level, init_page};
use super::place::{add_tuple, bury_tuples, redirect_downlink};
use super::tuple::DeadTuple;
use crate::error::Fault;
use crate::redo::Context;

/// Applies it to one of its pages. A root that is split comes only as the new inner tuple's page.
pub(super) fn redo(page: &mut Page, cx: &Context<'_, '_>, it: &PickSplit<'_>) -> Result<(), Fault> {
    match cx.block.id {
        0 if !it.is_root_split => {
            if it.init_source {
                init_page(page, Level::Leaf, it.stores_nulls)?;
            } else {
                let moved = DeadTuple::moved(to(cx, 2, it.inner_offnum)?, it.state);
                bury_tuples(page, it.deleted, moved, DeadTuple::Placeholder)?;
            }
            add_leafs(page, it, LeafPage::Source)
        }
        1 => {
            if it.init_dest {
                init_page(page, Level::Leaf, it.stores_nulls)?;
            }
            add_leafs(page, it, LeafPage::Destination)
        }
        2 => {
            if it.init_inner {
                init_page(page, Level::Inner, it.stores_nulls)?;
            }
            add_tuple(page, it.inner_offnum, it.inner)?;
            if it.inner_is_parent {
                redirect_downlink(page, it.parent, to(cx, 2, it.inner_offnum)?)?;
            }
            Ok(())
        }
        3 => redirect_downlink(page, it.parent, to(cx, 2, it.inner_offnum)?),
        _ => Err(cx.surplus_block()),
    }
}

/// One of the two pages for leaf tuples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeafPage {
    Source,
    Destination,
}

impl LeafPage {
    const fn of(selector: u8) -> LeafPage {
        match selector {
            0 => LeafPage::Source,
            _ => LeafPage::Destination,
        }
    }
}

/// Adds the leaf tuples that go to one page.
fn add_leafs(page: &mut Page, it: &PickSplit<'_>, to: LeafPage) -> Result<(), Fault> {
    let places = it.page_select.iter().zip(it.inserted);
    for ((selector, offset), tuple) in places.zip(it.tuples) {
        if LeafPage::of(*selector) == to {
            add_tuple(page, offset, tuple)?;
        }
    }
    Ok(())
}
