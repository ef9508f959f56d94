//! The page header (`PageHeaderData`, storage/bufpage.h): where its fields lie and what they must
//! satisfy.

use std::ops::Range;

use walrecord::{Lsn, PAGE_SIZE, Page, Xid};

use crate::error::Fault;
use crate::page::max_align;

const LSN_HIGH: usize = 0;
const LSN_LOW: usize = LSN_HIGH + 4;
/// Where `pd_checksum` lies.
pub(crate) const CHECKSUM: usize = LSN_LOW + 4;
const FLAGS: usize = CHECKSUM + 2;
const LOWER: usize = FLAGS + 2;
const UPPER: usize = LOWER + 2;
const SPECIAL: usize = UPPER + 2;
const SIZE_AND_VERSION: usize = SPECIAL + 2;
const PRUNE_XID: usize = SIZE_AND_VERSION + 2;

/// Bytes of the header, where line pointers begin (`SizeOfPageHeaderData`).
pub(crate) const HEADER_SIZE: usize = PRUNE_XID + 4;
const _: () = assert!(HEADER_SIZE == 24);

/// `pd_pagesize_version` of every supported version: page size and layout version 4.
const PAGE_SIZE_AND_VERSION: u16 = PAGE_SIZE as u16 | 4;

/// There may be unused line pointers (`PD_HAS_FREE_LINES`).
pub(crate) const HAS_FREE_LINES: u16 = 0x0001;
/// A new tuple did not fit lately (`PD_PAGE_FULL`).
pub(crate) const PAGE_FULL: u16 = 0x0002;
/// Every tuple is visible to everyone (`PD_ALL_VISIBLE`).
pub(crate) const ALL_VISIBLE: u16 = 0x0004;
const VALID_FLAGS: u16 = HAS_FREE_LINES | PAGE_FULL | ALL_VISIBLE;

const FIRST_NORMAL_XID: Xid = 3;

/// The 16-bit field at `at`.
///
/// # Panics
/// If it does not end within the page, as the three below.
pub(crate) fn get_u16(page: &Page, at: usize) -> u16 {
    u16::from_le_bytes([page[at], page[at + 1]])
}

/// The 32-bit field at `at`.
pub(crate) fn get_u32(page: &Page, at: usize) -> u32 {
    u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]])
}

/// Writes the 16-bit field at `at`.
pub(crate) fn put_u16(page: &mut Page, at: usize, value: u16) {
    page[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// Writes the 32-bit field at `at`.
pub(crate) fn put_u32(page: &mut Page, at: usize, value: u32) {
    page[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// The LSN in a page's header (`pd_lsn`): the end of the last record that set it. Invalid on pages
/// that were never written, and not kept up on free space maps.
pub fn page_lsn(page: &Page) -> Lsn {
    let high = u64::from(get_u32(page, LSN_HIGH));
    Lsn::new(high << 32 | u64::from(get_u32(page, LSN_LOW)))
}

pub(crate) fn set_lsn(page: &mut Page, lsn: Lsn) {
    put_u32(page, LSN_HIGH, (lsn.get() >> 32) as u32);
    put_u32(page, LSN_LOW, lsn.get() as u32);
}

pub(crate) fn flags(page: &Page) -> u16 {
    get_u16(page, FLAGS)
}

pub(crate) fn set_flag(page: &mut Page, flag: u16) {
    put_u16(page, FLAGS, flags(page) | flag);
}

pub(crate) fn clear_flag(page: &mut Page, flag: u16) {
    put_u16(page, FLAGS, flags(page) & !flag);
}

/// The end of the line pointers.
pub(crate) fn lower(page: &Page) -> u16 {
    get_u16(page, LOWER)
}

pub(crate) fn set_lower(page: &mut Page, lower: u16) {
    put_u16(page, LOWER, lower);
}

/// The start of the items.
pub(crate) fn upper(page: &Page) -> u16 {
    get_u16(page, UPPER)
}

pub(crate) fn set_upper(page: &mut Page, upper: u16) {
    put_u16(page, UPPER, upper);
}

/// The start of the access method's own area at the page's end.
pub(crate) fn special(page: &Page) -> u16 {
    get_u16(page, SPECIAL)
}

/// The access method's own area, if it has at least `size` bytes.
pub(crate) fn special_range(page: &Page, size: usize) -> Result<Range<usize>, Fault> {
    let start = usize::from(special(page));
    if start < HEADER_SIZE || start + size > PAGE_SIZE {
        return Err(Fault::Special {
            special: special(page),
            needed: size as u16,
        });
    }
    Ok(start..PAGE_SIZE)
}

pub(crate) fn prune_xid(page: &Page) -> Xid {
    get_u32(page, PRUNE_XID)
}

pub(crate) fn set_prune_xid(page: &mut Page, xid: Xid) {
    put_u32(page, PRUNE_XID, xid);
}

/// Lowers the oldest transaction whose end may make pruning worthwhile to `xid` (`PageSetPrunable`).
pub(crate) fn set_prunable(page: &mut Page, xid: Xid) {
    let old = prune_xid(page);
    if old == 0 || xid_precedes(xid, old) {
        set_prune_xid(page, xid);
    }
}

/// `TransactionIdPrecedes` (access/transam/transam.c): circular among normal ids, permanent ids
/// before all others.
fn xid_precedes(a: Xid, b: Xid) -> bool {
    if a < FIRST_NORMAL_XID || b < FIRST_NORMAL_XID {
        return a < b;
    }
    (a.wrapping_sub(b) as i32) < 0
}

/// Whether the page was never initialised (`PageIsNew`).
pub fn is_new(page: &Page) -> bool {
    upper(page) == 0
}

/// Makes an empty page with `special_size` bytes for the access method, all else zero (`PageInit`).
pub(crate) fn init(page: &mut Page, special_size: usize) {
    let special = (PAGE_SIZE - max_align(special_size)) as u16;
    page.fill(0);
    set_lower(page, HEADER_SIZE as u16);
    set_upper(page, special);
    put_u16(page, SPECIAL, special);
    put_u16(page, SIZE_AND_VERSION, PAGE_SIZE_AND_VERSION);
}

/// What Postgres asks of a page's bounds before it moves anything in it.
pub(crate) fn check_header(page: &Page) -> Result<(), Fault> {
    let (lower, upper, special) = (lower(page), upper(page), special(page));
    let sound = HEADER_SIZE as u16 <= lower
        && lower <= upper
        && upper <= special
        && usize::from(special) <= PAGE_SIZE
        && special % 8 == 0;
    if sound {
        Ok(())
    } else {
        Err(Fault::Header {
            lower,
            upper,
            special,
        })
    }
}

/// Whether every byte of a page is zero: it was never written.
pub fn is_zero(page: &Page) -> bool {
    // Compared as a whole, which is one vectorised loop; almost all pages differ in the first bytes.
    *page == walrecord::ZERO_PAGE
}

/// Whether a page's header may be a page's header at all, by Postgres's own test for pages read
/// from disk (`PageIsVerifiedExtended`, bufpage.c; the checksum aside). An all-zero page passes; a
/// page that is zero only where `pd_upper` lies does not.
pub fn header_plausible(page: &Page) -> bool {
    if is_new(page) {
        return is_zero(page);
    }
    flags(page) & !VALID_FLAGS == 0
        && lower(page) <= upper(page)
        && upper(page) <= special(page)
        && usize::from(special(page)) <= PAGE_SIZE
        && special(page).is_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use walrecord::ZERO_PAGE;

    #[test]
    fn an_initialised_page_is_plausible_and_its_damage_is_not() {
        let mut page = ZERO_PAGE;
        assert!(header_plausible(&page));
        page[8000] = 1;
        assert!(!header_plausible(&page), "new, but not zero");
        init(&mut page, 5);
        assert_eq!(
            (lower(&page), upper(&page), special(&page)),
            (24, 8184, 8184)
        );
        assert!(header_plausible(&page));
        for damage in [
            |p: &mut Page| set_flag(p, 0x0008),
            |p: &mut Page| set_lower(p, 8185),
            |p: &mut Page| set_upper(p, 8185),
            |p: &mut Page| put_u16(p, SPECIAL, 8185),
            |p: &mut Page| put_u16(p, SPECIAL, 8200),
        ] {
            let mut damaged = page;
            damage(&mut damaged);
            assert!(!header_plausible(&damaged));
        }
    }

    #[test]
    fn the_lsn_is_stored_high_word_first() {
        let mut page = ZERO_PAGE;
        set_lsn(&mut page, Lsn::new(0x1_0203_0405));
        assert_eq!(page[..8], [1, 0, 0, 0, 5, 4, 3, 2]);
        assert_eq!(page_lsn(&page), Lsn::new(0x1_0203_0405));
    }

    #[test]
    fn the_prune_hint_keeps_the_oldest_transaction_across_wraparound() {
        let mut page = ZERO_PAGE;
        for (xid, kept) in [
            (10, 10),
            (11, 10),
            (u32::MAX, u32::MAX),
            (5, u32::MAX),
            (2, 2),
        ] {
            set_prunable(&mut page, xid);
            assert_eq!(prune_xid(&page), kept);
        }
    }
}
