//! A filter shows what each of its conditions admits, and a condition on blocks looks at one block.

use crate::common::Fixture;
use walrecord::dump::Filter;
use walrecord::{ForkNumber, PgVersion, Record, Rmgr, RmgrId};

/// How many records of a fixture a filter admits; each must have what `expected` says.
fn admitted(filter: &Filter, expected: impl Fn(&Record<'_>) -> bool) -> usize {
    let mut count = 0;
    for record in Fixture::load(PgVersion::V15).records() {
        let record = record.raw().decode().unwrap();
        assert_eq!(
            filter.admits(&record),
            expected(&record),
            "{}",
            record.start
        );
        count += usize::from(filter.admits(&record));
    }
    count
}

#[test]
fn an_empty_filter_admits_all() {
    assert!(admitted(&Filter::default(), |_| true) > 1000);
}

#[test]
fn records_are_found_by_resource_manager_transaction_and_image() {
    let heap = RmgrId::BuiltIn(Rmgr::Heap);
    let btree = RmgrId::BuiltIn(Rmgr::Btree);
    let filter = Filter {
        rmgrs: vec![heap, btree],
        ..Filter::default()
    };
    let found = admitted(&filter, |record| {
        [heap, btree].contains(&record.header.rmgr)
    });
    assert!(found > 100);
    let filter = Filter {
        xid: Some(0),
        ..Filter::default()
    };
    assert!(admitted(&filter, |record| record.header.xid == 0) > 10);
    let filter = Filter {
        with_image: true,
        ..Filter::default()
    };
    let has_image = |record: &Record<'_>| record.blocks().iter().any(|block| block.image.is_some());
    assert!(admitted(&filter, has_image) > 10);
}

#[test]
fn relation_block_and_fork_must_meet_in_one_block() {
    // A record of a heap block and a block of the visibility map, with different numbers.
    let records = Fixture::load(PgVersion::V15).records();
    let found = records.iter().find_map(|record| {
        let record = record.raw().decode().unwrap();
        let (first, second) = (record.blocks().first()?.tag, record.blocks().get(1)?.tag);
        let differ = first.fork != second.fork && first.block != second.block;
        differ.then_some((record.start, first, second))
    });
    let (start, first, second) = found.expect("a record with blocks of two forks");
    let across = Filter {
        rel: Some(first.rel),
        block: Some(second.block),
        fork: Some(first.fork),
        ..Filter::default()
    };
    let meets = |record: &Record<'_>| {
        record.blocks().iter().any(|block| {
            let tag = block.tag;
            (tag.rel, tag.block, tag.fork) == (first.rel, second.block, first.fork)
        })
    };
    admitted(&across, |record| record.start != start && meets(record));
    let vm = Filter {
        fork: Some(ForkNumber::Vm),
        ..Filter::default()
    };
    let found = admitted(&vm, |record| {
        let mut tags = record.blocks().iter().map(|block| block.tag);
        tags.any(|tag| tag.fork == ForkNumber::Vm)
    });
    assert!(found > 1);
}
