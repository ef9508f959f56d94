//! Every kind of GiST record on small pages. That whole workloads come out right is checked against
//! real WAL (see `tests/real_wal`).

use super::opaque::{GIST_PAGE_ID, HAS_GARBAGE, LEAF, Opaque, TUPLES_DELETED};
use super::*;
use crate::error::RedoError;
use crate::page::{self, HEADER_SIZE, Placement, add_item};
use crate::redo::{Applied, redo};
use crate::testing::{
    END, RULES, RecordBuilder, applied, items, parse, refusals_of_damaged, refused, tag, u16s, u32s,
};
use crate::{Fault, is_zero, mask as mask_page};
use walrecord::{
    BlockTag, ForkNumber, Lsn, PAGE_SIZE, PageKey, PgVersion, RedoRules, Rmgr, ZERO_PAGE,
};

const SPECIAL: usize = PAGE_SIZE - opaque::SIZE;
const WILL_INIT: u8 = 0x40;
const NO_BLOCK: u32 = u32::MAX;

const PAGE_UPDATE: u8 = 0x00;
const DELETE: u8 = 0x10;
const PAGE_REUSE: u8 = 0x20;
const PAGE_SPLIT: u8 = 0x30;
const PAGE_DELETE: u8 = 0x60;

fn main(block: u32) -> BlockTag {
    tag(ForkNumber::Main, block)
}

/// An index tuple of `size` bytes, a multiple of 8.
fn tuple(key: u8, size: usize) -> Vec<u8> {
    let mut tuple = vec![key; size];
    tuple[6..8].copy_from_slice(&(size as u16).to_le_bytes());
    tuple
}

/// A page with tuples, `0xEE` in the hole.
fn page_of(flags: u16, tuples: &[Vec<u8>]) -> Page {
    let mut page = ZERO_PAGE;
    page::init(&mut page, opaque::SIZE);
    page[HEADER_SIZE..SPECIAL].fill(0xEE);
    let (nsn, right_link) = (Lsn::new(0x5_0000_0006), 77);
    Opaque {
        nsn,
        right_link,
        flags,
    }
    .write(&mut page)
    .unwrap();
    for (index, tuple) in tuples.iter().enumerate() {
        add_item(&mut page, index as u16 + 1, tuple, Placement::Shift).unwrap();
    }
    page::set_lsn(&mut page, Lsn::new(1));
    page
}

/// The special area: node sequence number, right link, flags.
fn special(page: &Page) -> (u64, u32, u16) {
    let word = |at: usize| u32::from_le_bytes(page[SPECIAL + at..][..4].try_into().unwrap());
    assert_eq!((word(12) >> 16) as u16, GIST_PAGE_ID);
    let nsn = u64::from(word(0)) << 32 | u64::from(word(4));
    (nsn, word(8), word(12) as u16)
}

/// PAGE_UPDATE of block 7, with child 8.
fn update(deleted: &[u16], inserted: &[Vec<u8>]) -> RecordBuilder {
    let counts = u16s(&[deleted.len() as u16, inserted.len() as u16]);
    let data = [u16s(deleted), inserted.concat()].concat();
    RecordBuilder::new(Rmgr::Gist, PAGE_UPDATE, &counts)
        .block(0, 0, main(7), &data)
        .block(1, 0, main(8), &[])
}

#[test]
fn one_tuple_for_one_is_replaced_in_place_and_is_no_deletion() {
    let old = [tuple(1, 16), tuple(2, 24), tuple(3, 16)];
    let before = page_of(LEAF, &old);
    let page = applied(before, &update(&[2], &[tuple(9, 40)]), 7);
    assert_eq!(items(&page), [old[0].clone(), tuple(9, 40), old[2].clone()]);
    // In the old one's place: what lay below moved down by 16 bytes.
    let end = page::item_range(&before, 2).unwrap().end;
    assert_eq!(page::item_range(&page, 2).unwrap().end, end);
    assert_eq!(special(&page), (0x5_0000_0006, 77, LEAF));
}

#[test]
fn deletions_mark_leaves_up_to_the_release_that_stopped_it() {
    let old = [tuple(1, 16), tuple(2, 24), tuple(3, 16)];
    let record = update(&[1, 3], &[tuple(8, 16), tuple(9, 32)]);
    let left = [tuple(2, 24), tuple(8, 16), tuple(9, 32)];
    let page = applied(page_of(LEAF, &old), &record, 7);
    assert_eq!(items(&page), left);
    assert_eq!(special(&page).2, LEAF | TUPLES_DELETED);

    let inner = applied(page_of(0, &old), &record, 7);
    assert_eq!(special(&inner).2, 0);
    let appended = applied(page_of(LEAF, &old), &update(&[], &left), 7);
    assert_eq!(items(&appended), [&old[..], &left].concat());
    assert_eq!(special(&appended).2, LEAF);

    let rules = RedoRules { minor: 20, ..RULES };
    let mut page = page_of(LEAF, &old);
    let key = PageKey::Block(main(7));
    let bytes = record.bytes();
    assert!(redo(&mut page, &parse(&bytes), &key, &rules).is_ok());
    assert_eq!(special(&page).2, LEAF);
}

/// A page whose right sibling has no downlink yet.
fn unfinished() -> Page {
    page_of(LEAF | FOLLOW_RIGHT, &[tuple(1, 16)])
}

#[test]
fn a_downlink_finishes_the_split_of_the_child_after_an_image_too() {
    let with_image = |id| {
        RecordBuilder::new(Rmgr::Gist, PAGE_UPDATE, &u16s(&[0, 0])).image(
            id,
            main(8),
            &unfinished(),
        )
    };
    let finished = (END.get(), 77, LEAF);
    let page = applied(unfinished(), &update(&[], &[tuple(1, 16)]), 8);
    assert_eq!(special(&page), finished);
    assert_eq!(items(&page), [tuple(1, 16)]);
    let page = applied(ZERO_PAGE, &with_image(1), 8);
    assert_eq!(special(&page), finished);
    assert_eq!(
        page[HEADER_SIZE..SPECIAL],
        unfinished()[HEADER_SIZE..SPECIAL]
    );
    // Block 0 is the page itself: its image has all that the record does.
    let page = applied(ZERO_PAGE, &with_image(0), 8);
    assert_eq!(special(&page), (0x5_0000_0006, 77, LEAF | FOLLOW_RIGHT));

    let split = RecordBuilder::new(Rmgr::Gist, PAGE_SPLIT, &split_header(1, 1)).image(
        0,
        main(8),
        &unfinished(),
    );
    assert_eq!(special(&applied(ZERO_PAGE, &split, 8)), finished);
}

#[test]
fn the_split_of_a_child_that_the_page_knows_as_finished_is_skipped() {
    let mut page = unfinished();
    page::set_lsn(&mut page, END);
    let before = page;
    let key = PageKey::Block(main(8));
    let bytes = update(&[], &[tuple(1, 16)]).bytes();
    let result = redo(&mut page, &parse(&bytes), &key, &RULES);
    assert_eq!(result, Ok(Applied::Skipped));
    assert!(page == before);
}

/// Old right link 90, NSN 3/4.
fn split_header(pages: u16, mark_follow_right: u8) -> Vec<u8> {
    let mut main = u32s(&[90, 0, 4, 3]);
    main.extend_from_slice(&[1, 0]);
    main.extend_from_slice(&pages.to_le_bytes());
    main.extend_from_slice(&[mark_follow_right, 0, 0, 0]);
    main
}

/// A leaf's split into these blocks, with one tuple of the block's number on each.
fn split(blocks: &[u32], mark_follow_right: u8) -> RecordBuilder {
    let header = split_header(blocks.len() as u16, mark_follow_right);
    let builder = RecordBuilder::new(Rmgr::Gist, PAGE_SPLIT, &header);
    blocks
        .iter()
        .zip(1..)
        .fold(builder, |builder, (block, id)| {
            let data = [u32s(&[1]), tuple(*block as u8, 24)].concat();
            builder.block(id, WILL_INIT, main(*block), &data)
        })
}

#[test]
fn a_split_chains_its_pages_and_marks_all_but_the_last() {
    let garbage = [0xEE; PAGE_SIZE];
    for (mark, follow) in [(1, FOLLOW_RIGHT), (0, 0)] {
        let record = split(&[7, 12, 9], mark);
        for (block, right, flags) in [
            (7, 12, LEAF | follow),
            (12, 9, LEAF | follow),
            (9, 90, LEAF),
        ] {
            let page = applied(garbage, &record, block);
            assert_eq!(items(&page), [tuple(block as u8, 24)]);
            assert_eq!(special(&page), (0x3_0000_0004, right, flags));
            assert!(page[28..SPECIAL - 24].iter().all(|byte| *byte == 0));
        }
    }
}

#[test]
fn a_split_of_the_root_leaves_an_inner_root_and_marks_nothing() {
    let record = split(&[0, 5, 6], 1);
    for (block, right, flags) in [(0, NO_BLOCK, 0), (5, 6, LEAF), (6, 90, LEAF)] {
        let page = applied(ZERO_PAGE, &record, block);
        assert_eq!(special(&page), (0x3_0000_0004, right, flags));
    }
}

#[test]
fn a_deletion_of_dead_tuples_clears_the_garbage_flag() {
    let old: Vec<_> = (1..=6).map(|n| tuple(n, 16)).collect();
    let main_data = [u32s(&[700]), u16s(&[4, 1, 2, 4, 6])].concat();
    let record = RecordBuilder::new(Rmgr::Gist, DELETE, &main_data).block(0, 0, main(7), &[]);
    let page = applied(page_of(LEAF | HAS_GARBAGE, &old), &record, 7);
    assert_eq!(items(&page), [tuple(3, 16), tuple(5, 16)]);
    assert_eq!(special(&page).2, LEAF | TUPLES_DELETED);

    // 16 added a flag before the offsets.
    let main_data = [u32s(&[700]), u16s(&[1, 1, 2])].concat();
    let bytes = RecordBuilder::new(Rmgr::Gist, DELETE, &main_data)
        .block(0, 0, main(7), &[])
        .bytes();
    let rules = RedoRules {
        version: PgVersion::V16,
        ..RULES
    };
    let record = walrecord::Record::parse(PgVersion::V16, Lsn::new(8), END, &bytes).unwrap();
    let mut page = page_of(LEAF, &old[..3]);
    let key = PageKey::Block(main(7));
    assert_eq!(redo(&mut page, &record, &key, &rules), Ok(Applied::Changed));
    assert_eq!(items(&page), [tuple(1, 16), tuple(3, 16)]);
}

#[test]
fn a_deleted_page_holds_a_transaction_id_and_its_parent_loses_the_downlink() {
    let main_data = [u32s(&[0x0102_0304, 5]), u16s(&[2])].concat();
    let record = RecordBuilder::new(Rmgr::Gist, PAGE_DELETE, &main_data)
        .block(0, 0, main(7), &[])
        .block(1, 0, main(3), &[]);
    let page = applied(page_of(LEAF, &[]), &record, 7);
    assert_eq!(page[24..32], [4, 3, 2, 1, 5, 0, 0, 0]);
    assert_eq!((page::lower(&page), page[32]), (32, 0xEE));
    assert_eq!(special(&page), (0x5_0000_0006, 77, LEAF | opaque::DELETED));

    let old = [tuple(1, 16), tuple(2, 24), tuple(3, 16)];
    let page = applied(page_of(0, &old), &record, 3);
    assert_eq!(items(&page), [tuple(1, 16), tuple(3, 16)]);

    let fault = refused(page_of(LEAF, &old), &record, 7);
    assert!(matches!(fault, Fault::Value { found: 3, .. }), "{fault}");
    let fault = refused(page_of(0, &old[..1]), &record, 3);
    assert_eq!(fault, Fault::Offset { offset: 2, max: 1 });
}

#[test]
fn records_that_do_not_fit_are_refused() {
    let full = page_of(LEAF, &[tuple(1, 8000)]);
    let fault = refused(full, &update(&[], &[tuple(2, 160)]), 7);
    assert!(matches!(fault, Fault::AddItem { offset: 2, .. }), "{fault}");
    let fault = refused(full, &update(&[1], &[tuple(2, 8160)]), 7);
    assert!(matches!(fault, Fault::AddItem { offset: 1, .. }), "{fault}");
    let fault = refused(full, &update(&[2, 1], &[]), 7);
    assert!(matches!(fault, Fault::Offset { .. }), "{fault}");
    // More references than pages, and a record that has none.
    let surplus = RecordBuilder::new(Rmgr::Gist, PAGE_SPLIT, &split_header(0, 1)).block(
        1,
        WILL_INIT,
        main(7),
        &[],
    );
    assert!(matches!(refused(full, &surplus, 7), Fault::Value { .. }));
    let reuse = [u32s(&[1663, 5, 16384, 7, 700, 0])].concat();
    let reuse = RecordBuilder::new(Rmgr::Gist, PAGE_REUSE, &reuse).block(0, 0, main(7), &[]);
    assert!(matches!(refused(full, &reuse, 7), Fault::Value { .. }));
    // An image of no page cannot be the child of anything.
    let child = RecordBuilder::new(Rmgr::Gist, PAGE_UPDATE, &u16s(&[0, 0]));
    let child = child.image(1, main(8), &ZERO_PAGE);
    assert!(matches!(refused(full, &child, 8), Fault::Header { .. }));
}

#[test]
fn the_mask_hides_what_the_primary_does_unlogged_and_nothing_else() {
    let masked = |mut page: Page| {
        mask_page(&mut page, &main(7), Rmgr::Gist);
        page
    };
    let tuples = [tuple(1, 16), tuple(2, 16)];
    let page = page_of(LEAF, &tuples);
    let mut hinted = page_of(LEAF | FOLLOW_RIGHT | HAS_GARBAGE | TUPLES_DELETED, &tuples);
    opaque::set_nsn(&mut hinted, END).unwrap();
    hinted[100..200].fill(1);
    let dead = page::item_id(&page, 1).unwrap();
    let dead = dead.with_flag(page::ItemFlag::Dead);
    page::set_item_id(&mut hinted, 1, dead).unwrap();
    assert!(masked(page) == masked(hinted));
    assert!(masked(page_of(LEAF, &tuples)) != masked(page_of(0, &tuples)));
    assert!(masked(page) != masked(page_of(LEAF, &tuples[..1])));
    let mut inner = page_of(0, &tuples);
    page::set_item_id(&mut inner, 1, dead).unwrap();
    assert!(masked(inner) != masked(page_of(0, &tuples)));
    assert!(is_zero(&masked(ZERO_PAGE)));
}

#[test]
fn damaged_pages_and_records_give_errors_and_no_panic() {
    let tuples: Vec<_> = (1..=8).map(|n| tuple(n, 16 + usize::from(n) * 8)).collect();
    let leaf = page_of(LEAF, &tuples);
    let delete = [u32s(&[700]), u16s(&[4, 1, 2, 4, 6])].concat();
    let page_delete = [u32s(&[9, 0]), u16s(&[2])].concat();
    let page_delete = || {
        RecordBuilder::new(Rmgr::Gist, PAGE_DELETE, &page_delete)
            .block(0, 0, main(7), &[])
            .block(1, 0, main(8), &[])
    };
    let cases = [
        (leaf, update(&[2], &[tuple(9, 32)]), 7),
        (leaf, update(&[1, 3, 4], &tuples[..3]), 7),
        (unfinished(), update(&[], &[tuple(9, 32)]), 8),
        (leaf, split(&[7, 12, 9], 1), 12),
        (leaf, split(&[0, 12, 9], 1), 0),
        (
            leaf,
            RecordBuilder::new(Rmgr::Gist, DELETE, &delete).block(0, 0, main(7), &[]),
            7,
        ),
        (page_of(LEAF, &[]), page_delete(), 7),
        (page_of(0, &tuples), page_delete(), 8),
    ];
    let refused = refusals_of_damaged(&cases, 60_000);
    assert!(refused > 5000, "{refused}");
}

#[test]
fn an_error_names_page_record_and_what_was_found() {
    let mut page = page_of(LEAF, &[tuple(1, 16)]);
    let key = PageKey::Block(main(7));
    let bytes = update(&[3], &[]).bytes();
    let error: RedoError = redo(&mut page, &parse(&bytes), &key, &RULES).unwrap_err();
    let text = error.to_string();
    for part in ["main:7", "Gist/PAGE_UPDATE", "line pointer 3", "page's 1"] {
        assert!(text.contains(part), "{text}");
    }
}
