//! What two versions of a page may differ in when one comes from the primary and one from redo
//! (access/common/bufmask.c and each access method's mask function). For verification against
//! `wal_consistency_checking` only; nothing that serves pages may use it.

use walrecord::{BlockTag, ForkNumber, Lsn, Page, Rmgr};

use crate::page::{self, ItemFlag};
use crate::tuple::{self, Tid, TupleHeader};
use crate::{brin, btree, gin, gist, hash};

/// Overwrites in `page`, a page of `tag` that a record of `rmgr` changed, everything that may
/// differ between primary and redo. Two masked versions of one page are equal or one is wrong.
///
/// Stricter than Postgres in one point: it masks the whole content of visibility maps, this does not.
pub fn mask(page: &mut Page, tag: &BlockTag, rmgr: Rmgr) {
    page::set_lsn(page, Lsn::INVALID);
    page[page::CHECKSUM..page::CHECKSUM + 2].fill(0);
    if page::is_new(page) || page::check_header(page).is_err() {
        return;
    }
    match (rmgr, tag.fork) {
        (_, ForkNumber::Vm | ForkNumber::Fsm) => return,
        (Rmgr::Heap | Rmgr::Heap2, _) => mask_heap(page, tag),
        (Rmgr::Btree, _) => btree::mask(page),
        (Rmgr::Hash, _) => hash::mask(page),
        (Rmgr::Gin, _) => return gin::mask(page),
        (Rmgr::Gist, _) => gist::mask(page),
        (Rmgr::SpGist, _) => mask_hints(page),
        (Rmgr::Brin, _) if brin::mask(page) == brin::Hole::IsContent => return,
        _ => {}
    }
    mask_hole(page);
}

/// Header fields that are hints (`mask_page_hint_bits`).
pub(crate) fn mask_hints(page: &mut Page) {
    page::set_prune_xid(page, 0);
    page::clear_flag(
        page,
        page::PAGE_FULL | page::HAS_FREE_LINES | page::ALL_VISIBLE,
    );
}

/// Flags of line pointers in use: dead entries are marked without a record (`mask_lp_flags`).
pub(crate) fn mask_item_flags(page: &mut Page) {
    for offset in 1..=page::max_offset(page) {
        if let Ok(id) = page::item_id(page, offset) {
            // The line pointer exists: it was read.
            let _ = page::set_item_id(page, offset, id.with_flag(ItemFlag::Unused));
        }
    }
}

/// All of a page that is in use no more, and where its content and its hole were (`mask_page_content`).
pub(crate) fn mask_content(page: &mut Page) {
    page[page::HEADER_SIZE..].fill(0);
    page::set_lower(page, 0);
    page::set_upper(page, 0);
}

/// Bytes between line pointers and items (`mask_unused_space`).
pub(crate) fn mask_hole(page: &mut Page) {
    let hole = usize::from(page::lower(page))..usize::from(page::upper(page));
    page[hole].fill(0);
}

/// `heap_mask`: hint bits, command ids, addresses of speculative tuples, padding behind tuples.
fn mask_heap(page: &mut Page, tag: &BlockTag) {
    mask_hints(page);
    for offset in 1..=page::max_offset(page) {
        let Ok(range) = page::item_range(page, offset) else {
            continue;
        };
        if page::item_id(page, offset).is_ok_and(|id| id.flag() == ItemFlag::Normal)
            && let Ok(mut tuple) = TupleHeader::of(page, offset)
        {
            mask_tuple(&mut tuple, tag, offset);
        }
        let padded = page::max_align(range.end).min(page.len());
        page[range.end..padded].fill(0);
    }
}

fn mask_tuple(tuple: &mut TupleHeader<'_>, tag: &BlockTag, offset: u16) {
    const XMIN_FROZEN: u16 = tuple::XMIN_COMMITTED | tuple::XMIN_INVALID;
    const XMAX_HINTS: u16 = tuple::XMAX_COMMITTED | tuple::XMAX_INVALID;
    const ALL_HINTS: u16 = 0xFFF0;
    let infomask = tuple.infomask();
    let hints = if infomask & XMIN_FROZEN == XMIN_FROZEN {
        XMAX_HINTS
    } else {
        ALL_HINTS
    };
    tuple.set_infomask(infomask & !hints);
    tuple.set_xvac(0);
    if tuple.is_speculative() {
        let block = tag.block;
        tuple.set_ctid(Tid { block, offset });
    }
}
