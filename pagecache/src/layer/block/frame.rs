//! The header before each block: type, compression, lengths and checksum.

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

/// The least that compression must save, as a fraction of the payload; otherwise decompressing at
/// every read costs more than it brings.
const LEAST_SAVING: usize = 16;

/// A byte of LZ4 gives at most 255 bytes, and the last five of a block stand for themselves.
const LZ4_MAX_RATIO: usize = 255;

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
        Compression::Lz4 if push_compressed(out, payload) => LZ4,
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
fn push_compressed(out: &mut Vec<u8>, payload: &[u8]) -> bool {
    let start = out.len();
    out.resize(
        start + lz4_flex::block::get_maximum_output_size(payload.len()),
        0,
    );
    let good = payload.len() - payload.len() / LEAST_SAVING;
    match lz4_flex::block::compress_into(payload, &mut out[start..]) {
        Ok(len) if len < good => {
            out.truncate(start + len);
            true
        }
        _ => {
            out.truncate(start);
            false
        }
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a payload is bounded")
}

/// Checks a block, whose bytes are exactly `frame`, and gives its payload.
pub(in crate::layer) fn open_frame(
    frame: &[u8],
    block_type: BlockType,
) -> Result<Arc<[u8]>, Damage> {
    let mut r = Reader::new(frame);
    let expected = r.u32("block checksum")?;
    let found = crc32c::crc32c(r.peek());
    if found != expected {
        return Err(Damage::Checksum { expected, found });
    }
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
        LZ4 => decompress(stored, len),
        other => Err(Damage::Bounds {
            field: "block compression",
            min: STORED.into(),
            max: LZ4.into(),
            found: other.into(),
        }),
    }
}

fn decompress(stored: &[u8], len: u32) -> Result<Arc<[u8]>, Damage> {
    // Never allocate what the compressed bytes cannot give.
    let most = MAX_PAYLOAD.min(stored.len().saturating_mul(LZ4_MAX_RATIO));
    Damage::unless_within("payload length", 0..=most as u64, len.into())?;
    let mut payload: Arc<[u8]> = std::iter::repeat_n(0, len as usize).collect();
    let target = Arc::get_mut(&mut payload).expect("made here, not shared yet");
    match lz4_flex::block::decompress_into(stored, target) {
        Ok(written) if written == len as usize => Ok(payload),
        _ => Err(Damage::Decompress { expected: len }),
    }
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
            for compression in [Compression::None, Compression::Lz4] {
                let frame = frame(compression, payload);
                assert!(frame.len() <= payload.len() + FRAME_HEADER);
                assert_eq!(&*open_frame(&frame, BlockType::Data).unwrap(), payload);
            }
        }
        assert!(frame(Compression::Lz4, &[7; 100_000]).len() < 1000);
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
