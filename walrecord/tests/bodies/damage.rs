//! No body, however damaged, makes a decoder panic, run for long or allocate much.

use std::collections::HashMap;

use walrecord::describe::{Text, describe};
use walrecord::{EffectContext, PgVersion, RawRecord, Record, effects, rmgr};

use crate::build::context;
use crate::common::{Fixture, Owned, Random};
use crate::walk::walk;

/// Records of each kind that are damaged.
const SAMPLES: usize = 6;

/// Damaged copies of each.
const COPIES: usize = 60;

/// Decodes everything; both outcomes are fine.
fn decode_all(record: &Record<'_>, context: &EffectContext) {
    let _ = walk(record);
    let _ = effects(record, context, &mut |_| {});
    let _ = rmgr::record_name(record);
    let _ = describe(record, &mut Text::new());
}

/// A few records of each kind and block count.
fn samples(fixture: &Fixture) -> Vec<Owned> {
    let mut taken: HashMap<(u8, u8, usize), usize> = HashMap::new();
    let mut records = fixture.records();
    records.retain(|owned| {
        let record = owned.raw().decode().unwrap();
        let rmgr = record.header.rmgr.to_u8();
        let kind = (rmgr, record.info(), record.blocks().len());
        let count = taken.entry(kind).or_default();
        *count += 1;
        *count <= SAMPLES && owned.bytes.len() < 20_000
    });
    records
}

#[test]
fn truncated_main_data_never_panics() {
    for fixture in Fixture::all() {
        let context = context(fixture.version);
        for owned in samples(&fixture) {
            let record = owned.raw().decode().unwrap();
            for length in 0..record.main_data.len().min(400) {
                let mut cut = record.clone();
                cut.main_data = &record.main_data[..length];
                decode_all(&cut, &context);
            }
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let mut decoded = 0;
    for fixture in Fixture::all() {
        let context = context(fixture.version);
        for owned in samples(&fixture) {
            let seed = owned.start.get();
            let mut random = Random(seed);
            for _ in 0..COPIES {
                let mut bytes = owned.bytes.clone();
                for _ in 0..=random.below(4) {
                    // Often near the end, where main data is.
                    let back = match random.below(2) {
                        0 => bytes.len().min(64),
                        _ => bytes.len(),
                    };
                    let at = bytes.len() - 1 - random.below(back);
                    bytes[at] = match random.below(3) {
                        0 => 0xFF,
                        1 => bytes[at] ^ 1 << random.below(8),
                        _ => random.next() as u8,
                    };
                }
                let raw = RawRecord {
                    bytes: &bytes,
                    ..owned.raw()
                };
                if let Ok(record) = raw.decode() {
                    decode_all(&record, &context);
                    decoded += 1;
                }
            }
        }
    }
    // Else the damage went no deeper than the headers.
    assert!(decoded > 10_000, "{decoded}");
}

/// Main data of one kind read as that of another, and as another version's.
#[test]
fn bodies_under_a_wrong_name_never_panic() {
    for fixture in Fixture::all() {
        for owned in samples(&fixture) {
            for info in 0..16u8 {
                for version in PgVersion::ALL {
                    let mut record = owned.raw().decode().unwrap();
                    record.header.info = info << 4;
                    record.version = version;
                    decode_all(&record, &context(version));
                }
            }
        }
    }
}
