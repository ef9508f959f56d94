//! Whole records on pages of the transaction-status logs.

use super::*;
use crate::redo::{Applied, redo};
use crate::testing::{RULES, RecordBuilder, parse, u32s};
use crate::{Fault, RedoError};
use walrecord::{PageKey, ZERO_PAGE};

const COMMIT: u8 = 0x00;
const ABORT: u8 = 0x20;
const COMMIT_PREPARED: u8 = 0x30;
const ABORT_PREPARED: u8 = 0x40;
const ASSIGNMENT: u8 = 0x50;
const HAS_INFO: u8 = 0x80;

const TIME: i64 = 0x0102_0304;

fn key(kind: SlruKind, page: u32) -> PageKey {
    PageKey::Slru(SlruPage { kind, page })
}

fn apply(page: &mut Page, record: &RecordBuilder, key: PageKey) -> Result<Applied, RedoError> {
    redo(page, &parse(&record.bytes()), &key, &RULES)
}

fn untouched(result: &Result<Applied, RedoError>) -> bool {
    matches!(result, Err(RedoError::Untouched { .. }))
}

/// The end of a transaction tree: `subxids` as the record lists them, then a prepared one's id.
fn end(info: u8, subxids: &[u32], prepared: Option<u32>) -> RecordBuilder {
    let flags = 2 | if prepared.is_some() { 1 << 4 } else { 0 };
    let main = [
        TIME.to_le_bytes().to_vec(),
        u32s(&[flags, subxids.len() as u32]),
        u32s(subxids),
        prepared.map_or(vec![], |xid| u32s(&[xid])),
    ]
    .concat();
    RecordBuilder::new(Rmgr::Transaction, info | HAS_INFO, &main)
}

fn status(page: &Page, xid: u32) -> u8 {
    page[(xid % 32768 / 4) as usize] >> (xid % 4 * 2) & 3
}

#[test]
fn a_tree_over_two_pages_is_marked_on_each_without_the_intermediate_code() {
    for (info, code) in [(COMMIT, 1), (ABORT, 2)] {
        let record = end(info, &[32767, 32768, 32770], None).xid(32760);
        let mut first = ZERO_PAGE;
        let result = apply(&mut first, &record, key(SlruKind::Clog, 0));
        assert_eq!(result, Ok(Applied::Changed));
        let marked = |page: &Page| {
            (0..32768)
                .filter(|xid| status(page, *xid) == code)
                .collect()
        };
        let found: Vec<u32> = marked(&first);
        assert_eq!(found, [32760, 32767]);
        let mut second = ZERO_PAGE;
        let result = apply(&mut second, &record, key(SlruKind::Clog, 1));
        assert_eq!(result, Ok(Applied::Changed));
        let found: Vec<u32> = marked(&second);
        assert_eq!(found, [0, 2]);
        assert!(untouched(&apply(
            &mut second,
            &record,
            key(SlruKind::Clog, 2)
        )));
    }
}

#[test]
fn the_end_of_a_prepared_transaction_marks_that_one_not_the_writer() {
    for (info, code) in [(COMMIT_PREPARED, 1), (ABORT_PREPARED, 2)] {
        let record = end(info, &[], Some(900)).xid(0);
        let mut page = ZERO_PAGE;
        let result = apply(&mut page, &record, key(SlruKind::Clog, 0));
        assert_eq!(result, Ok(Applied::Changed));
        assert_eq!((status(&page, 900), status(&page, 0)), (code, 0));
    }
}

#[test]
fn commit_times_come_from_the_origin_if_there_is_one() {
    let plain = RecordBuilder::new(Rmgr::Transaction, COMMIT, &TIME.to_le_bytes()).xid(5);
    let origin_time = 0x0A0B_0C0Di64;
    let main = [
        TIME.to_le_bytes().to_vec(),
        u32s(&[1 << 5]),
        77u64.to_le_bytes().to_vec(),
        origin_time.to_le_bytes().to_vec(),
    ]
    .concat();
    let replicated = RecordBuilder::new(Rmgr::Transaction, COMMIT | HAS_INFO, &main)
        .xid(6)
        .origin(3);
    let mut page = ZERO_PAGE;
    for record in [plain, replicated] {
        let result = apply(&mut page, &record, key(SlruKind::CommitTs, 0));
        assert_eq!(result, Ok(Applied::Changed));
    }
    assert_eq!(page[50..58], TIME.to_le_bytes());
    assert_eq!(page[58..60], [0, 0]);
    assert_eq!(page[60..68], origin_time.to_le_bytes());
    assert_eq!(page[68..70], [3, 0]);
}

#[test]
fn aborts_have_no_commit_time_and_assignments_touch_nothing() {
    let mut page = ZERO_PAGE;
    let abort = end(ABORT, &[], None);
    assert!(untouched(&apply(
        &mut page,
        &abort,
        key(SlruKind::CommitTs, 0)
    )));
    let assignment = RecordBuilder::new(Rmgr::Transaction, ASSIGNMENT, &u32s(&[700, 1, 701]));
    assert!(untouched(&apply(
        &mut page,
        &assignment,
        key(SlruKind::Clog, 0)
    )));
    assert_eq!(page, ZERO_PAGE);
}

#[test]
fn each_area_zeroes_its_own_page_and_no_other() {
    let areas = [
        (Rmgr::Clog, 0x00, SlruKind::Clog),
        (Rmgr::CommitTs, 0x00, SlruKind::CommitTs),
        (Rmgr::MultiXact, 0x00, SlruKind::MultiXactOffsets),
        (Rmgr::MultiXact, 0x10, SlruKind::MultiXactMembers),
    ];
    for (rmgr, info, kind) in areas {
        let record = RecordBuilder::new(rmgr, info, &u32s(&[9]));
        for other in SlruKind::ALL {
            let mut page = [0xEE; 8192];
            let result = apply(&mut page, &record, key(other, 9));
            if other == kind {
                assert_eq!((result, page), (Ok(Applied::Changed), ZERO_PAGE));
            } else {
                assert!(untouched(&result), "{record:?} {other:?}", record = info);
            }
        }
        let mut page = [0xEE; 8192];
        assert!(untouched(&apply(&mut page, &record, key(kind, 8))));
    }
}

#[test]
fn a_multixact_reaches_both_areas() {
    let main = u32s(&[2047, 1634, 3, 50, 1, 51, 2, 52, 5]);
    let record = RecordBuilder::new(Rmgr::MultiXact, 0x20, &main);
    for (kind, pages) in [
        (SlruKind::MultiXactOffsets, [true, true, false]),
        (SlruKind::MultiXactMembers, [true, true, false]),
        (SlruKind::Clog, [false, false, false]),
    ] {
        for (number, touched) in pages.into_iter().enumerate() {
            let mut page = ZERO_PAGE;
            let result = apply(&mut page, &record, key(kind, number as u32));
            assert_eq!(!untouched(&result), touched, "{kind:?} {number}");
            assert_eq!(page != ZERO_PAGE, touched, "{kind:?} {number}");
        }
    }
}

#[test]
fn truncations_touch_no_page_and_damage_is_an_error() {
    let mut page = ZERO_PAGE;
    let record = RecordBuilder::new(Rmgr::Clog, 0x10, &u32s(&[1, 40_000, 5]));
    assert!(untouched(&apply(
        &mut page,
        &record,
        key(SlruKind::Clog, 0)
    )));
    let short = RecordBuilder::new(Rmgr::MultiXact, 0x20, &u32s(&[1, 1, 2, 50, 1]));
    let result = apply(&mut page, &short, key(SlruKind::MultiXactMembers, 0));
    assert!(matches!(
        result,
        Err(RedoError::Mismatch {
            fault: Fault::Body(_),
            ..
        })
    ));
}
