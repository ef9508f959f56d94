//! GIN records whose redo has a trap, on small pages. That whole workloads come out right is checked
//! against real WAL (see `tests/real_wal`).

use super::*;
use crate::page::{Placement, add_item, item_range, max_offset};
use crate::redo::redo;
use crate::testing::{END, RULES, Random, RecordBuilder, applied, refused, tag, u32s};
use walrecord::rmgr::ItemPointer;
use walrecord::{BlockTag, ForkNumber, Lsn, PAGE_SIZE, PageKey, PgVersion, Rmgr, ZERO_PAGE};

const WILL_INIT: u8 = 0x40;
const SPECIAL: usize = PAGE_SIZE - opaque::SIZE;
const POSTING_LEAF: u16 = opaque::DATA | opaque::LEAF | opaque::COMPRESSED;

const CREATE_PTREE: u8 = 0x10;
const INSERT: u8 = 0x20;
const SPLIT: u8 = 0x30;
const VACUUM_PAGE: u8 = 0x40;
const DELETE_PAGE: u8 = 0x50;
const UPDATE_META_PAGE: u8 = 0x60;
const INSERT_LISTPAGE: u8 = 0x70;
const DELETE_LISTPAGE: u8 = 0x80;
const VACUUM_DATA_LEAF_PAGE: u8 = 0x90;

fn main_fork(block: u32) -> BlockTag {
    tag(ForkNumber::Main, block)
}

fn record(info: u8, main: &[u8]) -> RecordBuilder {
    RecordBuilder::new(Rmgr::Gin, info, main)
}

/// A page with these flags, right sibling 9, `0xEE` in the hole.
fn page_with(flags: u16) -> Page {
    let mut page = ZERO_PAGE;
    opaque::make(&mut page, flags).unwrap();
    opaque::set_right_link(&mut page, 9).unwrap();
    page[HEADER_SIZE..SPECIAL].fill(0xEE);
    page::set_lsn(&mut page, Lsn::new(1));
    page
}

/// `rightlink`, `maxoff`, `flags`.
fn special(page: &Page) -> (u32, u16, u16) {
    let half = |at: usize| u16::from_le_bytes(page[at..at + 2].try_into().unwrap());
    let right = u32::from_le_bytes(page[SPECIAL..SPECIAL + 4].try_into().unwrap());
    (right, half(SPECIAL + 4), half(SPECIAL + 6))
}

fn item(block: u32, offnum: u16) -> ItemPointer {
    ItemPointer { block, offnum }
}

fn tid_bytes(item: ItemPointer) -> Vec<u8> {
    let block = posting_items::block_bytes(item.block);
    [&block[..], &item.offnum.to_le_bytes()].concat()
}

/// A posting list by the format's description, one step after the other.
fn posting_list(items: &[ItemPointer]) -> Vec<u8> {
    let number = |item: &ItemPointer| u64::from(item.block) * 2048 + u64::from(item.offnum);
    let mut numbers = Vec::new();
    for pair in items.windows(2) {
        let mut left = number(&pair[1]) - number(&pair[0]);
        while left >= 128 {
            numbers.push((left % 128) as u8 + 128);
            left /= 128;
        }
        numbers.push(left as u8);
    }
    let mut list = tid_bytes(items[0]);
    list.extend_from_slice(&(numbers.len() as u16).to_le_bytes());
    list.extend_from_slice(&numbers);
    list.resize(list.len().next_multiple_of(2), 0);
    list
}

/// A leaf of a posting tree with these segments.
fn posting_leaf(segments: &[Vec<u8>]) -> Page {
    let mut page = page_with(POSTING_LEAF);
    let data = segments.concat();
    page[32..32 + data.len()].copy_from_slice(&data);
    page::set_lower(&mut page, 32 + data.len() as u16);
    page
}

fn content(page: &Page) -> &[u8] {
    &page[32..usize::from(page::lower(page))]
}

/// INSERT into leaf 7 of a posting tree.
fn leaf_insert(actions: &[&[u8]]) -> RecordBuilder {
    let count = (actions.len() as u16).to_le_bytes();
    let data = [&count[..], &actions.concat()].concat();
    record(INSERT, &[3, 0]).block(0, 0, main_fork(7), &data)
}

fn add_items(segment: u8, items: &[ItemPointer]) -> Vec<u8> {
    let mut action = vec![segment, 4];
    action.extend_from_slice(&(items.len() as u16).to_le_bytes());
    action.extend(items.iter().flat_map(|item| tid_bytes(*item)));
    action
}

fn with_list(segment: u8, kind: u8, list: &[u8]) -> Vec<u8> {
    [&[segment, kind], list].concat()
}

#[test]
fn a_posting_tree_begins_with_one_leaf() {
    let list = posting_list(&[item(1, 1), item(1, 2), item(300, 7)]);
    let main = [&u32s(&[list.len() as u32])[..], &list].concat();
    let create = record(CREATE_PTREE, &main).block(0, WILL_INIT, main_fork(7), &[]);
    let page = applied([0xEE; PAGE_SIZE], &create, 7);
    assert_eq!(content(&page), list);
    assert_eq!(special(&page), (u32::MAX, 0, POSTING_LEAF));
    assert!(page[24..32].iter().all(|byte| *byte == 0));
}

#[test]
fn actions_change_segments_and_leave_the_bytes_behind_the_new_end() {
    let list = |block: u32| posting_list(&[item(block, 1), item(block, 2), item(block, 3)]);
    let page = posting_leaf(&[list(1), list(3), list(5), list(7)]);
    let more = [item(5, 9), item(6, 1)];
    let insert = leaf_insert(&[
        &[0, 1],
        &with_list(1, 2, &list(2)),
        &with_list(1, 3, &list(4)),
        &add_items(2, &more),
        &[3, 1],
        &with_list(4, 2, &list(8)),
    ]);
    let after = applied(page, &insert, 7);
    let fifth = posting_list(&[item(5, 1), item(5, 2), item(5, 3), more[0], more[1]]);
    let expected = [list(2), list(4), fifth, list(8)].concat();
    assert_eq!(content(&after), expected);
    let end = 32 + expected.len();
    assert!(after[end..SPECIAL] == page[end..SPECIAL]);
    assert_eq!(special(&after), special(&page));
}

#[test]
fn what_was_content_stays_in_the_hole() {
    let list = |block: u32| posting_list(&[item(block, 1), item(block, 2)]);
    let page = posting_leaf(&[list(1), list(2), list(3)]);
    let delete = [&[1, 0][..], &[1, 1]].concat();
    let vacuum = record(VACUUM_DATA_LEAF_PAGE, &[]).block(0, 0, main_fork(7), &delete);
    let after = applied(page, &vacuum, 7);
    assert_eq!(content(&after), [list(1), list(3)].concat());
    assert_eq!(after[32 + 20..32 + 30], list(3));
    assert!(after[62..SPECIAL].iter().all(|byte| *byte == 0xEE));
}

/// Merging in one pass gives what decoding, merging and encoding give.
#[test]
fn added_items_merge_like_sets() {
    let mut random = Random::new(21);
    for round in 0..600 {
        let spread = [3, 40, 5000, 1 << 31][round % 4];
        let mut items: Vec<ItemPointer> = (0..2 + random.below(150))
            .map(|_| item(random.below(spread) as u32, random.offset(2047)))
            .collect();
        items.sort();
        items.dedup();
        let mut parts = [Vec::new(), Vec::new()];
        let cut = random.below(items.len());
        for (index, item) in items.iter().enumerate() {
            let part = match round % 3 {
                0 => random.below(2),
                1 => usize::from(index < cut),
                _ => usize::from(index >= cut),
            };
            parts[part].push(*item);
        }
        let [old, new] = parts;
        if old.is_empty() {
            continue;
        }
        let page = posting_leaf(&[posting_list(&old)]);
        let after = applied(page, &leaf_insert(&[&add_items(0, &new)]), 7);
        assert_eq!(content(&after), posting_list(&items), "round {round}");
    }
}

#[test]
fn items_that_are_there_already_or_out_of_order_are_refused() {
    let page = posting_leaf(&[posting_list(&[item(1, 1), item(2, 2)])]);
    for items in [
        &[item(1, 1)][..],
        &[item(2, 2)],
        &[item(3, 2), item(3, 1)],
        &[item(1, 2), item(1, 2)],
        &[item(0, 2048)],
    ] {
        let fault = refused(page, &leaf_insert(&[&add_items(0, items)]), 7);
        assert!(matches!(fault, Fault::Value { .. }), "{fault:?}");
    }
    for actions in [
        &[1, 1][..],
        &[2, 1],
        &add_items(1, &[item(3, 3)]),
        &with_list(3, 2, &posting_list(&[item(9, 9)])),
    ] {
        assert!(matches!(
            refused(page, &leaf_insert(&[actions]), 7),
            Fault::Value { .. }
        ));
    }
    let backwards = leaf_insert(&[&[0, 1], &[0, 1]]);
    let two = posting_leaf(&vec![posting_list(&[item(1, 1)]); 2]);
    assert!(matches!(refused(two, &backwards, 7), Fault::Value { .. }));
    let full = posting_leaf(&vec![posting_list(&[item(1, 1)]); 1019]);
    let more = leaf_insert(&[&with_list(0, 2, &posting_list(&[item(0, 1)]))]);
    assert!(matches!(refused(full, &more, 7), Fault::ItemTotal { .. }));
    let inner = page_with(opaque::DATA);
    assert!(matches!(refused(inner, &more, 7), Fault::Value { .. }));
}

#[test]
fn a_number_that_does_not_end_or_leaves_the_range_is_refused() {
    for numbers in [
        &[0x80; 2][..],
        &[0xFF; 8],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7F],
    ] {
        let mut list = tid_bytes(item(1, 1));
        list.extend_from_slice(&(numbers.len() as u16).to_le_bytes());
        list.extend_from_slice(numbers);
        list.resize(list.len().next_multiple_of(2), 0);
        let page = posting_leaf(&[list]);
        let fault = refused(page, &leaf_insert(&[&add_items(0, &[item(1, 2)])]), 7);
        assert!(matches!(fault, Fault::Value { .. }), "{fault:?}");
    }
}

/// A leaf that `pg_upgrade` brought along from 9.3 has an array of heap TIDs and says how many.
#[test]
fn an_uncompressed_leaf_is_compressed_first() {
    let items = [item(1, 1), item(1, 5), item(70000, 2)];
    let mut page = page_with(opaque::DATA | opaque::LEAF);
    let tids: Vec<u8> = items.iter().flat_map(|item| tid_bytes(*item)).collect();
    page[32..32 + tids.len()].copy_from_slice(&tids);
    opaque::set_count(&mut page, 3).unwrap();
    let insert = leaf_insert(&[&add_items(0, &[item(2, 2)])]);
    let after = applied(page, &insert, 7);
    let all = [items[0], items[1], item(2, 2), items[2]];
    assert_eq!(content(&after), posting_list(&all));
    assert_eq!(special(&after), (9, 0, POSTING_LEAF));
    // The last heap TID's bytes behind the new end.
    let end = 32 + posting_list(&all).len();
    assert_eq!(after[end..SPECIAL], page[end..SPECIAL]);
    opaque::set_count(&mut page, 0).unwrap();
    let first = leaf_insert(&[&with_list(0, 2, &posting_list(&all))]);
    assert_eq!(content(&applied(page, &first, 7)), posting_list(&all));
    opaque::set_count(&mut page, 1400).unwrap();
    assert!(matches!(refused(page, &first, 7), Fault::ItemTotal { .. }));
}

/// A tuple with a TID, its size and some bytes.
fn entry(child: u8, key: u8) -> Vec<u8> {
    [&[0, 0, child, 0, 5, 0, 16, 0][..], &[key; 8]].concat()
}

fn entries(page: &Page) -> Vec<Vec<u8>> {
    (1..=max_offset(page))
        .map(|n| page[item_range(page, n).unwrap()].to_vec())
        .collect()
}

fn page_of_entries(flags: u16, items: &[Vec<u8>]) -> Page {
    let mut page = page_with(flags);
    for (index, item) in items.iter().enumerate() {
        add_item(&mut page, index as u16 + 1, item, Placement::Shift).unwrap();
    }
    page
}

#[test]
fn an_entry_replaces_another_on_a_leaf() {
    let page = page_of_entries(opaque::LEAF, &[entry(1, 1), entry(1, 2), entry(1, 3)]);
    let insert = |is_delete: u8| {
        let data = [&[2, 0, is_delete, 0][..], &entry(1, 9)].concat();
        record(INSERT, &[2, 0]).block(0, 0, main_fork(7), &data)
    };
    let after = applied(page, &insert(1), 7);
    assert_eq!(entries(&after), [entry(1, 1), entry(1, 9), entry(1, 3)]);
    let after = applied(page, &insert(0), 7);
    assert_eq!(max_offset(&after), 4);
    let data = [&[2, 0, 0, 0][..], &entry(1, 9)[..15]].concat();
    let cut = record(INSERT, &[2, 0]).block(0, 0, main_fork(7), &data);
    assert!(matches!(refused(page, &cut, 7), Fault::Value { .. }));
}

#[test]
fn a_downlink_goes_in_front_of_the_old_one_which_leads_right_from_now_on() {
    let page = page_of_entries(0, &[entry(20, 1), entry(21, 2), entry(22, 3)]);
    let main = [&[0, 0][..], &[0, 0, 21, 0], &[0, 0, 99, 0]].concat();
    let data = [&[2, 0, 0, 0][..], &entry(21, 9)].concat();
    let insert = record(INSERT, &main)
        .block(0, 0, main_fork(7), &data)
        .block(1, 0, main_fork(21), &[]);
    let after = applied(page, &insert, 7);
    let mut old = entry(99, 2);
    old[4] = 0;
    assert_eq!(
        entries(&after),
        [entry(20, 1), entry(21, 9), old, entry(22, 3)]
    );
    let flags = opaque::LEAF | opaque::INCOMPLETE_SPLIT;
    let left = applied(page_of_entries(flags, &[entry(1, 1)]), &insert, 21);
    assert_eq!(special(&left).2, opaque::LEAF);
}

fn posting_item(child: u8, key: u8) -> Vec<u8> {
    vec![0, 0, child, 0, 0, 0, key, 0, 1, 0]
}

/// An inner page of a posting tree with children 21, 22, and so on.
fn inner(count: u8) -> Page {
    let mut page = page_with(opaque::DATA);
    let items: Vec<u8> = (1..=count).flat_map(|n| posting_item(20 + n, n)).collect();
    page[32..32 + items.len()].copy_from_slice(&items);
    opaque::set_count(&mut page, u16::from(count)).unwrap();
    page::set_lower(&mut page, 32 + items.len() as u16);
    page
}

#[test]
fn posting_items_are_inserted_and_deleted_in_their_array() {
    let main = [&[1, 0][..], &[0, 0, 22, 0], &[0, 0, 99, 0]].concat();
    let insert = |offset: u16| {
        let data = [&offset.to_le_bytes()[..], &posting_item(22, 7)].concat();
        record(INSERT, &main).block(0, 0, main_fork(7), &data)
    };
    let after = applied(inner(3), &insert(2), 7);
    let items = [
        posting_item(21, 1),
        posting_item(22, 7),
        posting_item(99, 2),
        posting_item(23, 3),
    ];
    assert_eq!(content(&after), items.concat());
    assert_eq!(special(&after), (9, 4, opaque::DATA));
    for offset in [0, 4] {
        assert!(matches!(
            refused(inner(3), &insert(offset), 7),
            Fault::Value { .. }
        ));
    }
    let mut full = inner(3);
    opaque::set_count(&mut full, 815).unwrap();
    assert!(matches!(refused(full, &insert(2), 7), Fault::Value { .. }));

    let delete = |offset: u8| {
        let main = [&[offset, 0, 0, 0][..], &u32s(&[31, 777])].concat();
        record(DELETE_PAGE, &main)
            .block(0, 0, main_fork(22), &[])
            .block(1, 0, main_fork(7), &[])
            .block(2, 0, main_fork(21), &[])
    };
    let after = applied(inner(3), &delete(2), 7);
    assert_eq!(
        content(&after),
        [posting_item(21, 1), posting_item(23, 3)].concat()
    );
    assert_eq!(after[52..62], posting_item(23, 3));
    assert_eq!(content(&applied(inner(1), &delete(1), 7)), []);
    assert!(matches!(
        refused(inner(3), &delete(4), 7),
        Fault::Value { .. }
    ));
    let leaf = posting_leaf(&[posting_list(&[item(1, 1)])]);
    let deleted = applied(leaf, &delete(2), 22);
    assert_eq!(special(&deleted), (9, 0, POSTING_LEAF | opaque::DELETED));
    assert_eq!(page::prune_xid(&deleted), 777);
    assert_eq!(content(&deleted), content(&leaf));
    assert_eq!(special(&applied(leaf, &delete(2), 21)).0, 31);
}

/// UPDATE_META_PAGE with the metapage and, as block 1, page 7.
fn update_meta(prev_tail: u32, right: u32, tuples: u32, data: &[u8]) -> RecordBuilder {
    let metadata: Vec<u8> = (0..METADATA_SIZE as u8).collect();
    let words = u32s(&[prev_tail, right, tuples, 0]);
    record(
        UPDATE_META_PAGE,
        &[&[0; 16][..], &metadata, &words].concat(),
    )
    .block(0, WILL_INIT, main_fork(0), &[])
    .block(1, 0, main_fork(7), data)
}

fn assert_is_metapage(page: &Page) {
    let metadata: Vec<u8> = (0..METADATA_SIZE as u8).collect();
    assert_eq!(page[24..80], metadata);
    assert_eq!(page::lower(page), 80);
    assert_eq!(special(page), (u32::MAX, 0, opaque::META));
}

#[test]
fn the_pending_list_grows_on_its_last_page_or_by_pages() {
    let append = update_meta(7, 8, 2, &[entry(1, 1), entry(1, 2)].concat());
    assert_is_metapage(&applied([0xEE; PAGE_SIZE], &append, 0));
    let mut tail = page_of_entries(opaque::LIST, &[entry(1, 0)]);
    opaque::set_count(&mut tail, 5).unwrap();
    let after = applied(tail, &append, 7);
    assert_eq!(entries(&after), [entry(1, 0), entry(1, 1), entry(1, 2)]);
    assert_eq!(special(&after), (9, 6, opaque::LIST));
    let link = update_meta(7, 8, 0, &[]);
    let after = applied(tail, &link, 7);
    assert_eq!(
        (special(&after), max_offset(&after)),
        ((8, 5, opaque::LIST), 1)
    );
    assert!(matches!(
        refused(page_of_entries(opaque::LEAF, &[]), &append, 7),
        Fault::Value { .. }
    ));
}

#[test]
fn only_the_last_page_of_a_new_list_counts_a_row() {
    let make = |right: u32| {
        record(INSERT_LISTPAGE, &u32s(&[right, 2])).block(
            0,
            WILL_INIT,
            main_fork(7),
            &[entry(1, 1), entry(1, 2)].concat(),
        )
    };
    let page = applied([0xEE; PAGE_SIZE], &make(8), 7);
    assert_eq!(entries(&page), [entry(1, 1), entry(1, 2)]);
    assert_eq!(special(&page), (8, 0, opaque::LIST));
    let page = applied(ZERO_PAGE, &make(u32::MAX), 7);
    let flags = opaque::LIST | opaque::LIST_FULL_ROW;
    assert_eq!(special(&page), (u32::MAX, 1, flags));
}

#[test]
fn pages_cut_off_the_pending_list_are_made_anew() {
    let metadata: Vec<u8> = (0..METADATA_SIZE as u8).collect();
    let delete = record(DELETE_LISTPAGE, &[&metadata[..], &u32s(&[2, 0])].concat())
        .block(0, WILL_INIT, main_fork(0), &[])
        .block(1, WILL_INIT, main_fork(7), &[])
        .block(3, WILL_INIT, main_fork(8), &[]);
    assert_is_metapage(&applied(ZERO_PAGE, &delete, 0));
    let page = applied(page_of_entries(opaque::LIST, &[entry(1, 0)]), &delete, 7);
    assert_eq!(special(&page), (u32::MAX, 0, opaque::DELETED));
    assert!(page[24..SPECIAL].iter().all(|byte| *byte == 0));
    // The record says that it cuts off two.
    assert!(matches!(refused(page, &delete, 8), Fault::Value { .. }));
}

#[test]
fn pages_that_come_as_images_are_refused_without_them() {
    let page = page_of_entries(opaque::LEAF, &[]);
    let split = record(SPLIT, &[0; 28]).block(1, 0, main_fork(7), &[]);
    assert_eq!(refused(page, &split, 7), Fault::Missing("image"));
    let vacuum = record(VACUUM_PAGE, &[]).block(0, 0, main_fork(7), &[]);
    assert_eq!(refused(page, &vacuum, 7), Fault::Missing("image"));
    let child = page_of_entries(opaque::INCOMPLETE_SPLIT, &[]);
    let split = record(SPLIT, &[0; 28]).block(3, 0, main_fork(21), &[]);
    assert_eq!(special(&applied(child, &split, 21)).2, 0);
}

#[test]
fn the_mask_hides_deleted_pages_and_holes_but_not_what_old_headers_call_a_hole() {
    let masked = |mut page: Page| {
        crate::mask(&mut page, &main_fork(7), Rmgr::Gin);
        page
    };
    let mut page = posting_leaf(&[posting_list(&[item(1, 1), item(1, 2)])]);
    let before = masked(page);
    page[SPECIAL - 1] ^= 1;
    page::set_prune_xid(&mut page, 5);
    assert!(masked(page) == before);
    page[33] ^= 1;
    assert!(masked(page) != before);
    let mut old = page_with(opaque::DATA);
    let before = masked(old);
    old[100] ^= 1;
    assert!(masked(old) != before);
    let deleted = page_with(opaque::DELETED);
    assert!(masked(deleted) == masked(page_of_entries(opaque::DELETED, &[entry(1, 1)])));
    assert!(masked(deleted) != masked(page_with(0)));
}

/// Whatever the bytes of page and record: an answer, never a panic.
#[test]
fn damaged_pages_and_records_give_errors_and_no_panic() {
    let mut random = Random::new(13);
    let list = |block: u32| posting_list(&[item(block, 1), item(block, 2), item(block + 1, 3)]);
    let mut uncompressed = posting_leaf(&[tid_bytes(item(1, 1)), tid_bytes(item(1, 2))]);
    opaque::clear_flags(&mut uncompressed, opaque::COMPRESSED).unwrap();
    opaque::set_count(&mut uncompressed, 2).unwrap();
    let pages = [
        posting_leaf(&[list(1), list(3), list(5), list(7)]),
        uncompressed,
        inner(3),
        page_of_entries(opaque::LEAF, &[entry(1, 1), entry(1, 2), entry(1, 3)]),
        page_of_entries(0, &[entry(1, 1), entry(1, 2), entry(1, 3)]),
        page_of_entries(opaque::LIST, &[entry(1, 0)]),
    ];
    let actions = leaf_insert(&[
        &[0, 1],
        &with_list(1, 2, &list(2)),
        &add_items(2, &[item(5, 9), item(6, 1)]),
    ]);
    let downlink = [&[0, 0][..], &[0, 0, 21, 0], &[0, 0, 99, 0]].concat();
    let data_downlink = [&[1, 0][..], &downlink[2..]].concat();
    let with = |builder: RecordBuilder, id, data: &[u8]| builder.block(id, 0, main_fork(7), data);
    let replaced = [&[2, 0, 1, 0][..], &entry(1, 9)].concat();
    let inserted = [&[2, 0, 0, 0][..], &entry(1, 9)].concat();
    let create = [&u32s(&[12])[..], &[7; 12]].concat();
    let records = [
        actions,
        with(record(CREATE_PTREE, &create), 0, &[]),
        with(record(INSERT, &[2, 0]), 0, &replaced),
        with(record(INSERT, &downlink), 0, &inserted),
        with(
            record(INSERT, &data_downlink),
            0,
            &[&[2, 0][..], &posting_item(1, 2)].concat(),
        ),
        with(
            record(DELETE_PAGE, &[2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]),
            1,
            &[],
        ),
        update_meta(7, 8, 2, &[entry(1, 1), entry(1, 2)].concat()),
        with(record(INSERT_LISTPAGE, &u32s(&[8, 1])), 0, &entry(1, 1)),
    ];
    let mut refused = 0;
    for _ in 0..40_000 {
        let mut page = pages[random.below(pages.len())];
        let mut bytes = records[random.below(records.len())].bytes();
        for _ in 0..random.below(4) {
            let at = match random.below(3) {
                0 => 8 + random.below(40),
                1 => 32 + random.below(60),
                _ => PAGE_SIZE - 80 + random.below(80),
            };
            page[at] = random.below(256) as u8;
        }
        for _ in 0..random.below(3) {
            // Behind the block's tag: what the decoder of the body sees.
            let at = 44 + random.below(bytes.len() - 44);
            bytes[at] = random.below(256) as u8;
        }
        let (version, start) = (PgVersion::V15, Lsn::new(8));
        let Ok(record) = Record::parse(version, start, END, &bytes) else {
            continue;
        };
        let key = PageKey::Block(main_fork(7));
        refused += usize::from(redo(&mut page, &record, &key, &RULES).is_err());
        crate::mask(&mut page, &main_fork(7), Rmgr::Gin);
    }
    assert!(refused > 1000, "{refused}");
}
