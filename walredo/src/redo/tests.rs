//! The contract on whole records; what resource managers do inside pages is tested against the
//! versions that real WAL expects (see `tests/consistency.rs`).

use super::*;
use crate::page::{Placement, add_item, init, item_range, page_lsn, set_lsn};
use crate::testing::{END, RULES, Random, RecordBuilder, parse, tag};
use crate::{page_checksum, set_checksum};
use walrecord::{Lsn, RedoRules, ZERO_PAGE};

const MAIN: ForkNumber = ForkNumber::Main;
const VM: ForkNumber = ForkNumber::Vm;
const INSERT: u8 = 0x00;
const INIT: u8 = 0x80;
const WILL_INIT: u8 = 0x40;
/// infomask2 2, infomask 0x0802, hoff 24; padding byte; columns.
const TUPLE: &[u8] = b"\x02\x00\x02\x08\x18\x00hello, world";

fn key(tag: BlockTag) -> PageKey {
    PageKey::Block(tag)
}

fn apply_to(page: &mut Page, builder: &RecordBuilder, tag: BlockTag) -> Result<Applied, RedoError> {
    redo(page, &parse(&builder.bytes()), &key(tag), &RULES)
}

/// INSERT at line pointer `offset` of block 7.
fn insert(info: u8, offset: u8, flags: u8) -> RecordBuilder {
    let block_flags = if info & INIT != 0 { WILL_INIT } else { 0 };
    RecordBuilder::new(Rmgr::Heap, INSERT | info, &[offset, 0, flags]).block(
        0,
        block_flags,
        tag(MAIN, 7),
        TUPLE,
    )
}

/// A heap page with one tuple, as INSERT+INIT makes it.
fn one_tuple() -> Page {
    let mut page = ZERO_PAGE;
    let applied = apply_to(&mut page, &insert(INIT, 1, 0), tag(MAIN, 7));
    assert_eq!(applied, Ok(Applied::Changed));
    set_lsn(&mut page, Lsn::new(1));
    page
}

#[test]
fn an_initialising_record_ignores_what_was_there_and_its_lsn() {
    let mut page = [0xEE; 8192];
    let applied = apply_to(&mut page, &insert(INIT, 1, 0), tag(MAIN, 7));
    assert_eq!(applied, Ok(Applied::Changed));
    assert_eq!(page_lsn(&page), END);
    let item = item_range(&page, 1).unwrap();
    assert_eq!(item, 8152..8188);
    // xmin 700, xmax 0, cid 0, ctid (7,1), infomask2 2, infomask 0x0802, hoff 24.
    assert_eq!(
        page[item],
        *b"\xBC\x02\0\0\0\0\0\0\0\0\0\0\0\0\x07\0\x01\0\x02\0\x02\x08\x18\0hello, world"
    );
    assert!(page[28..8152].iter().all(|byte| *byte == 0));
}

#[test]
fn a_page_that_has_the_change_is_left_alone() {
    let mut page = one_tuple();
    set_lsn(&mut page, END);
    let before = page;
    let applied = apply_to(&mut page, &insert(0, 2, 0), tag(MAIN, 7));
    assert_eq!(applied, Ok(Applied::Skipped));
    assert!(page == before);
    set_lsn(&mut page, Lsn::new(END.get() - 1));
    let applied = apply_to(&mut page, &insert(0, 2, 0), tag(MAIN, 7));
    assert_eq!(applied, Ok(Applied::Changed));
    assert_eq!(page_lsn(&page), END);
}

#[test]
fn a_new_page_is_no_base() {
    let mut page = ZERO_PAGE;
    let applied = apply_to(&mut page, &insert(0, 1, 0), tag(MAIN, 7));
    assert_eq!(applied, Ok(Applied::NoBase));
    assert!(page == ZERO_PAGE);
}

#[test]
fn an_image_replaces_the_page_and_a_new_page_as_image_gets_no_lsn() {
    let mut page = one_tuple();
    let mut image = ZERO_PAGE;
    init(&mut image, 16);
    let record = RecordBuilder::new(Rmgr::Xlog, 0xB0, &[]).image(0, tag(MAIN, 7), &image);
    assert_eq!(
        apply_to(&mut page, &record, tag(MAIN, 7)),
        Ok(Applied::Changed)
    );
    set_lsn(&mut image, END);
    assert!(page == image);
    let record = RecordBuilder::new(Rmgr::Xlog, 0xB0, &[]).image(0, tag(MAIN, 7), &ZERO_PAGE);
    assert_eq!(
        apply_to(&mut page, &record, tag(MAIN, 7)),
        Ok(Applied::Changed)
    );
    assert!(page == ZERO_PAGE);
}

#[test]
fn a_hint_record_without_image_asks_for_nothing_and_a_plain_one_is_refused() {
    let mut page = one_tuple();
    let hint = RecordBuilder::new(Rmgr::Xlog, 0xA0, &[]).block(0, 0, tag(MAIN, 7), &[]);
    assert_eq!(
        apply_to(&mut page, &hint, tag(MAIN, 7)),
        Ok(Applied::Skipped)
    );
    let plain = RecordBuilder::new(Rmgr::Xlog, 0xB0, &[]).block(0, 0, tag(MAIN, 7), &[]);
    assert!(apply_to(&mut page, &plain, tag(MAIN, 7)).is_err());
}

#[test]
fn unnamed_map_pages_ignore_the_lsn_and_keep_it() {
    // Heap block 7 has the two high bits of the second byte of the map's page 0.
    let record = insert(0, 2, 0x01);
    let mut page = ZERO_PAGE;
    assert_eq!(
        apply_to(&mut page, &record, tag(VM, 0)),
        Ok(Applied::Changed)
    );
    let mut empty = ZERO_PAGE;
    init(&mut empty, 0);
    assert!(page == empty, "a missing page starts from an empty one");
    assert_eq!(
        apply_to(&mut page, &record, tag(VM, 0)),
        Ok(Applied::Skipped)
    );

    set_lsn(&mut page, Lsn::MAX);
    page[25] = 0xFF;
    assert_eq!(
        apply_to(&mut page, &record, tag(VM, 0)),
        Ok(Applied::Changed)
    );
    assert_eq!((page_lsn(&page), page[25]), (Lsn::MAX, 0x3F));
}

/// 17.11 and 18.6: the map's page is read like any other that the record names.
#[test]
fn a_named_map_page_is_cleared_by_lsn_and_not_created() {
    let record = insert(0, 1, 0x01).block(1, 0, tag(VM, 0), &[]);
    let mut page = ZERO_PAGE;
    let applied = apply_to(&mut page, &record, tag(VM, 0));
    assert_eq!((applied, page == ZERO_PAGE), (Ok(Applied::NoBase), true));
    init(&mut page, 0);
    page[24..].fill(0xFF);
    set_lsn(&mut page, END);
    let applied = apply_to(&mut page, &record, tag(VM, 0));
    assert_eq!((applied, page[25]), (Ok(Applied::Skipped), 0xFF));
    set_lsn(&mut page, Lsn::new(1));
    let applied = apply_to(&mut page, &record, tag(VM, 0));
    assert_eq!(applied, Ok(Applied::Changed));
    // Heap block 7, of four in a byte.
    assert_eq!(
        (page[24], page[25], page_lsn(&page)),
        (0xFF, 0b0011_1111, END)
    );
    set_lsn(&mut page, Lsn::new(1));
    let applied = apply_to(&mut page, &record, tag(VM, 0));
    assert_eq!(
        (applied, page_lsn(&page)),
        (Ok(Applied::Skipped), Lsn::new(1))
    );
}

#[test]
fn a_record_that_does_not_touch_the_page_is_an_error() {
    let mut page = one_tuple();
    for (record, other) in [
        (insert(0, 2, 0x00), tag(VM, 0)),
        (insert(0, 2, 0x01), tag(VM, 1)),
        (insert(0, 2, 0x01), tag(MAIN, 8)),
        (insert(0, 2, 0x01), tag(ForkNumber::Fsm, 0)),
    ] {
        let error = apply_to(&mut page, &record, other).unwrap_err();
        assert!(matches!(error, RedoError::Untouched { .. }), "{error}");
    }
}

#[test]
fn visible_sets_bits_and_the_heap_lsn_only_where_hints_are_logged() {
    let record = RecordBuilder::new(Rmgr::Heap2, 0x40, &[9, 0, 0, 0, 3])
        .block(0, 0, tag(VM, 0), &[])
        .block(1, 0, tag(MAIN, 7), &[]);
    let mut map = ZERO_PAGE;
    assert_eq!(
        apply_to(&mut map, &record, tag(VM, 0)),
        Ok(Applied::Changed)
    );
    assert_eq!((page_lsn(&map), map[25]), (END, 0xC0));

    let bytes = record.bytes();
    for (hint_bits_logged, lsn) in [(true, END), (false, Lsn::new(1))] {
        let rules = RedoRules {
            hint_bits_logged,
            ..RULES
        };
        let mut page = one_tuple();
        let applied = redo(&mut page, &parse(&bytes), &key(tag(MAIN, 7)), &rules);
        assert_eq!(applied, Ok(Applied::Changed));
        assert_eq!(page_lsn(&page), lsn);
        assert_eq!(page::flags(&page), page::ALL_VISIBLE);
    }
}

/// HOT_UPDATE of tuple 1 to tuple 2 on block 7: "hello, " and "ld" are shared.
fn hot_update(prefix: u8, suffix: u8) -> RecordBuilder {
    let main = [0xBC, 2, 0, 0, 1, 0, 0, 0x60, 0, 0, 0, 0, 2, 0];
    let mut data = vec![prefix, 0, suffix, 0];
    data.extend_from_slice(b"\x02\x80\x02\x08\x18\x00ZZZ");
    RecordBuilder::new(Rmgr::Heap, 0x40, &main).block(0, 0, tag(MAIN, 7), &data)
}

#[test]
fn an_update_takes_both_ends_of_the_new_tuple_from_the_old_one() {
    let mut page = one_tuple();
    let applied = apply_to(&mut page, &hot_update(7, 2), tag(MAIN, 7));
    assert_eq!(applied, Ok(Applied::Changed));
    let new = item_range(&page, 2).unwrap();
    assert!(page[new].ends_with(b"\x02\x80\x02\x08\x18\0hello, ZZZld"));
    let old = item_range(&page, 1).unwrap();
    // xmax 700, ctid (7,2), HOT-updated, and not a word of the aborted-xmax hint left.
    assert!(
        page[old]
            .starts_with(b"\xBC\x02\0\0\xBC\x02\0\0\0\0\0\0\0\0\x07\0\x02\0\x02\x40\x02\x00\x18")
    );
    assert_eq!(page::prune_xid(&page), 700);
}

#[test]
fn a_record_that_does_not_fit_its_page_says_where_and_what() {
    let mut page = one_tuple();
    let error = apply_to(&mut page, &insert(0, 5, 0), tag(MAIN, 7)).unwrap_err();
    let text = error.to_string();
    for part in ["1663/5/16384.main:7", "1/2000", "item 5", "next is 2"] {
        assert!(text.contains(part), "{text}");
    }
    let mut page = one_tuple();
    assert!(apply_to(&mut page, &hot_update(13, 0), tag(MAIN, 7)).is_err());
    let mut page = one_tuple();
    page[13] = 0xFF;
    assert!(matches!(
        apply_to(&mut page, &insert(0, 2, 0), tag(MAIN, 7)),
        Err(RedoError::Mismatch {
            fault: Fault::Header { .. },
            ..
        })
    ));
}

#[test]
fn no_damage_to_page_or_record_makes_redo_panic() {
    let mut random = Random::new(11);
    let mut page = one_tuple();
    for offset in 2..60 {
        add_item(&mut page, offset, &[0x11; 40], Placement::Heap).unwrap();
    }
    let offsets: Vec<u8> = (1..=30u16).flat_map(u16::to_le_bytes).collect();
    let map = tag(VM, 0);
    let heap = tag(MAIN, 7);
    let records = [
        insert(0, 60, 1),
        insert(INIT, 1, 1),
        hot_update(7, 2),
        RecordBuilder::new(Rmgr::Heap, 0x10, &[1, 0, 0, 0, 9, 0, 3, 1]).block(0, 0, heap, &[]),
        RecordBuilder::new(Rmgr::Heap, 0x60, &[1, 0, 0, 0, 9, 0, 3, 1]).block(0, 0, heap, &[]),
        RecordBuilder::new(Rmgr::Heap, 0x70, &[3, 0]).block(0, 0, heap, &[7; 17]),
        RecordBuilder::new(Rmgr::Heap2, 0x10, &[1, 0, 0, 0, 4, 0, 9, 0])
            .block(0, 0, heap, &offsets),
        RecordBuilder::new(Rmgr::Heap2, 0x20, &[30, 0]).block(0, 0, heap, &offsets),
        RecordBuilder::new(Rmgr::Heap2, 0x30, &[1, 0, 0, 0, 5, 0]).block(0, 0, heap, &offsets),
        RecordBuilder::new(Rmgr::Heap2, 0x40, &[1, 0, 0, 0, 3])
            .block(0, 0, map, &[])
            .block(1, 0, heap, &[]),
        RecordBuilder::new(Rmgr::Heap2, 0x50, &[0, 0, 1, 0, 60, 0]).block(
            0,
            0,
            heap,
            b"\x04\0\x01\0\x02\x08\x18\0abc",
        ),
        RecordBuilder::new(Rmgr::Generic, 0, &[]).block(0, 0, heap, &[24, 0, 2, 0, 1, 1]),
    ];
    for round in 0..60_000 {
        let mut bytes = records[round % records.len()].bytes();
        let mut damaged = page;
        for _ in 0..random.below(4) {
            let at = if random.below(2) == 0 {
                random.below(24 + 60 * 4)
            } else {
                random.below(8192)
            };
            damaged[at] = random.below(256) as u8;
        }
        for _ in 0..random.below(3) {
            let at = 24 + random.below(bytes.len() - 24);
            bytes[at] = random.below(256) as u8;
        }
        let Ok(record) = Record::parse(RULES.version, Lsn::new(8), END, &bytes) else {
            continue;
        };
        for tag in [heap, map] {
            // Any answer will do.
            let _ = redo(&mut damaged, &record, &key(tag), &RULES);
        }
    }
}

#[test]
fn a_checksum_covers_block_number_and_content_but_not_itself() {
    let mut page = one_tuple();
    let checksum = page_checksum(&page, 7);
    set_checksum(&mut page, 7);
    assert_eq!(page[8..10], checksum.to_le_bytes());
    assert_eq!(page_checksum(&page, 7), checksum);
    assert_ne!(page_checksum(&page, 8), checksum);
    let mut zero = ZERO_PAGE;
    set_checksum(&mut zero, 7);
    assert!(zero == ZERO_PAGE);
}
