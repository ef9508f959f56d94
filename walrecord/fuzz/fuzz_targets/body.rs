//! A record of any bytes: its body, its blocks' data and its effects are told, or a typed error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walrecord::{EffectContext, Lsn, PgVersion, Record, RedoRules, effects, rmgr};

#[path = "../../tests/bodies/walk.rs"]
mod walk;

fuzz_target!(|input: (u8, bool, Vec<u8>)| {
    let (version, track_commit_timestamp, mut bytes) = input;
    let version = PgVersion::ALL[usize::from(version) % PgVersion::ALL.len()];
    let length = (bytes.len() as u32).to_le_bytes();
    if let Some(field) = bytes.get_mut(..4) {
        field.copy_from_slice(&length);
    }
    let Ok(record) = Record::parse(version, Lsn::new(64), Lsn::new(128), &bytes) else {
        return;
    };
    let context = EffectContext {
        rules: RedoRules {
            version,
            minor: 99,
            hint_bits_logged: true,
        },
        track_commit_timestamp,
    };
    let _ = rmgr::record_name(&record);
    let _ = walk::walk(&record);
    let _ = effects(&record, &context, &mut |_| {});
});
