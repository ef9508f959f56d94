//! Commit times: ten bytes a transaction (access/transam/commit_ts.c).

use walrecord::rmgr::commit_ts::{ENTRY_SIZE, XIDS_PER_PAGE, page as page_of};
use walrecord::{Page, PgTime, Xid};

/// What is recorded about each transaction of a committed tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommitTime {
    /// When: the origin's time if the commit was replicated from elsewhere, else the local one.
    pub(super) time: PgTime,
    /// The replication origin, 0 for none.
    pub(super) origin: u16,
}

/// Records `commit` for those of `xids` that lie on page `number` (`TransactionTreeSetCommitTsData`,
/// restricted to one page). Returns whether any did.
pub(super) fn set_times(
    page: &mut Page,
    number: u32,
    commit: CommitTime,
    xids: impl Iterator<Item = Xid>,
) -> bool {
    let mut entry = [0; ENTRY_SIZE];
    entry[..8].copy_from_slice(&commit.time.to_le_bytes());
    entry[8..].copy_from_slice(&commit.origin.to_le_bytes());
    let mut touched = false;
    for xid in xids.filter(|xid| page_of(*xid) == number) {
        let at = (xid % XIDS_PER_PAGE) as usize * ENTRY_SIZE;
        page[at..at + ENTRY_SIZE].copy_from_slice(&entry);
        touched = true;
    }
    touched
}

#[cfg(test)]
mod tests {
    use super::*;
    use walrecord::ZERO_PAGE;

    #[test]
    fn time_and_origin_of_each_transaction_on_the_page_are_recorded() {
        let mut page = ZERO_PAGE;
        let commit = CommitTime {
            time: 0x0102_0304_0506_0708,
            origin: 0x0A0B,
        };
        let xids = [819 + 818, 818, 819, 2 * 819];
        assert!(set_times(&mut page, 1, commit, xids.into_iter()));
        let entry = [8, 7, 6, 5, 4, 3, 2, 1, 0x0B, 0x0A];
        assert_eq!(page[..10], entry);
        assert_eq!(page[8180..8190], entry);
        assert!(page[10..8180].iter().all(|b| *b == 0));
        assert_eq!(page[8190..], [0, 0]);
    }
}
