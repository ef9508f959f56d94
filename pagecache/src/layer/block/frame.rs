//! The header before each block: type, compression, lengths and checksum.

use std::cell::RefCell;
use std::sync::Arc;

use walrecord::Reader;

use crate::layer::format::MAX_PAYLOAD;
use crate::layer::{Compression, Damage};

/// Bytes of a block's header.
pub(in crate::layer) const FRAME_HEADER: usize = 16;

/// What a block holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(in crate::layer) enum BlockType {
    /// Versions.
    Data = 1,
    /// Where data blocks are.
    Index = 2,
    /// Where index blocks are.
    TopIndex = 3,
    /// The key filter.
    Filter = 4,
}

const STORED: u8 = 0;
const LZ4: u8 = 1;
const ZSTD: u8 = 2;

/// Zstandard's level.
const LEVEL: i32 = 1;

/// The least that compression must save, as a fraction of the payload; otherwise decompressing at
/// every read costs more than it brings.
const LEAST_SAVING: usize = 16;

/// A byte of LZ4 gives at most 255 bytes, and the last five of a block stand for themselves.
const LZ4_MAX_RATIO: usize = 255;

/// A block of Zstandard's gives at most 128 KiB, and takes at least four bytes.
const ZSTD_MAX_RATIO: usize = 32 << 10;

thread_local! {
    /// What Zstandard needs to remember takes longer to make than a block to compress.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Appends a block with this payload to `out`.
pub(in crate::layer) fn write_frame(
    out: &mut Vec<u8>,
    block_type: BlockType,
    compression: Compression,
    payload: &[u8],
) {
    assert!(payload.len() <= MAX_PAYLOAD, "a payload is bounded");
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER]);
    let method = match compression {
        Compression::Lz4 if push_compressed(out, payload, lz4) => LZ4,
        Compression::Zstd if push_compressed(out, payload, zstd) => ZSTD,
        _ => {
            out.extend_from_slice(payload);
            STORED
        }
    };
    let stored = out.len() - start - FRAME_HEADER;
    let frame = &mut out[start..];
    frame[4] = block_type as u8;
    frame[5] = method;
    frame[8..12].copy_from_slice(&length(stored).to_le_bytes());
    frame[12..16].copy_from_slice(&length(payload.len()).to_le_bytes());
    let checksum = crc32c::crc32c(&frame[4..]);
    frame[..4].copy_from_slice(&checksum.to_le_bytes());
}

/// Appends the compressed payload, unless that saves too little.
fn push_compressed(
    out: &mut Vec<u8>,
    payload: &[u8],
    compress: fn(&[u8], &mut [u8]) -> Option<usize>,
) -> bool {
    let start = out.len();
    out.resize(
        start + lz4_flex::block::get_maximum_output_size(payload.len()),
        0,
    );
    let good = payload.len() - payload.len() / LEAST_SAVING;
    match compress(payload, &mut out[start..]) {
        Some(len) if len < good => {
            out.truncate(start + len);
            true
        }
        _ => {
            out.truncate(start);
            false
        }
    }
}

/// Compresses into `out`; gives the length, none if there is no room for it.
fn lz4(payload: &[u8], out: &mut [u8]) -> Option<usize> {
    lz4_flex::block::compress_into(payload, out).ok()
}

/// The same, by Zstandard.
fn zstd(payload: &[u8], out: &mut [u8]) -> Option<usize> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        if compressor.is_none() {
            *compressor = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        compressor.as_mut()?.compress_to_buffer(payload, out).ok()
    })
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a payload is bounded")
}

/// How a block, which [`check_frame`] found right, is compressed.
pub(in crate::layer) fn compression_of(frame: &[u8]) -> Compression {
    match frame[5] {
        LZ4 => Compression::Lz4,
        ZSTD => Compression::Zstd,
        _ => Compression::None,
    }
}

/// Checks the checksum of a block, whose bytes are exactly `frame`, and gives what is behind it.
pub(in crate::layer) fn check_frame(frame: &[u8]) -> Result<Reader<'_>, Damage> {
    let mut r = Reader::new(frame);
    let expected = r.u32("block checksum")?;
    let found = crc32c::crc32c(r.peek());
    if found != expected {
        return Err(Damage::Checksum { expected, found });
    }
    Ok(r)
}

/// Checks a block, whose bytes are exactly `frame`, and gives its payload.
pub(in crate::layer) fn open_frame(
    frame: &[u8],
    block_type: BlockType,
) -> Result<Arc<[u8]>, Damage> {
    let mut r = check_frame(frame)?;
    let found = r.u8("block type")?;
    Damage::unless_equal("block type", block_type as u64, found.into())?;
    let method = r.u8("block compression")?;
    Damage::unless_equal("block padding", 0, r.u16("block padding")?.into())?;
    let stored = r.u32("stored length")?;
    let len = r.u32("payload length")?;
    Damage::unless_equal("stored length", r.left() as u64, stored.into())?;
    let stored = r.take_rest();
    match method {
        STORED => {
            Damage::unless_equal("payload length", stored.len() as u64, len.into())?;
            Ok(Arc::from(stored))
        }
        LZ4 => decompress(stored, len, LZ4_MAX_RATIO, |stored, target| {
            lz4_flex::block::decompress_into(stored, target).ok()
        }),
        ZSTD => decompress(stored, len, ZSTD_MAX_RATIO, un_zstd),
        other => Err(Damage::Bounds {
            field: "block compression",
            min: STORED.into(),
            max: ZSTD.into(),
            found: other.into(),
        }),
    }
}

fn decompress(
    stored: &[u8],
    len: u32,
    max_ratio: usize,
    decompress_into: impl FnOnce(&[u8], &mut [u8]) -> Option<usize>,
) -> Result<Arc<[u8]>, Damage> {
    // Never allocate what the compressed bytes cannot give.
    let most = MAX_PAYLOAD.min(stored.len().saturating_mul(max_ratio));
    Damage::unless_within("payload length", 0..=most as u64, len.into())?;
    let mut payload: Arc<[u8]> = std::iter::repeat_n(0, len as usize).collect();
    let target = Arc::get_mut(&mut payload).expect("made here, not shared yet");
    match decompress_into(stored, target) {
        Some(written) if written == len as usize => Ok(payload),
        _ => Err(Damage::Decompress { expected: len }),
    }
}

/// Decompresses Zstandard's frame; gives the length, none if it is damaged.
fn un_zstd(stored: &[u8], target: &mut [u8]) -> Option<usize> {
    DECOMPRESSOR.with_borrow_mut(|decompressor| {
        if decompressor.is_none() {
            *decompressor = zstd::bulk::Decompressor::new().ok();
        }
        decompressor
            .as_mut()?
            .decompress_to_buffer(stored, target)
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(compression: Compression, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_frame(&mut out, BlockType::Data, compression, payload);
        out
    }

    #[test]
    fn payloads_come_back() {
        let noise: Vec<u8> = (0..5000_u32)
            .flat_map(|i| crc32c::crc32c(&i.to_le_bytes()).to_le_bytes())
            .collect();
        for payload in [&b""[..], b"short", &[7; 100_000], &noise] {
            for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
                let frame = frame(compression, payload);
                assert!(frame.len() <= payload.len() + FRAME_HEADER);
                assert_eq!(&*open_frame(&frame, BlockType::Data).unwrap(), payload);
            }
        }
        assert!(frame(Compression::Lz4, &[7; 100_000]).len() < 1000);
        assert!(frame(Compression::Zstd, &[7; 100_000]).len() < 100);
    }

    /// A data block of 20 equal bytes, compressed by hand. The encoder may change what it makes of a payload, but
    /// never what is read.
    fn must_give_20_sevens(method: u8, stored: &[u8; 10]) {
        let mut frame = vec![0, 0, 0, 0, 1, method, 0, 0, 10, 0, 0, 0, 20, 0, 0, 0];
        frame.extend_from_slice(stored);
        let checksum = crc32c::crc32c(&frame[4..]);
        frame[..4].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(*open_frame(&frame, BlockType::Data).unwrap(), [7; 20]);
    }

    /// One literal, a match of 14, five literals.
    #[test]
    fn compression_1_is_the_lz4_block_format() {
        must_give_20_sevens(1, &[0x1A, 7, 1, 0, 0x50, 7, 7, 7, 7, 7]);
    }

    /// Magic, a frame of one segment with its size in one byte, one last block of 20 equal bytes.
    #[test]
    fn compression_2_is_zstandards_frame() {
        must_give_20_sevens(2, &[0x28, 0xB5, 0x2F, 0xFD, 0x20, 20, 0xA3, 0, 0, 7]);
    }

    #[test]
    fn a_block_of_another_type_is_refused() {
        let error = open_frame(&frame(Compression::None, b"x"), BlockType::Index).unwrap_err();
        assert_eq!(error.to_string(), "block type is 0x1, expected 0x2");
    }

    #[test]
    fn a_payload_length_that_the_bytes_cannot_give_is_refused_before_allocating() {
        let mut frame = frame(Compression::Lz4, &[7; 1000]);
        frame[12..16].copy_from_slice(&(1_u32 << 30).to_le_bytes());
        let checksum = crc32c::crc32c(&frame[4..]);
        frame[..4].copy_from_slice(&checksum.to_le_bytes());
        assert!(matches!(
            open_frame(&frame, BlockType::Data),
            Err(Damage::Bounds {
                field: "payload length",
                ..
            })
        ));
    }
}
