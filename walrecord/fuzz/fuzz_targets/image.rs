//! A page image of any bytes, by every way of compression (pglz is this crate's own).
#![no_main]

use libfuzzer_sys::fuzz_target;
use walrecord::{BlockImage, ImageCompression, PAGE_SIZE};

fuzz_target!(|input: (u8, u16, u16, Vec<u8>)| {
    let (method, hole_offset, hole_length, bytes) = input;
    let image = BlockImage {
        bytes: &bytes,
        hole_offset,
        hole_length,
        compression: match method % 4 {
            0 => ImageCompression::None,
            1 => ImageCompression::Lz4,
            2 => ImageCompression::Zstd,
            _ => ImageCompression::Pglz,
        },
        apply: true,
    };
    let _ = image.restore(&mut [0; PAGE_SIZE]);
});
