//! The disk loses what it may lose, keeps what it must keep, and fails when it is told to.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::*;

const SEEDS: u64 = 300;

fn write(disk: &SimulatedDisk, name: &str, bytes: &[u8]) -> Arc<dyn StorageFile> {
    let file = disk.create(Path::new(name)).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

fn read(disk: &SimulatedDisk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(Path::new(name), Access::Read).ok()?;
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

/// What a file may hold after a crash.
fn outcomes(disk: &SimulatedDisk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    (0..SEEDS)
        .map(|seed| read(&disk.crash(seed), name))
        .collect()
}

fn some(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(bytes.to_vec())
}

#[test]
fn what_was_synced_survives_and_a_seed_always_gives_the_same() {
    let disk = SimulatedDisk::new();
    write(&disk, "a", b"synced").sync().unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([some(b"synced")]));
    write(&disk, "b", &[7; 5000]);
    for seed in 0..SEEDS {
        assert_eq!(
            read(&disk.crash(seed), "b"),
            read(&disk.crash(seed), "b"),
            "{seed}"
        );
    }
}

#[test]
fn a_name_is_lost_or_kept_until_its_directory_is_synced_whatever_the_file_did() {
    let disk = SimulatedDisk::new();
    write(&disk, "a", b"synced").sync().unwrap();
    assert_eq!(
        outcomes(&disk, "a"),
        BTreeSet::from([None, some(b"synced")])
    );
}

#[test]
fn content_is_lost_kept_or_zero_until_its_file_is_synced_whatever_the_directory_did() {
    let disk = SimulatedDisk::new();
    write(&disk, "a", b"ab");
    disk.sync_dir(Path::new("")).unwrap();
    let found = outcomes(&disk, "a");
    for expected in [&b""[..], b"a", b"ab", b"\0", b"\0\0", b"a\0"] {
        assert!(found.contains(&some(expected)), "{expected:?} in {found:?}");
    }
    assert_eq!(found.len(), 6);
}

#[test]
fn a_write_is_torn_at_sectors_too() {
    let disk = SimulatedDisk::new();
    let file = write(&disk, "a", &[1; 1024]);
    file.sync().unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    file.write_all_at(&[2; 1024], 0).unwrap();
    let mut second_sector_only = vec![1; 512];
    second_sector_only.resize(1024, 2);
    assert!(outcomes(&disk, "a").contains(&Some(second_sector_only)));
}

#[test]
fn later_writes_may_survive_earlier_ones() {
    let disk = SimulatedDisk::new();
    let file = write(&disk, "a", b"..");
    file.sync().unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    file.write_all_at(b"x", 0).unwrap();
    file.write_all_at(b"y", 1).unwrap();
    assert!(outcomes(&disk, "a").contains(&some(b".y")));
}

#[test]
fn a_rename_is_old_or_new_and_durable_after_a_directory_sync() {
    let disk = SimulatedDisk::new();
    write(&disk, "a", b"old").sync().unwrap();
    write(&disk, "b", b"new").sync().unwrap();
    let root = Path::new("");
    disk.sync_dir(root).unwrap();
    disk.rename(Path::new("b"), Path::new("a")).unwrap();
    assert_eq!(
        outcomes(&disk, "a"),
        BTreeSet::from([some(b"old"), some(b"new")])
    );
    assert_eq!(outcomes(&disk, "b"), BTreeSet::from([None, some(b"new")]));
    disk.sync_dir(root).unwrap();
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([some(b"new")]));
    disk.remove_file(Path::new("a")).unwrap();
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([None, some(b"new")]));
}

#[test]
fn a_new_directory_takes_its_content_with_it_when_it_is_lost() {
    let disk = SimulatedDisk::new();
    disk.create_dir_all(Path::new("d/e")).unwrap();
    write(&disk, "d/e/a", b"x").sync().unwrap();
    disk.sync_dir(Path::new("d/e")).unwrap();
    disk.sync_dir(Path::new("d")).unwrap();
    assert_eq!(outcomes(&disk, "d/e/a"), BTreeSet::from([None, some(b"x")]));
    disk.sync_dir(Path::new("")).unwrap();
    assert_eq!(outcomes(&disk, "d/e/a"), BTreeSet::from([some(b"x")]));
    disk.remove_dir_all(Path::new("d")).unwrap();
    assert!(!disk.exists(Path::new("d")).unwrap());
    assert_eq!(outcomes(&disk, "d/e/a"), BTreeSet::from([None, some(b"x")]));
}

#[test]
fn a_killed_process_leaves_what_it_wrote_still_unsynced() {
    let disk = SimulatedDisk::new();
    write(&disk, "a", b"x");
    let next = disk.kill();
    assert_eq!(read(&next, "a"), some(b"x"));
    assert!(outcomes(&next, "a").contains(&None));
}

#[test]
fn from_a_stop_on_nothing_works() {
    let disk = SimulatedDisk::new();
    let file = write(&disk, "a", b"x");
    disk.stop_at(disk.changes() + 1);
    assert!(file.write_all_at(&[1; 100], 1).is_err());
    assert!(file.sync().is_err() && file.len().is_err() && disk.exists(Path::new("a")).is_err());
    // A part of the write that the process died in may have happened.
    assert!(read(&disk.kill(), "a").unwrap().starts_with(b"x"));
}

#[test]
fn a_failed_sync_has_lost_its_writes_for_good_and_is_told_to_the_handler() {
    #[derive(Debug, Default)]
    struct Notes(Mutex<Vec<(PathBuf, Option<i32>)>>);
    impl FatalHandler for Notes {
        fn sync_failed(&self, path: &Path, error: &io::Error) {
            let note = (path.to_owned(), error.raw_os_error());
            self.0.lock().unwrap().push(note);
        }
    }
    let notes = Arc::new(Notes::default());
    let disk = SimulatedDisk::new().with_fatal_handler(Arc::<Notes>::clone(&notes));
    let file = write(&disk, "a", b"lost");
    disk.sync_dir(Path::new("")).unwrap();
    disk.fail_change(disk.changes() + 1, libc::EIO);
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(libc::EIO));
    file.sync().unwrap();
    assert_eq!(read(&disk, "a"), some(b"lost"));
    assert!(!outcomes(&disk, "a").contains(&some(b"lost")));
    assert_eq!(
        *notes.0.lock().unwrap(),
        [(PathBuf::from("a"), Some(libc::EIO))]
    );
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = SimulatedDisk::new();
    let file = write(&disk, "a", &[1; 10]);
    disk.set_capacity(Some(15));
    let error = file.write_all_at(&[2; 10], 8).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!((file.len().unwrap(), disk.used()), (15, 15));
    file.write_all_at(&[3; 15], 0).unwrap();
    assert!(file.set_len(16).is_err());
    disk.remove_file(Path::new("a")).unwrap();
    disk.create(Path::new("b")).unwrap();
}

#[test]
fn reads_fail_and_bits_flip_on_request() {
    let disk = SimulatedDisk::new();
    let file = write(&disk, "a", b"\0\0");
    disk.flip_bit(Path::new("a"), 1, 3).unwrap();
    assert_eq!(read(&disk, "a"), some(b"\0\x08"));
    disk.fail_read(disk.reads() + 1, libc::EIO);
    assert!(file.read_at(&mut [0], 0).is_err());
    assert!(file.read_at(&mut [0], 0).is_ok());
}
