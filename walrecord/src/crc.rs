//! CRC-32C, as `COMP_CRC32C` (port/pg_crc32c.h) computes it. Serves the framing of records, which are
//! mostly so short that a call and a choice of implementation cost as much as the sum itself.

/// Continues the sum `crc` over `bytes`; a sum starts with 0.
#[inline]
pub(crate) fn append(crc: u32, bytes: &[u8]) -> u32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse4.2"))]
    if bytes.len() < LONG {
        return short(crc, bytes);
    }
    crc32c::crc32c_append(crc, bytes)
}

/// From this length on three sums that are computed side by side and then combined are faster.
#[cfg(all(target_arch = "x86_64", target_feature = "sse4.2"))]
const LONG: usize = 768;

/// The instruction for it, inline: one after the other, eight bytes each.
#[cfg(all(target_arch = "x86_64", target_feature = "sse4.2"))]
#[inline]
fn short(crc: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut sum = u64::from(!crc);
    for word in words {
        sum = safe_arch::crc32_u64(sum, u64::from_le_bytes(*word));
    }
    // The instruction leaves the upper half zero.
    let mut sum = sum as u32;
    let rest = match rest.split_first_chunk::<4>() {
        Some((word, rest)) => {
            sum = safe_arch::crc32_u32(sum, u32::from_le_bytes(*word));
            rest
        }
        None => rest,
    };
    for byte in rest {
        sum = safe_arch::crc32_u8(sum, *byte);
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_any_length_from_any_start_are_the_same_as_those_of_the_table() {
        let bytes: Vec<u8> = (0..3000u32).map(|i| ((i * i) >> 3) as u8).collect();
        for length in (0..64).chain([767, 768, 769, 2900]) {
            for start in 0..9 {
                let part = &bytes[start..start + length];
                assert_eq!(append(7, part), by_bits(7, part), "{length} from {start}");
            }
        }
        assert_eq!(append(0, b"123456789"), 0xE306_9283);
        let (head, tail) = bytes.split_at(1001);
        assert_eq!(append(append(0, head), tail), append(0, &bytes));
    }

    /// The definition: reflected polynomial 0x1EDC6F41, a bit at a time.
    fn by_bits(crc: u32, bytes: &[u8]) -> u32 {
        let step = |sum: u32, _| sum >> 1 ^ if sum & 1 == 1 { 0x82F6_3B78 } else { 0 };
        !bytes
            .iter()
            .fold(!crc, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
    }
}
