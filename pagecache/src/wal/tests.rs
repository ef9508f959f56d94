//! The store's promises one by one; `tests/crash` has them all at once, and crashes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use walrecord::{Lsn, PgTimelineId};

use super::{SegmentInfo, WalStore, WalStoreError};
use crate::manifest::HistoryEntry;
use crate::storage::{Access, LocalStorage, Rng, SimulatedDisk, Storage};

const SIZE: u32 = 1 << 20;
const START: Lsn = Lsn::new(3 * SIZE as u64);

fn open(storage: &(impl Storage + Clone + 'static), start: Lsn) -> WalStore {
    WalStore::open(
        Arc::new(storage.clone()),
        dir(),
        SIZE,
        &history(&[(1, start)]),
        start,
    )
    .unwrap()
}

fn history(timelines: &[(PgTimelineId, Lsn)]) -> Vec<HistoryEntry> {
    let entry = |(timeline, start): &(PgTimelineId, Lsn)| HistoryEntry {
        timeline: *timeline,
        start: *start,
    };
    timelines.iter().map(entry).collect()
}

fn dir() -> &'static Path {
    Path::new("wal")
}

fn file(number: u64) -> PathBuf {
    dir().join(format!("0000000100000000{number:08X}"))
}

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Rng::new(seed).fill(&mut bytes);
    bytes
}

fn content(wal: &WalStore) -> Vec<u8> {
    let mut content = vec![0; (wal.end() - wal.start()) as usize];
    assert_eq!(
        wal.read_at(wal.start(), &mut content).unwrap(),
        content.len()
    );
    content
}

fn len(disk: &SimulatedDisk, number: u64) -> u64 {
    disk.open(&file(number), Access::Read)
        .unwrap()
        .len()
        .unwrap()
}

#[test]
fn appends_fill_segment_files_named_as_in_pg_wal() {
    let disk = SimulatedDisk::new();
    let start = START + 100;
    let wal = open(&disk, start);
    let wanted = bytes(1, 2 * SIZE as usize);
    wal.append(start, &wanted[..1000]).unwrap();
    wal.append(start + 1000, &wanted[1000..]).unwrap();
    assert_eq!(wal.end(), start + wanted.len() as u64);
    assert!(content(&wal) == wanted);
    let segment = |number: u64, start, end| SegmentInfo {
        name: format!("0000000100000000{number:08X}"),
        start,
        end,
    };
    let size = u64::from(SIZE);
    assert_eq!(
        wal.segments(),
        [
            segment(3, start, START + size),
            segment(4, START + size, START + 2 * size),
            segment(5, START + 2 * size, START + 2 * size + 100),
        ]
    );
    // As long as their content: nothing is reserved.
    assert_eq!((len(&disk, 3), len(&disk, 5)), (size, 100));
}

#[test]
fn appends_only_at_the_end() {
    let wal = open(&SimulatedDisk::new(), START);
    wal.append(START, &[1; 10]).unwrap();
    let end = START + 10;
    let gap = wal.append(end + 1, &[1]);
    assert!(matches!(gap, Err(WalStoreError::Gap { end: e, lsn }) if e == end && lsn == end + 1));
    let overlap = wal.append(START + 9, &[1]);
    assert!(matches!(overlap, Err(WalStoreError::Overlap { end: e, .. }) if e == end));
    assert_eq!(wal.end(), end);
}

#[test]
fn refuses_to_run_over_the_last_position() {
    let start = Lsn::new(u64::MAX - 10);
    let wal = open(&SimulatedDisk::new(), start);
    assert!(matches!(
        wal.append(start, &[0; 11]),
        Err(WalStoreError::TooFar { length: 11, .. })
    ));
    wal.append(start, &[7; 10]).unwrap();
    assert_eq!(content(&wal), [7; 10]);
}

#[test]
fn nothing_counts_as_synced_that_was_only_found() {
    let disk = SimulatedDisk::new();
    let wal = open(&disk, START);
    wal.append(START, &[1; 10]).unwrap();
    assert_eq!((wal.end(), wal.synced()), (START + 10, START));
    let wal = open(&disk.kill(), START);
    assert_eq!((wal.end(), wal.synced()), (START + 10, START));
    assert_eq!(wal.sync().unwrap(), START + 10);
    assert_eq!(wal.synced(), START + 10);
}

#[test]
fn a_sync_with_nothing_to_do_touches_no_file() {
    let disk = SimulatedDisk::new();
    let wal = open(&disk, START);
    wal.append(START, &[1; 10]).unwrap();
    wal.sync().unwrap();
    let before = disk.changes();
    wal.sync().unwrap();
    assert_eq!(disk.changes(), before);
}

#[test]
fn segments_that_wait_for_a_sync_are_bounded() {
    let disk = SimulatedDisk::new();
    let wal = open(&disk, START);
    for number in 0..super::store::MAX_DIRTY as u64 + 2 {
        let lsn = START + number * u64::from(SIZE);
        wal.append(lsn, &[1; SIZE as usize]).unwrap();
    }
    assert!(wal.synced() > START);
}

#[test]
fn a_rewind_discards_and_leaves_the_rest_durable() {
    let disk = SimulatedDisk::new();
    let wal = open(&disk, START);
    let wanted = bytes(2, 3 * SIZE as usize);
    wal.append(START, &wanted).unwrap();
    let to = START + 1_500_000;
    wal.rewind(to).unwrap();
    assert_eq!((wal.end(), wal.synced()), (to, to));
    assert!(!disk.exists(&file(5)).unwrap());
    let new = bytes(3, 2_000_000);
    wal.append(to, &new).unwrap();
    let mut expected = wanted[..1_500_000].to_vec();
    expected.extend_from_slice(&new);
    assert!(content(&wal) == expected);
    // To a segment boundary: the file behind it goes.
    wal.rewind(START + u64::from(SIZE)).unwrap();
    assert!(!disk.exists(&file(4)).unwrap());
    wal.rewind(START).unwrap();
    assert!(content(&wal).is_empty());
    assert!(matches!(
        wal.rewind(START + 1),
        Err(WalStoreError::CutOutside { .. })
    ));
}

#[test]
fn a_rewind_cut_short_must_be_repeated_before_appending() {
    let disk = SimulatedDisk::new();
    let wal = open(&disk, START);
    wal.append(START, &bytes(4, 2 * SIZE as usize)).unwrap();
    // Removing the second segment is the first change.
    disk.fail_change(disk.changes() + 1, libc::EIO);
    assert!(matches!(
        wal.rewind(START + 5),
        Err(WalStoreError::Io {
            action: "remove",
            ..
        })
    ));
    assert!(matches!(
        wal.append(START + 5, &[1]),
        Err(WalStoreError::CutUnfinished { to }) if to == START + 5
    ));
    wal.rewind(START + 5).unwrap();
    wal.append(START + 5, &[1]).unwrap();
    assert_eq!((len(&disk, 3), wal.end()), (6, START + 6));
}

#[test]
fn a_segment_behind_a_gap_is_set_aside_not_read() {
    let disk = SimulatedDisk::new();
    let wal = open(&disk, START);
    wal.append(START, &bytes(5, 2 * SIZE as usize)).unwrap();
    let damaged = disk.open(&file(3), Access::ReadWrite).unwrap();
    damaged.set_len(1000).unwrap();
    let wal = open(&disk, START);
    assert_eq!(wal.end(), START + 1000);
    // Opening alone changes nothing.
    assert!(disk.exists(&file(4)).unwrap());
    wal.append(wal.end(), &[1]).unwrap();
    assert!(!disk.exists(&file(4)).unwrap());
    let mut aside = file(4).into_os_string();
    aside.push(".orphan");
    assert!(disk.exists(Path::new(&aside)).unwrap());
}

#[test]
fn files_that_cannot_be_ours_are_refused() {
    let disk = SimulatedDisk::new();
    drop(open(&disk, START));
    let try_open = || {
        WalStore::open(
            Arc::new(disk.clone()),
            dir(),
            SIZE,
            &history(&[(1, START)]),
            START,
        )
    };
    let other = dir().join("000000020000000000000004");
    disk.create(&other).unwrap();
    assert!(matches!(
        try_open(),
        Err(WalStoreError::OtherTimeline { found: 2, expected: 1, path }) if path == other
    ));
    disk.remove_file(&other).unwrap();
    let long = disk.create(&file(3)).unwrap();
    long.set_len(u64::from(SIZE) + 1).unwrap();
    assert!(matches!(try_open(), Err(WalStoreError::Oversized { .. })));
    let odd = WalStore::open(
        Arc::new(disk.clone()),
        dir(),
        SIZE + 1,
        &history(&[(1, START)]),
        START,
    );
    assert!(matches!(odd, Err(WalStoreError::SegmentSize(_))));
}

#[test]
fn a_full_disk_loses_nothing_and_appending_goes_on_when_there_is_space() {
    let disk = SimulatedDisk::new();
    let wal = open(&disk, START);
    let wanted = bytes(6, 2 * SIZE as usize);
    wal.append(START, &wanted[..1_000_000]).unwrap();
    wal.sync().unwrap();
    let end = START + 1_000_000;
    // Full within the first segment, at its end, and within the second.
    for capacity in [1_020_000, u64::from(SIZE), u64::from(SIZE) + 500] {
        disk.set_capacity(Some(capacity));
        let error = wal.append(end, &wanted[1_000_000..]).unwrap_err();
        assert!(error.is_out_of_space(), "{error:?}");
        assert_eq!((wal.end(), wal.synced()), (end, end));
        // What did not count is gone, so that a restart does not see it either.
        assert_eq!(open(&disk.kill(), START).end(), end);
        let crashed = open(&disk.crash(capacity), START);
        assert!(content(&crashed).starts_with(&wanted[..1_000_000]));
    }
    disk.set_capacity(None);
    wal.append(end, &wanted[1_000_000..]).unwrap();
    wal.sync().unwrap();
    assert!(content(&open(&disk.crash(1), START)) == wanted);
}

#[test]
fn leftovers_of_a_failed_append_are_written_over() {
    let disk = SimulatedDisk::new();
    let wal = open(&disk, START);
    wal.append(START, &[1; 100]).unwrap();
    disk.set_capacity(Some(5000));
    // The write fails half way, and cutting the file fails too.
    disk.fail_change(disk.changes() + 2, libc::EIO);
    wal.append(START + 100, &[2; 8000]).unwrap_err();
    assert_eq!((wal.end(), len(&disk, 3)), (START + 100, 5000));
    wal.append(START + 100, &[3; 10]).unwrap();
    assert_eq!((wal.end(), len(&disk, 3)), (START + 110, 110));
}

#[test]
fn after_a_failed_sync_the_store_takes_nothing() {
    let disk = SimulatedDisk::new();
    let wal = open(&disk, START);
    wal.append(START, &[1; 10]).unwrap();
    disk.fail_change(disk.changes() + 1, libc::EIO);
    assert!(matches!(
        wal.sync(),
        Err(WalStoreError::Io { action: "sync", .. })
    ));
    // A second sync of the file would succeed, and be a lie.
    for result in [
        wal.sync().map(|_| ()),
        wal.append(START + 10, &[1]),
        wal.rewind(START),
    ] {
        assert!(matches!(result, Err(WalStoreError::Broken { .. })));
    }
    assert_eq!(wal.synced(), START);
}

#[test]
fn reads_stop_at_the_end_and_are_refused_below_the_start() {
    let wal = open(&SimulatedDisk::new(), START);
    wal.append(START, &[1; 10]).unwrap();
    let mut buf = [0; 20];
    assert_eq!(wal.read_at(START + 4, &mut buf).unwrap(), 6);
    assert_eq!(wal.read_at(START + 10, &mut buf).unwrap(), 0);
    assert_eq!(wal.read_at(START + 999, &mut buf).unwrap(), 0);
    assert!(wal.read_at(Lsn::new(1), &mut buf).is_err());
}

#[test]
fn a_segment_cut_from_outside_is_an_error_not_zeros() {
    let disk = SimulatedDisk::new();
    let wal = open(&disk, START);
    wal.append(START, &[1; 10]).unwrap();
    disk.open(&file(3), Access::ReadWrite)
        .unwrap()
        .set_len(5)
        .unwrap();
    assert!(wal.read_at(START, &mut [0; 10]).is_err());
}

/// Appends and syncs up to a switch point, and goes over to timeline 2 there.
fn switched(disk: &SimulatedDisk, wanted: &[u8], at: Lsn) -> WalStore {
    let wal = open(disk, START);
    wal.append(START, &wanted[..(at - START) as usize]).unwrap();
    wal.sync().unwrap();
    wal.switch_timeline(2, at).unwrap();
    wal
}

fn file_of_2(number: u64) -> PathBuf {
    dir().join(format!("0000000200000000{number:08X}"))
}

fn file_content(disk: &SimulatedDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, Access::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_timeline_that_begins_inside_a_segment_begins_with_a_copy_of_it() {
    let disk = SimulatedDisk::new();
    let wanted = bytes(7, 2 * SIZE as usize);
    let at = START + 1_500_000;
    let wal = switched(&disk, &wanted, at);
    // Nothing is made before there is something to write.
    assert!(!disk.exists(&file_of_2(4)).unwrap());
    wal.append(at, &wanted[1_500_000..]).unwrap();
    assert!(content(&wal) == wanted);
    assert!(file_content(&disk, &file_of_2(4)) == wanted[SIZE as usize..]);
    assert_eq!(len(&disk, 4), 1_500_000 - u64::from(SIZE));
    let names: Vec<String> = wal.segments().into_iter().map(|s| s.name).collect();
    assert_eq!(
        names,
        [
            "000000010000000000000003",
            "000000010000000000000004",
            "000000020000000000000004"
        ]
    );
    wal.sync().unwrap();
    let history = history(&[(1, START), (2, at)]);
    let again = WalStore::open(Arc::new(disk.crash(1)), dir(), SIZE, &history, START).unwrap();
    assert!(content(&again) == wanted);
    assert_eq!((again.timeline(), again.floor()), (2, at));
    // Back to the switch point: the copy stays.
    again.rewind(at).unwrap();
    assert_eq!(again.end(), at);
    assert!(matches!(
        again.rewind(Lsn::new(at.get() - 1)),
        Err(WalStoreError::CutOutside { floor, .. }) if floor == at
    ));
}

#[test]
fn a_timeline_that_begins_a_segment_copies_nothing() {
    let disk = SimulatedDisk::new();
    let wanted = bytes(8, SIZE as usize + 10);
    let at = START + u64::from(SIZE);
    let wal = switched(&disk, &wanted, at);
    wal.append(at, &wanted[SIZE as usize..]).unwrap();
    assert!(content(&wal) == wanted);
    assert!(file_content(&disk, &file_of_2(4)) == wanted[SIZE as usize..]);
    wal.rewind(at).unwrap();
    assert!(!disk.exists(&file_of_2(4)).unwrap());
}

#[test]
fn a_timeline_begins_only_where_the_wal_ends_durably() {
    let wal = open(&SimulatedDisk::new(), START);
    wal.append(START, &[1; 10]).unwrap();
    for at in [START + 9, START + 10, START + 11] {
        assert!(matches!(
            wal.switch_timeline(2, at),
            Err(WalStoreError::SwitchElsewhere { .. })
        ));
    }
    wal.sync().unwrap();
    wal.switch_timeline(2, START + 10).unwrap();
}

#[test]
fn wal_of_a_timeline_behind_its_end_is_out_of_reach() {
    let disk = SimulatedDisk::new();
    let at = START + 100;
    let wal = switched(&disk, &[1; 100], at);
    wal.append(at, &[2; 50]).unwrap();
    disk.create(&file(4)).unwrap();
    let history = history(&[(1, START), (2, at)]);
    let wal = WalStore::open(Arc::new(disk.clone()), dir(), SIZE, &history, START).unwrap();
    assert_eq!(wal.end(), at + 50);
    wal.append(at + 50, &[3; 10]).unwrap();
    assert!(!disk.exists(&file(4)).unwrap());
    assert_eq!(content(&wal)[95..105], [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
}

/// One thread appends and now and then rewinds, one syncs, two read.
fn work_concurrently(storage: &(impl Storage + Clone + 'static), rounds: u64) {
    let wal = open(storage, START);
    let done = AtomicBool::new(false);
    // Each byte is a function of its position, so that readers need no model.
    let byte = |lsn: Lsn| (lsn.get() ^ (lsn.get() >> 8)) as u8;
    let fill = |lsn: Lsn, length: u64| (0..length).map(|i| byte(lsn + i)).collect::<Vec<u8>>();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = Rng::new(1);
            for _ in 0..rounds {
                let lsn = wal.end();
                let piece = fill(lsn, rng.between(1, 60_000));
                wal.append(lsn, &piece).unwrap();
                if rng.one_in(40) {
                    let back = rng.between(0, (wal.end() - START).min(500_000));
                    wal.rewind(Lsn::new(wal.end().get() - back)).unwrap();
                }
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let synced = wal.sync().unwrap();
                assert!(synced >= START);
            }
        });
        for seed in 0..2 {
            let (wal, done, fill) = (&wal, &done, &fill);
            scope.spawn(move || {
                let mut rng = Rng::new(seed);
                let mut buf = vec![0; 70_000];
                while !done.load(Ordering::Acquire) {
                    let lsn = START + rng.between(0, wal.end() - START);
                    let read = wal.read_at(lsn, &mut buf).unwrap();
                    assert!(buf[..read] == fill(lsn, read as u64), "at {lsn}");
                }
            });
        }
    });
    let end = wal.sync().unwrap();
    assert_eq!(end, wal.end());
    assert!(content(&wal) == fill(START, end - START));
}

#[test]
fn appends_syncs_reads_and_rewinds_go_on_at_once() {
    work_concurrently(&SimulatedDisk::new(), 300);
}

#[test]
fn works_on_real_files() {
    let root = tempfile::tempdir().unwrap();
    let storage = LocalStorage::new(root.path().join("a/b")).unwrap();
    work_concurrently(&storage, 100);
    let wal = open(&storage, START);
    let end = wal.end();
    assert!(end > START);
    wal.rewind(end).unwrap();
    assert_eq!(wal.synced(), end);
    wal.append(end, b"more").unwrap();
    assert_eq!(wal.sync().unwrap(), end + 4);
}
