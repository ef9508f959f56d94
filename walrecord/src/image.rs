//! Full page images inside records (`XLogRecordBlockImageHeader`; restored by `RestoreBlockImage`
//! in access/transam/xlogreader.c).

use std::cell::RefCell;

use crate::pglz;
use crate::reader::Reader;
use crate::record::RecordError;
use crate::types::{PAGE_SIZE, Page, PgVersion};

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

/// An image that gives no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The hole does not lie in the page.
    #[error("hole of {length} bytes at {offset} is not in the page")]
    Hole {
        /// Where it starts.
        offset: u16,
        /// Bytes of it.
        length: u16,
    },
    /// The image gives another number of bytes than the page has without its hole.
    #[error("image gives {found} bytes, the page without its hole has {expected}")]
    Length {
        /// Bytes that it gives.
        found: usize,
        /// Bytes of the page without its hole.
        expected: usize,
    },
    /// The compressed bytes are damaged, or give more than the page has without its hole.
    #[error("image of {length} bytes cannot be decompressed as {method:?}")]
    Compressed {
        /// How they are compressed.
        method: ImageCompression,
        /// How many they are.
        length: usize,
    },
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

thread_local! {
    /// Making a decompressor costs more than using it for one page. One that cannot be made (no
    /// memory) shows as an image that cannot be decompressed.
    static ZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
        RefCell::new(zstd::bulk::Decompressor::new().ok());
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
    /// Writes the page of the image to `page`, the hole as zeros. The page's `pd_lsn` is the one it
    /// had before the record, and its checksum is stale.
    ///
    /// # Errors
    /// If the image is damaged; what `page` holds is then undefined.
    pub fn restore(&self, page: &mut Page) -> Result<(), ImageError> {
        match self.compression {
            ImageCompression::None => self.place(self.bytes, page),
            _ => self.restore_compressed(page),
        }
    }

    /// Apart, so that images that are not compressed do not pay for the space.
    #[inline(never)]
    fn restore_compressed(&self, page: &mut Page) -> Result<(), ImageError> {
        let mut space = [0; PAGE_SIZE];
        let expected = PAGE_SIZE.saturating_sub(self.hole_length.into());
        let stored = self.decompress(&mut space[..expected])?;
        self.place(stored, page)
    }

    /// Writes what stands around the hole, and the hole.
    fn place(&self, stored: &[u8], page: &mut Page) -> Result<(), ImageError> {
        let hole = usize::from(self.hole_offset)
            ..usize::from(self.hole_offset) + usize::from(self.hole_length);
        if hole.end > PAGE_SIZE {
            return Err(ImageError::Hole {
                offset: self.hole_offset,
                length: self.hole_length,
            });
        }
        let expected = PAGE_SIZE - hole.len();
        if stored.len() != expected {
            return Err(ImageError::Length {
                found: stored.len(),
                expected,
            });
        }
        let (before, behind) = stored.split_at(hole.start);
        page[..hole.start].copy_from_slice(before);
        page[hole.start..hole.end].fill(0);
        page[hole.end..].copy_from_slice(behind);
        Ok(())
    }

    /// Decompresses into `out`; gives the part that was filled.
    fn decompress<'o>(&self, out: &'o mut [u8]) -> Result<&'o [u8], ImageError> {
        let filled = match self.compression {
            ImageCompression::None => None,
            ImageCompression::Pglz => pglz::decompress(self.bytes, out),
            ImageCompression::Lz4 => lz4_flex::block::decompress_into(self.bytes, out).ok(),
            ImageCompression::Zstd => ZSTD.with_borrow_mut(|zstd| {
                let zstd = zstd.as_mut()?;
                zstd.decompress_to_buffer(self.bytes, out).ok()
            }),
        };
        filled
            .and_then(|filled| out.get(..filled))
            .ok_or(ImageError::Compressed {
                method: self.compression,
                length: self.bytes.len(),
            })
    }

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
