//! The special area of a GIN page (`GinPageOpaqueData`, access/ginblock.h).

use walrecord::{BlockNumber, Page};

use crate::error::Fault;
use crate::page;

/// Bytes of the special area.
pub(super) const SIZE: usize = 8;

const RIGHT_LINK: usize = 0;
const COUNT: usize = 4;
const FLAGS: usize = 6;

/// No page to the right (`InvalidBlockNumber`).
pub(super) const NO_BLOCK: BlockNumber = BlockNumber::MAX;

/// A page of a posting tree (`GIN_DATA`).
pub(super) const DATA: u16 = 1 << 0;
/// A leaf (`GIN_LEAF`).
pub(super) const LEAF: u16 = 1 << 1;
/// Not in use any more (`GIN_DELETED`).
pub(super) const DELETED: u16 = 1 << 2;
/// The metapage (`GIN_META`).
pub(super) const META: u16 = 1 << 3;
/// A page of the pending list (`GIN_LIST`).
pub(super) const LIST: u16 = 1 << 4;
/// The pending list's rows end on this page (`GIN_LIST_FULLROW`).
pub(super) const LIST_FULL_ROW: u16 = 1 << 5;
/// The right sibling's downlink is missing (`GIN_INCOMPLETE_SPLIT`).
pub(super) const INCOMPLETE_SPLIT: u16 = 1 << 6;
/// A leaf of a posting tree in the format of 9.4 and newer (`GIN_COMPRESSED`).
pub(super) const COMPRESSED: u16 = 1 << 7;

/// Makes an empty page with these flags and no right sibling (`GinInitPage`, ginutil.c).
pub(super) fn make(page: &mut Page, flags: u16) -> Result<(), Fault> {
    page::init(page, SIZE);
    set_right_link(page, NO_BLOCK)?;
    set_flags(page, flags)
}

pub(super) fn set_right_link(page: &mut Page, right: BlockNumber) -> Result<(), Fault> {
    let at = position(page)? + RIGHT_LINK;
    page::put_u32(page, at, right);
    Ok(())
}

/// Items of an inner page of a posting tree, heap tuples of a page of the pending list, heap TIDs
/// of an uncompressed leaf (`maxoff`).
pub(super) fn count(page: &Page) -> Result<u16, Fault> {
    let at = position(page)? + COUNT;
    Ok(page::get_u16(page, at))
}

pub(super) fn set_count(page: &mut Page, count: u16) -> Result<(), Fault> {
    let at = position(page)? + COUNT;
    page::put_u16(page, at, count);
    Ok(())
}

/// The flags.
pub(super) fn flags(page: &Page) -> Result<u16, Fault> {
    let at = position(page)? + FLAGS;
    Ok(page::get_u16(page, at))
}

fn put_flags(page: &mut Page, flags: u16) -> Result<(), Fault> {
    let at = position(page)? + FLAGS;
    page::put_u16(page, at, flags);
    Ok(())
}

pub(super) fn set_flags(page: &mut Page, set: u16) -> Result<(), Fault> {
    let all = flags(page)? | set;
    put_flags(page, all)
}

pub(super) fn clear_flags(page: &mut Page, clear: u16) -> Result<(), Fault> {
    let left = flags(page)? & !clear;
    put_flags(page, left)
}

/// Asks that of the flags in `which` just those in `expected` are set.
pub(super) fn expect_flags(page: &Page, which: u16, expected: u16) -> Result<(), Fault> {
    let found = flags(page)? & which;
    if found == expected {
        return Ok(());
    }
    Err(Fault::Value {
        what: "the flags of a GIN page",
        found: u64::from(found),
        expected: u64::from(expected),
    })
}

/// Where the special area starts. Its size is all that tells a GIN page from others.
fn position(page: &Page) -> Result<usize, Fault> {
    let range = page::special_range(page, SIZE)?;
    if range.len() == SIZE {
        return Ok(range.start);
    }
    Err(Fault::Special {
        special: page::special(page),
        needed: SIZE as u16,
    })
}
