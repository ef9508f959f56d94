//! The bytes around a manifest's payload: magic, version, length, checksums.

use super::error::ManifestDamage;

/// The most bytes that a payload may have. A layer takes about 300: this is enough for 200,000
/// layers, some 25 TB at their usual size.
pub(super) const PAYLOAD_LIMIT: u32 = 64 << 20;

const MAGIC_SIZE: usize = 8;
const VERSION_AT: usize = MAGIC_SIZE;
const LENGTH_AT: usize = VERSION_AT + 4;
const PAYLOAD_CRC_AT: usize = LENGTH_AT + 4;
const HEADER_CRC_AT: usize = PAYLOAD_CRC_AT + 4;

/// Bytes before the payload.
pub(super) const HEADER_SIZE: usize = HEADER_CRC_AT + 4;

/// The most bytes that a manifest may have.
pub(super) const FILE_LIMIT: u64 = HEADER_SIZE as u64 + PAYLOAD_LIMIT as u64;

/// What tells one kind of manifest from another.
#[derive(Clone, Copy, Debug)]
pub struct ManifestFormat {
    /// The first bytes of the file.
    pub magic: [u8; 8],
    /// The oldest version of the format that is read; what it lacks has a default.
    pub oldest: u32,
    /// The version that is written. A newer one is refused.
    pub version: u32,
}

impl ManifestFormat {
    /// Puts a header before a payload.
    pub(super) fn seal(&self, payload: &[u8]) -> Result<Vec<u8>, ManifestDamage> {
        let length = u32::try_from(payload.len())
            .ok()
            .filter(|length| *length <= PAYLOAD_LIMIT)
            .ok_or(ManifestDamage::TooLong {
                found: payload.len() as u64,
                limit: u64::from(PAYLOAD_LIMIT),
            })?;
        let mut bytes = Vec::with_capacity(HEADER_SIZE + payload.len());
        bytes.extend_from_slice(&self.magic);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
        let header_crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&header_crc.to_le_bytes());
        bytes.extend_from_slice(payload);
        Ok(bytes)
    }

    /// The payload, once everything around it has been checked.
    pub(super) fn unseal<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], ManifestDamage> {
        let Some((header, payload)) = bytes.split_first_chunk::<HEADER_SIZE>() else {
            return Err(ManifestDamage::TooShort { found: bytes.len() });
        };
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let mut magic = [0; MAGIC_SIZE];
        magic.copy_from_slice(&header[..MAGIC_SIZE]);
        if magic != self.magic {
            return Err(ManifestDamage::Magic {
                found: magic,
                expected: self.magic,
            });
        }
        let (expected, found) = (
            word(HEADER_CRC_AT),
            crc32c::crc32c(&header[..HEADER_CRC_AT]),
        );
        if expected != found {
            return Err(ManifestDamage::HeaderChecksum { expected, found });
        }
        let version = word(VERSION_AT);
        if !(self.oldest..=self.version).contains(&version) {
            return Err(ManifestDamage::Version {
                found: version,
                oldest: self.oldest,
                newest: self.version,
            });
        }
        let said = word(LENGTH_AT);
        if said > PAYLOAD_LIMIT || said as usize != payload.len() {
            return Err(ManifestDamage::Length {
                said,
                found: payload.len(),
            });
        }
        let (expected, found) = (word(PAYLOAD_CRC_AT), crc32c::crc32c(payload));
        if expected != found {
            return Err(ManifestDamage::PayloadChecksum { expected, found });
        }
        Ok(payload)
    }
}
