//! Hash records whose redo has a trap, on small pages. That whole workloads come out right is checked
//! against real WAL (see `tests/real_wal`).

use super::*;
use crate::page::{self, HEADER_SIZE, item_range, max_offset};
use crate::redo::{Applied, redo};
use crate::testing::{END, RULES, Random, RecordBuilder, applied, refused, tag, u16s, u32s};
use crate::{RedoError, page_lsn};
use walrecord::{
    BlockTag, ForkNumber, Lsn, PAGE_SIZE, PageKey, PgVersion, Record, RedoRules, Rmgr, ZERO_PAGE,
};

const WILL_INIT: u8 = 0x40;
const SPECIAL: usize = PAGE_SIZE - opaque::SIZE;

const INIT_META_PAGE: u8 = 0x00;
const INIT_BITMAP_PAGE: u8 = 0x10;
const INSERT: u8 = 0x20;
const ADD_OVFL_PAGE: u8 = 0x30;
const SPLIT_ALLOCATE_PAGE: u8 = 0x40;
const SPLIT_PAGE: u8 = 0x50;
const SPLIT_COMPLETE: u8 = 0x60;
const MOVE_PAGE_CONTENTS: u8 = 0x70;
const SQUEEZE_PAGE: u8 = 0x80;
const DELETE: u8 = 0x90;
const SPLIT_CLEANUP: u8 = 0xA0;
const UPDATE_META_PAGE: u8 = 0xB0;
const VACUUM_ONE_PAGE: u8 = 0xC0;

fn main_fork(block: u32) -> BlockTag {
    tag(ForkNumber::Main, block)
}

fn record(info: u8, main: &[u8]) -> RecordBuilder {
    RecordBuilder::new(Rmgr::Hash, info, main)
}

/// An index tuple of 16 bytes.
fn tuple(hash: u8) -> Vec<u8> {
    [&[0, 0, 1, 0, hash, 0, 16, 0][..], &[hash; 8]].concat()
}

/// A page with tuples 1 to `count`, of bucket 2 between blocks 11 and 12, `0xEE` in the hole.
fn page_with(flags: u16, count: u8) -> Page {
    let mut page = ZERO_PAGE;
    let special = Opaque {
        prev: 11,
        next: 12,
        bucket: 2,
        flags,
    };
    special.make(&mut page).unwrap();
    page[HEADER_SIZE..SPECIAL].fill(0xEE);
    for n in 1..=count {
        add_item(&mut page, u16::from(n), &tuple(n), Placement::Shift).unwrap();
    }
    page::set_lsn(&mut page, Lsn::new(1));
    page
}

/// A metapage for 64 buckets with one bitmap page.
fn metapage() -> Page {
    let mut page = ZERO_PAGE;
    let init = walrecord::rmgr::hash::InitMetaPage {
        tuples: 64.0 * 300.0,
        procid: 400,
        fill_factor: 300,
    };
    meta::make(&mut page, &init).unwrap();
    meta::add_first_bitmap(&mut page).unwrap();
    page::set_lsn(&mut page, Lsn::new(1));
    page
}

fn word(page: &Page, at: usize) -> u32 {
    u32::from_le_bytes(page[at..at + 4].try_into().unwrap())
}

/// The word at an offset of the metadata.
fn meta_word(page: &Page, at: usize) -> u32 {
    word(page, HEADER_SIZE + at)
}

fn tuples_in_index(page: &Page) -> f64 {
    f64::from_le_bytes(page[HEADER_SIZE + 8..][..8].try_into().unwrap())
}

/// `hasho_prevblkno`, `hasho_nextblkno`, `hasho_bucket`, `hasho_flag`.
fn special(page: &Page) -> (u32, u32, u32, u16) {
    assert_eq!(page[PAGE_SIZE - 2..], [0x80, 0xFF]);
    let flags = word(page, SPECIAL + 12) as u16;
    let [prev, next, bucket] = [0, 4, 8].map(|at| word(page, SPECIAL + at));
    (prev, next, bucket, flags)
}

fn hashes(page: &Page) -> Vec<u8> {
    (1..=max_offset(page))
        .map(|n| page[item_range(page, n).unwrap()][8])
        .collect()
}

fn apply_as(
    version: PgVersion,
    page: &mut Page,
    builder: &RecordBuilder,
    block: u32,
) -> Result<Applied, RedoError> {
    let bytes = builder.bytes();
    let record = Record::parse(version, Lsn::new(END.get() - 0x100), END, &bytes).unwrap();
    let rules = RedoRules { version, ..RULES };
    redo(page, &record, &PageKey::Block(main_fork(block)), &rules)
}

#[test]
fn a_metapage_has_as_many_buckets_as_fill_whole_split_points() {
    // Tuples for each tuple per bucket; highest bucket, high mask, split point.
    for (tuples, expected) in [
        (-1.0, [1, 3, 1]),
        (2.0, [1, 3, 1]),
        (2.5, [1, 3, 1]),
        (3.0, [3, 7, 2]),
        (512.0, [511, 1023, 9]),
        (513.0, [639, 1023, 10]),
        (641.0, [767, 1023, 11]),
        (1000.0, [1023, 2047, 13]),
        (1025.0, [1279, 2047, 14]),
        (1e300, [0x3FFF_FFFF, 0x7FFF_FFFF, 93]),
    ] {
        let main = [
            &f64::to_le_bytes(tuples * 10.0)[..],
            &u32s(&[400]),
            &u16s(&[10]),
        ]
        .concat();
        let init = record(INIT_META_PAGE, &main).block(0, WILL_INIT, main_fork(0), &[]);
        let page = applied([0xEE; PAGE_SIZE], &init, 0);
        let found = [24, 28, 36].map(|at| meta_word(&page, at));
        assert_eq!(found, expected, "{tuples}");
        assert_eq!(meta_word(&page, 32), expected[1] >> 1);
        assert_eq!(meta_word(&page, 52 + 4 * expected[2] as usize), 1);
        assert_eq!(tuples_in_index(&page), 0.0);
        assert_eq!(
            special(&page),
            (u32::MAX, u32::MAX, u32::MAX, opaque::META_PAGE)
        );
        assert_eq!(page::lower(&page), 24 + 4544);
        let sizes = [16, 18, 20, 22].map(|at| meta_word(&page, at) as u16);
        assert_eq!(sizes, [10, 8152, 4096, 15]);
    }
    let main = [&[0; 8][..], &u32s(&[400]), &u16s(&[0])].concat();
    let init = record(INIT_META_PAGE, &main).block(0, WILL_INIT, main_fork(0), &[]);
    assert!(matches!(refused(ZERO_PAGE, &init, 0), Fault::Value { .. }));
}

#[test]
fn a_first_bitmap_lies_behind_the_buckets_and_is_all_ones() {
    let init = record(INIT_BITMAP_PAGE, &u16s(&[4096]))
        .block(0, WILL_INIT, main_fork(65), &[])
        .block(1, 0, main_fork(0), &[]);
    let bitmap = applied([0xEE; PAGE_SIZE], &init, 65);
    assert_eq!(page::lower(&bitmap), 24 + 4096);
    assert!(bitmap[24..24 + 4096].iter().all(|byte| *byte == 0xFF));
    assert!(bitmap[24 + 4096..SPECIAL].iter().all(|byte| *byte == 0));
    assert_eq!(special(&bitmap).3, opaque::BITMAP_PAGE);
    let mut empty = metapage();
    empty[HEADER_SIZE + 44] = 0;
    let meta = applied(empty, &init, 0);
    assert_eq!((meta_word(&meta, 44), meta_word(&meta, 444)), (1, 65));
    let too_large =
        record(INIT_BITMAP_PAGE, &u16s(&[8153])).block(0, WILL_INIT, main_fork(65), &[]);
    assert!(matches!(
        refused(ZERO_PAGE, &too_large, 65),
        Fault::Value { .. }
    ));
}

#[test]
fn an_insertion_adds_an_item_and_counts_it() {
    let insert = record(INSERT, &u16s(&[2]))
        .block(0, 0, main_fork(7), &tuple(9))
        .block(1, 0, main_fork(0), &[]);
    let page = applied(page_with(opaque::BUCKET_PAGE, 2), &insert, 7);
    assert_eq!(hashes(&page), [1, 9, 2]);
    assert_eq!(tuples_in_index(&applied(metapage(), &insert, 0)), 1.0);
    let not_meta = refused(page_with(opaque::BUCKET_PAGE, 2), &insert, 0);
    assert!(matches!(not_meta, Fault::Value { .. }));
}

/// ADD_OVFL_PAGE of block 90 behind block 7.
fn add_overflow(found: u8, with_new_bitmap: bool) -> RecordBuilder {
    let builder = record(ADD_OVFL_PAGE, &[0, 16, found])
        .block(0, WILL_INIT, main_fork(90), &u32s(&[2]))
        .block(1, 0, main_fork(7), &[])
        .block(2, 0, main_fork(65), &u32s(&[13]));
    let builder = match with_new_bitmap {
        true => builder.block(3, WILL_INIT, main_fork(91), &[]),
        false => builder,
    };
    builder.block(4, 0, main_fork(0), &u32s(&[14]))
}

#[test]
fn an_overflow_page_is_linked_marked_and_counted() {
    let add = add_overflow(0, false);
    let page = applied([0xEE; PAGE_SIZE], &add, 90);
    assert_eq!(special(&page), (7, u32::MAX, 2, opaque::OVERFLOW_PAGE));
    assert_eq!(max_offset(&page), 0);
    let left = applied(page_with(opaque::BUCKET_PAGE, 3), &add, 7);
    assert_eq!(special(&left), (11, 90, 2, opaque::BUCKET_PAGE));
    let mut bitmap = ZERO_PAGE;
    bitmap::make(&mut bitmap, 4096).unwrap();
    bitmap[24..24 + 4096].fill(0);
    assert_eq!(applied(bitmap, &add, 65)[24..28], [0, 0x20, 0, 0]);
    let spares = 52 + 4 * 6;
    let before = metapage();
    let meta = applied(before, &add, 0);
    assert_eq!((meta_word(&meta, 40), meta_word(&meta, spares)), (14, 2));
    assert_eq!(meta_word(&meta, 44), 1);
    // A page that was free before is not counted.
    let meta = applied(before, &add_overflow(1, false), 0);
    assert_eq!((meta_word(&meta, 40), meta_word(&meta, spares)), (14, 1));
}

#[test]
fn a_new_bitmap_page_counts_twice_and_is_listed_by_its_block() {
    let add = add_overflow(0, true);
    let bitmap = applied([0xEE; PAGE_SIZE], &add, 91);
    assert_eq!(page::lower(&bitmap), 24 + 4096);
    let meta = applied(metapage(), &add, 0);
    assert_eq!(meta_word(&meta, 52 + 4 * 6), 3);
    assert_eq!([44, 444, 448].map(|at| meta_word(&meta, at)), [2, 65, 91]);
    let mut full = metapage();
    full[HEADER_SIZE + 44..][..4].copy_from_slice(&1024u32.to_le_bytes());
    assert!(matches!(
        refused(full, &add, 0),
        Fault::Value { found: 1024, .. }
    ));
}

#[test]
fn a_bit_outside_the_bitmap_is_refused() {
    let squeeze = record(SQUEEZE_PAGE, &[&[0; 10][..], &[1, 0]].concat()).block(
        5,
        0,
        main_fork(65),
        &u32s(&[4096 * 8]),
    );
    let mut bitmap = ZERO_PAGE;
    bitmap::make(&mut bitmap, 4096).unwrap();
    assert!(matches!(
        refused(bitmap, &squeeze, 65),
        Fault::Value { found: 32768, .. }
    ));
    let overflow = page_with(opaque::OVERFLOW_PAGE, 0);
    assert!(matches!(
        refused(overflow, &squeeze, 65),
        Fault::Value { .. }
    ));
}

const OLD: u16 = opaque::BUCKET_PAGE | 1 << 5;
const NEW: u16 = opaque::BUCKET_PAGE | 1 << 4;

/// SPLIT_ALLOCATE_PAGE of bucket 64 from the bucket of block 7.
fn allocate(flags: u8, meta: &[u8], image: Option<&Page>) -> RecordBuilder {
    let main = [&u32s(&[64])[..], &u16s(&[OLD, NEW]), &[flags]].concat();
    let builder = record(SPLIT_ALLOCATE_PAGE, &main);
    let builder = match image {
        Some(image) => builder.image(0, main_fork(7), image),
        None => builder.block(0, 0, main_fork(7), &[]),
    };
    builder
        .block(1, WILL_INIT, main_fork(66), &[])
        .block(2, 0, main_fork(0), meta)
}

#[test]
fn a_split_marks_both_buckets_and_moves_the_masks() {
    let split = allocate(3, &u32s(&[63, 127, 7, 5]), None);
    let old = applied(page_with(opaque::BUCKET_PAGE, 2), &split, 7);
    assert_eq!(special(&old), (64, 12, 2, OLD));
    assert_eq!(hashes(&old), [1, 2]);
    let new = applied([0xEE; PAGE_SIZE], &split, 66);
    assert_eq!(special(&new), (64, u32::MAX, 64, NEW));
    let meta = applied(metapage(), &split, 0);
    assert_eq!(
        [24, 28, 32, 36].map(|at| meta_word(&meta, at)),
        [64, 127, 63, 7]
    );
    assert_eq!(meta_word(&meta, 52 + 4 * 7), 5);
    let split = allocate(2, &u32s(&[98, 5]), None);
    assert!(matches!(
        refused(metapage(), &split, 0),
        Fault::Value { found: 98, .. }
    ));
    let meta = applied(metapage(), &allocate(0, &[], None), 0);
    assert_eq!(
        [24, 28, 32, 36].map(|at| meta_word(&meta, at)),
        [64, 127, 63, 6]
    );
}

/// The image is of the page before the primary changed its special area.
#[test]
fn buckets_that_are_restored_from_an_image_get_their_flags_on_top_of_it() {
    let image = page_with(opaque::BUCKET_PAGE, 2);
    let split = allocate(0, &[], Some(&image));
    let page = applied(ZERO_PAGE, &split, 7);
    assert_eq!(special(&page), (64, 12, 2, OLD));
    assert_eq!(hashes(&page), [1, 2]);
    let complete = record(SPLIT_COMPLETE, &u16s(&[0x42, 0x02]))
        .image(0, main_fork(7), &page_with(OLD, 2))
        .image(1, main_fork(66), &page_with(NEW, 1));
    assert_eq!(special(&applied(ZERO_PAGE, &complete, 7)).3, 0x42);
    assert_eq!(special(&applied(ZERO_PAGE, &complete, 66)).3, 0x02);
    let plain = record(SPLIT_COMPLETE, &u16s(&[0x42, 0x02])).block(1, 0, main_fork(66), &[]);
    assert_eq!(special(&applied(page_with(NEW, 1), &plain, 66)).3, 0x02);
    let mut other = image;
    other[PAGE_SIZE - 1] = 0;
    let split = allocate(0, &[], Some(&other));
    assert!(matches!(refused(ZERO_PAGE, &split, 7), Fault::Value { .. }));
}

#[test]
fn a_split_page_without_its_image_is_refused() {
    let split = record(SPLIT_PAGE, &[]).block(0, 0, main_fork(7), &[]);
    let fault = refused(page_with(opaque::BUCKET_PAGE, 2), &split, 7);
    assert_eq!(fault, Fault::Missing("image"));
}

#[test]
fn a_bucket_that_a_record_only_locks_keeps_its_lsn() {
    for (info, main) in [
        (MOVE_PAGE_CONTENTS, &[0, 0, 0][..]),
        (SQUEEZE_PAGE, &[0; 12]),
        (DELETE, &[0, 0]),
    ] {
        let locks = record(info, main).block(0, 0, main_fork(7), &[]);
        let mut page = page_with(opaque::BUCKET_PAGE, 2);
        let before = page;
        let result = apply_as(PgVersion::V15, &mut page, &locks, 7);
        assert_eq!(result, Ok(Applied::Skipped));
        assert!(page == before);
    }
}

#[test]
fn moved_tuples_go_where_the_record_says() {
    let data = [u16s(&[1, 4]), tuple(8), tuple(9)].concat();
    let moves = record(MOVE_PAGE_CONTENTS, &[2, 0, 1])
        .block(1, 0, main_fork(7), &data)
        .block(2, 0, main_fork(8), &u16s(&[1, 3]));
    let page = applied(page_with(opaque::BUCKET_PAGE, 2), &moves, 7);
    assert_eq!(hashes(&page), [8, 1, 2, 9]);
    let page = applied(page_with(opaque::OVERFLOW_PAGE, 3), &moves, 8);
    assert_eq!(hashes(&page), [2]);
    let gap = [u16s(&[1, 5]), tuple(8), tuple(9)].concat();
    let moves = record(MOVE_PAGE_CONTENTS, &[2, 0, 1]).block(1, 0, main_fork(7), &gap);
    let fault = refused(page_with(opaque::BUCKET_PAGE, 2), &moves, 7);
    assert!(matches!(fault, Fault::AddItem { offset: 5, .. }));
}

/// SQUEEZE_PAGE that frees a page between blocks 7 and 9.
fn squeeze(tuples: u16, to_primary: u8, to_prev: u8) -> Vec<u8> {
    [u32s(&[7, 9]), u16s(&[tuples]), vec![to_primary, to_prev]].concat()
}

#[test]
fn a_freed_page_is_empty_and_its_neighbours_know_each_other() {
    let data = [u16s(&[1]), tuple(8)].concat();
    let frees = record(SQUEEZE_PAGE, &squeeze(1, 0, 0))
        .block(1, 0, main_fork(6), &data)
        .block(2, 0, main_fork(8), &[])
        .block(3, 0, main_fork(7), &[])
        .block(4, 0, main_fork(9), &[])
        .block(5, 0, main_fork(65), &u32s(&[3]))
        .block(6, 0, main_fork(0), &u32s(&[3]));
    let overflow = page_with(opaque::OVERFLOW_PAGE, 2);
    let page = applied(overflow, &frees, 6);
    assert_eq!((hashes(&page), special(&page).1), (vec![8, 1, 2], 12));
    let page = applied(overflow, &frees, 8);
    assert_eq!(
        special(&page),
        (u32::MAX, u32::MAX, u32::MAX, opaque::UNUSED_PAGE)
    );
    assert!(page[HEADER_SIZE..SPECIAL].iter().all(|byte| *byte == 0));
    assert_eq!(special(&applied(overflow, &frees, 7)).1, 9);
    assert_eq!(special(&applied(overflow, &frees, 9)).0, 7);
    let mut bitmap = ZERO_PAGE;
    bitmap::make(&mut bitmap, 4096).unwrap();
    assert_eq!(applied(bitmap, &frees, 65)[24..26], [0xF7, 0xFF]);
    assert_eq!(meta_word(&applied(metapage(), &frees, 0), 40), 3);
    // Tuples go to the page before the freed one: one page, both changes.
    let frees = record(SQUEEZE_PAGE, &squeeze(1, 0, 1)).block(1, 0, main_fork(7), &data);
    let page = applied(overflow, &frees, 7);
    assert_eq!((hashes(&page), special(&page).1), (vec![8, 1, 2], 9));
}

#[test]
fn a_page_that_squeezing_leaves_alone_gets_the_lsn_up_to_16_only() {
    let frees = record(SQUEEZE_PAGE, &squeeze(0, 1, 0)).block(1, 0, main_fork(7), &[]);
    let before = page_with(opaque::BUCKET_PAGE, 2);
    for version in PgVersion::ALL {
        let mut page = before;
        let result = apply_as(version, &mut page, &frees, 7);
        let (expected, lsn) = match version >= PgVersion::V17 {
            true => (Applied::Skipped, Lsn::new(1)),
            false => (Applied::Changed, END),
        };
        assert_eq!((result, page_lsn(&page)), (Ok(expected), lsn), "{version}");
        assert!(page[8..] == before[8..]);
    }
}

#[test]
fn deletions_clear_the_dead_tuple_flag_only_when_told() {
    let flags = opaque::BUCKET_PAGE | opaque::HAS_DEAD_TUPLES | opaque::NEEDS_SPLIT_CLEANUP;
    for (clear, left) in [(0, flags), (1, flags & !opaque::HAS_DEAD_TUPLES)] {
        let delete = record(DELETE, &[clear, 1]).block(1, 0, main_fork(7), &u16s(&[1, 2, 4]));
        let page = applied(page_with(flags, 5), &delete, 7);
        assert_eq!((hashes(&page), special(&page).3), (vec![3, 5], left));
    }
    let cleanup = record(SPLIT_CLEANUP, &[]).block(0, 0, main_fork(7), &[]);
    let page = applied(page_with(flags, 5), &cleanup, 7);
    assert_eq!(special(&page).3, flags & !opaque::NEEDS_SPLIT_CLEANUP);
}

#[test]
fn dead_tuples_go_by_the_layout_of_each_version() {
    for version in PgVersion::ALL {
        let count: &[u8] = match version >= PgVersion::V16 {
            true => &[2, 0, 1, 0],
            false => &[2, 0, 0, 0],
        };
        let main = [&u32s(&[700])[..], count, &u16s(&[1, 3])].concat();
        let vacuum = record(VACUUM_ONE_PAGE, &main)
            .block(0, 0, main_fork(7), &[])
            .block(1, 0, main_fork(0), &[]);
        let mut page = page_with(opaque::BUCKET_PAGE | opaque::HAS_DEAD_TUPLES, 3);
        apply_as(version, &mut page, &vacuum, 7).unwrap();
        assert_eq!(
            (hashes(&page), special(&page).3),
            (vec![2], opaque::BUCKET_PAGE)
        );
        let update = record(UPDATE_META_PAGE, &7.5f64.to_le_bytes()).block(0, 0, main_fork(0), &[]);
        let mut meta = applied(metapage(), &update, 0);
        page::set_lsn(&mut meta, Lsn::new(1));
        apply_as(version, &mut meta, &vacuum, 0).unwrap();
        assert_eq!(tuples_in_index(&meta), 5.5);
    }
}

#[test]
fn the_mask_hides_dead_marks_and_freed_pages_but_no_tuples() {
    let key = main_fork(7);
    let masked = |mut page: Page| {
        crate::mask(&mut page, &key, Rmgr::Hash);
        page
    };
    let plain = page_with(opaque::BUCKET_PAGE, 3);
    let mut marked = page_with(opaque::BUCKET_PAGE | opaque::HAS_DEAD_TUPLES, 3);
    let id = page::item_id(&marked, 2).unwrap();
    page::set_item_id(&mut marked, 2, id.with_flag(page::ItemFlag::Dead)).unwrap();
    assert!(masked(plain) == masked(marked));
    marked[SPECIAL - 1] ^= 1;
    assert!(masked(plain) != masked(marked));
    let freed = page_with(opaque::UNUSED_PAGE, 0);
    assert!(masked(freed) == masked(page_with(opaque::UNUSED_PAGE, 3)));
    assert!(masked(freed) != masked(page_with(opaque::OVERFLOW_PAGE, 0)));
    let mut meta = metapage();
    let before = masked(meta);
    meta[HEADER_SIZE + 8] ^= 1;
    assert!(masked(meta) != before);
}

/// Whatever the bytes of page and record: an answer, never a panic.
#[test]
fn damaged_pages_and_records_give_errors_and_no_panic() {
    let mut random = Random::new(12);
    let mut bitmap = ZERO_PAGE;
    bitmap::make(&mut bitmap, 4096).unwrap();
    let pages = [
        page_with(opaque::BUCKET_PAGE, 5),
        page_with(opaque::OVERFLOW_PAGE | opaque::HAS_DEAD_TUPLES, 3),
        metapage(),
        bitmap,
    ];
    let data = [u16s(&[1, 4]), tuple(8), tuple(9)].concat();
    let at = |builder: RecordBuilder, id, data: &[u8]| builder.block(id, 0, main_fork(7), data);
    let vacuum = [u32s(&[700, 2]), u16s(&[1, 3])].concat();
    let init = [&f64::to_le_bytes(5000.0)[..], &u32s(&[400]), &u16s(&[10])].concat();
    let split = [&u32s(&[64])[..], &u16s(&[OLD, NEW]), &[3]].concat();
    let records = [
        at(record(INIT_META_PAGE, &init), 0, &[]),
        at(record(INIT_BITMAP_PAGE, &u16s(&[4096])), 0, &[]),
        at(record(INIT_BITMAP_PAGE, &u16s(&[4096])), 1, &[]),
        at(record(INSERT, &u16s(&[2])), 0, &tuple(9)),
        at(record(ADD_OVFL_PAGE, &[0, 16, 0]), 2, &u32s(&[13])),
        at(record(ADD_OVFL_PAGE, &[0, 16, 0]), 4, &u32s(&[13])),
        at(
            record(SPLIT_ALLOCATE_PAGE, &split),
            2,
            &u32s(&[63, 127, 7, 5]),
        ),
        record(SPLIT_ALLOCATE_PAGE, &split).image(0, main_fork(7), &pages[0]),
        at(record(MOVE_PAGE_CONTENTS, &[2, 0, 1]), 1, &data),
        at(record(MOVE_PAGE_CONTENTS, &[2, 0, 1]), 2, &u16s(&[1, 2, 4])),
        at(record(SQUEEZE_PAGE, &squeeze(2, 0, 1)), 1, &data),
        at(record(SQUEEZE_PAGE, &squeeze(2, 0, 1)), 5, &u32s(&[77])),
        at(record(DELETE, &[1, 1]), 1, &u16s(&[1, 2, 4])),
        at(record(VACUUM_ONE_PAGE, &vacuum), 0, &[]),
        at(record(VACUUM_ONE_PAGE, &vacuum), 1, &[]),
    ];
    let mut refused = 0;
    for _ in 0..40_000 {
        let mut page = pages[random.below(pages.len())];
        let mut bytes = records[random.below(records.len())].bytes();
        for _ in 0..random.below(4) {
            let at = match random.below(3) {
                0 => 8 + random.below(40),
                1 => HEADER_SIZE + random.below(60),
                _ => PAGE_SIZE - 120 + random.below(120),
            };
            page[at] = random.below(256) as u8;
        }
        for _ in 0..random.below(3) {
            // Behind the block's tag: what the decoder of the body sees, and sometimes an image.
            let at = 44 + random.below(bytes.len() - 44);
            bytes[at] = random.below(256) as u8;
        }
        let Ok(record) = Record::parse(PgVersion::V15, Lsn::new(8), END, &bytes) else {
            continue;
        };
        let key = PageKey::Block(main_fork(7));
        refused += usize::from(redo(&mut page, &record, &key, &RULES).is_err());
        crate::mask(&mut page, &main_fork(7), Rmgr::Hash);
    }
    assert!(refused > 1000, "{refused}");
}
