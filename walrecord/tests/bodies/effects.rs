//! What a record does, one rule a test.

use walrecord::PageTouch::{Delta, IfPresent, Image, Implicit, Init};
use walrecord::rmgr::multixact::MEMBERS_PER_PAGE;
use walrecord::rmgr::visibility::{self, HEAP_BLOCKS_PER_PAGE};
use walrecord::rmgr::xlog::{CheckPoint, ParameterChange};
use walrecord::{
    BlockTag, EffectContext, EffectError, ForkNumber, Lsn, MetaEffect, PgVersion, RelFileLocator,
    Rmgr, SlruKind,
};

use crate::build::{Build, REL, context, fork_block, main_block, meta, page, slru};

fn tag(fork: ForkNumber, block: u32) -> BlockTag {
    let rel = REL;
    BlockTag { rel, fork, block }
}

fn main_tag(block: u32) -> BlockTag {
    tag(ForkNumber::Main, block)
}

fn vm_tag(block: u32) -> BlockTag {
    tag(ForkNumber::Vm, block)
}

fn xid_used(xid: u32) -> String {
    meta(MetaEffect::XidUsed { xid })
}

/// INSERT of one tuple into a block.
fn insert(block: u32, flags: u8) -> Build {
    let mut target = main_block(0, block);
    target.data = vec![0; 30];
    Build::new(Rmgr::Heap, 0x00)
        .xid(700)
        .u16(1)
        .u8(flags)
        .block(target)
}

/// UPDATE from block 1's page to block 0's.
fn update(new: u32, old: u32, flags: u8) -> Build {
    Build::new(Rmgr::Heap, 0x20)
        .u32(700)
        .u16(1)
        .u8(0)
        .u8(flags)
        .u32(0)
        .u16(1)
        .block(main_block(0, new))
        .block(main_block(1, old))
}

/// The main data of a commit or abort with these subtransactions.
fn with_subxids(rmgr_info: u8, xid: u32, subxids: &[u32]) -> Build {
    let mut build = Build::new(Rmgr::Transaction, rmgr_info | 0x80)
        .xid(xid)
        .u64(1000)
        .u32(1 << 1)
        .u32(subxids.len() as u32);
    for subxid in subxids {
        build = build.u32(*subxid);
    }
    build
}

#[test]
fn image_comes_before_init_and_a_verification_image_is_none() {
    for (init, image, touch) in [
        (false, None, Delta),
        (true, None, Init),
        (true, Some(true), Image),
        (false, Some(true), Image),
        (false, Some(false), Delta),
        (true, Some(false), Init),
    ] {
        let mut block = main_block(0, 3);
        (block.init, block.image) = (init, image);
        let record = Build::new(Rmgr::Btree, 0x00).u16(1).block(block);
        assert_eq!(record.effects(), [page(touch, main_tag(3))]);
    }
}

#[test]
fn a_hint_without_an_image_changes_nothing() {
    let record = |image| {
        let mut block = main_block(0, 3);
        block.image = image;
        Build::new(Rmgr::Xlog, 0xA0).block(block).effects()
    };
    assert_eq!(record(None), [""; 0]);
    assert_eq!(record(Some(true)), [page(Image, main_tag(3))]);
}

#[test]
fn a_page_named_twice_is_an_error() {
    let record = Build::new(Rmgr::Btree, 0x00)
        .u16(1)
        .block(main_block(0, 3))
        .block(main_block(1, 3));
    let error = record.try_effects(&context(PgVersion::V15)).unwrap_err();
    assert_eq!(error, EffectError::DuplicateBlock { tag: main_tag(3) });
}

#[test]
fn pages_that_a_hash_record_only_locks_are_left_out() {
    let squeeze = |version, tuples: u16, to_prev: u8| {
        let record = Build::new(Rmgr::Hash, 0x80)
            .version(version)
            .u32(1)
            .u32(2)
            .u16(tuples)
            .u8(0)
            .u8(to_prev);
        (0..3)
            .fold(record, |record, id| {
                record.block(main_block(id, u32::from(id)))
            })
            .effects()
    };
    let both = [page(Delta, main_tag(1)), page(Delta, main_tag(2))];
    assert_eq!(squeeze(PgVersion::V15, 0, 0), both);
    assert_eq!(squeeze(PgVersion::V17, 1, 0), both);
    assert_eq!(squeeze(PgVersion::V17, 0, 1), both);
    assert_eq!(squeeze(PgVersion::V17, 0, 0), both[1..]);
}

#[test]
fn inserting_into_an_all_visible_page_touches_the_map_that_the_record_does_not_name() {
    let block = HEAP_BLOCKS_PER_PAGE + 1;
    let target = page(Delta, main_tag(block));
    assert_eq!(insert(block, 0).effects(), [target.clone(), xid_used(700)]);
    assert_eq!(
        insert(block, 1).effects(),
        [target, page(Implicit, vm_tag(1)), xid_used(700)]
    );
}

#[test]
fn the_map_is_touched_even_if_the_heap_page_comes_as_an_image() {
    let mut record = insert(5, 1);
    record.blocks[0].image = Some(true);
    assert_eq!(
        record.effects(),
        [
            page(Image, main_tag(5)),
            page(Implicit, vm_tag(0)),
            xid_used(700)
        ]
    );
}

#[test]
fn a_map_page_that_the_record_names_has_one_effect() {
    let record = insert(5, 1)
        .version(PgVersion::V18)
        .block(fork_block(1, ForkNumber::Vm, 0));
    assert_eq!(
        record.effects(),
        [
            page(Delta, main_tag(5)),
            page(Delta, vm_tag(0)),
            xid_used(700)
        ]
    );
}

#[test]
fn an_update_touches_the_maps_of_both_pages_once_each() {
    let far = HEAP_BLOCKS_PER_PAGE * 2;
    let maps = |new, old, flags| update(new, old, flags).effects()[2..].to_vec();
    let map = |block| page(Implicit, vm_tag(block));
    assert_eq!(maps(7, far, 0), [""; 0]);
    assert_eq!(maps(7, far, 1), [map(2)]);
    assert_eq!(maps(7, far, 2), [map(0)]);
    assert_eq!(maps(7, far, 3), [map(2), map(0)]);
    assert_eq!(maps(7, 8, 3), [map(0)]);
}

/// 17.11 and 18.6 name the map's pages whose bits were set; if they name one, others are left alone.
#[test]
fn an_update_that_names_a_page_of_the_map_touches_no_other() {
    let far = HEAP_BLOCKS_PER_PAGE * 2;
    let maps = |old, flags, named: &[(u8, u32)]| {
        let record = update(7, old, flags).version(PgVersion::V18);
        let record = named.iter().fold(record, |record, (id, map)| {
            record.block(fork_block(*id, ForkNumber::Vm, *map))
        });
        record.effects()[2..].to_vec()
    };
    let map = |block| page(Delta, vm_tag(block));
    assert_eq!(maps(far, 3, &[(2, 0), (3, 2)]), [map(0), map(2)]);
    assert_eq!(maps(far, 3, &[(2, 0)]), [map(0)]);
    assert_eq!(maps(far, 3, &[(3, 2)]), [map(2)]);
    assert_eq!(maps(8, 3, &[(2, 0)]), [map(0)]);
    assert_eq!(maps(8, 3, &[(3, 0)]), [map(0)]);
}

#[test]
fn locking_a_row_creates_no_map_page_that_it_names() {
    let lock = Build::new(Rmgr::Heap2, 0x60)
        .version(PgVersion::V18)
        .u32(9)
        .u16(1)
        .u8(2)
        .u8(1)
        .block(main_block(0, 5))
        .block(fork_block(1, ForkNumber::Vm, 0));
    assert_eq!(
        lock.effects(),
        [page(Delta, main_tag(5)), page(Delta, vm_tag(0))]
    );
}

#[test]
fn locking_clears_the_frozen_bit() {
    for (rmgr, info) in [(Rmgr::Heap, 0x60), (Rmgr::Heap2, 0x60)] {
        let lock = |flags| {
            Build::new(rmgr, info)
                .u32(9)
                .u16(1)
                .u8(2)
                .u8(flags)
                .block(main_block(0, 5))
                .effects()
        };
        assert_eq!(lock(0), [page(Delta, main_tag(5))]);
        assert_eq!(
            lock(1),
            [page(Delta, main_tag(5)), page(Implicit, vm_tag(0))]
        );
    }
}

#[test]
fn setting_visibility_creates_the_map() {
    let record = Build::new(Rmgr::Heap2, 0x40)
        .u32(9)
        .u8(3)
        .block(fork_block(0, ForkNumber::Vm, 0))
        .block(main_block(1, 5));
    assert_eq!(
        record.effects(),
        [page(Implicit, vm_tag(0)), page(Delta, main_tag(5))]
    );
}

#[test]
fn a_commit_touches_each_status_page_once() {
    let clog = |number| slru(Implicit, SlruKind::Clog, number);
    let ended = |committed| {
        meta(MetaEffect::TransactionEnd {
            xid: 32_766,
            committed,
            time: 1000,
        })
    };
    let subxids = [32_767, 32_768, 32_769, 65_536];
    assert_eq!(
        with_subxids(0x00, 32_766, &subxids).effects(),
        [clog(0), clog(1), clog(2), xid_used(65_536), ended(true)]
    );
    assert_eq!(
        with_subxids(0x20, 32_766, &subxids[..1]).effects(),
        [clog(0), xid_used(32_767), ended(false)]
    );
}

#[test]
fn subtransactions_in_no_order_still_touch_each_status_page_once() {
    let clog = |number| slru(Implicit, SlruKind::Clog, number);
    let subxids = [70_000, 40_000, 70_001, 10, 41_000];
    assert_eq!(
        with_subxids(0x00, 50_000, &subxids).effects()[..3],
        [clog(1), clog(0), clog(2)]
    );
}

#[test]
fn status_pages_follow_ids_around_the_end_of_their_circle() {
    let clog = |number| slru(Implicit, SlruKind::Clog, number);
    assert_eq!(
        with_subxids(0x00, u32::MAX, &[3, 4]).effects()[..3],
        [clog(131_071), clog(0), xid_used(4)]
    );
}

#[test]
fn commit_times_are_kept_for_commits_while_the_feature_is_on() {
    let mut context = context(PgVersion::V15);
    let touched = |info, context: &EffectContext| {
        let told = with_subxids(info, 818, &[819])
            .try_effects(context)
            .unwrap();
        let of = |number| slru(Implicit, SlruKind::CommitTs, number);
        [of(0), of(1)].iter().filter(|it| told.contains(it)).count()
    };
    assert_eq!(touched(0x00, &context), 0);
    context.track_commit_timestamp = true;
    assert_eq!(touched(0x00, &context), 2);
    assert_eq!(touched(0x20, &context), 0);
}

#[test]
fn a_prepared_transaction_ends_under_its_own_id() {
    let dropped = MetaEffect::RelationDrop { rel: REL };
    // Flags: relations, two-phase, gid, origin.
    let record = Build::new(Rmgr::Transaction, 0x30 | 0x80)
        .xid(0)
        .origin(7)
        .u64(1000)
        .u32(1 << 2 | 1 << 4 | 1 << 7 | 1 << 5)
        .u32(1)
        .rel()
        .u32(40_000)
        .bytes(b"my gid\0")
        .u64(0xABC)
        .u64(999);
    assert_eq!(
        record.effects(),
        [
            slru(Implicit, SlruKind::Clog, 1),
            xid_used(40_000),
            meta(MetaEffect::OriginAdvance {
                origin: 7,
                remote: Lsn::new(0xABC),
                force: false
            }),
            meta(dropped),
            meta(MetaEffect::PrepareEnd { xid: 40_000 }),
            meta(MetaEffect::TransactionEnd {
                xid: 40_000,
                committed: true,
                time: 1000
            }),
        ]
    );
}

#[test]
fn ids_in_use_are_told_in_circular_order_and_permanent_ones_never() {
    let noop = |xid| Build::new(Rmgr::Standby, 0x00).xid(xid).u32(0).effects();
    for permanent in [0, 1, 2] {
        assert_eq!(noop(permanent), [""; 0]);
    }
    assert_eq!(noop(3), [xid_used(3)]);
    let told = with_subxids(0x00, 0xFFFF_FFF0, &[0xFFFF_FFFF, 5, 2]).effects();
    assert!(told.contains(&xid_used(5)), "{told:?}");
}

/// CREATE_ID of `multi` with `count` members from `offset` on.
fn create_multixact(multi: u32, offset: u32, count: u32) -> Build {
    let record = Build::new(Rmgr::MultiXact, 0x20)
        .xid(700)
        .u32(multi)
        .u32(offset)
        .u32(count);
    (0..count).fold(record, |record, member| record.u32(701 + member).u32(0))
}

#[test]
fn a_new_multixact_touches_the_next_ones_offset_in_newer_minors() {
    let offsets = |number| slru(Implicit, SlruKind::MultiXactOffsets, number);
    let members = slru(Implicit, SlruKind::MultiXactMembers, 0);
    let used = |next| {
        meta(MetaEffect::MultiXactUsed {
            next,
            next_offset: 12,
            exact: false,
        })
    };
    let at_page_end = create_multixact(2047, 10, 2);
    let expected = [
        offsets(0),
        offsets(1),
        members.clone(),
        xid_used(702),
        used(2048),
    ];
    assert_eq!(at_page_end.effects(), expected);
    let mut older = context(PgVersion::V15);
    older.rules.minor = 15;
    let told = at_page_end.try_effects(&older).unwrap();
    assert_eq!(told, [&expected[..1], &expected[2..]].concat());
    // The multixact after the last is 1, not 0.
    let last = create_multixact(u32::MAX, 10, 2).effects();
    assert_eq!(
        last,
        [
            offsets(2_097_151),
            offsets(0),
            members,
            xid_used(702),
            used(1)
        ]
    );
}

#[test]
fn members_of_a_multixact_may_span_pages_and_the_end_of_the_circle() {
    let touched = |offset, count| -> Vec<String> {
        let told = create_multixact(5, offset, count).effects();
        let members = |it: &String| it.contains("members");
        told.into_iter().filter(members).collect()
    };
    let member = |number| slru(Implicit, SlruKind::MultiXactMembers, number);
    assert_eq!(touched(MEMBERS_PER_PAGE - 2, 2), [member(0)]);
    assert_eq!(touched(MEMBERS_PER_PAGE - 2, 3), [member(0), member(1)]);
    assert_eq!(
        touched(1, MEMBERS_PER_PAGE * 2),
        [member(0), member(1), member(2)]
    );
    assert_eq!(touched(u32::MAX, 1), [member(2_625_285)]);
    assert_eq!(touched(u32::MAX, 2), [member(2_625_285), member(0)]);
    assert_eq!(touched(7, 0), [""; 0]);
}

#[test]
fn truncating_multixacts_removes_segments_of_both_areas() {
    let members_per_segment = MEMBERS_PER_PAGE * 32;
    let record = Build::new(Rmgr::MultiXact, 0x30)
        .u32(5)
        .u32(1)
        .u32(2048)
        .u32(members_per_segment)
        .u32(members_per_segment * 3 + 1);
    assert_eq!(
        record.effects(),
        [
            meta(MetaEffect::OldestMultiXact {
                oldest: 2048,
                db: 5
            }),
            meta(MetaEffect::MembersTruncate { first: 1, end: 3 }),
            // One multixact back: page 0, although 2048 is the first of page 1.
            meta(MetaEffect::SlruTruncate {
                kind: SlruKind::MultiXactOffsets,
                cutoff: 0
            }),
        ]
    );
}

#[test]
fn status_areas_are_zeroed_and_truncated_by_page() {
    let zero = |rmgr, info| Build::new(rmgr, info).u32(6).effects();
    for (rmgr, info, kind) in [
        (Rmgr::Clog, 0x00, SlruKind::Clog),
        (Rmgr::CommitTs, 0x00, SlruKind::CommitTs),
        (Rmgr::MultiXact, 0x00, SlruKind::MultiXactOffsets),
        (Rmgr::MultiXact, 0x10, SlruKind::MultiXactMembers),
    ] {
        assert_eq!(zero(rmgr, info), [slru(Init, kind, 6)]);
    }
    let cut = |kind| meta(MetaEffect::SlruTruncate { kind, cutoff: 32 });
    let clog = Build::new(Rmgr::Clog, 0x10).u32(32).u32(1_048_600).u32(5);
    let oldest = MetaEffect::OldestXid {
        oldest: 1_048_600,
        db: 5,
    };
    assert_eq!(clog.effects(), [meta(oldest), cut(SlruKind::Clog)]);
    let times = Build::new(Rmgr::CommitTs, 0x10).u32(32).u32(30_000);
    let oldest = MetaEffect::OldestCommitTsXid { oldest: 30_000 };
    assert_eq!(times.effects(), [meta(oldest), cut(SlruKind::CommitTs)]);
}

#[test]
fn a_truncation_cuts_the_forks_that_it_names() {
    let truncate = |blocks, flags| {
        Build::new(Rmgr::Storage, 0x20)
            .u32(blocks)
            .rel()
            .u32(flags)
            .effects()
    };
    let create = meta(MetaEffect::RelationCreate {
        rel: REL,
        fork: ForkNumber::Main,
    });
    let cut = |fork, blocks| {
        meta(MetaEffect::RelationTruncate {
            rel: REL,
            fork,
            blocks,
        })
    };
    assert_eq!(
        truncate(10, 7),
        [
            page(IfPresent, vm_tag(0)),
            create.clone(),
            cut(ForkNumber::Main, 10),
            cut(ForkNumber::Fsm, 3),
            cut(ForkNumber::Vm, 1),
        ]
    );
    assert_eq!(
        truncate(HEAP_BLOCKS_PER_PAGE, 2),
        [create.clone(), cut(ForkNumber::Vm, 1)]
    );
    assert_eq!(truncate(0, 1), [create, cut(ForkNumber::Main, 0)]);
}

#[test]
fn databases_are_made_and_removed_by_opcodes_that_15_moved() {
    let copy = MetaEffect::DatabaseCopy {
        spc: 1663,
        db: 9,
        from_spc: 1700,
        from_db: 1,
    };
    for version in PgVersion::ALL {
        let record = Build::new(Rmgr::Database, 0x00).version(version);
        let record = record.u32(9).u32(1663).u32(1).u32(1700);
        assert_eq!(record.effects(), [meta(copy)]);
    }
    let drop = |spc| meta(MetaEffect::DatabaseDrop { spc, db: 9 });
    for (version, info) in [(PgVersion::V14, 0x10), (PgVersion::V15, 0x20)] {
        let record = Build::new(Rmgr::Database, info).version(version);
        let record = record.u32(9).u32(2).u32(1663).u32(1700);
        assert_eq!(record.effects(), [drop(1663), drop(1700)]);
    }
    let create = MetaEffect::DatabaseCreate { spc: 1663, db: 9 };
    let record = Build::new(Rmgr::Database, 0x10).u32(9).u32(1663);
    assert_eq!(record.effects(), [meta(create)]);
}

#[test]
fn switching_commit_times_off_removes_them() {
    let change = |on| ParameterChange {
        max_connections: 100,
        wal_level: 1,
        track_commit_timestamp: on,
        ..ParameterChange::default()
    };
    let record = |on| {
        Build::new(Rmgr::Xlog, 0x60)
            .u32(100)
            .bytes(&[0; 16])
            .u32(1)
            .bytes(&[0, u8::from(on), 0, 0])
    };
    let mut context = context(PgVersion::V15);
    let removed = meta(MetaEffect::SlruRemove {
        kind: SlruKind::CommitTs,
    });
    let told = |on| meta(MetaEffect::Parameters(change(on)));
    for (was_on, on, expected) in [
        (false, false, vec![told(false)]),
        (false, true, vec![told(true)]),
        (true, true, vec![told(true)]),
        (true, false, vec![removed, told(false)]),
    ] {
        context.track_commit_timestamp = was_on;
        assert_eq!(record(on).try_effects(&context).unwrap(), expected);
    }
}

#[test]
fn checkpoints_are_told_whole() {
    let checkpoint = CheckPoint {
        redo: Lsn::new(0x1_0000_0028),
        next_full_xid: 0x1_0000_0003,
        oldest_active_xid: 9,
        ..CheckPoint::default()
    };
    for (info, shutdown) in [(0x00, true), (0x10, false)] {
        let record = Build::new(Rmgr::Xlog, info).bytes(&checkpoint.encode());
        assert_eq!(
            record.effects(),
            [meta(MetaEffect::Checkpoint {
                checkpoint,
                shutdown
            })]
        );
    }
}

#[test]
fn origins_advance_except_the_one_that_is_not_tracked() {
    let set = |origin| {
        Build::new(Rmgr::ReplicationOrigin, 0x00)
            .u64(0xABC)
            .u16(origin)
            .bytes(&[1, 0, 0, 0, 0, 0])
            .effects()
    };
    let advance = MetaEffect::OriginAdvance {
        origin: 7,
        remote: Lsn::new(0xABC),
        force: true,
    };
    assert_eq!(set(7), [meta(advance)]);
    assert_eq!(set(u16::MAX), [""; 0]);
    let drop = Build::new(Rmgr::ReplicationOrigin, 0x10).u16(7);
    assert_eq!(drop.effects(), [meta(MetaEffect::OriginDrop { origin: 7 })]);
}

#[test]
fn files_that_are_no_relations_are_told() {
    let map = [7; 512];
    let record = Build::new(Rmgr::RelMap, 0x00).u32(5).u32(1663).u32(512);
    let told = MetaEffect::RelationMap {
        spc: 1663,
        db: 5,
        content: &map,
    };
    assert_eq!(record.bytes(&map).effects(), [meta(told)]);
    let create = Build::new(Rmgr::Tablespace, 0x00).u32(99);
    let told = MetaEffect::TablespaceCreate {
        spc: 99,
        path: b"/there",
    };
    assert_eq!(create.bytes(b"/there\0").effects(), [meta(told)]);
    let drop = Build::new(Rmgr::Tablespace, 0x10).u32(99).effects();
    assert_eq!(drop, [meta(MetaEffect::TablespaceDrop { spc: 99 })]);
    let created = Build::new(Rmgr::Storage, 0x10).rel().u32(3).effects();
    let told = MetaEffect::RelationCreate {
        rel: RelFileLocator { ..REL },
        fork: ForkNumber::Init,
    };
    assert_eq!(created, [meta(told)]);
}

#[test]
fn what_only_standbys_and_decoders_read_has_no_effect() {
    let message = Build::new(Rmgr::LogicalMessage, 0x00)
        .u32(5)
        .u32(0)
        .u64(2)
        .u64(1)
        .bytes(b"p\0m");
    assert_eq!(message.effects(), [""; 0]);
    let noop = Build::new(Rmgr::Xlog, 0x40).effects();
    assert_eq!(noop, [""; 0]);
}

#[test]
fn a_dynamic_sink_is_accepted() {
    let mut count = 0;
    insert(5, 1)
        .with(|record| {
            let sink: &mut dyn FnMut(walrecord::Effect<'_>) = &mut |_| count += 1;
            walrecord::effects(record, &context(PgVersion::V15), sink)
        })
        .unwrap();
    assert_eq!(count, 3);
}

#[test]
fn an_update_within_a_page_clears_its_bits_once() {
    let mut within = update(7, 8, 3);
    within.blocks.truncate(1);
    let blocks = |build: &Build| {
        build.with(|record| {
            let clears = visibility::clears(record).unwrap();
            clears.map(|clear| clear.heap_block).collect::<Vec<_>>()
        })
    };
    assert_eq!(blocks(&within), [7]);
    assert_eq!(blocks(&update(7, 8, 3)), [8, 7]);
}
