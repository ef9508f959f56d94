//! The two ends of a layer file: a short header, for whoever looks at the file, and the footer,
//! from which a reader finds everything else.

use walrecord::{Lsn, Reader};

use super::block::FRAME_HEADER;
use super::format::{MAGIC, VERSION};
use super::{Damage, LayerKind, LayerSummary};
use crate::key::{KEY_SIZE, Key};

/// Bytes before the first block.
pub(super) const HEADER_SIZE: usize = 16;

/// Bytes of the footer, the last of the file.
pub(super) const FOOTER_SIZE: usize = 124;

/// Where the magic stands in the footer. Version before it and checksum behind it keep their
/// distance from the end of the file in every version of the format.
const MAGIC_AT: usize = FOOTER_SIZE - 12;
const CHECKSUM_AT: usize = FOOTER_SIZE - 4;

/// What the footer says, apart from what follows from the length of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Footer {
    /// Where data blocks end and index blocks start.
    pub(super) index_offset: u64,
    /// Where index blocks end and the top index starts.
    pub(super) top_offset: u64,
    /// Bytes of the top index's block.
    pub(super) top_len: u32,
    /// Bytes of the filter's block, which follows; zero if there is none.
    pub(super) filter_len: u32,
    pub(super) entries: u64,
    pub(super) keys: u64,
    pub(super) data_blocks: u64,
    pub(super) min_lsn: Lsn,
    pub(super) max_lsn: Lsn,
    pub(super) first_key: Key,
    pub(super) last_key: Key,
    /// The block size that was asked for.
    pub(super) block_size: u32,
    /// CRC-32C of everything before the footer.
    pub(super) body_checksum: u32,
    pub(super) kind: LayerKind,
    pub(super) version: u16,
}

/// The bytes of the header.
pub(super) fn encode_header(kind: LayerKind, version: u16) -> [u8; HEADER_SIZE] {
    let mut bytes = [0; HEADER_SIZE];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&version.to_le_bytes());
    bytes[10] = kind as u8;
    let checksum = crc32c::crc32c(&bytes[..12]);
    bytes[12..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Checks a header against the footer of its file.
pub(super) fn check_header(bytes: &[u8; HEADER_SIZE], footer: &Footer) -> Result<(), Damage> {
    let mut r = Reader::new(bytes);
    check_magic(r.array("magic")?)?;
    let version = r.u16("format version")?;
    Damage::unless_equal("format version", footer.version.into(), version.into())?;
    let found_kind = r.u8("layer kind")?;
    Damage::unless_equal("layer kind", footer.kind as u64, found_kind.into())?;
    Damage::unless_equal("header padding", 0, r.u8("header padding")?.into())?;
    check_checksum(r.u32("header checksum")?, &bytes[..12])
}

impl Footer {
    /// The bytes of the footer.
    pub(super) fn encode(&self) -> [u8; FOOTER_SIZE] {
        let mut bytes = Vec::with_capacity(FOOTER_SIZE);
        bytes.extend_from_slice(&self.index_offset.to_le_bytes());
        bytes.extend_from_slice(&self.top_offset.to_le_bytes());
        bytes.extend_from_slice(&self.top_len.to_le_bytes());
        bytes.extend_from_slice(&self.filter_len.to_le_bytes());
        bytes.extend_from_slice(&self.entries.to_le_bytes());
        bytes.extend_from_slice(&self.keys.to_le_bytes());
        bytes.extend_from_slice(&self.data_blocks.to_le_bytes());
        bytes.extend_from_slice(&self.min_lsn.get().to_le_bytes());
        bytes.extend_from_slice(&self.max_lsn.get().to_le_bytes());
        bytes.extend_from_slice(&self.first_key.to_bytes());
        bytes.extend_from_slice(&self.last_key.to_bytes());
        bytes.extend_from_slice(&self.block_size.to_le_bytes());
        bytes.extend_from_slice(&self.body_checksum.to_le_bytes());
        bytes.push(self.kind as u8);
        bytes.push(0);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&MAGIC);
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.try_into().expect("the fields fill the footer")
    }

    /// Reads a footer, and checks it against the length of its file.
    pub(super) fn decode(bytes: &[u8; FOOTER_SIZE], file_size: u64) -> Result<Footer, Damage> {
        let mut tail = Reader::new(&bytes[MAGIC_AT - 2..]);
        let version = tail.u16("format version")?;
        check_magic(tail.array("magic")?)?;
        check_version(version)?;
        check_checksum(tail.u32("footer checksum")?, &bytes[..CHECKSUM_AT])?;
        let mut r = Reader::new(bytes);
        let footer = Footer {
            index_offset: r.u64("end of the data")?,
            top_offset: r.u64("end of the index")?,
            top_len: r.u32("length of the top index")?,
            filter_len: r.u32("length of the filter")?,
            entries: r.u64("entries")?,
            keys: r.u64("keys")?,
            data_blocks: r.u64("data blocks")?,
            min_lsn: r.lsn("smallest LSN")?,
            max_lsn: r.lsn("largest LSN")?,
            first_key: Key::from_bytes(&r.array::<KEY_SIZE>("first key")?)?,
            last_key: Key::from_bytes(&r.array::<KEY_SIZE>("last key")?)?,
            block_size: r.u32("block size")?,
            body_checksum: r.u32("body checksum")?,
            kind: decode_kind(r.u8("layer kind")?)?,
            version,
        };
        Damage::unless_equal("footer padding", 0, r.u8("footer padding")?.into())?;
        footer.check(file_size)?;
        Ok(footer)
    }

    fn check(&self, file_size: u64) -> Result<(), Damage> {
        let least = FRAME_HEADER as u64;
        let end = file_size - FOOTER_SIZE as u64;
        let data = HEADER_SIZE as u64 + least..=end;
        Damage::unless_within("end of the data", data, self.index_offset)?;
        let index = self.index_offset + least..=end;
        Damage::unless_within("end of the index", index, self.top_offset)?;
        let left = end - self.top_offset;
        Damage::unless_within("length of the top index", least..=left, self.top_len.into())?;
        let left = left - u64::from(self.top_len);
        Damage::unless_equal("length of the filter", left, self.filter_len.into())?;
        if self.filter_len > 0 {
            Damage::unless_within("length of the filter", least..=left, self.filter_len.into())?;
        }
        Damage::unless_within("keys", 1..=self.entries, self.keys)?;
        Damage::unless_within("data blocks", 1..=self.entries, self.data_blocks)?;
        Damage::unless_within("smallest LSN", 0..=self.max_lsn.get(), self.min_lsn.get())?;
        if self.first_key > self.last_key {
            return Err(Damage::Order {
                what: "first and last key",
                key: self.last_key,
                lsn: self.max_lsn,
            });
        }
        Ok(())
    }

    /// What a manifest needs to know of the file. `bytes` are the footer's own.
    pub(super) fn summary(&self, bytes: &[u8; FOOTER_SIZE], file_size: u64) -> LayerSummary {
        LayerSummary {
            kind: self.kind,
            first_key: self.first_key,
            last_key: self.last_key,
            min_lsn: self.min_lsn,
            max_lsn: self.max_lsn,
            entries: self.entries,
            keys: self.keys,
            file_size,
            checksum: crc32c::crc32c_append(self.body_checksum, bytes),
        }
    }
}

fn decode_kind(value: u8) -> Result<LayerKind, Damage> {
    LayerKind::from_u8(value).ok_or(Damage::Bounds {
        field: "layer kind",
        min: LayerKind::Delta as u64,
        max: LayerKind::Image as u64,
        found: value.into(),
    })
}

fn check_magic(found: [u8; 8]) -> Result<(), Damage> {
    let number = u64::from_be_bytes;
    Damage::unless_equal("magic", number(MAGIC), number(found))
}

fn check_version(found: u16) -> Result<(), Damage> {
    let supported = VERSION;
    if (1..=supported).contains(&found) {
        Ok(())
    } else {
        Err(Damage::Version { found, supported })
    }
}

fn check_checksum(expected: u32, bytes: &[u8]) -> Result<(), Damage> {
    let found = crc32c::crc32c(bytes);
    if found == expected {
        Ok(())
    } else {
        Err(Damage::Checksum { expected, found })
    }
}
