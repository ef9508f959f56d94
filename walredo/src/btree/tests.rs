//! Every kind of B-tree record on small pages. That whole workloads come out right is checked against
//! real WAL (see `tests/consistency.rs` and `tests/recovery.rs`).

use super::opaque::Opaque;
use super::*;
use crate::page::{self, HEADER_SIZE, max_offset};
use crate::redo::{Applied, redo};
use crate::testing::{END, RULES, Random, RecordBuilder, applied, items, parse, tag, u16s, u32s};
use crate::{Fault, RedoError};
use walrecord::{ForkNumber, Lsn, PAGE_SIZE, PageKey, RedoRules, Rmgr, ZERO_PAGE};

const MAIN: ForkNumber = ForkNumber::Main;
const WILL_INIT: u8 = 0x40;
const SPECIAL: usize = PAGE_SIZE - opaque::SIZE;

const INSERT_LEAF: u8 = 0x00;
const INSERT_UPPER: u8 = 0x10;
const INSERT_META: u8 = 0x20;
const SPLIT_L: u8 = 0x30;
const SPLIT_R: u8 = 0x40;
const INSERT_POST: u8 = 0x50;
const DEDUP: u8 = 0x60;
const DELETE: u8 = 0x70;
const UNLINK_PAGE: u8 = 0x80;
const UNLINK_PAGE_META: u8 = 0x90;
const NEWROOT: u8 = 0xA0;
const MARK_PAGE_HALFDEAD: u8 = 0xB0;
const VACUUM: u8 = 0xC0;
const REUSE_PAGE: u8 = 0xD0;
const META_CLEANUP: u8 = 0xE0;

/// A heap TID: a block below 256 and an offset number.
fn tid(block: u8, offset: u8) -> [u8; 6] {
    [0, 0, block, 0, offset, 0]
}

/// A plain tuple of 16 bytes.
fn plain(key: u8, tid: [u8; 6]) -> Vec<u8> {
    [&tid[..], &[16, 0], &[key; 8]].concat()
}

/// A posting list tuple: a 16-byte key part, the TIDs, zeros up to 8 bytes.
fn posting(key: u8, tids: &[[u8; 6]]) -> Vec<u8> {
    let size = (16 + tids.len() * 6).next_multiple_of(8);
    let mut tuple = vec![0, 0, 16, 0, tids.len() as u8, 0x20, size as u8, 0x20];
    tuple.extend_from_slice(&[key; 8]);
    tuple.extend(tids.iter().flatten());
    tuple.resize(size, 0);
    tuple
}

/// An internal page's tuple.
fn pivot(key: u8, child: u16) -> Vec<u8> {
    let [low, high] = child.to_le_bytes();
    [&[0, 0, low, high, 1, 0, 16, 0x20][..], &[key; 8]].concat()
}

/// A page with these fields and items, `0xEE` in the hole and 0x1234 as vacuum cycle id.
fn page_of(opaque: Opaque, items: &[Vec<u8>]) -> Page {
    let mut page = ZERO_PAGE;
    page::init(&mut page, opaque::SIZE);
    page[HEADER_SIZE..SPECIAL].fill(0xEE);
    opaque.write(&mut page).unwrap();
    page[PAGE_SIZE - 2..].copy_from_slice(&[0x34, 0x12]);
    for (index, item) in items.iter().enumerate() {
        add_item(&mut page, index as u16 + 1, item, Placement::Shift).unwrap();
    }
    page::set_lsn(&mut page, Lsn::new(1));
    page
}

/// A leaf between blocks 3 and `next`.
fn leaf(next: u32, flags: u16, items: &[Vec<u8>]) -> Page {
    let opaque = Opaque {
        prev: 3,
        next,
        level: 0,
        flags: opaque::LEAF | flags,
    };
    page_of(opaque, items)
}

fn special(page: &Page) -> (Opaque, u16) {
    let word = |at: usize| u32::from_le_bytes(page[SPECIAL + at..][..4].try_into().unwrap());
    let opaque = Opaque {
        prev: word(0),
        next: word(4),
        level: word(8),
        flags: word(12) as u16,
    };
    (opaque, (word(12) >> 16) as u16)
}

fn hole_is_zero(page: &Page) -> bool {
    let hole = usize::from(page::lower(page))..usize::from(page::upper(page));
    page[hole].iter().all(|byte| *byte == 0)
}

const METADATA: [u32; 7] = [4, 77, 2, 78, 1, 9, 1];

/// The bytes of a metapage after its header, up to the flag.
fn assert_is_metapage(page: &Page) {
    let words = u32s(&[0x05_3162, 4, 77, 2, 78, 1, 9, 0]);
    assert_eq!(page[24..56], words);
    assert_eq!(page[56..64], (-1.0f64).to_le_bytes());
    assert_eq!(page[64..72], [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        (page::lower(page), usize::from(page::upper(page))),
        (72, SPECIAL)
    );
    assert_eq!(special(page).0.flags, opaque::META);
    assert!(hole_is_zero(page));
}

#[test]
fn an_insertion_shifts_line_pointers_and_leaves_the_rest_alone() {
    let before = [plain(1, tid(0, 1)), plain(3, tid(0, 3))];
    let new = plain(2, tid(0, 2));
    let record =
        RecordBuilder::new(Rmgr::Btree, INSERT_LEAF, &u16s(&[2])).block(0, 0, tag(MAIN, 7), &new);
    let page = applied(leaf(0, opaque::HAS_GARBAGE, &before), &record, 7);
    assert_eq!(items(&page), [before[0].clone(), new, before[1].clone()]);
    assert_eq!(special(&page).0.flags, opaque::LEAF | opaque::HAS_GARBAGE);
    assert_eq!(special(&page).1, 0x1234);
    assert_eq!(page[page::upper(&page) as usize - 1], 0xEE);
}

#[test]
fn a_downlink_finishes_the_split_of_the_child_and_may_move_the_root() {
    let upper = page_of(
        Opaque {
            prev: 0,
            next: 0,
            level: 1,
            flags: 0,
        },
        &[pivot(0, 7)],
    );
    for (info, metapage) in [(INSERT_UPPER, false), (INSERT_META, true)] {
        let mut record = RecordBuilder::new(Rmgr::Btree, info, &u16s(&[2]))
            .block(0, 0, tag(MAIN, 9), &pivot(5, 8))
            .block(1, 0, tag(MAIN, 7), &[]);
        if metapage {
            record = record.block(2, WILL_INIT, tag(MAIN, 0), &u32s(&METADATA));
        }
        let page = applied(upper, &record, 9);
        assert_eq!(items(&page), [pivot(0, 7), pivot(5, 8)]);
        let child = leaf(8, opaque::INCOMPLETE_SPLIT, &[plain(1, tid(0, 1))]);
        let page = applied(child, &record, 7);
        assert_eq!(special(&page).0.flags, opaque::LEAF);
        assert_eq!(items(&page), items(&child));
        if metapage {
            assert_is_metapage(&applied([0xEE; PAGE_SIZE], &record, 0));
        }
    }
}

#[test]
fn an_insertion_into_a_posting_list_swaps_heap_tids() {
    let tids = [tid(1, 1), tid(3, 1), tid(4, 1)];
    let before = [plain(1, tid(0, 1)), posting(2, &tids), plain(3, tid(9, 1))];
    let data = [u16s(&[1]), plain(2, tid(2, 1))].concat();
    let record =
        RecordBuilder::new(Rmgr::Btree, INSERT_POST, &u16s(&[3])).block(0, 0, tag(MAIN, 7), &data);
    let page = applied(leaf(0, 0, &before), &record, 7);
    let expected = [
        before[0].clone(),
        posting(2, &[tid(1, 1), tid(2, 1), tid(3, 1)]),
        plain(2, tid(4, 1)),
        before[2].clone(),
    ];
    assert_eq!(items(&page), expected);
}

#[test]
fn a_place_outside_the_posting_list_is_refused() {
    let list = posting(2, &[tid(1, 1), tid(3, 1)]);
    for (offset, place, item) in [(2, 0, &list), (2, 2, &list), (1, 1, &list), (0, 1, &list)] {
        let data = [u16s(&[place]), plain(2, tid(2, 1))].concat();
        let record = RecordBuilder::new(Rmgr::Btree, INSERT_POST, &u16s(&[offset])).block(
            0,
            0,
            tag(MAIN, 7),
            &data,
        );
        let mut page = leaf(0, 0, std::slice::from_ref(item));
        let key = PageKey::Block(tag(MAIN, 7));
        let result = redo(&mut page, &parse(&record.bytes()), &key, &RULES);
        assert!(
            matches!(result, Err(RedoError::Mismatch { .. })),
            "{offset} {place}"
        );
    }
}

/// A split of block 7 into 7 and 8, before block 9. Items of the old page count from 2.
fn split(info: u8, main: [u16; 3], left: &[u8], right: &[u8]) -> RecordBuilder {
    RecordBuilder::new(Rmgr::Btree, info, &[u32s(&[0]), u16s(&main)].concat())
        .block(0, 0, tag(MAIN, 7), left)
        .block(1, WILL_INIT, tag(MAIN, 8), right)
        .block(2, 0, tag(MAIN, 9), &[])
}

const LEFT_SPLIT: Opaque = Opaque {
    prev: 3,
    next: 8,
    level: 0,
    flags: opaque::LEAF | opaque::INCOMPLETE_SPLIT,
};

#[test]
fn a_split_rebuilds_the_left_half_in_line_pointer_order_over_a_zero_hole() {
    let old: Vec<_> = [9, 1, 3, 5, 7].map(|n| plain(n, tid(0, n))).to_vec();
    let (new, high_key) = (plain(2, tid(0, 2)), plain(4, tid(0, 0)));
    let left_data = [new.clone(), high_key.clone()].concat();
    let record = split(SPLIT_L, [4, 3, 0], &left_data, &[]);
    let page = applied(leaf(9, opaque::SPLIT_END, &old), &record, 7);
    let expected = [
        high_key.clone(),
        old[1].clone(),
        new.clone(),
        old[2].clone(),
    ];
    assert_eq!(items(&page), expected);
    assert_eq!(special(&page), (LEFT_SPLIT, 0));
    assert!(hole_is_zero(&page));
    // In line pointer order from the top: the first item lies highest.
    assert_eq!(page::item_range(&page, 1).unwrap().end, SPECIAL);

    // The new item last on the left half.
    let record = split(SPLIT_L, [4, 4, 0], &left_data, &[]);
    let page = applied(leaf(9, 0, &old), &record, 7);
    assert_eq!(
        items(&page),
        [high_key.clone(), old[1].clone(), old[2].clone(), new]
    );

    // The new item on the right half: not in the left half's data.
    let record = split(SPLIT_R, [4, 5, 0], &high_key, &[]);
    let page = applied(leaf(9, 0, &old), &record, 7);
    assert_eq!(items(&page), [high_key, old[1].clone(), old[2].clone()]);
}

#[test]
fn the_left_half_of_a_rightmost_page_gets_its_first_high_key() {
    let old: Vec<_> = [1, 3, 5].map(|n| plain(n, tid(0, n))).to_vec();
    let high_key = plain(4, tid(0, 0));
    let record = split(SPLIT_R, [3, 4, 0], &high_key, &[]);
    let page = applied(leaf(0, 0, &old), &record, 7);
    assert_eq!(items(&page), [high_key, old[0].clone(), old[1].clone()]);
}

#[test]
fn a_split_may_split_a_posting_list_too() {
    let list = posting(3, &[tid(1, 1), tid(3, 1), tid(4, 1)]);
    let swapped = posting(3, &[tid(1, 1), tid(2, 1), tid(3, 1)]);
    let old = [
        plain(9, tid(0, 9)),
        plain(1, tid(0, 1)),
        list,
        plain(5, tid(0, 5)),
    ];
    let (new, high_key) = (plain(3, tid(2, 1)), plain(4, tid(0, 0)));
    let left_data = [new, high_key.clone()].concat();

    // Both on the left half: the new item takes the list's last heap TID.
    let record = split(SPLIT_L, [4, 4, 1], &left_data, &[]);
    let page = applied(leaf(9, 0, &old), &record, 7);
    let mut expected = vec![high_key, old[1].clone(), swapped, plain(3, tid(4, 1))];
    assert_eq!(items(&page), expected);

    // The list on the left, the new item on the right half.
    let record = split(SPLIT_R, [4, 4, 1], &left_data, &[]);
    let page = applied(leaf(9, 0, &old), &record, 7);
    expected.pop();
    assert_eq!(items(&page), expected);
}

#[test]
fn a_split_makes_the_right_half_from_the_record_alone() {
    let right: Vec<_> = [9, 5, 7].map(|n| plain(n, tid(0, n))).to_vec();
    // As they lie on the page: the last line pointer's item comes first.
    let data: Vec<u8> = right.iter().rev().flatten().copied().collect();
    let record = split(SPLIT_R, [4, 5, 0], &plain(4, tid(0, 0)), &data);
    let page = applied([0xEE; PAGE_SIZE], &record, 8);
    assert_eq!(items(&page), right);
    assert_eq!(page[SPECIAL - data.len()..SPECIAL], data);
    let expected = Opaque {
        prev: 7,
        next: 9,
        level: 0,
        flags: opaque::LEAF,
    };
    assert_eq!(special(&page), (expected, 0));
    assert!(hole_is_zero(&page));

    let sibling = leaf(0, opaque::SPLIT_END, &right);
    let page = applied(sibling, &record, 9);
    assert_eq!(special(&page).0.prev, 8);
    assert_eq!(special(&page).1, 0x1234);
}

#[test]
fn a_split_above_the_leaves_finishes_the_one_below() {
    let record = RecordBuilder::new(
        Rmgr::Btree,
        SPLIT_R,
        &[u32s(&[1]), u16s(&[2, 2, 0])].concat(),
    )
    .block(0, 0, tag(MAIN, 7), &pivot(4, 0))
    .block(
        1,
        WILL_INIT,
        tag(MAIN, 8),
        &[pivot(6, 5), pivot(0, 4)].concat(),
    )
    .block(3, 0, tag(MAIN, 4), &[]);
    let child = leaf(5, opaque::INCOMPLETE_SPLIT, &[]);
    assert_eq!(special(&applied(child, &record, 4)).0.flags, opaque::LEAF);
    let right = applied(ZERO_PAGE, &record, 8);
    let expected = Opaque {
        prev: 7,
        next: 0,
        level: 1,
        flags: 0,
    };
    assert_eq!(special(&right), (expected, 0));
    let old = Opaque {
        prev: 0,
        next: 0,
        level: 1,
        flags: opaque::ROOT,
    };
    let left = applied(page_of(old, &[pivot(0, 2), pivot(3, 3)]), &record, 7);
    let expected = Opaque {
        prev: 0,
        next: 8,
        level: 1,
        flags: opaque::INCOMPLETE_SPLIT,
    };
    assert_eq!(special(&left), (expected, 0));
    assert_eq!(items(&left), [pivot(4, 0), pivot(0, 2)]);
}

#[test]
fn dedup_merges_plain_and_posting_tuples_and_keeps_the_others() {
    let high_key = plain(9, tid(0, 0));
    let before = [
        high_key.clone(),
        plain(1, tid(1, 1)),
        plain(1, tid(1, 2)),
        posting(1, &[tid(2, 1), tid(2, 2)]),
        plain(2, tid(0, 1)),
        posting(3, &[tid(5, 1), tid(5, 2)]),
        plain(3, tid(6, 1)),
        posting(4, &[tid(7, 1), tid(7, 2)]),
    ];
    let record = RecordBuilder::new(Rmgr::Btree, DEDUP, &u16s(&[2])).block(
        0,
        0,
        tag(MAIN, 7),
        &u16s(&[2, 3, 6, 2]),
    );
    let page = applied(leaf(9, opaque::HAS_GARBAGE, &before), &record, 7);
    let expected = [
        high_key,
        posting(1, &[tid(1, 1), tid(1, 2), tid(2, 1), tid(2, 2)]),
        before[4].clone(),
        posting(3, &[tid(5, 1), tid(5, 2), tid(6, 1)]),
        before[7].clone(),
    ];
    assert_eq!(items(&page), expected);
    assert!(hole_is_zero(&page));
    // Only the garbage flag goes.
    let expected = Opaque {
        prev: 3,
        next: 9,
        level: 0,
        flags: opaque::LEAF,
    };
    assert_eq!(special(&page), (expected, 0x1234));
}

#[test]
fn dedup_refuses_intervals_that_the_page_does_not_have() {
    let before = [
        plain(1, tid(1, 1)),
        plain(1, tid(1, 2)),
        plain(1, tid(1, 3)),
    ];
    for wrong in [[1, 4], [4, 2], [0, 2], [1, 1], [1, 0], [3, u16::MAX]] {
        let record = RecordBuilder::new(Rmgr::Btree, DEDUP, &u16s(&[1])).block(
            0,
            0,
            tag(MAIN, 7),
            &u16s(&wrong),
        );
        let mut page = leaf(0, 0, &before);
        let key = PageKey::Block(tag(MAIN, 7));
        let result = redo(&mut page, &parse(&record.bytes()), &key, &RULES);
        assert!(
            matches!(result, Err(RedoError::Mismatch { .. })),
            "{wrong:?}"
        );
    }
}

/// Deletes items 2 and 5 and takes the TIDs at `tids` out of item 3.
fn deletion(info: u8, tids: &[u16]) -> RecordBuilder {
    let counts = u16s(&[2, 1]);
    let main = match info {
        DELETE => [u32s(&[700]), counts].concat(),
        _ => counts,
    };
    let update = [&[tids.len() as u16], tids].concat();
    let data = u16s(&[&[2, 5, 3], &update[..]].concat());
    RecordBuilder::new(Rmgr::Btree, info, &main).block(0, 0, tag(MAIN, 7), &data)
}

#[test]
fn deletions_shrink_posting_lists_first_and_then_drop_tuples() {
    let tids = [tid(1, 1), tid(1, 2), tid(1, 3), tid(1, 4)];
    let before = [
        plain(1, tid(0, 1)),
        plain(2, tid(0, 1)),
        posting(3, &tids),
        plain(4, tid(0, 1)),
        plain(5, tid(0, 1)),
    ];
    let all_but_one = plain(3, tid(1, 3));
    for info in [DELETE, VACUUM] {
        for (removed, left) in [
            (&[1][..], posting(3, &[tids[0], tids[2], tids[3]])),
            (&[0, 3], posting(3, &[tids[1], tids[2]])),
            (&[0, 1, 3], all_but_one.clone()),
        ] {
            let page = leaf(0, opaque::HAS_GARBAGE | opaque::SPLIT_END, &before);
            let page = applied(page, &deletion(info, removed), 7);
            assert_eq!(items(&page), [before[0].clone(), left, before[3].clone()]);
            assert_eq!(special(&page).0.flags, opaque::LEAF | opaque::SPLIT_END);
            assert_eq!(special(&page).1, 0x1234);
        }
    }
}

#[test]
fn vacuum_clears_the_cycle_id_from_18_on() {
    let rules = RedoRules {
        version: PgVersion::V18,
        minor: 2,
        ..RULES
    };
    let tids = [tid(1, 1), tid(1, 2)];
    let item = plain(1, tid(0, 1));
    let items = [
        item.clone(),
        item.clone(),
        posting(3, &tids),
        item.clone(),
        item,
    ];
    let mut page = leaf(0, 0, &items);
    let record = deletion(VACUUM, &[1]);
    let key = PageKey::Block(tag(MAIN, 7));
    let result = redo(&mut page, &parse(&record.bytes()), &key, &rules);
    assert_eq!(result, Ok(Applied::Changed));
    assert_eq!(special(&page).1, 0);
}

#[test]
fn heap_tids_that_a_posting_list_does_not_have_are_refused() {
    let tids = [tid(1, 1), tid(1, 2), tid(1, 3)];
    let item = plain(1, tid(0, 1));
    let list = [
        item.clone(),
        item.clone(),
        posting(3, &tids),
        item.clone(),
        item.clone(),
    ];
    let none = [item.clone(), item.clone(), item.clone(), item.clone(), item];
    for (items, wrong) in [
        (&list, &[3][..]),
        (&list, &[1, 0]),
        (&list, &[1, 1]),
        (&list, &[0, 1, 2]),
        (&none, &[0]),
    ] {
        let mut page = leaf(0, 0, items);
        let record = deletion(VACUUM, wrong);
        let key = PageKey::Block(tag(MAIN, 7));
        let result = redo(&mut page, &parse(&record.bytes()), &key, &RULES);
        assert!(
            matches!(result, Err(RedoError::Mismatch { .. })),
            "{wrong:?}"
        );
    }
}

#[test]
fn a_half_dead_leaf_gives_its_key_space_to_the_right_sibling() {
    // Parent offset 2 leads to the leaf, 7; offset 3 to its right sibling, 9.
    let main = [u16s(&[2, 0]), u32s(&[7, 3, 9, u32::MAX])].concat();
    let record = RecordBuilder::new(Rmgr::Btree, MARK_PAGE_HALFDEAD, &main)
        .block(0, WILL_INIT, tag(MAIN, 7), &[])
        .block(1, 0, tag(MAIN, 20), &[]);
    let upper = Opaque {
        prev: 0,
        next: 0,
        level: 1,
        flags: opaque::ROOT,
    };
    let parent = page_of(
        upper,
        &[pivot(0, 3), pivot(4, 7), pivot(6, 9), pivot(8, 11)],
    );
    let page = applied(parent, &record, 20);
    assert_eq!(items(&page), [pivot(0, 3), pivot(4, 9), pivot(8, 11)]);

    let page = applied(leaf(9, 0, &[plain(1, tid(0, 1))]), &record, 7);
    assert_eq!(items(&page), [[0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 8, 0x20]]);
    let flags = opaque::LEAF | opaque::HALF_DEAD;
    let expected = Opaque {
        prev: 3,
        next: 9,
        level: 0,
        flags,
    };
    assert_eq!(special(&page), (expected, 0));
    assert!(hole_is_zero(&page));
}

#[test]
fn an_unlinked_page_is_empty_and_its_siblings_know_each_other() {
    let main = [
        u32s(&[3, 9, 1, 0]),
        0x1_0000_0007u64.to_le_bytes().to_vec(),
        u32s(&[30, 31, 0x0001_0002]),
        vec![],
    ]
    .concat();
    let record = RecordBuilder::new(Rmgr::Btree, UNLINK_PAGE_META, &main)
        .block(0, WILL_INIT, tag(MAIN, 7), &[])
        .block(1, 0, tag(MAIN, 3), &[])
        .block(2, 0, tag(MAIN, 9), &[])
        .block(3, WILL_INIT, tag(MAIN, 40), &[])
        .block(4, WILL_INIT, tag(MAIN, 0), &u32s(&METADATA));
    let target = applied([0xEE; PAGE_SIZE], &record, 7);
    let flags = opaque::DELETED | opaque::HAS_FULL_XID;
    let expected = Opaque {
        prev: 3,
        next: 9,
        level: 1,
        flags,
    };
    assert_eq!(special(&target), (expected, 0));
    assert_eq!(
        (page::lower(&target), usize::from(page::upper(&target))),
        (32, SPECIAL)
    );
    assert_eq!(target[24..32], 0x1_0000_0007u64.to_le_bytes());
    assert!(hole_is_zero(&target));

    let sibling = leaf(7, 0, &[]);
    assert_eq!(special(&applied(sibling, &record, 3)).0.next, 9);
    assert_eq!(special(&applied(sibling, &record, 9)).0.prev, 3);
    let half_dead = applied(ZERO_PAGE, &record, 40);
    assert_eq!(items(&half_dead), [[1, 0, 2, 0, 0, 0, 8, 0x20]]);
    let flags = opaque::LEAF | opaque::HALF_DEAD;
    let expected = Opaque {
        prev: 30,
        next: 31,
        level: 0,
        flags,
    };
    assert_eq!(special(&half_dead), (expected, 0));
    assert_is_metapage(&applied(ZERO_PAGE, &record, 0));
}

#[test]
fn an_unlinked_leaf_stays_marked_as_one() {
    let main = [u32s(&[0, 9, 0, 0]), vec![0; 20]].concat();
    let record = RecordBuilder::new(Rmgr::Btree, UNLINK_PAGE, &main)
        .block(0, WILL_INIT, tag(MAIN, 7), &[])
        .block(2, 0, tag(MAIN, 9), &[]);
    let target = applied(ZERO_PAGE, &record, 7);
    let flags = opaque::DELETED | opaque::HAS_FULL_XID | opaque::LEAF;
    assert_eq!(special(&target).0.flags, flags);
}

#[test]
fn a_new_root_is_an_empty_leaf_or_points_at_both_halves() {
    let first = RecordBuilder::new(Rmgr::Btree, NEWROOT, &u32s(&[1, 0]))
        .block(0, WILL_INIT, tag(MAIN, 1), &[])
        .block(2, WILL_INIT, tag(MAIN, 0), &u32s(&METADATA));
    let page = applied(ZERO_PAGE, &first, 1);
    assert_eq!(max_offset(&page), 0);
    let flags = opaque::ROOT | opaque::LEAF;
    let expected = Opaque {
        prev: 0,
        next: 0,
        level: 0,
        flags,
    };
    assert_eq!(special(&page), (expected, 0));
    assert_is_metapage(&applied(ZERO_PAGE, &first, 0));

    let second = RecordBuilder::new(Rmgr::Btree, NEWROOT, &u32s(&[3, 1]))
        .block(
            0,
            WILL_INIT,
            tag(MAIN, 3),
            &[pivot(5, 2), pivot(0, 1)].concat(),
        )
        .block(1, 0, tag(MAIN, 1), &[])
        .block(2, WILL_INIT, tag(MAIN, 0), &u32s(&METADATA));
    let page = applied(ZERO_PAGE, &second, 3);
    assert_eq!(items(&page), [pivot(0, 1), pivot(5, 2)]);
    let expected = Opaque {
        prev: 0,
        next: 0,
        level: 1,
        flags: opaque::ROOT,
    };
    assert_eq!(special(&page), (expected, 0));
    let left = leaf(2, opaque::INCOMPLETE_SPLIT, &[]);
    assert_eq!(special(&applied(left, &second, 1)).0.flags, opaque::LEAF);
}

#[test]
fn a_cleanup_rewrites_the_metapage_and_nothing_else_exists() {
    let record = RecordBuilder::new(Rmgr::Btree, META_CLEANUP, &[]).block(
        0,
        WILL_INIT,
        tag(MAIN, 0),
        &u32s(&METADATA),
    );
    assert_is_metapage(&applied([0xEE; PAGE_SIZE], &record, 0));
    let surplus =
        RecordBuilder::new(Rmgr::Btree, REUSE_PAGE, &[0; 24]).block(0, 0, tag(MAIN, 7), &[]);
    let mut page = leaf(0, 0, &[]);
    let key = PageKey::Block(tag(MAIN, 7));
    let result = redo(&mut page, &parse(&surplus.bytes()), &key, &RULES);
    assert!(matches!(
        result,
        Err(RedoError::Mismatch {
            fault: Fault::Value { .. },
            ..
        })
    ));
}

/// Whatever the bytes of page and record: an answer, never a panic.
#[test]
fn damaged_pages_and_records_give_errors_and_no_panic() {
    let mut random = Random::new(11);
    let tids = [tid(1, 1), tid(1, 2), tid(1, 3)];
    let pages = [
        leaf(
            9,
            0,
            &[
                plain(9, tid(0, 0)),
                plain(1, tid(0, 1)),
                posting(1, &tids),
                plain(2, tid(0, 2)),
            ],
        ),
        page_of(
            Opaque {
                prev: 0,
                next: 0,
                level: 1,
                flags: 0,
            },
            &[pivot(0, 3), pivot(4, 7), pivot(6, 9)],
        ),
    ];
    let left = [plain(2, tid(0, 2)), plain(4, tid(0, 0))].concat();
    let post = [u16s(&[1]), plain(1, tid(1, 0))].concat();
    let half_dead = [u16s(&[2, 0]), u32s(&[7, 3, 9, 0])].concat();
    let records = [
        RecordBuilder::new(Rmgr::Btree, INSERT_LEAF, &u16s(&[2])).block(0, 0, tag(MAIN, 7), &left),
        RecordBuilder::new(Rmgr::Btree, INSERT_POST, &u16s(&[4])).block(0, 0, tag(MAIN, 7), &post),
        split(SPLIT_L, [4, 3, 0], &left, &left),
        split(SPLIT_L, [4, 4, 1], &left, &left),
        RecordBuilder::new(Rmgr::Btree, DEDUP, &u16s(&[1])).block(
            0,
            0,
            tag(MAIN, 7),
            &u16s(&[2, 2]),
        ),
        deletion(VACUUM, &[1]),
        RecordBuilder::new(Rmgr::Btree, MARK_PAGE_HALFDEAD, &half_dead).block(
            1,
            0,
            tag(MAIN, 7),
            &[],
        ),
    ];
    let mut refused = 0;
    for _ in 0..40_000 {
        let mut page = pages[random.below(pages.len())];
        let mut bytes = records[random.below(records.len())].bytes();
        for _ in 0..random.below(4) {
            // Header, line pointers, or the end with items and special area.
            let at = match random.below(2) {
                0 => 8 + random.below(40),
                _ => PAGE_SIZE - 120 + random.below(120),
            };
            page[at] = random.below(256) as u8;
        }
        for _ in 0..random.below(3) {
            // Behind the block's tag: what the decoder of the body sees.
            let at = 44 + random.below(bytes.len() - 44);
            bytes[at] = random.below(256) as u8;
        }
        let (version, end) = (PgVersion::V15, END);
        let Ok(record) = walrecord::Record::parse(version, Lsn::new(8), end, &bytes) else {
            continue;
        };
        let key = PageKey::Block(tag(MAIN, 7));
        refused += usize::from(redo(&mut page, &record, &key, &RULES).is_err());
    }
    assert!(refused > 1000, "{refused}");
}
