//! Descriptions of heap and index records that the fixtures do not have, or not in every form.

use walrecord::PgVersion::{V14, V15, V16, V17, V18};
use walrecord::describe::{Text, describe};
use walrecord::rmgr::BodyError;
use walrecord::{PgVersion, Rmgr};

use crate::build::{Block, Build, REL, main_block};

fn text_of(build: &Build) -> String {
    try_text_of(build).expect("a description")
}

fn try_text_of(build: &Build) -> Result<String, BodyError> {
    let mut text = Text::new();
    build.with(|record| describe(record, &mut text))?;
    Ok(String::from_utf8(text.as_bytes().to_vec()).expect("ASCII"))
}

/// Block 0 with this data, in 16-bit units.
fn block_of(units: &[u16]) -> Block {
    let mut block = main_block(0, 5);
    block.data = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    block
}

#[test]
fn all_that_is_known_of_an_xmax_is_named() {
    let lock = |version, bits| {
        let lock = Build::new(Rmgr::Heap, 0x60).version(version);
        text_of(&lock.u32(700).u16(3).u8(bits).u8(0x01))
    };
    assert_eq!(
        lock(V15, 0x1F),
        "off 3: xid 700: flags 0x01 IS_MULTI LOCK_ONLY EXCL_LOCK KEYSHR_LOCK KEYS_UPDATED "
    );
    assert_eq!(lock(V15, 0), "off 3: xid 700: flags 0x01 ");
    assert_eq!(
        lock(V16, 0x1F),
        "xmax: 700, off: 3, infobits: [IS_MULTI, LOCK_ONLY, EXCL_LOCK, KEYSHR_LOCK, KEYS_UPDATED], flags: 0x01"
    );
    assert_eq!(lock(V16, 0), "xmax: 700, off: 3, infobits: [], flags: 0x01");
    let updated = Build::new(Rmgr::Heap2, 0x60).version(V14);
    assert_eq!(
        text_of(&updated.u32(700).u16(3).u8(0).u8(0xAB)),
        "off 3: xmax 700: flags 0xAB "
    );
}

#[test]
fn a_truncation_lists_its_tables() {
    let truncate = |version, flags, relids: &[u32]| {
        let truncate = Build::new(Rmgr::Heap, 0x30).version(version).u32(5);
        let truncate = truncate.u32(relids.len() as u32).u8(flags).bytes(&[0; 3]);
        let add = |build: Build, relid: &u32| build.u32(*relid);
        text_of(&relids.iter().fold(truncate, add))
    };
    assert_eq!(
        truncate(V15, 3, &[16384, 16390]),
        "cascade restart_seqs nrelids 2 relids 16384 16390"
    );
    assert_eq!(
        truncate(V16, 3, &[16384, 16390]),
        "flags: [CASCADE, RESTART_SEQS], nrelids: 2, relids: [16384, 16390]"
    );
    assert_eq!(truncate(V18, 0, &[]), "flags: [], nrelids: 0, relids: []");
}

#[test]
fn only_16_shows_empty_lists_of_a_pruning() {
    let prune = Build::new(Rmgr::Heap2, 0x10).version(V16);
    let prune = prune.u32(700).u16(1).u16(0).u8(1);
    assert_eq!(
        text_of(&prune.clone().block(block_of(&[4, 5]))),
        "snapshotConflictHorizon: 700, nredirected: 1, ndead: 0, nunused: 0, redirected: [4->5], dead: [], unused: []"
    );
    // An image took the place of the lists.
    assert_eq!(
        text_of(&prune.block(main_block(0, 5))),
        "snapshotConflictHorizon: 700, nredirected: 1, ndead: 0"
    );
    // XLHP_CLEANUP_LOCK, XLHP_HAS_DEAD_ITEMS. A separator comes first even without a horizon.
    let prune = Build::new(Rmgr::Heap2, 0x20).version(V17).u8(1).u8(0x44);
    assert_eq!(
        text_of(&prune.block(block_of(&[2, 8, 9]))),
        ", isCatalogRel: F, nplans: 0, nredirected: 0, ndead: 2, nunused: 0, dead: [8, 9]"
    );
}

#[test]
fn each_freeze_plan_lists_its_own_tuples() {
    // Two plans: xmax, infomask2, infomask, flags, tuples. Then the tuples' line pointers.
    let plans = [0u16, 0, 2, 0x0900, 0, 2, 7, 0, 3, 0x0800, 0, 1];
    let offsets = [1u16, 4, 6];
    let plans_text = "plans: [{ xmax: 0, infomask: 2304, infomask2: 2, ntuples: 2, offsets: [1, 4] }, \
                      { xmax: 7, infomask: 2048, infomask2: 3, ntuples: 1, offsets: [6] }]";
    let freeze = Build::new(Rmgr::Heap2, 0x30).version(V16);
    let freeze = freeze.u32(700).u16(2).u8(0);
    let data = [&plans[..], &offsets[..]].concat();
    assert_eq!(
        text_of(&freeze.block(block_of(&data))),
        format!("snapshotConflictHorizon: 700, nplans: 2, {plans_text}")
    );
    // XLHP_IS_CATALOG_REL, XLHP_HAS_CONFLICT_HORIZON, XLHP_HAS_FREEZE_PLANS, XLHP_HAS_NOW_UNUSED_ITEMS.
    let prune = Build::new(Rmgr::Heap2, 0x10).version(V18);
    let prune = prune.u8(0).u8(0x9A).u32(701);
    let data = [&[2, 0], &plans[..], &[1, 9], &offsets[..]].concat();
    assert_eq!(
        text_of(&prune.block(block_of(&data))),
        format!(
            "snapshotConflictHorizon: 701, isCatalogRel: T, nplans: 2, nredirected: 0, ndead: 0, \
             nunused: 1, {plans_text}, unused: [9]"
        )
    );
}

#[test]
fn posting_lists_tell_which_of_their_tids_go() {
    let vacuum = |version| {
        let vacuum = Build::new(Rmgr::Btree, 0xC0).version(version);
        vacuum
            .u16(1)
            .u16(2)
            .block(block_of(&[9, 3, 5, 2, 0, 1, 1, 4]))
    };
    assert_eq!(text_of(&vacuum(V15)), "ndeleted 1; nupdated 2");
    assert_eq!(
        text_of(&vacuum(V16)),
        "ndeleted: 1, nupdated: 2, deleted: [9], \
         updated: [{ off: 3, nptids: 2, ptids: [0, 1] }, { off: 5, nptids: 1, ptids: [4] }]"
    );
}

/// Versions in which an index record's horizon has its old name, its new one, and a flag behind it.
fn catalog_texts(build: impl Fn(PgVersion) -> Build) -> [String; 3] {
    [V15, V16, V17].map(|version| text_of(&build(version)))
}

/// Main data that ends in the catalog flag since 16, and padding behind it.
fn flagged(build: Build, padding: &[u8]) -> Build {
    match build.version >= V16 {
        true => build.u8(1).bytes(padding),
        false => build,
    }
}

#[test]
fn since_17_index_records_say_whether_the_table_is_a_catalog() {
    let delete = |version| {
        let delete = Build::new(Rmgr::Btree, 0x70).version(version);
        flagged(delete.u32(700).u16(0).u16(0), &[]).block(main_block(0, 5))
    };
    assert_eq!(
        catalog_texts(delete),
        [
            "latestRemovedXid 700; ndeleted 0; nupdated 0",
            "snapshotConflictHorizon: 700, ndeleted: 0, nupdated: 0",
            "snapshotConflictHorizon: 700, ndeleted: 0, nupdated: 0, isCatalogRel: T",
        ]
    );
    let reuse = |rmgr, info| {
        move |version| {
            let reuse = Build::new(rmgr, info).version(version).rel().u32(7);
            flagged(reuse.u64(1 << 32 | 700), &[])
        }
    };
    assert_eq!(
        catalog_texts(reuse(Rmgr::Btree, 0xD0)),
        [
            format!("rel {REL}; latestRemovedXid 1:700"),
            format!("rel: {REL}, snapshotConflictHorizon: 1:700"),
            format!("rel: {REL}, snapshotConflictHorizon: 1:700, isCatalogRel: T"),
        ]
    );
    assert_eq!(
        catalog_texts(reuse(Rmgr::Gist, 0x20)),
        [
            format!("rel {REL}; blk 7; latestRemovedXid 1:700"),
            format!("rel {REL}; blk 7; snapshotConflictHorizon 1:700"),
            format!("rel {REL}; blk 7; snapshotConflictHorizon 1:700, isCatalogRel T"),
        ]
    );
    let gist_delete = |version| {
        let delete = Build::new(Rmgr::Gist, 0x10).version(version);
        flagged(delete.u32(700).u16(1), &[0]).u16(4)
    };
    assert_eq!(
        catalog_texts(gist_delete),
        [
            "delete: latestRemovedXid 700, nitems: 1",
            "delete: snapshotConflictHorizon 700, nitems: 1",
            "delete: snapshotConflictHorizon 700, nitems: 1, isCatalogRel T",
        ]
    );
    let hash = |version| {
        let vacuum = Build::new(Rmgr::Hash, 0xC0).version(version).u32(700);
        let vacuum = flagged(vacuum.u16(1), &[0]);
        // The count was an int before 16.
        let vacuum = if version < V16 { vacuum.u16(0) } else { vacuum };
        vacuum.u16(4)
    };
    assert_eq!(
        catalog_texts(hash),
        [
            "ntuples 1, latestRemovedXid 700",
            "ntuples 1, snapshotConflictHorizon 700",
            "ntuples 1, snapshotConflictHorizon 700, isCatalogRel T",
        ]
    );
    let redirect = |version| {
        let redirect = Build::new(Rmgr::SpGist, 0x80).version(version);
        flagged(redirect.u16(1).u16(0).u32(700), &[0]).u16(4)
    };
    assert_eq!(
        catalog_texts(redirect),
        [
            "ntoplaceholder: 1, firstplaceholder: 0, newestredirectxid: 700",
            "ntoplaceholder: 1, firstplaceholder: 0, snapshotConflictHorizon: 700",
            "ntoplaceholder: 1, firstplaceholder: 0, snapshotConflictHorizon: 700, isCatalogRel: T",
        ]
    );
}

#[test]
fn gin_insertions_tell_where_they_go_unless_an_image_does() {
    // Flags: posting tree, no leaf; then both children.
    let inner = Build::new(Rmgr::Gin, 0x20).u16(1);
    let inner = inner.u16(0).u16(7).u16(1).u16(8);
    // Offset; child; key.
    let item = block_of(&[3, 1, 9, 0, 2, 4]);
    assert_eq!(
        text_of(&inner.clone().block(item.clone())),
        "isdata: T isleaf: F children: 7/65544 pitem: 65545-2/4"
    );
    let with_image = |apply| {
        let mut block = item.clone();
        block.image = Some(apply);
        text_of(&inner.clone().block(block))
    };
    assert_eq!(
        with_image(true),
        "isdata: T isleaf: F children: 7/65544 (full page image)"
    );
    assert_eq!(
        with_image(false),
        "isdata: T isleaf: F children: 7/65544 (full page image, for WAL verification)"
    );
    // Segments: delete 1; add two items to 2; insert before 3; replace 4.
    let mut leaf = main_block(0, 5);
    leaf.data = [
        &[4, 0, 1, 1, 2, 4, 2, 0][..],
        &[0; 12],
        &[3, 2, 0, 0, 0, 0, 1, 0, 1, 0, 0xAA, 0],
        &[4, 3, 0, 0, 0, 0, 1, 0, 0, 0],
    ]
    .concat();
    let actions = " 4 segments: 1 (delete) 2 (add 2 items) 3 (insert) 4 (replace)";
    let vacuum = Build::new(Rmgr::Gin, 0x90).block(leaf.clone());
    assert_eq!(text_of(&vacuum), actions);
    let insert = Build::new(Rmgr::Gin, 0x20).u16(3).block(leaf);
    assert_eq!(text_of(&insert), format!("isdata: T isleaf: T{actions}"));
}

#[test]
fn a_brin_summary_that_moves_has_two_places() {
    let update = Build::new(Rmgr::Brin, 0xA0).u16(6).bytes(&[0; 2]);
    assert_eq!(
        text_of(&update.u32(300).u32(128).u16(1)),
        "heapBlk 300 pagesPerRange 128 old offnum 6, new offnum 1"
    );
}

#[test]
fn a_list_that_is_too_short_is_an_error() {
    let vacuum = Build::new(Rmgr::Heap2, 0x20).version(V16).u16(3);
    assert!(try_text_of(&vacuum.block(block_of(&[1, 2]))).is_err());
    let dedup = Build::new(Rmgr::Btree, 0xC0).version(V16).u16(0).u16(1);
    assert!(try_text_of(&dedup.block(block_of(&[3, 9, 1]))).is_err());
    // Its text is in the data of a block that it does not refer to.
    let cleanup = Build::new(Rmgr::Btree, 0xE0);
    let missing = BodyError::NoBlock {
        rmgr: Rmgr::Btree,
        id: 0,
    };
    assert_eq!(try_text_of(&cleanup), Err(missing));
}
