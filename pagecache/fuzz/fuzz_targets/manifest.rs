//! Any bytes are a manifest or an error; what was read is written and read again unchanged.
//!
//! The input is tried as a file, and as the payload of a file whose header is right: the checksums
//! would keep the fuzzer out otherwise.

#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use pagecache::{Manifest, ManifestFile, TenantManifest};

fuzz_target!(|input: &[u8]| {
    check::<Manifest>(input);
    check::<TenantManifest>(input);
});

fn check<M: ManifestFile + PartialEq + Debug>(input: &[u8]) {
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
