//! A record of any bytes: decoded, or a typed error; what is trimmed from it decodes again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walrecord::{Lsn, PAGE_SIZE, PgVersion, Record};

fuzz_target!(|input: (bool, Vec<u8>)| {
    let (old, mut bytes) = input;
    let version = if old { PgVersion::V14 } else { PgVersion::V15 };
    let length = (bytes.len() as u32).to_le_bytes();
    if let Some(field) = bytes.get_mut(..4) {
        field.copy_from_slice(&length);
    }
    let (start, end) = (Lsn::new(64), Lsn::new(128));
    let Ok(record) = Record::parse(version, start, end, &bytes) else {
        return;
    };
    for block in record.blocks() {
        if let Some(image) = &block.image {
            let _ = image.restore(&mut [0; PAGE_SIZE]);
        }
        let mut trimmed = Vec::new();
        record.encode_trimmed(Some(&block.tag), &mut trimmed);
        Record::parse(version, start, end, &trimmed).unwrap();
    }
});
