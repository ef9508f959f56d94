//! What a verifier tells equal from different, and what it does about it.

use super::*;
use crate::page::init;
use crate::testing::{RULES, RecordBuilder, parse, tag};
use walrecord::rmgr::visibility::map_byte;
use walrecord::{Rmgr, ZERO_PAGE};

const MAIN: ForkNumber = ForkNumber::Main;
const VM: ForkNumber = ForkNumber::Vm;
const INIT: u8 = 0x80;
const WILL_INIT: u8 = 0x40;
/// infomask2 2, infomask 0x0802, hoff 24; padding byte; columns.
const TUPLE: &[u8] = b"\x02\x00\x02\x08\x18\x00hello, world";

fn replay(verifier: &mut Verifier, builder: &RecordBuilder) {
    let bytes = builder.bytes();
    verifier.replay(&parse(&bytes)).expect("a sound record");
}

/// What the builder's record makes of nothing.
fn made_by(builder: &RecordBuilder, tag: BlockTag) -> Page {
    let mut page = ZERO_PAGE;
    redo(&mut page, &parse(&builder.bytes()), &tag.into(), &RULES).expect("redo");
    page
}

/// INSERT+INIT of one tuple, expecting `expected`.
fn insert(block: u32, expected: &Page) -> RecordBuilder {
    let main = [1, 0, 0];
    RecordBuilder::new(Rmgr::Heap, INIT, &main).expect(
        0,
        WILL_INIT,
        tag(MAIN, block),
        TUPLE,
        expected,
    )
}

/// What INSERT+INIT makes.
fn inserted(block: u32) -> Page {
    made_by(&insert(block, &ZERO_PAGE), tag(MAIN, block))
}

fn sum(findings: &Findings, field: fn(&BlockCounts) -> u64) -> u64 {
    findings.counts.values().map(field).sum()
}

#[test]
fn a_page_as_expected_is_equal_whatever_its_hints_and_another_is_different() {
    let mut verifier = Verifier::new(RULES);
    let mut expected = inserted(7);
    // pd_prune_xid is a hint.
    expected[20] = 9;
    replay(&mut verifier, &insert(7, &expected));
    assert_eq!(verifier.totals(), (1, 0));
    expected[8180] ^= 0x20;
    replay(&mut verifier, &insert(7, &expected));
    assert_eq!(verifier.totals(), (1, 1));
    let difference = &verifier.differences()[0];
    assert_eq!(difference.key, Some(tag(MAIN, 7).into()));
    let Disagreement::Bytes { first, count } = &difference.what else {
        panic!("{difference:?}");
    };
    assert_eq!((first.len(), *count), (1, 1));
    assert_eq!(first[0].0, 8180);
    // The next record meets the expected version.
    let page = verifier.pages().next().map(|(_, page)| *page);
    assert_eq!(page.expect("a page")[8180], expected[8180]);
}

#[test]
fn the_next_record_meets_redos_page_or_the_expected_one_as_asked() {
    for (base, hint) in [(Base::Carried, 0), (Base::Expected, 9)] {
        let mut options = VerifyOptions::new(RULES);
        options.base = base;
        let mut verifier = Verifier::with_options(options);
        let mut expected = inserted(7);
        expected[20] = 9;
        replay(&mut verifier, &insert(7, &expected));
        let held = verifier.pages().next().map(|(_, page)| page[20]);
        assert_eq!(held, Some(hint), "{base:?}");
    }
}

#[test]
fn an_extensions_page_is_refused_by_name_and_others_are_verified() {
    let custom = RecordBuilder::new(Rmgr::Heap, 0, b"?").custom(130);
    let custom =
        custom
            .expect(0, 0, tag(MAIN, 1), &[], &inserted(1))
            .block(1, 0, tag(MAIN, 2), &[]);
    let mut verifier = Verifier::new(RULES);
    replay(&mut verifier, &insert(2, &inserted(2)));
    replay(&mut verifier, &custom);
    replay(&mut verifier, &insert(3, &inserted(3)));
    let held: Vec<u32> = verifier.pages().map(|(tag, _)| tag.block).collect();
    assert_eq!(held, [1, 3], "block 1 begins anew, 2 is not known any more");
    let findings = verifier.into_findings();
    assert_eq!(findings.totals(), (2, 0));
    assert_eq!(sum(&findings, |counts| counts.refused), 2);
    let Disagreement::Refused(error) = &findings.notes[0].what else {
        panic!("{:?}", findings.notes);
    };
    assert!(error.to_string().contains("custom130"), "{error}");
}

/// VISIBLE of heap blocks 5, whose bits are in the second byte.
fn visible(expected: &Page) -> RecordBuilder {
    RecordBuilder::new(Rmgr::Heap2, 0x40, &[9, 0, 0, 0, 3])
        .expect(0, 0, tag(VM, 0), &[], expected)
        .block(1, 0, tag(MAIN, 5), &[])
}

#[test]
fn of_a_map_the_bits_that_the_record_names_must_be_equal_and_others_are_noted() {
    let mut map = ZERO_PAGE;
    init(&mut map, 0);
    let verify = |expected: &Page| {
        let mut verifier = Verifier::new(RULES);
        verifier.load(tag(VM, 0), Box::new(map));
        replay(&mut verifier, &visible(expected));
        verifier.into_findings()
    };
    let mut expected = map;
    expected[map_byte(5)] = 0b1100;
    assert_eq!(verify(&expected).totals(), (1, 0));
    assert_eq!(verify(&expected).maps_with_other_bits, 0);
    // Block 4 and a block far away.
    expected[map_byte(4)] |= 0b01;
    expected[map_byte(4000)] |= 0b11;
    let findings = verify(&expected);
    assert_eq!(
        (findings.totals(), findings.maps_with_other_bits),
        ((1, 0), 1)
    );
    assert!(matches!(
        findings.notes[0].what,
        Disagreement::OtherBits {
            surplus: 0,
            missing: 3
        }
    ));
    expected[map_byte(5)] = 0b0100;
    assert_eq!(verify(&expected).totals(), (0, 1));
    // A header is never a concurrent change.
    expected[map_byte(5)] = 0b1100;
    expected[12] = 1;
    assert_eq!(verify(&expected).totals(), (0, 1));
}

/// `CREATE DATABASE` by WAL loses a map's bits. Of a block that the primary still has all-visible, a lock
/// (17.11, 18.6) clears only the all-frozen bit: nothing is said of the other one.
#[test]
fn of_a_lock_only_the_frozen_bit_must_be_equal() {
    let lock = |expected: &Page| {
        RecordBuilder::new(Rmgr::Heap, 0x60, &[9, 0, 0, 0, 1, 0, 2, 1])
            .block(0, 0, tag(MAIN, 5), &[])
            .expect(1, 0, tag(VM, 0), &[], expected)
    };
    let mut map = ZERO_PAGE;
    init(&mut map, 0);
    for (bits, totals) in [(0b0100, (1, 0)), (0b1100, (0, 1))] {
        let mut verifier = Verifier::new(RULES);
        verifier.load(tag(VM, 0), Box::new(map));
        let mut expected = map;
        expected[map_byte(5)] = bits;
        replay(&mut verifier, &lock(&expected));
        assert_eq!(verifier.totals(), totals, "{bits:04b}");
    }
}

#[test]
fn shares_find_together_what_one_finds_alone() {
    let mut wrong = inserted(17);
    wrong[8180] ^= 1;
    let records: Vec<RecordBuilder> = (0..40)
        .map(|block| match block {
            17 => insert(block, &wrong),
            _ => insert(block, &inserted(block)),
        })
        .collect();
    let find = |share| {
        let mut options = VerifyOptions::new(RULES);
        options.share = share;
        let mut verifier = Verifier::with_options(options);
        records.iter().for_each(|it| replay(&mut verifier, it));
        verifier.into_findings()
    };
    let alone = find(Share::ALL);
    assert_eq!(alone.totals(), (39, 1));
    let mut together = Findings::default();
    for index in 0..3 {
        let part = find(Share { index, count: 3 });
        assert!(sum(&part, |counts| counts.equal) > 5, "an uneven share");
        together.merge(part);
    }
    assert_eq!(together.counts, alone.counts);
    assert_eq!(together.differences.len(), 1);
}

#[test]
fn a_dropped_page_begins_anew_with_the_next_expected_version() {
    let mut options = VerifyOptions::new(RULES);
    options.max_pages = 8;
    let mut verifier = Verifier::with_options(options);
    (0..30).for_each(|block| replay(&mut verifier, &insert(block, &inserted(block))));
    assert!(verifier.pages_held() <= 8);
    // CONFIRM of block 0's tuple.
    let expected = inserted(0);
    let confirm = RecordBuilder::new(Rmgr::Heap, 0x50, &[1, 0]);
    let confirm = confirm.expect(0, 0, tag(MAIN, 0), &[], &expected);
    replay(&mut verifier, &confirm);
    let findings = verifier.into_findings();
    assert_eq!(sum(&findings, |counts| counts.seeded), 1);
    assert!(findings.pages_dropped > 0);
    assert_eq!(findings.totals(), (30, 0));
}

#[test]
fn a_record_that_cannot_be_decoded_is_counted_and_the_rest_goes_on() {
    let mut verifier = Verifier::new(RULES);
    let short = RecordBuilder::new(Rmgr::Heap, 0x10, &[1]).block(0, 0, tag(MAIN, 7), &[]);
    let bytes = short.bytes();
    assert!(verifier.replay(&parse(&bytes)).is_err());
    replay(&mut verifier, &insert(7, &inserted(7)));
    assert_eq!(verifier.totals(), (1, 1));
    assert!(matches!(
        verifier.differences()[0].what,
        Disagreement::Undecodable(_)
    ));
}
