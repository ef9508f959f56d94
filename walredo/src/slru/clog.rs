//! The commit log: two bits a transaction (access/transam/clog.c).

use walrecord::rmgr::clog::{XIDS_PER_PAGE, page as page_of};
use walrecord::{Page, Xid};

/// Transactions in one byte (`CLOG_XACTS_PER_BYTE`).
const XIDS_PER_BYTE: u32 = 4;
/// Bits of one transaction (`CLOG_BITS_PER_XACT`).
const BITS: u32 = 2;
/// How a transaction ended, as the commit log spells it. The third code, "sub-committed", is a
/// step of stock redo that the same record completes, so no page version ever holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Status {
    Committed = 1,
    Aborted = 2,
}

/// Marks those of `xids` that lie on page `number` (`TransactionIdSetTreeStatus`, restricted to one
/// page). Returns whether any did.
pub(super) fn set_status(
    page: &mut Page,
    number: u32,
    status: Status,
    xids: impl Iterator<Item = Xid>,
) -> bool {
    let mut touched = false;
    for xid in xids.filter(|xid| page_of(*xid) == number) {
        let byte = &mut page[(xid % XIDS_PER_PAGE / XIDS_PER_BYTE) as usize];
        let shift = xid % XIDS_PER_BYTE * BITS;
        *byte = *byte & !(3 << shift) | (status as u8) << shift;
        touched = true;
    }
    touched
}

#[cfg(test)]
mod tests {
    use super::*;
    use walrecord::ZERO_PAGE;

    #[test]
    fn only_the_bits_of_the_given_transactions_on_this_page_change() {
        let mut page = ZERO_PAGE;
        page[1] = 0b11_00_11_00;
        let xids = [32768 + 4, 5, 32768 + 7, 3 * 32768];
        assert!(set_status(
            &mut page,
            1,
            Status::Committed,
            xids.into_iter()
        ));
        assert_eq!(page[1], 0b01_00_11_01);
        assert!(page[2..].iter().all(|b| *b == 0) && page[0] == 0);
    }

    #[test]
    fn an_abort_overwrites_and_repeats_to_the_same_bytes() {
        let mut page = ZERO_PAGE;
        page[8191] = 0xFF;
        for _ in 0..2 {
            assert!(set_status(
                &mut page,
                0,
                Status::Aborted,
                [32767].into_iter()
            ));
            assert_eq!(page[8191], 0b10_11_11_11);
        }
    }

    #[test]
    fn transactions_of_other_pages_touch_nothing() {
        let mut page = ZERO_PAGE;
        assert!(!set_status(
            &mut page,
            9,
            Status::Committed,
            [7, u32::MAX].into_iter()
        ));
        assert_eq!(page, ZERO_PAGE);
    }
}
