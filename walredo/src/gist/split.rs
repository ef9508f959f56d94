//! Splitting a page into several (`gistRedoPageSplitRecord`, gistxlog.c).

use walrecord::rmgr::gist::PageSplit;
use walrecord::{BlockNumber, Lsn, Page};

use super::opaque::{self, FOLLOW_RIGHT, LEAF, Opaque};
use super::update::append;
use crate::error::Fault;
use crate::page;
use crate::redo::Context;

/// The root's block, for ever (`GIST_ROOT_BLKNO`).
const ROOT: BlockNumber = 0;
const NO_BLOCK: BlockNumber = BlockNumber::MAX;

/// Makes one of the pages that the tuples go to. If the root is split, the first of them is the new
/// root, an inner page.
pub(super) fn make_part(
    page: &mut Page,
    cx: &Context<'_, '_>,
    split: &PageSplit,
) -> Result<(), Fault> {
    let id = cx.block.id;
    if u16::from(id) > split.pages {
        return Err(cx.surplus_block());
    }
    page::init(page, opaque::SIZE);
    append(page, PageSplit::tuples(cx.record, id)?)?;
    let is_root = cx.block.tag.block == ROOT;
    let is_last = u16::from(id) == split.pages;
    let splits_root = cx.block_number(1)? == ROOT;
    let mut flags = 0;
    if split.is_leaf && !is_root {
        flags |= LEAF;
    }
    if split.mark_follow_right && !is_last && !splits_root {
        flags |= FOLLOW_RIGHT;
    }
    let right_link = match (is_root, is_last) {
        (true, _) => NO_BLOCK,
        (false, true) => split.right_link,
        // No record has 255 blocks.
        (false, false) => cx.block_number(id.saturating_add(1))?,
    };
    let nsn = Lsn::new(split.nsn);
    Opaque {
        nsn,
        right_link,
        flags,
    }
    .write(page)
}
