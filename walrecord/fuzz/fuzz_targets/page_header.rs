//! A page header of any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use walrecord::PageHeader;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = PageHeader::parse(bytes) {
        let _ = header.first_record();
        assert!(header.size() <= bytes.len());
    }
});
