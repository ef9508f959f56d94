//! The last look at a page before it leaves: a few comparisons on its header. The store's tripwire is
//! the thorough one.

use walrecord::{Lsn, PAGE_SIZE, Page};

/// A page that cannot be the one at that LSN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Implausible {
    #[error("the page built carries LSN {0}, which is later")]
    FromTheFuture(Lsn),
    #[error("the page built has bounds {lower}, {upper}, {special}, which are none of a page")]
    Bounds {
        lower: u16,
        upper: u16,
        special: u16,
    },
}

/// `SizeOfPageHeaderData` (storage/bufpage.h).
const HEADER_SIZE: u16 = 24;

/// Holds the header against the LSN it was read at (`PageHeaderData`; `PageIsVerified` in
/// storage/page/bufpage.c). A page that is new, by its upper bound, passes.
pub(crate) fn check_page(page: &Page, at: Lsn) -> Result<(), Implausible> {
    let u16_at = |offset: usize| u16::from_le_bytes([page[offset], page[offset + 1]]);
    let (lower, upper, special) = (u16_at(12), u16_at(14), u16_at(16));
    if upper == 0 {
        return Ok(());
    }
    // The halves of the LSN are two 32-bit integers, the high one first.
    let half = |offset: usize| (u64::from(u16_at(offset + 2)) << 16) | u64::from(u16_at(offset));
    let lsn = Lsn::new(half(0) << 32 | half(4));
    if lsn > at {
        return Err(Implausible::FromTheFuture(lsn));
    }
    let ordered = HEADER_SIZE <= lower && lower <= upper && upper <= special;
    if !ordered || usize::from(special) > PAGE_SIZE {
        return Err(Implausible::Bounds {
            lower,
            upper,
            special,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use walrecord::ZERO_PAGE;

    use super::*;

    fn page(lsn: u64, bounds: [u16; 3]) -> Page {
        let mut page = ZERO_PAGE;
        page[0..4].copy_from_slice(&((lsn >> 32) as u32).to_le_bytes());
        page[4..8].copy_from_slice(&(lsn as u32).to_le_bytes());
        for (field, offset) in bounds.iter().zip([12, 14, 16]) {
            page[offset..offset + 2].copy_from_slice(&field.to_le_bytes());
        }
        page
    }

    #[test]
    fn a_page_from_later_than_its_lsn_is_caught() {
        let at = Lsn::new(0x5_0000_1000);
        let bounds = [24, 8192, 8192];
        assert_eq!(check_page(&page(at.get(), bounds), at), Ok(()));
        let later = Lsn::new(at.get() + 8);
        let error = Implausible::FromTheFuture(later);
        assert_eq!(check_page(&page(later.get(), bounds), at), Err(error));
    }

    #[test]
    fn bounds_that_cross_are_caught_and_new_pages_pass() {
        for bounds in [
            [23, 8192, 8192],
            [40, 32, 8192],
            [24, 8192, 8000],
            [24, 24, 8193],
        ] {
            let found = check_page(&page(8, bounds), Lsn::new(8));
            assert!(
                matches!(found, Err(Implausible::Bounds { .. })),
                "{bounds:?}"
            );
        }
        assert_eq!(check_page(&ZERO_PAGE, Lsn::new(8)), Ok(()));
    }
}
