//! Full page images inside records (`XLogRecordBlockImageHeader`; restored by `RestoreBlockImage`
//! in access/transam/xlogreader.c).

use crate::reader::Reader;
use crate::record::RecordError;
use crate::types::{PAGE_SIZE, PgVersion};

/// How an image's bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageCompression {
    /// Not at all.
    None,
    /// Postgres's own LZ, raw stream.
    Pglz,
    /// The raw LZ4 block format (15 and newer).
    Lz4,
    /// One Zstandard frame (15 and newer).
    Zstd,
}

/// A full page image as a record carries it.
#[derive(Clone, Copy, Debug)]
pub struct BlockImage<'a> {
    /// The stored bytes, without the hole.
    pub bytes: &'a [u8],
    /// Where the hole starts in the page, bytes.
    pub hole_offset: u16,
    /// Bytes of the hole, which is restored as zeros; 0 if there is none.
    pub hole_length: u16,
    /// How `bytes` are compressed.
    pub compression: ImageCompression,
    /// Redo restores the image. Otherwise it is there for `wal_consistency_checking` only.
    pub apply: bool,
}

/// The header of an image, its bytes not located yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageHeader {
    pub(crate) length: u16,
    hole_offset: u16,
    hole_length: u16,
    compression: ImageCompression,
    apply: bool,
}

const HAS_HOLE: u8 = 0x01;

/// The bits of `bimg_info` for a version: apply, pglz, lz4, zstd. Zero: not in that version.
/// 15 swapped the meaning of the first two.
const fn bits(version: PgVersion) -> (u8, u8, u8, u8) {
    match version {
        PgVersion::V14 => (0x04, 0x02, 0, 0),
        _ => (0x02, 0x04, 0x08, 0x10),
    }
}

impl ImageHeader {
    pub(crate) fn parse(
        version: PgVersion,
        id: u8,
        r: &mut Reader<'_>,
    ) -> Result<ImageHeader, RecordError> {
        let length = r.u16("image length")?;
        let hole_offset = r.u16("image hole offset")?;
        let info = r.u8("image info")?;
        let (apply, pglz, lz4, zstd) = bits(version);
        let has_hole = info & HAS_HOLE != 0;
        let compression = match info & (pglz | lz4 | zstd) {
            0 => Some(ImageCompression::None),
            bit if bit == pglz => Some(ImageCompression::Pglz),
            bit if bit == lz4 => Some(ImageCompression::Lz4),
            bit if bit == zstd => Some(ImageCompression::Zstd),
            _ => None,
        };
        let compressed = compression != Some(ImageCompression::None);
        let page = PAGE_SIZE as u16;
        let hole_length = match (has_hole, compressed) {
            (true, true) => r.u16("image hole length")?,
            (true, false) => page.saturating_sub(length),
            (false, _) => 0,
        };
        let invalid = RecordError::Image {
            id,
            length,
            hole_offset,
            hole_length,
            info,
        };
        let compression = compression.ok_or(invalid)?;
        let hole_fits = u32::from(hole_offset) + u32::from(hole_length) <= u32::from(page);
        let sound = if has_hole {
            hole_offset > 0 && hole_length > 0 && length < page && hole_fits
        } else {
            hole_offset == 0
                && if compressed {
                    length < page
                } else {
                    length == page
                }
        };
        if !sound {
            return Err(invalid);
        }
        Ok(ImageHeader {
            length,
            hole_offset,
            hole_length,
            compression,
            apply: info & apply != 0,
        })
    }

    pub(crate) const fn with_bytes(self, bytes: &[u8]) -> BlockImage<'_> {
        BlockImage {
            bytes,
            hole_offset: self.hole_offset,
            hole_length: self.hole_length,
            compression: self.compression,
            apply: self.apply,
        }
    }
}

impl BlockImage<'_> {
    pub(crate) fn encode_header(&self, version: PgVersion, out: &mut Vec<u8>) {
        let (apply, pglz, lz4, zstd) = bits(version);
        let method = match self.compression {
            ImageCompression::None => 0,
            ImageCompression::Pglz => pglz,
            ImageCompression::Lz4 => lz4,
            ImageCompression::Zstd => zstd,
        };
        let has_hole = self.hole_length > 0;
        let mut info = method;
        info |= if has_hole { HAS_HOLE } else { 0 };
        info |= if self.apply { apply } else { 0 };
        out.extend_from_slice(&(self.bytes.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.hole_offset.to_le_bytes());
        out.push(info);
        if has_hole && method != 0 {
            out.extend_from_slice(&self.hole_length.to_le_bytes());
        }
    }
}
