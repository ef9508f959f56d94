//! Every kind of SP-GiST record on small pages. That whole workloads come out right is checked against
//! real WAL (see `tests/real_wal`).

use super::opaque::{Counter, Level, SPGIST_PAGE_ID, count, init_page};
use super::*;
use crate::mask as mask_page;
use crate::page::{self, HEADER_SIZE, Placement, add_item};
use crate::testing::{
    RULES, RecordBuilder, applied, items, refusals_of_damaged, refused, tag, u16s, u32s,
};
use walrecord::{
    BlockTag, ForkNumber, Lsn, PAGE_SIZE, PageKey, PgVersion, Record, RedoRules, Rmgr, ZERO_PAGE,
};

const SPECIAL: usize = PAGE_SIZE - 8;
const WILL_INIT: u8 = 0x40;

const LEAF: u16 = 4;
const NULLS: u16 = 8;

const ADD_LEAF: u8 = 0x10;
const MOVE_LEAFS: u8 = 0x20;
const ADD_NODE: u8 = 0x30;
const SPLIT_TUPLE: u8 = 0x40;
const PICKSPLIT: u8 = 0x50;
const VACUUM_LEAF: u8 = 0x60;
const VACUUM_ROOT: u8 = 0x70;
const VACUUM_REDIRECT: u8 = 0x80;

/// Transaction 9, not building.
const NORMAL: [u32; 2] = [9, 0];
/// Transaction 9, building the index.
const BUILD: [u32; 2] = [9, 1];

fn main(block: u32) -> BlockTag {
    tag(ForkNumber::Main, block)
}

/// A leaf tuple of 24 bytes, `0xC000` of flags set, linked to `next`.
fn leaf(key: u8, next: u16) -> Vec<u8> {
    let mut tuple = u32s(&[24 << 2]);
    tuple.extend(u16s(&[0xC000 | next]));
    tuple.extend([key; 18]);
    tuple
}

/// An inner tuple with a prefix of 8 bytes and a node for each downlink.
fn inner(key: u8, downlinks: &[(u16, u16)]) -> Vec<u8> {
    let size = 16 + 16 * downlinks.len() as u16;
    let mut tuple = u32s(&[(downlinks.len() as u32) << 3 | 8 << 16]);
    tuple.extend(u16s(&[size, 0]));
    tuple.extend([key; 8]);
    for (block, offset) in downlinks {
        tuple.extend(u16s(&[0, *block, *offset, 0x4000 | 16]));
        tuple.extend([key; 8]);
    }
    tuple
}

fn redirect(block: u16, offset: u16) -> Vec<u8> {
    let mut tuple = u32s(&[16 << 2 | 1]);
    tuple.extend(u16s(&[0, 0, block, offset]));
    tuple.extend(u32s(&[9]));
    tuple
}

fn dead(state: u32) -> Vec<u8> {
    let mut tuple = u32s(&[16 << 2 | state]);
    tuple.extend(u16s(&[0, 0xFFFF, 0xFFFF, 0, 0, 0]));
    tuple
}

const DEAD: u32 = 2;
const PLACEHOLDER: u32 = 3;

/// A page with tuples, `0xEE` in the hole, its counters right.
fn page_of(level: Level, tuples: &[Vec<u8>]) -> Page {
    let mut page = ZERO_PAGE;
    init_page(&mut page, level, false).unwrap();
    page[HEADER_SIZE..SPECIAL].fill(0xEE);
    for (index, tuple) in tuples.iter().enumerate() {
        add_item(&mut page, index as u16 + 1, tuple, Placement::Shift).unwrap();
        match tuple[0] & 3 {
            1 => count(&mut page, Counter::Redirections, 1).unwrap(),
            3 => count(&mut page, Counter::Placeholders, 1).unwrap(),
            _ => {}
        }
    }
    page::set_lsn(&mut page, Lsn::new(1));
    page
}

/// Flags, redirections, placeholders.
fn special(page: &Page) -> [u16; 3] {
    let word = |at: usize| u16::from_le_bytes([page[SPECIAL + at], page[SPECIAL + at + 1]]);
    assert_eq!(word(6), SPGIST_PAGE_ID);
    [word(0), word(2), word(4)]
}

/// Adds a leaf at `offset` of block 7; the downlink is node 1 of tuple 2 on block 5.
fn add_leaf(new_page: u8, nulls: u8, offset: u16, head: u16, parent: u16) -> RecordBuilder {
    let fields = u16s(&[offset, head, parent, 1]);
    let main_data = [vec![new_page, nulls], fields, leaf(9, 4)].concat();
    let flags = if new_page != 0 { WILL_INIT } else { 0 };
    RecordBuilder::new(Rmgr::SpGist, ADD_LEAF, &main_data)
        .block(0, flags, main(7), &[])
        .block(1, 0, main(5), &[])
}

/// Two inner tuples, each with two nodes.
fn parents() -> [Vec<u8>; 2] {
    [inner(1, &[(3, 4), (5, 6)]), inner(2, &[(7, 8), (9, 10)])]
}

#[test]
fn a_leaf_starts_a_page_follows_another_or_takes_a_placeholder() {
    let page = applied([0xEE; PAGE_SIZE], &add_leaf(1, 1, 1, 0, 0), 7);
    assert_eq!(
        (items(&page), special(&page)),
        (vec![leaf(9, 4)], [LEAF | NULLS, 0, 0])
    );
    let old = [leaf(1, 4), dead(PLACEHOLDER), leaf(3, 0)];
    // The list's head is tuple 1; its flags beside the link stay.
    let page = applied(page_of(Level::Leaf, &old), &add_leaf(0, 0, 4, 1, 0), 7);
    let expected = [leaf(1, 4), dead(PLACEHOLDER), leaf(3, 0), leaf(9, 4)];
    assert_eq!(items(&page), expected);
    assert_eq!(special(&page), [LEAF, 0, 1]);
    let page = applied(page_of(Level::Leaf, &old), &add_leaf(0, 0, 2, 1, 0), 7);
    assert_eq!(items(&page), [leaf(1, 2), leaf(9, 4), leaf(3, 0)]);
    assert_eq!(special(&page), [LEAF, 0, 0]);
}

#[test]
fn a_leaf_takes_the_place_of_its_lists_dead_head() {
    let old = [leaf(1, 0), dead(DEAD), leaf(3, 0)];
    let page = applied(page_of(Level::Leaf, &old), &add_leaf(0, 0, 2, 2, 0), 7);
    assert_eq!(items(&page), [leaf(1, 0), leaf(9, 4), leaf(3, 0)]);
    assert_eq!(special(&page), [LEAF, 0, 0]);
}

#[test]
fn a_downlink_is_set_in_its_node_and_nowhere_else() {
    let record = add_leaf(0, 0, 2, 1, 2);
    let page = applied(page_of(Level::Inner, &parents()), &record, 5);
    let changed = inner(2, &[(7, 8), (7, 2)]);
    assert_eq!(items(&page), [parents()[0].clone(), changed]);

    let one_node = [inner(1, &[]), inner(2, &[(7, 8)])];
    let fault = refused(page_of(Level::Inner, &one_node), &record, 5);
    assert!(matches!(fault, Fault::Value { expected: 1, .. }), "{fault}");
    let moved = [inner(1, &[]), redirect(1, 1)];
    let fault = refused(page_of(Level::Inner, &moved), &record, 5);
    assert!(matches!(fault, Fault::Value { found: 1, .. }), "{fault}");
    // A node count that the tuple has no room for.
    let mut cut = inner(2, &[(7, 8), (9, 10)]);
    cut.truncate(24);
    let fault = refused(page_of(Level::Inner, &[cut.clone(), cut]), &record, 5);
    assert!(matches!(fault, Fault::Value { found: 24, .. }), "{fault}");
}

#[test]
fn what_is_no_placeholder_is_not_replaced() {
    let old = [leaf(1, 4), leaf(2, 0)];
    let fault = refused(page_of(Level::Leaf, &old), &add_leaf(0, 0, 2, 1, 0), 7);
    assert!(
        matches!(
            fault,
            Fault::Value {
                found: 0,
                expected: 3,
                ..
            }
        ),
        "{fault}"
    );
    let fault = refused(page_of(Level::Leaf, &old), &add_leaf(0, 0, 4, 1, 0), 7);
    assert!(matches!(fault, Fault::AddItem { next: 3, .. }), "{fault}");
    // The page counts no placeholder, but has one.
    let mut page = page_of(Level::Leaf, &[leaf(1, 0), dead(PLACEHOLDER)]);
    count(&mut page, Counter::Placeholders, -1).unwrap();
    let fault = refused(page, &add_leaf(0, 0, 2, 1, 0), 7);
    assert!(matches!(fault, Fault::Value { found: 0, .. }), "{fault}");
}

/// Moves tuples 3, 1 and 2 of block 7 to block 8, with one more.
fn move_leafs(state: [u32; 2], new_page: u8) -> RecordBuilder {
    let mut main_data = u16s(&[3]);
    main_data.extend([new_page, 0, 0, 0]);
    main_data.extend(u16s(&[2, 1, 0]));
    main_data.extend(u32s(&state));
    main_data.extend(u16s(&[3, 1, 2]));
    main_data.extend(u16s(&[1, 2, 3, 4]));
    for key in 1..=4 {
        main_data.extend(leaf(key, 0));
    }
    let flags = if new_page != 0 { WILL_INIT } else { 0 };
    RecordBuilder::new(Rmgr::SpGist, MOVE_LEAFS, &main_data)
        .block(0, 0, main(7), &[])
        .block(1, flags, main(8), &[])
        .block(2, 0, main(5), &[])
}

#[test]
fn a_moved_list_leaves_a_redirection_where_its_head_was() {
    let old: Vec<_> = (1..=5).map(|key| leaf(key, 0)).collect();
    let source = page_of(Level::Leaf, &old);
    let gone = || dead(PLACEHOLDER);
    let page = applied(source, &move_leafs(NORMAL, 1), 7);
    let kept = [leaf(4, 0), leaf(5, 0)];
    let expected = [gone(), gone(), redirect(8, 4)];
    assert_eq!(items(&page), [&expected[..], &kept].concat());
    assert_eq!(special(&page), [LEAF, 1, 2]);
    // Nobody scans an index that is being built.
    let page = applied(source, &move_leafs(BUILD, 1), 7);
    assert_eq!(
        items(&page),
        [&[gone(), gone(), gone()][..], &kept].concat()
    );
    assert_eq!(special(&page), [LEAF, 0, 3]);

    let page = applied([0xEE; PAGE_SIZE], &move_leafs(NORMAL, 1), 8);
    assert_eq!(
        items(&page),
        (1..=4).map(|key| leaf(key, 0)).collect::<Vec<_>>()
    );
    let page = applied(page_of(Level::Inner, &parents()), &move_leafs(NORMAL, 1), 5);
    assert_eq!(items(&page)[1], inner(2, &[(7, 8), (8, 4)]));
}

#[test]
fn a_dead_head_that_moves_is_replaced_by_one_tuple() {
    let mut main_data = u16s(&[1]);
    main_data.extend([1, 1, 0, 0]);
    main_data.extend(u16s(&[2, 1, 0]));
    main_data.extend(u32s(&NORMAL));
    main_data.extend(u16s(&[2, 1]));
    main_data.extend(leaf(9, 0));
    let record = RecordBuilder::new(Rmgr::SpGist, MOVE_LEAFS, &main_data)
        .block(0, 0, main(7), &[])
        .block(1, WILL_INIT, main(8), &[])
        .block(2, 0, main(5), &[]);
    let old = [leaf(1, 0), dead(DEAD)];
    let page = applied(page_of(Level::Leaf, &old), &record, 7);
    assert_eq!(items(&page), [leaf(1, 0), redirect(8, 1)]);
    assert_eq!(items(&applied(ZERO_PAGE, &record, 8)), [leaf(9, 0)]);
}

/// Gives tuple 1 of block 7 a node, on block 8 as tuple `new`; the parent is tuple 2, node 1.
fn add_node(new: u16, new_page: u8, parent: i8, state: [u32; 2]) -> RecordBuilder {
    let mut main_data = u16s(&[1, new]);
    main_data.extend([new_page, parent as u8]);
    main_data.extend(u16s(&[2, 1, 0]));
    main_data.extend(u32s(&state));
    main_data.extend(inner(9, &[(3, 4), (5, 6), (0, 0)]));
    let record = RecordBuilder::new(Rmgr::SpGist, ADD_NODE, &main_data).block(0, 0, main(7), &[]);
    if new == 0 {
        return record;
    }
    let flags = if new_page != 0 { WILL_INIT } else { 0 };
    let record = record.block(1, flags, main(8), &[]);
    if parent < 2 {
        return record;
    }
    record.block(2, 0, main(5), &[])
}

#[test]
fn a_tuple_gets_a_node_where_it_stands() {
    let before = page_of(Level::Inner, &parents());
    let page = applied(before, &add_node(0, 0, -1, NORMAL), 7);
    let grown = inner(9, &[(3, 4), (5, 6), (0, 0)]);
    assert_eq!(items(&page), [grown, parents()[1].clone()]);
    // Not in the old one's place: the other closed up, and the new one lies below.
    assert_eq!(page::item_range(&page, 2).unwrap().end, SPECIAL);
}

#[test]
fn a_tuple_that_got_a_node_and_moved_is_known_to_its_parent_on_any_page() {
    let old = page_of(Level::Inner, &parents());
    let grown = || inner(9, &[(3, 4), (5, 6), (0, 0)]);
    let linked = inner(2, &[(7, 8), (8, 1)]);
    for (parent, state, left, special_area) in [
        (0, NORMAL, redirect(8, 1), [0, 1, 0]),
        (0, BUILD, dead(PLACEHOLDER), [0, 0, 1]),
        (2, NORMAL, redirect(8, 1), [0, 1, 0]),
    ] {
        let page = applied(old, &add_node(1, 1, parent, state), 7);
        let other = if parent == 0 {
            linked.clone()
        } else {
            parents()[1].clone()
        };
        assert_eq!(items(&page), [left, other]);
        assert_eq!(special(&page), special_area);
    }
    let page = applied(old, &add_node(1, 1, 2, NORMAL), 5);
    assert_eq!(items(&page), [parents()[0].clone(), linked]);
    let page = applied([0xEE; PAGE_SIZE], &add_node(1, 1, 2, NORMAL), 8);
    assert_eq!((items(&page), special(&page)), (vec![grown()], [0; 3]));
    let page = applied(old, &add_node(3, 0, 1, NORMAL), 8);
    assert_eq!(
        items(&page),
        [parents()[0].clone(), inner(2, &[(7, 8), (8, 3)]), grown()]
    );
}

/// Splits tuple 1 of block 7; the postfix is tuple `postfix` there or on block 8.
fn split_tuple(postfix: u16, new_page: u8, same_page: u8) -> RecordBuilder {
    let mut main_data = u16s(&[1, postfix]);
    main_data.extend([new_page, same_page]);
    main_data.extend(inner(3, &[(7, postfix)]));
    main_data.extend(inner(4, &[(3, 4), (5, 6)]));
    let record =
        RecordBuilder::new(Rmgr::SpGist, SPLIT_TUPLE, &main_data).block(0, 0, main(7), &[]);
    let flags = if new_page != 0 { WILL_INIT } else { 0 };
    if same_page != 0 {
        return record;
    }
    record.block(1, flags, main(8), &[])
}

#[test]
fn a_split_tuple_is_a_prefix_in_its_place_and_a_postfix_there_or_elsewhere() {
    let (prefix, postfix) = (|n| inner(3, &[(7, n)]), inner(4, &[(3, 4), (5, 6)]));
    let old = page_of(Level::Inner, &parents());
    let page = applied(old, &split_tuple(3, 0, 1), 7);
    assert_eq!(
        items(&page),
        [prefix(3), parents()[1].clone(), postfix.clone()]
    );
    let record = split_tuple(1, 1, 0);
    let page = applied(old, &record, 7);
    assert_eq!(items(&page), [prefix(1), parents()[1].clone()]);
    let page = applied([0xEE; PAGE_SIZE], &record, 8);
    assert_eq!((items(&page), special(&page)), (vec![postfix], [0; 3]));
}

/// Which of a picksplit's pages are initialised, and what else it does.
#[derive(Clone, Copy, Default)]
struct Pick {
    root: u8,
    init_source: u8,
    inner_is_parent: u8,
    state: [u32; 2],
}

/// Splits tuples 4 and 2 of block 7 into tuples for blocks 7 and 8, under tuple 3 of block 5; the parent
/// is node 1 of tuple 2 there or on block 6.
fn pick_split(pick: Pick) -> RecordBuilder {
    let deleted = if pick.init_source | pick.root == 0 {
        2
    } else {
        0
    };
    let mut main_data = vec![pick.root, 0];
    main_data.extend(u16s(&[deleted, 3]));
    main_data.extend([pick.init_source, 1]);
    main_data.extend(u16s(&[if pick.root != 0 { 1 } else { 3 }]));
    main_data.extend([pick.root, 1, pick.inner_is_parent, 0]);
    main_data.extend(u16s(&[2, 1, 0]));
    main_data.extend(u32s(&pick.state));
    main_data.extend(u16s(&[4, 2][..usize::from(deleted)]));
    main_data.extend(u16s(&[1, 1, 2]));
    // One for block 7, unless the root is split, two for block 8.
    main_data.extend([pick.root, 1, 1]);
    main_data.extend(inner(9, &[(7, 1), (8, 2)]));
    for key in [11, 12, 13] {
        main_data.extend(leaf(key, 0));
    }
    let mut record = RecordBuilder::new(Rmgr::SpGist, PICKSPLIT, &main_data);
    if pick.root == 0 {
        let flags = if pick.init_source != 0 { WILL_INIT } else { 0 };
        record = record.block(0, flags, main(7), &[]);
    }
    let flags = if pick.root != 0 { WILL_INIT } else { 0 };
    record = record
        .block(1, WILL_INIT, main(8), &[])
        .block(2, flags, main(5), &[]);
    if pick.root | pick.inner_is_parent != 0 {
        return record;
    }
    record.block(3, 0, main(6), &[])
}

#[test]
fn a_picksplit_spreads_its_leaves_and_redirects_from_the_head() {
    let old = [dead(PLACEHOLDER), leaf(2, 0), leaf(3, 0), leaf(4, 2)];
    let source = page_of(Level::Leaf, &old);
    let (new, gone) = (leaf(11, 0), dead(PLACEHOLDER));
    for (state, head, special_area) in [
        (NORMAL, redirect(5, 3), [LEAF, 1, 1]),
        (BUILD, gone.clone(), [LEAF, 0, 2]),
    ] {
        let record = pick_split(Pick {
            state,
            ..Pick::default()
        });
        let page = applied(source, &record, 7);
        assert_eq!(items(&page), [new.clone(), gone.clone(), leaf(3, 0), head]);
        assert_eq!(special(&page), special_area);
    }
    let record = pick_split(Pick {
        init_source: 1,
        ..Pick::default()
    });
    let page = applied(source, &record, 7);
    assert_eq!(
        (items(&page), special(&page)),
        (vec![new], [LEAF | NULLS, 0, 0])
    );
    let page = applied(source, &record, 8);
    assert_eq!(items(&page), [leaf(12, 0), leaf(13, 0)]);
    assert_eq!(special(&page), [LEAF | NULLS, 0, 0]);
}

#[test]
fn the_inner_tuple_of_a_picksplit_is_known_to_its_parent() {
    let old = page_of(Level::Inner, &parents());
    let linked = inner(2, &[(7, 8), (5, 3)]);
    let new = inner(9, &[(7, 1), (8, 2)]);
    let apart = pick_split(Pick::default());
    let page = applied(old, &apart, 5);
    assert_eq!(
        items(&page),
        [&parents()[..], std::slice::from_ref(&new)].concat()
    );
    let page = applied(old, &apart, 6);
    assert_eq!(items(&page), [parents()[0].clone(), linked.clone()]);
    let together = pick_split(Pick {
        inner_is_parent: 1,
        ..Pick::default()
    });
    let page = applied(old, &together, 5);
    assert_eq!(items(&page), [parents()[0].clone(), linked, new]);
}

#[test]
fn a_root_that_is_split_comes_back_as_an_inner_page() {
    let record = pick_split(Pick {
        root: 1,
        ..Pick::default()
    });
    let page = applied(page_of(Level::Leaf, &[leaf(1, 0)]), &record, 5);
    assert_eq!(items(&page), [inner(9, &[(7, 1), (8, 2)])]);
    assert_eq!(special(&page), [NULLS, 0, 0]);
}

#[test]
fn vacuum_keeps_heads_as_dead_tuples_and_moves_others_into_their_place() {
    let counts = u16s(&[1, 1, 1, 1]);
    // 2 dies, 3 becomes a placeholder, 5 moves to 1, and 1 links to 4 then.
    let lists = u16s(&[2, 3, 5, 1, 1, 4]);
    let main_data = [counts, u32s(&NORMAL), lists].concat();
    let record =
        RecordBuilder::new(Rmgr::SpGist, VACUUM_LEAF, &main_data).block(0, 0, main(7), &[]);
    let old: Vec<_> = (1..=5).map(|key| leaf(key, 3)).collect();
    let page = applied(page_of(Level::Leaf, &old), &record, 7);
    let gone = || dead(PLACEHOLDER);
    assert_eq!(
        items(&page),
        [leaf(5, 4), dead(DEAD), gone(), leaf(4, 3), gone()]
    );
    assert_eq!(special(&page), [LEAF, 0, 2]);
}

#[test]
fn vacuum_of_a_root_closes_up() {
    let main_data = [u16s(&[3, 0]), u32s(&NORMAL), u16s(&[1, 3, 4])].concat();
    let record =
        RecordBuilder::new(Rmgr::SpGist, VACUUM_ROOT, &main_data).block(0, 0, main(1), &[]);
    let old: Vec<_> = (1..=5).map(|key| leaf(key, 0)).collect();
    let page = applied(page_of(Level::Leaf, &old), &record, 1);
    assert_eq!(items(&page), [leaf(2, 0), leaf(5, 0)]);
}

/// Makes a placeholder of redirection 2 and drops all from 4 on; `flag` is what 16 added.
fn vacuum_redirect(first: u16, flag: &[u8]) -> RecordBuilder {
    let main_data = [u16s(&[1, first]), u32s(&[700]), flag.to_vec(), u16s(&[2])].concat();
    RecordBuilder::new(Rmgr::SpGist, VACUUM_REDIRECT, &main_data).block(0, 0, main(7), &[])
}

#[test]
fn redirections_become_placeholders_that_keep_their_transaction_and_the_last_ones_go() {
    let old = || {
        [
            leaf(1, 0),
            redirect(8, 4),
            leaf(3, 0),
            dead(3),
            dead(3),
            dead(3),
        ]
    };
    let mut buried = dead(PLACEHOLDER);
    buried[12] = 9;
    let page = applied(page_of(Level::Leaf, &old()), &vacuum_redirect(4, &[]), 7);
    assert_eq!(items(&page), [leaf(1, 0), buried.clone(), leaf(3, 0)]);
    assert_eq!(special(&page), [LEAF, 0, 1]);

    let bytes = vacuum_redirect(0, &[1, 0]).bytes();
    let record = Record::parse(PgVersion::V16, Lsn::new(8), crate::testing::END, &bytes).unwrap();
    let rules = RedoRules {
        version: PgVersion::V16,
        ..RULES
    };
    let mut page = page_of(Level::Leaf, &old()[..3]);
    let key = PageKey::Block(main(7));
    assert!(crate::redo(&mut page, &record, &key, &rules).is_ok());
    assert_eq!(items(&page), [leaf(1, 0), buried, leaf(3, 0)]);

    let fault = refused(page_of(Level::Leaf, &old()), &vacuum_redirect(7, &[]), 7);
    assert_eq!(fault, Fault::Offset { offset: 7, max: 6 });
    let live = [leaf(1, 0), leaf(2, 0), leaf(3, 0), dead(3)];
    let fault = refused(page_of(Level::Leaf, &live), &vacuum_redirect(4, &[]), 7);
    assert!(
        matches!(
            fault,
            Fault::Value {
                found: 0,
                expected: 1,
                ..
            }
        ),
        "{fault}"
    );
}

#[test]
fn lists_that_name_a_tuple_twice_or_too_many_are_refused() {
    let old: Vec<_> = (1..=5).map(|key| leaf(key, 0)).collect();
    let burial = |placeholders: &[u16]| {
        let counts = u16s(&[0, placeholders.len() as u16, 0, 0]);
        let main_data = [counts, u32s(&NORMAL), u16s(placeholders)].concat();
        let record = RecordBuilder::new(Rmgr::SpGist, VACUUM_LEAF, &main_data);
        refused(
            page_of(Level::Leaf, &old),
            &record.block(0, 0, main(7), &[]),
            7,
        )
    };
    assert_eq!(burial(&[2, 3, 2]), Fault::Offset { offset: 2, max: 5 });
    assert_eq!(burial(&[2, 3, 0]), Fault::Offset { offset: 0, max: 5 });
    let fault = burial(&[1; 409]);
    assert!(matches!(fault, Fault::Value { found: 409, .. }), "{fault}");
}

#[test]
fn the_mask_hides_the_hole_and_hints_and_nothing_else() {
    let masked = |mut page: Page| {
        mask_page(&mut page, &main(7), Rmgr::SpGist);
        page
    };
    let old = [leaf(1, 0), leaf(2, 0)];
    let mut page = page_of(Level::Leaf, &old);
    page[HEADER_SIZE + 100] = 0;
    page::set_prune_xid(&mut page, 7);
    assert!(masked(page) == masked(page_of(Level::Leaf, &old)));
    count(&mut page, Counter::Placeholders, 1).unwrap();
    assert!(masked(page) != masked(page_of(Level::Leaf, &old)));
}

#[test]
fn damaged_pages_and_records_give_errors_and_no_panic() {
    let parents = page_of(Level::Inner, &parents());
    let leaves: Vec<_> = (1..=5).map(|key| leaf(key, 0)).collect();
    let leaves = page_of(Level::Leaf, &leaves);
    let mixed = [leaf(1, 4), redirect(8, 4), leaf(3, 0), dead(3), dead(3)];
    let mixed = page_of(Level::Leaf, &mixed);
    let apart = || pick_split(Pick::default());
    let together = Pick {
        inner_is_parent: 1,
        ..Pick::default()
    };
    let vacuum_leaf = [
        u16s(&[1, 1, 1, 1]),
        u32s(&NORMAL),
        u16s(&[2, 3, 5, 1, 1, 4]),
    ]
    .concat();
    let vacuum_root = [u16s(&[3, 0]), u32s(&NORMAL), u16s(&[1, 3, 4])].concat();
    let vacuum = |info, main_data: &[u8]| {
        RecordBuilder::new(Rmgr::SpGist, info, main_data).block(0, 0, main(7), &[])
    };
    let cases = [
        (mixed, add_leaf(0, 0, 4, 1, 2), 7),
        (ZERO_PAGE, add_leaf(1, 0, 1, 0, 2), 7),
        (parents, add_leaf(0, 0, 4, 1, 2), 5),
        (leaves, move_leafs(NORMAL, 0), 7),
        (ZERO_PAGE, move_leafs(NORMAL, 1), 8),
        (parents, move_leafs(NORMAL, 0), 5),
        (parents, add_node(0, 0, -1, NORMAL), 7),
        (parents, add_node(1, 0, 0, NORMAL), 7),
        (parents, add_node(3, 0, 1, NORMAL), 8),
        (parents, split_tuple(3, 0, 1), 7),
        (parents, split_tuple(3, 0, 0), 8),
        (leaves, apart(), 7),
        (ZERO_PAGE, apart(), 8),
        (parents, pick_split(together), 5),
        (parents, apart(), 6),
        (leaves, vacuum(VACUUM_LEAF, &vacuum_leaf), 7),
        (leaves, vacuum(VACUUM_ROOT, &vacuum_root), 7),
        (mixed, vacuum_redirect(4, &[]), 7),
    ];
    let refused = refusals_of_damaged(&cases, 100_000);
    assert!(refused > 10_000, "{refused}");
}
