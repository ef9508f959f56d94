//! The bodies of the fuzz targets: each takes any bytes, and panics if a decoder breaks a promise. Serves
//! `fuzz/fuzz_targets` and, on the committed corpora, the tests below; not part of the crate otherwise.

mod layer;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use walrecord::{Lsn, WAL_PAGE_SIZE};

use crate::manifest::HistoryEntry;
use crate::meta::{
    CommitTimes, CommitTimesWriter, ControlState, DirectoryState, FileValue, ForkState, Tombstoned,
    TransactionEnd,
};
use crate::storage::{SimulatedDisk, Storage, create_dirs_durably};
use crate::{KEY_SIZE, Key, Manifest, ManifestFile, TenantManifest, WalStore};

/// A fuzz target: its name, which is that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this crate.
pub const TARGETS: &[Target] = &[
    ("commit_times", commit_times),
    ("key", key),
    ("layer", layer),
    ("manifest", manifest),
    ("meta", meta),
    ("wal", wal),
];

/// A layer file, every checksum made right: it is read, or refused.
pub fn layer(input: &[u8]) {
    let mut bytes = input.to_vec();
    layer::set_checksums(&mut bytes);
    // What is wrong with the file is of no interest here.
    let _ = layer::read_all(bytes);
}

/// A manifest, or the payload of one whose header is right: what is read is written and read again
/// unchanged.
pub fn manifest(input: &[u8]) {
    check_manifest::<Manifest>(input);
    check_manifest::<TenantManifest>(input);
}

fn check_manifest<M: ManifestFile + PartialEq + Debug>(input: &[u8]) {
    let _ = M::decode(input);
    let Ok(length) = u32::try_from(input.len()) else {
        return;
    };
    let mut file = M::FORMAT.magic.to_vec();
    file.extend_from_slice(&M::FORMAT.version.to_le_bytes());
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(&crc32c::crc32c(input).to_le_bytes());
    file.extend_from_slice(&crc32c::crc32c(&file).to_le_bytes());
    file.extend_from_slice(input);
    if let Ok(manifest) = M::decode(&file) {
        let bytes = manifest.encode().expect("what was read can be written");
        assert_eq!(M::decode(&bytes).expect("and read"), manifest);
    }
}

/// A key: one that is accepted names something, and is written as it was read.
pub fn key(input: &[u8]) {
    let Some(bytes) = input.first_chunk::<KEY_SIZE>() else {
        return;
    };
    if let Ok(key) = Key::from_bytes(bytes) {
        assert_eq!(key.to_bytes(), *bytes);
        let _ = (key.decode(), key.as_page(), format!("{key:?}"));
    }
}

/// A run of commits and aborts: what is read is written and read again unchanged.
pub fn commit_times(input: &[u8]) {
    let Ok(times) = CommitTimes::decode(input) else {
        return;
    };
    let read = |times: &CommitTimes<'_>| -> Vec<TransactionEnd> {
        times.entries().map_while(Result::ok).collect()
    };
    let ends = read(&times);
    let Some((first, others)) = ends.split_first() else {
        return;
    };
    let mut writer = CommitTimesWriter::new(times.before, *first);
    others.iter().for_each(|end| writer.push(*end));
    let again = CommitTimes::decode(writer.bytes()).expect("what was written");
    assert_eq!(again.before, times.before);
    assert_eq!(read(&again), ends);
}

/// A metadata value of every kind: what is read is written and read again unchanged.
pub fn meta(input: &[u8]) {
    let mut out = Vec::new();
    if let Ok(value) = ControlState::decode(input) {
        value.encode(&mut out);
        assert_eq!(ControlState::decode(&out), Ok(value));
    }
    if let Ok(value) = DirectoryState::decode(input) {
        value.encode(&mut out);
        assert_eq!(DirectoryState::decode(&out), Ok(value));
    }
    if let Ok(value) = ForkState::decode(input) {
        let _ = value.floor(u32::MAX);
        value.encode(&mut out);
        assert_eq!(ForkState::decode(&out), Ok(value));
    }
    if let Ok(value) = Tombstoned::decode(input) {
        value.encode(&mut out);
        assert_eq!(Tombstoned::decode(&out), Ok(value));
    }
    if let Ok(value) = FileValue::decode(input) {
        value.encode(&mut out);
        assert_eq!(out, input);
    }
}

/// A directory of segment files: where the store starts (2 bytes), then for each file the number in its
/// name, its timeline and its length (1 byte each). The store opens with what hangs together, reads all of
/// that, and takes more behind it; or it names the file that does not belong.
pub fn wal(input: &[u8]) {
    const SEGMENT: u32 = 1 << 20;
    /// More files show nothing new.
    const MAX_FILES: usize = 12;
    let [s0, s1, files @ ..] = input else {
        return;
    };
    let start = u64::from(u16::from_le_bytes([*s0, *s1]));
    let start = Lsn::new(3 * u64::from(SEGMENT) + start * WAL_PAGE_SIZE as u64);
    let dir = Path::new("wal");
    let disk = SimulatedDisk::new();
    create_dirs_durably(&disk, dir).expect("the disk works");
    for file in files.chunks_exact(3).take(MAX_FILES) {
        let timeline = if file[1] == 0xFF { 2 } else { 1 };
        let name = match file[1] {
            0xFE => format!("{timeline:08X}.history"),
            _ => format!("{timeline:08X}00000000{:08X}", file[0] % 16),
        };
        // Up to a little more than a segment.
        let length = u64::from(file[2]) * u64::from(SEGMENT) / 252;
        // A name may come twice.
        if let Ok(file) = disk.create(&dir.join(name)) {
            file.set_len(length).expect("the disk works");
        }
    }
    let storage = Arc::new(disk);
    let history = [HistoryEntry { timeline: 1, start }];
    let Ok(store) = WalStore::open(storage, dir, SEGMENT, &history, start) else {
        return;
    };
    let end = store.end();
    assert!(end >= start && store.synced() == start);
    let mut content = vec![0; (end - start) as usize];
    let read = store.read_at(start, &mut content).expect("the disk works");
    assert_eq!(read, content.len());
    store.append(end, &[1; 100]).expect("at the end");
    assert_eq!(store.sync().expect("the disk works"), end + 100);
}

#[cfg(test)]
#[path = "../../walrecord/fuzz/replay.rs"]
mod replay;
