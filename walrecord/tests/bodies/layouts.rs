//! Layouts that differ between versions, lists inside block data, and the errors of bodies.

use walrecord::rmgr::brin::BrinRecord;
use walrecord::rmgr::btree::{BtreeRecord, Items, Metadata};
use walrecord::rmgr::generic::Fragments;
use walrecord::rmgr::gin::{ActionKind, GinRecord, Insertion};
use walrecord::rmgr::heap::{HeapRecord, TupleHeader};
use walrecord::rmgr::heap2::Heap2Record;
use walrecord::rmgr::xact::{StatsEntry, XactRecord};
use walrecord::rmgr::xlog::{CheckPoint, XlogRecord};
use walrecord::rmgr::{BodyError, RecordBody};
use walrecord::{PgVersion, Rmgr};

use crate::build::{Block, Build, main_block};

/// Block 0 with this data, in 16-bit units.
fn block_of(units: &[u16]) -> Block {
    let mut block = main_block(0, 5);
    block.data = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    block
}

fn error_of(build: &Build) -> BodyError {
    build.with(|record| RecordBody::decode(record).unwrap_err())
}

#[test]
fn leftovers_and_missing_bytes_are_errors_that_name_the_field() {
    let insert = Build::new(Rmgr::Heap, 0x00).u16(1);
    assert_eq!(
        error_of(&insert).to_string(),
        "Heap record: insert flags needs 1 bytes, 0 are left"
    );
    assert_eq!(
        error_of(&insert.u8(0).u8(9)).to_string(),
        "Heap record: 1 bytes are left over behind insert"
    );
    let unknown = Build::new(Rmgr::Storage, 0x70);
    assert_eq!(
        error_of(&unknown).to_string(),
        "Storage record: unknown opcode 0x70"
    );
}

#[test]
fn a_block_whose_data_an_image_replaced_has_none() {
    let record = Build::new(Rmgr::Heap, 0x00).u16(1).u8(0);
    let tuple = |build: &Build| {
        build.with(|record| match HeapRecord::decode(record).unwrap() {
            HeapRecord::Insert(insert) => insert.tuple(record).map(|_| ()),
            other => panic!("{other:?}"),
        })
    };
    let no_block = BodyError::NoBlock {
        rmgr: Rmgr::Heap,
        id: 0,
    };
    assert_eq!(tuple(&record), Err(no_block));
    let no_data = BodyError::NoBlockData {
        rmgr: Rmgr::Heap,
        id: 0,
    };
    assert_eq!(tuple(&record.block(main_block(0, 1))), Err(no_data));
}

#[test]
fn an_updated_tuple_tells_what_it_takes_over() {
    let mut block = main_block(0, 5);
    block.data = vec![4, 0, 9, 0, 0x11, 0x80, 2, 9, 24, 0, 0xAA, 0xBB];
    // Prefix and suffix.
    let record = Build::new(Rmgr::Heap, 0x40).u32(700).u16(3).u8(0x10);
    let record = record.u8(0x60).u32(0).u16(4).block(block);
    record.with(|record| {
        let HeapRecord::HotUpdate(update) = HeapRecord::decode(record).unwrap() else {
            panic!("not HOT");
        };
        assert!(update.old_infobits.keys_updated());
        let tuple = update.tuple(record).unwrap();
        assert_eq!((tuple.prefix_length, tuple.suffix_length), (4, 9));
        let header = TupleHeader {
            infomask2: 0x8011,
            infomask: 0x0902,
            hoff: 24,
        };
        assert_eq!(tuple.header, header);
        assert_eq!(tuple.data, [0, 0xAA, 0xBB]);
    });
}

#[test]
fn tuples_of_a_multi_insert_are_aligned_and_numbered() {
    let mut block = main_block(0, 5);
    // A header of 7 bytes and 2 of data, one of padding, again 7 and 2.
    block
        .data
        .extend_from_slice(&[2, 0, 1, 0, 2, 9, 24, 7, 8, 0]);
    block.data.extend_from_slice(&[2, 0, 1, 0, 2, 9, 24, 5, 6]);
    let numbers = |build: &Build| {
        build.with(|record| match Heap2Record::decode(record).unwrap() {
            Heap2Record::MultiInsert(insert) => {
                let tuples = insert.tuples(record).unwrap();
                tuples
                    .map(|tuple| tuple.map(|it| (it.offnum, it.tuple.data.to_vec())))
                    .collect::<Result<Vec<_>, _>>()
            }
            other => panic!("{other:?}"),
        })
    };
    let listed = Build::new(Rmgr::Heap2, 0x50).u16(0).u16(2).u16(4).u16(9);
    let listed = listed.block(block.clone());
    let (first, second) = (vec![7, 8], vec![5, 6]);
    assert_eq!(
        numbers(&listed).unwrap(),
        [(4, first.clone()), (9, second.clone())]
    );
    let mut init = Build::new(Rmgr::Heap2, 0xD0).u16(0).u16(2).block(block);
    assert_eq!(numbers(&init).unwrap(), [(1, first), (2, second)]);
    init.blocks[0].data.push(0);
    let leftover = numbers(&init).unwrap_err();
    assert!(matches!(leftover, BodyError::Leftover { left: 1, .. }));
    init.blocks[0].data.truncate(18);
    assert!(numbers(&init).is_err());
}

#[test]
fn pruning_grew_a_flag_in_16() {
    let prune = Build::new(Rmgr::Heap2, 0x10).u32(9).u16(1).u16(1);
    let prune = prune.block(block_of(&[3, 4, 5, 6, 7]));
    let newer = prune.clone().u8(1).version(PgVersion::V16);
    for (build, is_catalog) in [(prune, false), (newer, true)] {
        build.with(|record| {
            let Heap2Record::Prune(prune) = Heap2Record::decode(record).unwrap() else {
                panic!("not PRUNE");
            };
            assert_eq!(prune.is_catalog, is_catalog);
            let offsets = prune.offsets(record).unwrap();
            let redirect = offsets.redirected.get(0).unwrap();
            assert_eq!((redirect.from, redirect.to), (3, 4));
            assert_eq!(offsets.dead.iter().collect::<Vec<_>>(), [5]);
            assert_eq!(offsets.unused.iter().collect::<Vec<_>>(), [6, 7]);
        });
    }
}

/// Frozen tuples as (line pointer, xmax, infomask, flags).
fn frozen(build: &Build) -> Vec<(u16, u32, u16, u8)> {
    build.with(|record| {
        let tuples = match Heap2Record::decode(record).unwrap() {
            Heap2Record::Freeze(freeze) => freeze.tuples(record).unwrap(),
            Heap2Record::PruneFreeze(prune) => prune.data(record).unwrap().frozen,
            other => panic!("{other:?}"),
        };
        let (length, tuples) = (tuples.len(), tuples.collect::<Vec<_>>());
        assert_eq!(length, tuples.len());
        let parts = tuples
            .iter()
            .map(|t| (t.offnum, t.xmax, t.infomask, t.frzflags));
        parts.collect()
    })
}

#[test]
fn freezing_is_listed_by_tuple_then_by_plan_then_within_pruning() {
    // xmax (2 units), line pointer, infomask2, infomask, flags.
    let tuples = [8, 0, 4, 1, 0x300, 2, 9, 0, 5, 1, 0x400, 4];
    let by_tuple = Build::new(Rmgr::Heap2, 0x30)
        .u32(9)
        .u16(2)
        .block(block_of(&tuples));
    let expected = [(4, 8, 0x300, 2), (5, 9, 0x400, 4)];
    assert_eq!(frozen(&by_tuple), expected);

    // xmax (2 units), infomask2, infomask, flags, tuples; then the line pointers.
    let plans = [8, 0, 1, 0x300, 2, 1, 9, 0, 1, 0x400, 4, 2, 4, 5, 6];
    let by_plan = Build::new(Rmgr::Heap2, 0x30)
        .version(PgVersion::V16)
        .u32(9)
        .u16(2)
        .u8(0)
        .block(block_of(&plans));
    let expected = [expected[0], expected[1], (6, 9, 0x400, 4)];
    assert_eq!(frozen(&by_plan), expected);

    // Plans, dead line pointers, then those of the plans.
    let mixed = [&[2, 0], &plans[..12], &[1, 77], &plans[12..]].concat();
    let within = Build::new(Rmgr::Heap2, 0x20)
        .version(PgVersion::V17)
        .u8(1)
        .u8(0x10 | 0x40 | 0x08)
        .u32(9)
        .block(block_of(&mixed));
    assert_eq!(frozen(&within), expected);
    within.with(|record| match Heap2Record::decode(record).unwrap() {
        Heap2Record::PruneFreeze(prune) => {
            assert_eq!((prune.horizon, prune.has_cleanup_lock()), (Some(9), false));
            let offsets = prune.data(record).unwrap().offsets;
            assert_eq!(offsets.dead.iter().collect::<Vec<_>>(), [77]);
            assert!(offsets.unused.is_empty() && offsets.redirected.is_empty());
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn in_place_updates_carry_invalidations_since_18() {
    let older = Build::new(Rmgr::Heap, 0x70).u16(3);
    older.with(|record| assert!(HeapRecord::decode(record).is_ok()));
    let newer = Build::new(Rmgr::Heap, 0x70)
        .version(PgVersion::V18)
        .u16(3)
        .u16(0)
        .u32(5)
        .u32(1663)
        .u32(0)
        .u32(1)
        .bytes(&[7; 16]);
    newer.with(|record| match HeapRecord::decode(record).unwrap() {
        HeapRecord::Inplace(inplace) => {
            let invalidations = inplace.invalidations.expect("invalidations");
            assert_eq!(invalidations.messages.len(), 1);
        }
        other => panic!("{other:?}"),
    });
    assert!(
        newer
            .clone()
            .version(PgVersion::V17)
            .with(|r| HeapRecord::decode(r).is_err())
    );
}

#[test]
fn dropped_statistics_stand_before_invalidations_and_are_wider_in_18() {
    // Statistics, invalidations, two-phase.
    let head = Build::new(Rmgr::Transaction, 0xB0).u64(1000);
    let head = head
        .u32(1 << 8 | 1 << 3 | 1 << 4)
        .u32(1)
        .u32(2)
        .u32(5)
        .u32(77);
    let tail = |build: Build| build.u32(1).bytes(&[9; 16]).u32(4242);
    let narrow = tail(head.clone());
    let wide = tail(head.u32(1)).version(PgVersion::V18);
    for (build, object) in [(narrow, 77), (wide, 1 << 32 | 77)] {
        build.with(|record| {
            let XactRecord::CommitPrepared(end) = XactRecord::decode(record).unwrap() else {
                panic!("not COMMIT_PREPARED");
            };
            let stats: Vec<_> = end.dropped_stats.iter().collect();
            let (kind, db) = (2, 5);
            assert_eq!(stats, [StatsEntry { kind, db, object }]);
            assert_eq!(end.invalidations.len(), 1);
            assert_eq!(end.xid(record), 4242);
        });
    }
}

#[test]
fn the_header_of_a_prepared_transaction_grew_in_15() {
    for version in [PgVersion::V14, PgVersion::V15] {
        let mut build = Build::new(Rmgr::Transaction, 0x10).version(version);
        build = build.u32(0x57F9_4534).u32(0).u32(700).u32(5).u64(1000);
        // Owner; one subtransaction, one relation at commit, none at abort.
        build = build.u32(10).u32(1).u32(1).u32(0);
        if version > PgVersion::V14 {
            build = build.u32(0).u32(0);
        }
        build = build.u32(0).u16(1).u16(3).u64(0xABC).u64(999);
        build = build.bytes(b"id\0\0\0\0\0\0").u32(701).u32(0);
        build = build.rel().u32(0).bytes(b"the rest");
        build.with(|record| {
            let XactRecord::Prepare(prepare) = XactRecord::decode(record).unwrap() else {
                panic!("not PREPARE");
            };
            assert_eq!((prepare.xid, prepare.gid), (700, &b"id"[..]));
            assert_eq!(prepare.subxids.iter().collect::<Vec<_>>(), [701]);
            assert_eq!(prepare.commit_relations.len(), 1);
            assert_eq!((prepare.origin.time, prepare.init_file), (999, true));
            assert_eq!(prepare.rmgr_records, b"the rest");
        });
    }
}

#[test]
fn page_numbers_are_wider_since_17() {
    let zero = Build::new(Rmgr::Clog, 0x00).u32(6);
    assert_eq!(
        zero.effects(),
        zero.clone().u32(0).version(PgVersion::V17).effects()
    );
    let beyond = zero.u32(1).version(PgVersion::V17);
    let error = beyond.with(|record| RecordBody::decode(record).unwrap_err());
    assert_eq!(
        error.to_string(),
        "CLOG record: page number cannot be 4294967302"
    );
}

#[test]
fn a_checkpoint_survives_encoding_in_every_version() {
    for version in PgVersion::ALL {
        let mut bytes: [u8; CheckPoint::SIZE] = std::array::from_fn(|i| i as u8);
        // One flag, and padding: in 14 to 16 also where 17 has wal_level.
        bytes[16] = 1;
        bytes[17..20].fill(0);
        if version < PgVersion::V17 {
            bytes[20..24].fill(0);
        }
        bytes[60..64].fill(0);
        bytes[84..88].fill(0);
        let checkpoint = CheckPoint::decode(&bytes, version).unwrap();
        assert_eq!(checkpoint.encode(), bytes);
    }
}

#[test]
fn the_end_of_recovery_tells_the_wal_level_since_17() {
    let older = Build::new(Rmgr::Xlog, 0x90).u64(1000).u32(2).u32(1);
    let newer = older.clone().u32(1).u32(0).version(PgVersion::V17);
    for (build, level) in [(older, 0), (newer, 1)] {
        build.with(|record| match XlogRecord::decode(record).unwrap() {
            XlogRecord::EndOfRecovery(end) => {
                assert_eq!((end.this_tli, end.prev_tli, end.wal_level), (2, 1, level));
            }
            other => panic!("{other:?}"),
        });
    }
}

/// An index tuple of `size` bytes, padded to 8.
fn index_tuple(size: u16) -> Vec<u8> {
    let mut tuple = vec![0; usize::from(size).next_multiple_of(8)];
    tuple[6..8].copy_from_slice(&(size | 0x4000).to_le_bytes());
    tuple
}

#[test]
fn a_split_carries_the_new_item_if_the_left_page_needs_it() {
    let split = |info, posting_offset| {
        let mut block = main_block(0, 5);
        block.data = [index_tuple(20), index_tuple(16)].concat();
        let record = Build::new(Rmgr::Btree, info).u32(0).u16(9).u16(9);
        record.u16(posting_offset).block(block)
    };
    let data = |build: &Build, left: bool| {
        build.with(|record| match BtreeRecord::decode(record).unwrap() {
            BtreeRecord::SplitLeft(split) | BtreeRecord::SplitRight(split) => {
                let data = split.left_data(record, left)?;
                Ok((data.new_item.map(<[u8]>::len), data.high_key.len()))
            }
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(data(&split(0x30, 0), true), Ok((Some(24), 16)));
    assert_eq!(data(&split(0x40, 3), false), Ok((Some(24), 16)));
    let mut right = split(0x40, 0);
    let leftover: Result<_, BodyError> = data(&right, false);
    assert!(matches!(
        leftover,
        Err(BodyError::Leftover { left: 16, .. })
    ));
    right.blocks[0].data.truncate(24);
    assert_eq!(data(&right, false), Ok((None, 24)));
}

#[test]
fn a_right_page_is_a_run_of_padded_tuples() {
    let mut block = main_block(1, 6);
    block.data = [index_tuple(20), index_tuple(16)].concat();
    let mut split = Build::new(Rmgr::Btree, 0x30).bytes(&[0; 10]).block(block);
    let lengths = |build: &Build| {
        build.with(|record| {
            Items::of_right_page(record).map(|items| items.map(<[u8]>::len).collect::<Vec<_>>())
        })
    };
    assert_eq!(lengths(&split), Ok(vec![24, 16]));
    split.blocks[0].data.truncate(39);
    assert!(lengths(&split).is_err());
    // A tuple cannot be smaller than its header, else a run would never end.
    split.blocks[0].data = vec![0; 16];
    assert!(matches!(lengths(&split), Err(BodyError::Value { .. })));
}

#[test]
fn posting_lists_lose_some_of_their_tids() {
    // One deleted, two updated: line pointers first, then counts with places.
    let block = block_of(&[3, 7, 9, 1, 0, 2, 1, 4]);
    let record = Build::new(Rmgr::Btree, 0xC0).u16(1).u16(2).block(block);
    record.with(|record| {
        let BtreeRecord::Vacuum(vacuum) = BtreeRecord::decode(record).unwrap() else {
            panic!("not VACUUM");
        };
        let deletions = vacuum.counts.deletions(record).unwrap();
        assert_eq!(deletions.deleted.iter().collect::<Vec<_>>(), [3]);
        let updated = deletions.updated;
        let parts: Vec<(u16, Vec<u16>)> = updated
            .map(|update| (update.offnum, update.deleted_tids.iter().collect()))
            .collect();
        assert_eq!(parts, [(7, vec![0]), (9, vec![1, 4])]);
    });
}

#[test]
fn the_metapage_is_rebuilt_from_28_bytes() {
    let mut block = main_block(0, 0);
    block.data = (1..=28).collect();
    let record = Build::new(Rmgr::Btree, 0xE0).block(block);
    record.with(|record| {
        let metadata = Metadata::decode(record, 0).unwrap();
        assert_eq!(metadata.fast_level, u32::from_le_bytes([17, 18, 19, 20]));
        assert!(metadata.all_equal_image);
        assert!(Metadata::decode(record, 1).is_err());
    });
}

#[test]
fn a_generic_change_never_leaves_the_page() {
    let fragments = |offset: u16, length: u16| {
        let mut block = main_block(0, 5);
        block.data = [offset.to_le_bytes(), length.to_le_bytes()].concat();
        block.data.resize(4 + usize::from(length), 7);
        Build::new(Rmgr::Generic, 0x00)
            .block(block)
            .with(|record| Fragments::decode(record, 0).map(Iterator::count))
    };
    assert_eq!(fragments(8190, 2), Ok(1));
    assert!(matches!(fragments(8190, 3), Err(BodyError::Value { .. })));
}

#[test]
fn gin_leaf_actions_carry_posting_lists_padded_to_2_bytes() {
    let mut block = main_block(0, 5);
    // Two actions: replace segment 1 by a list of 3 more bytes, add an item to segment 2.
    block.data = vec![2, 0, 1, 3, 0, 0, 5, 0, 7, 0, 3, 0, 0xA, 0xB, 0xC, 0];
    block
        .data
        .extend_from_slice(&[2, 4, 1, 0, 1, 0, 6, 0, 9, 0]);
    let record = Build::new(Rmgr::Gin, 0x20).u16(3).block(block);
    record.with(|record| {
        let GinRecord::Insert(insert) = GinRecord::decode(record).unwrap() else {
            panic!("not INSERT");
        };
        let Insertion::DataLeaf(actions) = insert.insertion(record).unwrap() else {
            panic!("not into a leaf");
        };
        let actions: Vec<_> = actions.collect();
        assert_eq!(actions.len(), 2);
        assert!(matches!(actions[0].kind, ActionKind::Replace(list) if list.len() == 12));
        let ActionKind::AddItems(items) = actions[1].kind else {
            panic!("{actions:?}");
        };
        let tid = items.get(0).unwrap();
        assert_eq!((tid.block, tid.offnum), (1 << 16 | 6, 9));
    });
}

#[test]
fn a_moved_brin_summary_tells_both_places() {
    let record = Build::new(Rmgr::Brin, 0xA0).u16(3).u16(0xFFFF);
    let record = record.u32(700).u32(128).u16(4);
    record.with(|record| match BrinRecord::decode(record).unwrap() {
        BrinRecord::Update(update) => {
            assert_eq!((update.old_offnum, update.insert.offnum), (3, 4));
            assert_eq!(update.insert.heap_block, 700);
        }
        other => panic!("{other:?}"),
    });
}
