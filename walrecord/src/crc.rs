//! CRC-32C, as `COMP_CRC32C` (port/pg_crc32c.h) computes it. Serves the framing of records, which are
//! mostly so short that a call and a choice of implementation cost as much as the sum itself.

use crate::record::RECORD_HEADER_SIZE;

/// Where the CRC stands in a record's header; it covers what is before.
const CRC_OFFSET: usize = 20;

/// The sum that a record's header should say: over the body, then over the header up to the sum itself.
///
/// # Panics
/// If the record is shorter than its header.
#[inline]
pub(crate) fn of_record(record: &[u8]) -> u32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse4.2"))]
    {
        instruction::of_record(record)
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse4.2")))]
    {
        let body = crc32c::crc32c(&record[RECORD_HEADER_SIZE..]);
        crc32c::crc32c_append(body, &record[..CRC_OFFSET])
    }
}

/// With the processor's instruction for it, inline.
#[cfg(all(target_arch = "x86_64", target_feature = "sse4.2"))]
mod instruction {
    use safe_arch::{crc32_u32, crc32_u64};

    use super::{CRC_OFFSET, RECORD_HEADER_SIZE};

    /// From this length on three sums that are computed side by side and then combined are faster.
    const LONG: usize = 768;

    const _: () = assert!(CRC_OFFSET == 2 * size_of::<u64>() + size_of::<u32>());

    #[inline]
    pub(super) fn of_record(record: &[u8]) -> u32 {
        let (header, body) = record.split_at(RECORD_HEADER_SIZE);
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let two = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let sum = match body.len() < LONG {
            true => short(record, body),
            false => long(body),
        };
        let sum = crc32_u64(crc32_u64(u64::from(sum), two(0)), two(8));
        !crc32_u32(sum as u32, word(16))
    }

    /// The sum, not yet inverted, of a long body. Apart, so that short ones do not save registers for it.
    #[inline(never)]
    fn long(body: &[u8]) -> u32 {
        !crc32c::crc32c(body)
    }

    /// The sum, not yet inverted, of the body of a record: eight bytes after the other.
    #[inline]
    fn short(record: &[u8], body: &[u8]) -> u32 {
        let (words, rest) = body.as_chunks::<8>();
        let mut sum = u64::from(u32::MAX);
        for word in words {
            sum = crc32_u64(sum, u64::from_le_bytes(*word));
        }
        // The last up to seven bytes in one step and without a branch, which would be one that the
        // processor cannot foresee: they stand at the upper end of the record's last eight bytes.
        // Bytes of zero before them change nothing in a sum that starts with zero, so that their own
        // sum is that of eight bytes; the sum until here goes in with as many of its bytes as there
        // are, and the others follow unchanged.
        let last = record
            .last_chunk::<8>()
            .map_or(0, |last| u64::from_le_bytes(*last));
        let bits = 8 * rest.len() as u32;
        let rest = last & !(u64::MAX >> bits);
        // In two steps: by all 64 bits if there is no rest.
        let first = sum << (56 - bits) << 8;
        ((sum >> bits) ^ crc32_u64(0, rest ^ first)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_records_of_any_length_are_those_of_the_definition() {
        let bytes: Vec<u8> = (0..20_000u32).map(|i| ((i * i) >> 3) as u8).collect();
        let lengths = (0..300).chain([767, 768, 769, 2900, 8191, 8300, 19_000]);
        for length in lengths {
            for start in 0..9 {
                let record = &bytes[start..start + RECORD_HEADER_SIZE + length];
                let body = by_bits(0, &record[RECORD_HEADER_SIZE..]);
                let expected = by_bits(body, &record[..CRC_OFFSET]);
                assert_eq!(of_record(record), expected, "{length} from {start}");
            }
        }
        assert_eq!(by_bits(0, b"123456789"), 0xE306_9283);
    }

    /// The definition: reflected polynomial 0x1EDC6F41, a bit at a time.
    fn by_bits(crc: u32, bytes: &[u8]) -> u32 {
        let step = |sum: u32, _| sum >> 1 ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 };
        !bytes
            .iter()
            .fold(!crc, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
    }
}
