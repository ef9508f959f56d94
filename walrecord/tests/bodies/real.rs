//! All records of real servers decode, and what they hold is what `pg_waldump` of 15 prints.

use std::collections::{BTreeMap, BTreeSet};

use walrecord::rmgr::btree::{BtreeRecord, DeletionCounts, Split};
use walrecord::rmgr::clog::ClogRecord;
use walrecord::rmgr::heap::{HeapRecord, InfoBits, Update};
use walrecord::rmgr::heap2::Heap2Record;
use walrecord::rmgr::multixact::MultiXactRecord;
use walrecord::rmgr::standby::StandbyRecord;
use walrecord::rmgr::storage::StorageRecord;
use walrecord::rmgr::xlog::{CheckPoint, XlogRecord};
use walrecord::rmgr::{self, RecordBody, RmgrId};
use walrecord::{
    BlockRef, BlockTag, Effect, ForkNumber, MetaEffect, PageKey, PgVersion, concerns, effects,
};

use crate::build::context;
use crate::common::{Fixture, unpack};
use crate::walk::walk;

#[test]
fn every_record_of_every_version_decodes_and_tells_its_effects() {
    for fixture in Fixture::all() {
        let mut context = context(fixture.version);
        context.track_commit_timestamp = true;
        let mut kinds = BTreeSet::new();
        for owned in fixture.records() {
            let record = owned.raw().decode().unwrap();
            let name = rmgr::record_name(&record);
            let at = format!("{} {owned:?} {name:?}", fixture.version);
            walk(&record).unwrap_or_else(|error| panic!("{at}: {error}"));
            let mut pages: Vec<PageKey> = Vec::new();
            effects(&record, &context, &mut |effect| {
                if let Effect::Page { key, .. } = effect {
                    assert!(!pages.contains(&key), "{at}: {key} twice");
                    pages.push(key);
                }
            })
            .unwrap_or_else(|error| panic!("{at}: {error}"));
            kinds.insert((record.header.rmgr.to_u8(), name.expect("a name")));
        }
        assert!(
            kinds.len() > 110,
            "{}: {} kinds",
            fixture.version,
            kinds.len()
        );
    }
}

#[test]
fn records_of_the_newest_minors_name_the_visibility_map_pages_that_they_change() {
    for fixture in Fixture::newest() {
        let context = context(fixture.version);
        let mut naming = BTreeMap::<_, u32>::new();
        let mut custom = 0;
        for owned in fixture.records() {
            let record = owned.raw().decode().unwrap();
            walk(&record).unwrap_or_else(|error| panic!("{owned:?}: {error}"));
            effects(&record, &context, &mut |_| {})
                .unwrap_or_else(|error| panic!("{owned:?}: {error}"));
            if let RmgrId::Custom(number) = record.header.rmgr {
                assert_eq!((number, rmgr::record_name(&record)), (128, None));
                custom += 1;
            }
            let is_map = |block: &&BlockRef<'_>| block.tag.fork == ForkNumber::Vm;
            for block in record.blocks().iter().filter(is_map) {
                let name = rmgr::record_name(&record).expect("a name");
                *naming.entry((name, block.id)).or_default() += 1;
            }
        }
        assert!(custom >= 2);
        for kind in [
            ("INSERT", 1),
            ("DELETE", 1),
            ("LOCK", 1),
            ("MULTI_INSERT", 1),
            ("UPDATE", 2),
            ("UPDATE+INIT", 3),
            ("HOT_UPDATE", 3),
            ("VISIBLE", 0),
        ] {
            let count = naming.get(&kind).copied().unwrap_or_default();
            assert!(count >= 2, "{kind:?} in {naming:?}");
        }
    }
}

#[test]
fn a_record_that_concerns_nobody_else_has_no_other_effects() {
    let mut other = 0;
    let mut records = 0;
    for fixture in Fixture::all().chain(Fixture::newest()) {
        let mut context = context(fixture.version);
        context.track_commit_timestamp = true;
        for owned in fixture.records() {
            let raw = owned.raw();
            let record = raw.decode().unwrap();
            let mut concerned = 0;
            for share in 0..3 {
                let mine = |tag: &BlockTag| (tag.rel.rel + tag.block) % 3 == share;
                if concerns(&raw, mine) {
                    concerned += 1;
                    continue;
                }
                effects(&record, &context, &mut |effect| match effect {
                    Effect::Page { key, .. } => {
                        let named = record.blocks().iter().find(|it| key == it.tag.into());
                        let tag = named.expect("a block that the record names").tag;
                        assert!(!mine(&tag), "{owned:?}: {tag}");
                    }
                    Effect::Meta(MetaEffect::XidUsed { .. }) => {}
                    Effect::Meta(change) => panic!("{owned:?}: {change:?}"),
                })
                .unwrap();
            }
            assert!(concerned > 0, "{owned:?} is nobody's");
            records += 1;
            other += u32::from(concerned < 3);
        }
    }
    assert!(other > records / 2, "{other} of {records}");
}

#[test]
fn names_and_fields_are_those_that_pg_waldump_prints() {
    let text = String::from_utf8(unpack(PgVersion::V15, "waldump.txt.zst")).unwrap();
    let descriptions = text
        .lines()
        .filter_map(|line| line.split_once(", desc: "))
        .map(|(_, description)| description);
    let records = Fixture::load(PgVersion::V15).records();
    let mut described = 0;
    for (owned, theirs) in records.iter().zip(descriptions) {
        let record = owned.raw().decode().unwrap();
        let name = rmgr::record_name(&record).expect("a name");
        let theirs = theirs.strip_prefix(name);
        let theirs = theirs
            .unwrap_or_else(|| panic!("{owned:?} is no {name}"))
            .trim_start();
        let body = RecordBody::decode(&record).unwrap();
        if let Some(ours) = describe(&body) {
            assert!(
                theirs.starts_with(ours.trim_end()),
                "{owned:?} {name}\n  ours: {ours}\ntheirs: {theirs}"
            );
            described += 1;
        }
    }
    assert!(described > 5_000, "{described}");
}

/// How `pg_waldump` of 15 begins what it prints of a body; none for kinds that are not compared.
fn describe(body: &RecordBody<'_>) -> Option<String> {
    match body {
        RecordBody::Heap(body) => heap(body),
        RecordBody::Heap2(body) => heap2(body),
        RecordBody::Btree(body) => btree(*body),
        RecordBody::Xlog(body) => xlog(body),
        RecordBody::Clog(ClogRecord::ZeroPage(page)) => Some(format!("page {page}")),
        RecordBody::MultiXact(MultiXactRecord::CreateId(create)) => Some(format!(
            "{} offset {} nmembers {}: ",
            create.multi,
            create.offset,
            create.members.len()
        )),
        RecordBody::MultiXact(
            MultiXactRecord::ZeroOffsetPage(page) | MultiXactRecord::ZeroMemberPage(page),
        ) => Some(page.to_string()),
        RecordBody::Standby(StandbyRecord::RunningXacts(running)) => Some(format!(
            "nextXid {} latestCompletedXid {} oldestRunningXid {}",
            running.next_xid, running.latest_completed, running.oldest_running
        )),
        RecordBody::Storage(StorageRecord::Create(create)) => {
            let suffix = create.fork.suffix();
            Some(format!("base/{}/{}{suffix}", create.rel.db, create.rel.rel))
                .filter(|_| create.rel.spc == walrecord::DEFAULT_TABLESPACE)
        }
        RecordBody::Storage(StorageRecord::Truncate(cut)) => Some(format!(
            "base/{}/{} to {} blocks flags {}",
            cut.rel.db, cut.rel.rel, cut.blocks, cut.flags
        ))
        .filter(|_| cut.rel.spc == walrecord::DEFAULT_TABLESPACE),
        RecordBody::Sequence(log) => Some(format!("rel {}", log.rel)),
        RecordBody::LogicalMessage(message) => Some(format!(
            "{}, prefix \"{}\"; payload ({} bytes)",
            ["non-transactional", "transactional"][usize::from(message.transactional)],
            String::from_utf8_lossy(message.prefix),
            message.message.len()
        )),
        _ => None,
    }
}

fn infobits(bits: InfoBits) -> String {
    let mut text = String::new();
    for (set, name) in [
        (bits.is_multi(), "IS_MULTI "),
        (bits.lock_only(), "LOCK_ONLY "),
        (bits.exclusive_lock(), "EXCL_LOCK "),
        (bits.key_share_lock(), "KEYSHR_LOCK "),
        (bits.keys_updated(), "KEYS_UPDATED "),
    ] {
        text += if set { name } else { "" };
    }
    text
}

fn heap(body: &HeapRecord<'_>) -> Option<String> {
    let update = |it: &Update<'_>| {
        format!(
            "off {} xmax {} flags 0x{:02X} {}; new off {} xmax {}",
            it.old_offnum,
            it.old_xmax,
            it.flags,
            infobits(it.old_infobits),
            it.new_offnum,
            it.new_xmax
        )
    };
    Some(match body {
        HeapRecord::Insert(it) => format!("off {} flags 0x{:02X}", it.offnum, it.flags),
        HeapRecord::Delete(it) => format!(
            "off {} flags 0x{:02X} {}",
            it.offnum,
            it.flags,
            infobits(it.infobits)
        ),
        HeapRecord::Update(it) | HeapRecord::HotUpdate(it) => update(it),
        HeapRecord::Lock(it) => format!(
            "off {}: xid {}: flags 0x{:02X} {}",
            it.offnum,
            it.xmax,
            it.flags,
            infobits(it.infobits)
        ),
        HeapRecord::Confirm(it) => format!("off {}", it.offnum),
        HeapRecord::Inplace(it) => format!("off {}", it.offnum),
        HeapRecord::Truncate(it) => {
            let flags = [(1, "cascade "), (2, "restart_seqs ")];
            let set = flags.into_iter().filter(|(flag, _)| it.flags & flag != 0);
            let mut text: String = set.map(|(_, name)| name).collect();
            text += &format!("nrelids {} relids", it.relids.len());
            text + &it
                .relids
                .iter()
                .map(|oid| format!(" {oid}"))
                .collect::<String>()
        }
    })
}

fn heap2(body: &Heap2Record<'_>) -> Option<String> {
    Some(match body {
        Heap2Record::Prune(it) => format!(
            "latestRemovedXid {} nredirected {} ndead {}",
            it.horizon, it.redirected, it.dead
        ),
        Heap2Record::Vacuum(it) => format!("nunused {}", it.unused),
        Heap2Record::Freeze(it) => format!("cutoff xid {} ntuples {}", it.horizon, it.count),
        Heap2Record::Visible(it) => {
            format!("cutoff xid {} flags 0x{:02X}", it.horizon, it.bits)
        }
        Heap2Record::MultiInsert(it) => {
            format!("{} tuples flags 0x{:02X}", it.tuple_count, it.flags)
        }
        Heap2Record::LockUpdated(it) => format!(
            "off {}: xmax {}: flags 0x{:02X} {}",
            it.offnum,
            it.xmax,
            it.flags,
            infobits(it.infobits)
        ),
        Heap2Record::NewCid(it) => format!(
            "rel {}; tid {}/{}; cmin: {}, cmax: {}, combo: {}",
            it.rel, it.tid.block, it.tid.offnum, it.cmin, it.cmax, it.combocid
        ),
        Heap2Record::Rewrite(_) | Heap2Record::PruneFreeze(_) => return None,
    })
}

fn btree(body: BtreeRecord) -> Option<String> {
    let split = |it: Split| {
        format!(
            "level {}, firstrightoff {}, newitemoff {}, postingoff {}",
            it.level, it.first_right, it.new_item, it.posting_offset
        )
    };
    let counts = |it: DeletionCounts| format!("ndeleted {}; nupdated {}", it.deleted, it.updated);
    Some(match body {
        BtreeRecord::InsertLeaf(it)
        | BtreeRecord::InsertUpper(it)
        | BtreeRecord::InsertMeta(it)
        | BtreeRecord::InsertPost(it) => format!("off {}", it.offnum),
        BtreeRecord::SplitLeft(it) | BtreeRecord::SplitRight(it) => split(it),
        BtreeRecord::Dedup(it) => format!("nintervals {}", it.interval_count),
        BtreeRecord::Delete(it) => {
            format!("latestRemovedXid {}; {}", it.horizon, counts(it.counts))
        }
        BtreeRecord::Vacuum(it) => counts(it.counts),
        BtreeRecord::NewRoot(it) => format!("lev {}", it.level),
        BtreeRecord::MarkPageHalfDead(it) => format!(
            "topparent {}; leaf {}; left {}; right {}",
            it.top_parent, it.leaf, it.left, it.right
        ),
        BtreeRecord::UnlinkPage(it) | BtreeRecord::UnlinkPageMeta(it) => format!(
            "left {}; right {}; level {}; safexid {}:{}; leafleft {}; leafright {}; leaftopparent {}",
            it.left,
            it.right,
            it.level,
            it.safe_xid >> 32,
            it.safe_xid & 0xFFFF_FFFF,
            it.leaf_left,
            it.leaf_right,
            it.leaf_top_parent
        ),
        BtreeRecord::ReusePage(it) => format!(
            "rel {}; latestRemovedXid {}:{}",
            it.rel,
            it.horizon >> 32,
            it.horizon & 0xFFFF_FFFF
        ),
        BtreeRecord::MetaCleanup => return None,
    })
}

fn xlog(body: &XlogRecord<'_>) -> Option<String> {
    let checkpoint = |it: &CheckPoint, kind| {
        format!(
            "redo {:X}/{:X}; tli {}; prev tli {}; fpw {}; xid {}:{}; oid {}; multi {}; offset {}; \
             oldest xid {} in DB {}; oldest multi {} in DB {}; \
             oldest/newest commit timestamp xid: {}/{}; oldest running xid {}; {kind}",
            it.redo.get() >> 32,
            it.redo.get() & 0xFFFF_FFFF,
            it.this_tli,
            it.prev_tli,
            it.full_page_writes,
            it.next_full_xid >> 32,
            it.next_full_xid & 0xFFFF_FFFF,
            it.next_oid,
            it.next_multi,
            it.next_multi_offset,
            it.oldest_xid,
            it.oldest_xid_db,
            it.oldest_multi,
            it.oldest_multi_db,
            it.oldest_commit_ts_xid,
            it.newest_commit_ts_xid,
            it.oldest_active_xid
        )
    };
    Some(match body {
        XlogRecord::CheckpointShutdown(it) => checkpoint(it, "shutdown"),
        XlogRecord::CheckpointOnline(it) => checkpoint(it, "online"),
        XlogRecord::NextOid(oid) => oid.to_string(),
        XlogRecord::RestorePoint(it) => String::from_utf8_lossy(it.name).into_owned(),
        XlogRecord::FullPageWrites(on) => on.to_string(),
        XlogRecord::ParameterChange(it) => format!(
            "max_connections={} max_worker_processes={} max_wal_senders={} \
             max_prepared_xacts={} max_locks_per_xact={} wal_level={} wal_log_hints={} \
             track_commit_timestamp={}",
            it.max_connections,
            it.max_worker_processes,
            it.max_wal_senders,
            it.max_prepared_xacts,
            it.max_locks_per_xact,
            ["minimal", "replica", "logical"].get(it.wal_level as usize)?,
            ["off", "on"][usize::from(it.wal_log_hints)],
            ["off", "on"][usize::from(it.track_commit_timestamp)]
        ),
        _ => return None,
    })
}
