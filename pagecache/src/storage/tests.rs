//! What every storage does alike, and what the real one does besides.

use super::*;

const ROOT: &str = "";

fn path(name: &str) -> &Path {
    Path::new(name)
}

fn on_both(claim: impl Fn(&dyn Storage)) {
    claim(&SimulatedDisk::new());
    let root = tempfile::tempdir().unwrap();
    claim(&LocalStorage::new(root.path().join("new/store")).unwrap());
}

fn kind<T: fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn files_are_written_and_read_by_position() {
    on_both(|storage| {
        let file = storage.create(path("a")).unwrap();
        assert!(file.is_empty().unwrap());
        file.write_all_at(b"cd", 2).unwrap();
        file.write_all_at(b"ab", 0).unwrap();
        file.sync().unwrap();
        storage.sync_dir(path(ROOT)).unwrap();
        let other = storage.open(path("a"), Access::Read).unwrap();
        let mut buf = [0; 8];
        assert_eq!(other.read_at(&mut buf, 1).unwrap(), 3);
        assert_eq!(&buf[..3], b"bcd");
        assert_eq!(other.read_at(&mut buf, 100).unwrap(), 0);
        assert_eq!(
            kind(other.read_exact_at(&mut buf, 0)),
            io::ErrorKind::UnexpectedEof
        );
        assert!(other.write_all_at(b"x", 0).is_err());
        file.set_len(6).unwrap();
        other.read_exact_at(&mut buf[..6], 0).unwrap();
        assert_eq!(&buf[..6], b"abcd\0\0");
        file.set_len(1).unwrap();
        assert_eq!(other.len().unwrap(), 1);
    });
}

#[test]
fn names_are_made_moved_listed_and_removed() {
    on_both(|storage| {
        storage.create_dir_all(path("d/e")).unwrap();
        storage.create_dir_all(path("d/e")).unwrap();
        let file = storage.create(path("d/b")).unwrap();
        file.write_all_at(b"xyz", 0).unwrap();
        assert_eq!(
            kind(storage.create(path("d/b"))),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(kind(storage.create(path("x/b"))), io::ErrorKind::NotFound);
        assert_eq!(
            kind(storage.open(path("x"), Access::Read)),
            io::ErrorKind::NotFound
        );
        storage.create(path("d/a")).unwrap();
        storage.rename(path("d/b"), path("d/a")).unwrap();
        let entry = |name: &str, is_dir, len| Entry {
            name: name.into(),
            is_dir,
            len,
        };
        let entries = storage.list(path("d")).unwrap();
        assert_eq!(entries, [entry("a", false, 3), entry("e", true, 0)]);
        assert!(storage.exists(path("d/a")).unwrap() && !storage.exists(path("d/b")).unwrap());
        storage.remove_file(path("d/a")).unwrap();
        // An open handle outlives the name.
        assert_eq!(file.read_at(&mut [0; 3], 0).unwrap(), 3);
        assert_eq!(
            kind(storage.remove_file(path("d/a"))),
            io::ErrorKind::NotFound
        );
        storage.remove_dir_all(path("d")).unwrap();
        assert_eq!(kind(storage.list(path("d"))), io::ErrorKind::NotFound);
    });
}

#[test]
fn paths_that_leave_the_store_are_refused() {
    on_both(|storage| {
        for bad in ["../a", "/a", "a/../../b"] {
            assert_eq!(kind(storage.create(path(bad))), io::ErrorKind::InvalidInput);
            assert_eq!(
                kind(storage.rename(path("a"), path(bad))),
                io::ErrorKind::InvalidInput
            );
        }
    });
}

#[test]
fn one_holder_has_the_lock() {
    on_both(|storage| {
        let lock = storage.lock().unwrap();
        assert!(matches!(storage.lock(), Err(LockError::Held { .. })));
        drop(lock);
        storage.lock().unwrap();
    });
}

#[test]
fn a_held_lock_names_the_process() {
    let root = tempfile::tempdir().unwrap();
    let storage = LocalStorage::new(root.path()).unwrap();
    let _lock = storage.lock().unwrap();
    let error = storage.lock().unwrap_err().to_string();
    let holder = format!("is held by process {}", std::process::id());
    assert!(error.ends_with(&holder), "{error}");
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let fresh = || {
        let disk = SimulatedDisk::new();
        replace_file(&disk, path("a"), b"old content").unwrap();
        disk
    };
    let content = |disk: &SimulatedDisk| read_whole(disk, path("a"), 100).unwrap().unwrap();
    let disk = fresh();
    let before = disk.changes();
    replace_file(&disk, path("a"), b"new").unwrap();
    assert_eq!(content(&disk.crash(1)), b"new");
    for stop in before + 1..=disk.changes() {
        let disk = fresh();
        disk.stop_at(stop);
        assert!(replace_file(&disk, path("a"), b"new").is_err());
        for seed in 0..50 {
            let disk = disk.crash(seed);
            let found = content(&disk);
            assert!(found == b"old content" || found == b"new", "{found:?}");
            // Leftovers do not get in the way of the next attempt.
            replace_file(&disk, path("a"), b"next").unwrap();
            assert_eq!(content(&disk.crash(seed)), b"next");
        }
    }
}

#[test]
fn directories_made_durably_survive_even_if_a_killed_process_began_them() {
    let disk = SimulatedDisk::new();
    disk.create_dir_all(path("a/b")).unwrap();
    let disk = disk.kill();
    create_dirs_durably(&disk, path("a/b/c")).unwrap();
    for seed in 0..50 {
        assert!(disk.crash(seed).exists(path("a/b/c")).unwrap());
    }
}

#[test]
fn a_file_longer_than_the_limit_is_not_read() {
    let disk = SimulatedDisk::new();
    replace_file(&disk, path("a"), &[1; 11]).unwrap();
    assert_eq!(read_whole(&disk, path("a"), 10).unwrap(), Err(11));
    assert_eq!(read_whole(&disk, path("a"), 11).unwrap(), Ok(vec![1; 11]));
}
