//! Writes the inputs that the fuzzers' corpora were grown from: out of the fixtures, one record of each kind
//! and each version, and stretches of WAL. `docs/testing.md` says how to use it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use walrecord::{ImageCompression, LONG_PAGE_HEADER_SIZE, PgVersion, WAL_PAGE_SIZE};

use crate::common::{Fixture, Owned, SEGMENT};

/// Longer records teach a fuzzer nothing.
const MAX_RECORD: usize = 1500;

fn write(root: &Path, target: &str, name: &str, parts: &[&[u8]]) {
    let directory = root.join(target);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(name), parts.concat()).unwrap();
}

/// The shortest record of each kind.
fn shortest(records: &[Owned]) -> BTreeMap<(u8, u8), &Owned> {
    let mut shortest: BTreeMap<(u8, u8), &Owned> = BTreeMap::new();
    for owned in records {
        let kind = (owned.bytes[17], owned.bytes[16] & 0xF0);
        let known = shortest.entry(kind).or_insert(owned);
        if owned.bytes.len() < known.bytes.len() {
            *known = owned;
        }
    }
    shortest.retain(|_, owned| owned.bytes.len() <= MAX_RECORD);
    shortest
}

fn write_records(root: &Path, index: u8, version: PgVersion, records: &[Owned]) {
    for ((rmgr, info), owned) in shortest(records) {
        let name = format!("{version}-{rmgr}-{info:02x}");
        write(root, "body", &name, &[&[index, 99], &owned.bytes]);
        if rmgr % 4 == index % 4 {
            write(root, "record", &name, &[&[index], &owned.bytes]);
        }
    }
}

/// Images of each compression, and what they are compressed from.
fn write_images(root: &Path, version: PgVersion, records: &[Owned]) {
    let mut taken = [0; 4];
    for owned in records {
        let record = owned.raw().decode().unwrap();
        for image in record.blocks().iter().filter_map(|block| block.image) {
            let method: u8 = match image.compression {
                ImageCompression::None => 0,
                ImageCompression::Lz4 => 1,
                ImageCompression::Zstd => 2,
                ImageCompression::Pglz => 3,
            };
            let count = &mut taken[usize::from(method)];
            if *count == 4 || image.bytes.len() > MAX_RECORD {
                continue;
            }
            *count += 1;
            let name = format!("{version}-{method}-{count}");
            let hole = [
                image.hole_offset.to_le_bytes(),
                image.hole_length.to_le_bytes(),
            ]
            .concat();
            write(root, "image", &name, &[&[method], &hole, image.bytes]);
            if image.compression == ImageCompression::Pglz {
                let length = WAL_PAGE_SIZE as u16 - image.hole_length;
                write(root, "pglz", &name, &[&length.to_le_bytes(), image.bytes]);
            }
        }
    }
}

/// Stretches around the ends of pages and of the segment.
fn write_stretches(root: &Path, index: u8, fixture: &Fixture, records: &[Owned]) {
    let version = fixture.version;
    let write_stretch = |name: &str, first: &Owned, length: usize| {
        let bytes = fixture.from(first.start);
        let bytes = &bytes[..bytes.len().min(length)];
        let place = (first.start.get() << 2).to_le_bytes();
        let name = format!("{version}-{name}");
        write(
            root,
            "stream",
            &name,
            &[&place, &[7, 3 | index << 2], bytes],
        );
    };
    let crossing = |size: u64| {
        let ends_soon = move |owned: &&Owned| {
            let left = size - owned.start.get() % size;
            left < 200 && (owned.bytes.len() as u64) > left && owned.bytes.len() < 2 * MAX_RECORD
        };
        records.iter().filter(ends_soon)
    };
    for (number, owned) in crossing(WAL_PAGE_SIZE as u64).take(3).enumerate() {
        write_stretch(&format!("page-{number}"), owned, owned.bytes.len() + 400);
    }
    for owned in crossing(u64::from(SEGMENT)).take(1) {
        write_stretch("segment", owned, owned.bytes.len() + 400);
    }
    write_stretch("middle", &records[records.len() / 2], 600);
    write_stretch("last", &records[records.len() - 3], 600);
}

#[test]
#[ignore = "writes files: to the directory that ZENITH_SEEDS_DIR names"]
fn seeds_for_the_fuzzers() {
    let root: PathBuf = std::env::var_os("ZENITH_SEEDS_DIR")
        .expect("ZENITH_SEEDS_DIR")
        .into();
    for (index, fixture) in (0..).zip(Fixture::all()) {
        let records = fixture.records();
        write_records(&root, index, fixture.version, &records);
        write_images(&root, fixture.version, &records);
        write_stretches(&root, index, &fixture, &records);
        let header = &fixture.bytes[..LONG_PAGE_HEADER_SIZE];
        write(
            &root,
            "page_header",
            &fixture.version.to_string(),
            &[header],
        );
    }
    for (name, text) in [
        ("lsn", "0/16B3748"),
        ("fork", "vm"),
        ("relation", "1663/5/16384"),
        ("path", "base/5/16384"),
        ("tablespace", "pg_tblspc/16400/PG_15_202209061/5/16401"),
        ("tenant", "0123456789abcdef0123456789abcdef"),
        ("segment", "000000010000000000000003"),
    ] {
        write(&root, "text", name, &[text.as_bytes()]);
    }
}
