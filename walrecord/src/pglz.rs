//! Postgres's own compression, the decompressing half, for page images (`pglz_decompress` in
//! common/pg_lzcompress.c).
//!
//! The stream is groups of one control byte and up to eight items, lowest bit first: a clear bit is a
//! literal byte, a set bit a match of two or three bytes. A match has its length minus 3 in the low
//! four bits of the first byte, its offset in the high four bits (the upper part) and the second
//! byte; the largest length is extended by a third byte.

const MIN_MATCH: usize = 3;
const LONG_MATCH: usize = 18;

/// Decompresses `input` into `out`, which it must fill exactly; gives the length of `out`. None if the
/// stream is damaged or of another length.
pub(crate) fn decompress(input: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut input = input.iter().copied();
    let mut filled = 0;
    while filled < out.len() {
        let mut control = input.next()?;
        for _ in 0..8 {
            if filled == out.len() {
                break;
            }
            if control & 1 == 0 {
                out[filled] = input.next()?;
                filled += 1;
            } else {
                let (length, offset) = match_of(&mut input)?;
                filled = copy_match(out, filled, length, offset)?;
            }
            control >>= 1;
        }
    }
    // Postgres, too, takes leftovers for damage.
    input.next().is_none().then_some(filled)
}

/// Reads a match: length and offset, both in bytes.
fn match_of(input: &mut impl Iterator<Item = u8>) -> Option<(usize, usize)> {
    let first = usize::from(input.next()?);
    let second = usize::from(input.next()?);
    let mut length = (first & 0x0F) + MIN_MATCH;
    if length == LONG_MATCH {
        length += usize::from(input.next()?);
    }
    Some((length, (first & 0xF0) << 4 | second))
}

/// Repeats `length` bytes that stand `offset` before `filled`, as far as `out` reaches; gives the new
/// fill. None if that is before the start.
fn copy_match(out: &mut [u8], filled: usize, length: usize, offset: usize) -> Option<usize> {
    if offset == 0 || offset > filled {
        return None;
    }
    let end = out.len().min(filled + length);
    let from = filled - offset;
    let mut at = filled;
    // Source and target may overlap: then the source repeats, and what is copied doubles each time.
    while at < end {
        let count = (at - from).min(end - at);
        out.copy_within(from..from + count, at);
        at += count;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(input: &[u8], length: usize) -> Option<Vec<u8>> {
        let mut out = vec![0xEE; length];
        decompress(input, &mut out).map(|filled| {
            assert_eq!(filled, length);
            out
        })
    }

    #[test]
    fn literals_and_overlapping_matches() {
        assert_eq!(unpack(b"\x00abc", 3).unwrap(), b"abc");
        // "ab", then 7 bytes from 2 back.
        assert_eq!(unpack(b"\x04ab\x04\x02", 9).unwrap(), b"ababababa");
        // The longest match: 18 + 255 of one byte.
        assert_eq!(unpack(b"\x02a\x0F\x01\xFF", 274).unwrap(), [b'a'; 274]);
        // The offset's upper part is in the first byte: 0x100 literals, then 3 from 0x100 back.
        let mut long: Vec<u8> = (0..32u8)
            .flat_map(|group| std::iter::once(0).chain((0..8).map(move |i| group * 8 + i)))
            .collect();
        long.extend_from_slice(&[0x01, 0x10, 0x00]);
        assert_eq!(unpack(&long, 259).unwrap()[256..], [0, 1, 2]);
        assert_eq!(unpack(b"", 0).unwrap(), b"");
    }

    #[test]
    fn a_match_is_cut_at_the_end_of_the_output() {
        assert_eq!(unpack(b"\x02a\x0F\x01\xFF", 5).unwrap(), b"aaaaa");
    }

    #[test]
    fn damage_is_none_and_never_a_panic() {
        for (input, length) in [
            (&b""[..], 1),
            // No item behind the control byte; a match cut short; an extension byte missing.
            (b"\x00", 1),
            (b"\x01\x00", 3),
            (b"\x02a\x0F\x01", 274),
            // Offset zero, and offset before the start.
            (b"\x02a\x00\x00", 4),
            (b"\x02a\x00\x02", 4),
            // Too much and too little input.
            (b"\x00abc", 2),
            (b"\x00abc", 4),
            (b"\x00abc", 0),
        ] {
            assert_eq!(unpack(input, length), None, "{input:?}");
        }
    }
}
