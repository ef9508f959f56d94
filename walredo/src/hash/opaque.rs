//! The special area of a hash index page (`HashPageOpaqueData`, access/hash.h).

use walrecord::{BlockNumber, Page};

use crate::error::Fault;
use crate::page;

/// Bytes of the special area.
pub(super) const SIZE: usize = 16;

const PREV: usize = 0;
const NEXT: usize = 4;
const BUCKET: usize = 8;
const FLAGS: usize = 12;
const PAGE_ID: usize = 14;

/// What the last two bytes of every page of a hash index are (`HASHO_PAGE_ID`).
const IS_HASH_PAGE: u16 = 0xFF80;

/// No sibling (`InvalidBlockNumber`); block 0 would be a valid one here.
pub(super) const NO_BLOCK: BlockNumber = BlockNumber::MAX;
/// A page that belongs to no bucket (`InvalidBucket`).
pub(super) const NO_BUCKET: u32 = u32::MAX;

/// A freed overflow page (`LH_UNUSED_PAGE`): no type bit at all.
pub(super) const UNUSED_PAGE: u16 = 0;
/// A later page of a bucket (`LH_OVERFLOW_PAGE`).
pub(super) const OVERFLOW_PAGE: u16 = 1 << 0;
/// The first page of a bucket (`LH_BUCKET_PAGE`).
pub(super) const BUCKET_PAGE: u16 = 1 << 1;
/// A page of bits that say which overflow pages are in use (`LH_BITMAP_PAGE`).
pub(super) const BITMAP_PAGE: u16 = 1 << 2;
/// The metapage (`LH_META_PAGE`).
pub(super) const META_PAGE: u16 = 1 << 3;
/// The bits that say of which type the page is (`LH_PAGE_TYPE`).
pub(super) const PAGE_TYPE: u16 = OVERFLOW_PAGE | BUCKET_PAGE | BITMAP_PAGE | META_PAGE;
/// Tuples that a split moved away are still there (`LH_BUCKET_NEEDS_SPLIT_CLEANUP`).
pub(super) const NEEDS_SPLIT_CLEANUP: u16 = 1 << 6;
/// Some line pointers may be dead (`LH_PAGE_HAS_DEAD_TUPLES`). Never logged, cleared by redo.
pub(super) const HAS_DEAD_TUPLES: u16 = 1 << 7;

/// The special area's fields; the page's identification is always the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opaque {
    /// The page before this one in the bucket; on a bucket's first page the highest bucket number
    /// when the bucket was made or last split.
    pub(super) prev: BlockNumber,
    /// The page after this one in the bucket.
    pub(super) next: BlockNumber,
    /// The bucket that the page belongs to.
    pub(super) bucket: u32,
    /// `LH_` flags.
    pub(super) flags: u16,
}

impl Opaque {
    /// Makes an empty page with this special area (`_hash_initbuf`, hashpage.c).
    pub(super) fn make(self, page: &mut Page) -> Result<(), Fault> {
        page::init(page, SIZE);
        let at = page::special_range(page, SIZE)?.start;
        page::put_u32(page, at + PREV, self.prev);
        page::put_u32(page, at + NEXT, self.next);
        page::put_u32(page, at + BUCKET, self.bucket);
        page::put_u16(page, at + FLAGS, self.flags);
        page::put_u16(page, at + PAGE_ID, IS_HASH_PAGE);
        Ok(())
    }
}

pub(super) fn set_prev(page: &mut Page, prev: BlockNumber) -> Result<(), Fault> {
    let at = position(page)? + PREV;
    page::put_u32(page, at, prev);
    Ok(())
}

pub(super) fn set_next(page: &mut Page, next: BlockNumber) -> Result<(), Fault> {
    let at = position(page)? + NEXT;
    page::put_u32(page, at, next);
    Ok(())
}

/// The flags.
pub(super) fn flags(page: &Page) -> Result<u16, Fault> {
    let at = position(page)? + FLAGS;
    Ok(page::get_u16(page, at))
}

pub(super) fn set_flags(page: &mut Page, flags: u16) -> Result<(), Fault> {
    let at = position(page)? + FLAGS;
    page::put_u16(page, at, flags);
    Ok(())
}

pub(super) fn clear_flags(page: &mut Page, clear: u16) -> Result<(), Fault> {
    let left = flags(page)? & !clear;
    set_flags(page, left)
}

/// Asks that the page is of one type.
pub(super) fn expect_type(page: &Page, expected: u16) -> Result<(), Fault> {
    let found = flags(page)? & PAGE_TYPE;
    if found == expected {
        return Ok(());
    }
    Err(Fault::Value {
        what: "the type of a hash index page",
        found: u64::from(found),
        expected: u64::from(expected),
    })
}

/// Where the special area starts, if it says of itself that it is one of a hash index.
fn position(page: &Page) -> Result<usize, Fault> {
    let at = page::special_range(page, SIZE)?.start;
    let found = page::get_u16(page, at + PAGE_ID);
    if found == IS_HASH_PAGE {
        return Ok(at);
    }
    Err(Fault::Value {
        what: "the identification of a hash index page",
        found: u64::from(found),
        expected: u64::from(IS_HASH_PAGE),
    })
}
