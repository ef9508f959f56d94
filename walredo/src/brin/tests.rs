//! Every kind of BRIN record on small pages. That whole workloads come out right is checked against
//! real WAL (see `tests/real_wal`).

use super::special::{META, check_page_type, init_page};
use super::*;
use crate::mask as mask_page;
use crate::page::{self, HEADER_SIZE, ItemId, max_offset};
use crate::testing::{
    RecordBuilder, applied, items, refusals_of_damaged, refused, tag, u16s, u32s,
};
use walrecord::{BlockTag, ForkNumber, Lsn, PAGE_SIZE, Rmgr, ZERO_PAGE};

const SPECIAL: usize = PAGE_SIZE - 8;
const WILL_INIT: u8 = 0x40;

const CREATE_INDEX: u8 = 0x00;
const INSERT: u8 = 0x10;
const UPDATE: u8 = 0x20;
const SAMEPAGE_UPDATE: u8 = 0x30;
const REVMAP_EXTEND: u8 = 0x40;
const DESUMMARIZE: u8 = 0x50;

fn main(block: u32) -> BlockTag {
    tag(ForkNumber::Main, block)
}

/// A page of summaries of 16 bytes, each of its line pointer's number, `0xEE` in the hole.
fn summaries(count: u16) -> Page {
    let mut page = ZERO_PAGE;
    init_page(&mut page, REGULAR).unwrap();
    page[HEADER_SIZE..SPECIAL].fill(0xEE);
    for n in 1..=count {
        add_item(&mut page, n, &[n as u8; 16], Placement::Reuse).unwrap();
    }
    page::set_lsn(&mut page, Lsn::new(1));
    page
}

fn revmap() -> Page {
    let mut page = ZERO_PAGE;
    init_page(&mut page, REVMAP).unwrap();
    page::set_lsn(&mut page, Lsn::new(1));
    page
}

/// INSERT on block 9 for heap block 5445 in ranges of 4, which is entry 1 of block 2 of the map.
fn insert_at(info: u8, offset: u16) -> RecordBuilder {
    let flags = if info & INIT_PAGE != 0 { WILL_INIT } else { 0 };
    let main_data = [u32s(&[5445, 4]), u16s(&[offset])].concat();
    RecordBuilder::new(Rmgr::Brin, INSERT | info, &main_data)
        .block(0, flags, main(9), &[0xAB; 24])
        .block(1, 0, main(2), &[])
}

/// Moves a summary from line pointer `old` of block 6 to `new` of block 9.
fn update(old: u16, new: u16) -> RecordBuilder {
    let main_data = [u16s(&[old, 0]), u32s(&[5445, 4]), u16s(&[new])].concat();
    RecordBuilder::new(Rmgr::Brin, UPDATE, &main_data)
        .block(0, 0, main(9), &[0xAB; 24])
        .block(1, 0, main(2), &[])
        .block(2, 0, main(6), &[])
}

/// Removes summary `offset` of block 9.
fn desummarize(pages_per_range: u32, offset: u16) -> RecordBuilder {
    let main_data = [u32s(&[pages_per_range, 5445]), u16s(&[offset])].concat();
    RecordBuilder::new(Rmgr::Brin, DESUMMARIZE, &main_data)
        .block(0, 0, main(2), &[])
        .block(1, 0, main(9), &[])
}

fn create_index() -> RecordBuilder {
    let main_data = [u32s(&[128]), u16s(&[1])].concat();
    RecordBuilder::new(Rmgr::Brin, CREATE_INDEX, &main_data).block(0, WILL_INIT, main(0), &[])
}

fn extend() -> RecordBuilder {
    RecordBuilder::new(Rmgr::Brin, REVMAP_EXTEND, &u32s(&[2]))
        .block(0, 0, main(0), &[])
        .block(1, WILL_INIT, main(2), &[])
}

fn samepage_update(offset: u16) -> RecordBuilder {
    let data = [7; 40];
    RecordBuilder::new(Rmgr::Brin, SAMEPAGE_UPDATE, &u16s(&[offset])).block(0, 0, main(9), &data)
}

#[test]
fn an_index_starts_with_its_metapage_and_the_map_grows_page_by_page() {
    let mut meta = applied([0xEE; PAGE_SIZE], &create_index(), 0);
    assert_eq!(meta[24..40], u32s(&[0xA810_9CFA, 1, 128, 0]));
    assert_eq!((page::lower(&meta), page::upper(&meta)), (40, 8184));
    assert_eq!(meta[SPECIAL..], u16s(&[0, 0, 0, META]));
    // As a release before 11 left it.
    page::set_lower(&mut meta, 24);
    page::set_lsn(&mut meta, Lsn::new(1));
    let meta = applied(meta, &extend(), 0);
    assert_eq!(meta[24..40], u32s(&[0xA810_9CFA, 1, 128, 2]));
    assert_eq!(page::lower(&meta), 40);
    let map = applied([0xEE; PAGE_SIZE], &extend(), 2);
    assert!(map[HEADER_SIZE..SPECIAL].iter().all(|byte| *byte == 0));
    assert_eq!(map[SPECIAL..], u16s(&[0, 0, 0, REVMAP]));
}

#[test]
fn a_summary_is_added_and_the_map_leads_to_it() {
    let page = applied(summaries(2), &insert_at(0, 3), 9);
    assert_eq!(items(&page), [vec![1; 16], vec![2; 16], vec![0xAB; 24]]);
    let page = applied([0xEE; PAGE_SIZE], &insert_at(INIT_PAGE, 1), 9);
    assert_eq!(items(&page), [vec![0xAB; 24]]);
    assert_eq!(page[SPECIAL..], u16s(&[0, 0, 0, REGULAR]));
    let page = applied(revmap(), &insert_at(0, 3), 2);
    // Range 1361 is the second of the 1360 on the map's second page.
    assert_eq!(page[24..36], [0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 3, 0]);
    assert!(page[36..SPECIAL].iter().all(|byte| *byte == 0));
}

#[test]
fn a_summary_takes_a_line_pointer_that_is_free_and_no_other() {
    let mut page = summaries(3);
    delete_item_keeping_numbers(&mut page, 2).unwrap();
    let page = applied(page, &insert_at(0, 2), 9);
    assert_eq!(items(&page), [vec![1; 16], vec![0xAB; 24], vec![3; 16]]);
    for offset in [0, 2, 5] {
        let fault = refused(summaries(3), &insert_at(0, offset), 9);
        assert!(matches!(fault, Fault::AddItem { next: 4, .. }), "{fault}");
    }
}

#[test]
fn a_summary_that_moves_leaves_a_free_line_pointer_unless_it_was_the_last() {
    let page = applied(summaries(3), &update(2, 3), 6);
    assert_eq!(page::item_id(&page, 2), Ok(ItemId::UNUSED));
    assert_eq!(page[page::item_range(&page, 3).unwrap()], [3; 16]);
    let page = applied(summaries(3), &update(3, 3), 6);
    assert_eq!(max_offset(&page), 2);
    let page = applied(summaries(2), &update(2, 3), 9);
    assert_eq!(items(&page)[2], [0xAB; 24]);
    let page = applied(revmap(), &update(2, 3), 2);
    assert_eq!(page[30..36], [0, 0, 9, 0, 3, 0]);
}

#[test]
fn a_summary_that_fits_is_replaced_where_it_stands() {
    let page = applied(summaries(3), &samepage_update(2), 9);
    assert_eq!(items(&page), [vec![1; 16], vec![7; 40], vec![3; 16]]);
    let fault = refused(summaries(3), &samepage_update(4), 9);
    assert_eq!(fault, Fault::Offset { offset: 4, max: 3 });
}

#[test]
fn a_summary_that_is_removed_leaves_an_invalid_address() {
    let page = applied(revmap(), &desummarize(4, 1), 2);
    assert_eq!(page[30..36], [0xFF, 0xFF, 0xFF, 0xFF, 0, 0]);
    let page = applied(summaries(2), &desummarize(4, 1), 9);
    assert_eq!(page::item_id(&page, 1), Ok(ItemId::UNUSED));
}

#[test]
fn a_map_that_is_none_and_ranges_of_nothing_are_refused() {
    let fault = refused(summaries(3), &insert_at(0, 3), 2);
    assert!(matches!(fault, Fault::Value { found: 0xF093, .. }));
    let fault = refused(revmap(), &desummarize(0, 1), 2);
    assert!(matches!(fault, Fault::Value { found: 0, .. }), "{fault}");
    let fault = refused(revmap(), &extend(), 0);
    assert!(matches!(fault, Fault::Value { found: 0xF092, .. }));
}

#[test]
fn the_mask_hides_holes_and_evacuation_but_not_the_map() {
    let masked = |mut page: Page| {
        mask_page(&mut page, &main(7), Rmgr::Brin);
        page
    };
    let mut page = summaries(2);
    page[HEADER_SIZE + 100] = 0;
    page[SPECIAL + 4] = 1;
    assert!(masked(page) == masked(summaries(2)));
    page[SPECIAL + 4] = 2;
    assert!(masked(page) != masked(summaries(2)));
    let mut map = revmap();
    map[HEADER_SIZE + 100] = 1;
    assert!(masked(map) != masked(revmap()));
    assert!(check_page_type(&masked(revmap()), REVMAP).is_ok());
}

#[test]
fn damaged_pages_and_records_give_errors_and_no_panic() {
    let meta = applied(ZERO_PAGE, &create_index(), 0);
    let cases = [
        (meta, extend(), 0),
        (ZERO_PAGE, extend(), 2),
        (ZERO_PAGE, create_index(), 0),
        (summaries(5), insert_at(0, 6), 9),
        (summaries(5), insert_at(INIT_PAGE, 1), 9),
        (revmap(), insert_at(0, 3), 2),
        (summaries(5), update(2, 6), 9),
        (summaries(5), update(2, 6), 6),
        (summaries(5), samepage_update(3), 9),
        (revmap(), desummarize(4, 1), 2),
        (summaries(5), desummarize(4, 1), 9),
    ];
    let refused = refusals_of_damaged(&cases, 60_000);
    assert!(refused > 5000, "{refused}");
}
