//! The buffer that descriptions are written to: bytes, since names in WAL are in the database's
//! encoding, and no formatting machinery, since a dump writes hundreds of bytes for every record.

use std::sync::Arc;

use super::time::{Clock, TimeZone};
use super::word::{Room, Word};
use crate::types::{Lsn, PgTime, RelFileLocator};

/// Text under construction.
#[derive(Clone, Debug, Default)]
pub struct Text {
    /// Text up to `len`; behind it room, which is zeroed only once. Pieces are stored at a fixed size
    /// into the room where that is cheaper than at their own.
    bytes: Vec<u8>,
    len: usize,
    clock: Clock,
}

/// The smallest room that is made, bytes.
const MIN_GROWTH: usize = 4 << 10;

impl Text {
    /// An empty one, with times in UTC.
    pub fn new() -> Text {
        Text::default()
    }

    /// An empty one, with times in a time zone.
    pub fn in_zone(zone: Arc<dyn TimeZone>) -> Text {
        Text {
            clock: Clock::in_zone(zone),
            ..Text::default()
        }
    }

    /// What was written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Bytes that were written.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets what was written and keeps the memory.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends a piece of text.
    #[inline]
    pub fn str(&mut self, text: &str) -> &mut Text {
        self.raw(text.as_bytes())
    }

    /// Appends bytes as they are.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Text {
        loop {
            if let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
                return self;
            }
            self.grow(bytes.len());
        }
    }

    /// Appends bytes up to the first NUL, as C's `%s` does.
    pub fn c_str(&mut self, bytes: &[u8]) -> &mut Text {
        let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
        self.raw(&bytes[..end])
    }

    /// Appends one ASCII character.
    #[inline]
    pub fn byte(&mut self, byte: u8) -> &mut Text {
        self.raw(&[byte])
    }

    /// Appends an unsigned number in decimal (C's `%u`).
    #[inline]
    pub fn dec(&mut self, value: impl Into<u64>) -> &mut Text {
        let value = value.into();
        match Word::decimal(value) {
            Some(word) => self.word(word),
            None => self.long_dec(value),
        }
    }

    /// Appends a signed number in decimal (C's `%d`).
    #[inline]
    pub fn signed(&mut self, value: impl Into<i64>) -> &mut Text {
        let value = value.into();
        if value < 0 {
            self.byte(b'-');
        }
        self.dec(value.unsigned_abs())
    }

    /// Appends an unsigned number in decimal, with spaces before it up to `width` (C's `%6u` with 6).
    #[inline]
    pub fn dec_right(&mut self, value: impl Into<u64>, width: usize) -> &mut Text {
        let value = value.into();
        match Word::right(value, width) {
            Some(word) => self.spaces(width.saturating_sub(8)).word(word),
            None => {
                let digits = value.max(1).ilog10() as usize + 1;
                self.spaces(width.saturating_sub(digits)).dec(value)
            }
        }
    }

    /// Appends an unsigned number in decimal, with zeros before it up to `width`, at most 8 (C's
    /// `%06u` with 6).
    #[inline]
    pub fn dec_zeros(&mut self, value: u32, width: u32) -> &mut Text {
        match Word::zeros(u64::from(value), width) {
            Some(word) => self.word(word),
            None => self.dec(value),
        }
    }

    /// Appends text, with spaces behind it up to `width` (C's `%-11s` with 11).
    pub fn str_left(&mut self, text: &str, width: usize) -> &mut Text {
        self.str(text).spaces(width.saturating_sub(text.len()))
    }

    /// Appends text, with spaces before it up to `width` (C's `%20s` with 20).
    pub fn str_right(&mut self, text: &str, width: usize) -> &mut Text {
        self.spaces(width.saturating_sub(text.len())).str(text)
    }

    /// Appends this many spaces.
    pub fn spaces(&mut self, count: usize) -> &mut Text {
        const SPACES: &[u8; 32] = &[b' '; 32];
        let (whole, rest) = (count / SPACES.len(), count % SPACES.len());
        for _ in 0..whole {
            self.raw(SPACES);
        }
        self.store_array(SPACES, rest)
    }

    /// Appends a number in upper-case hexadecimal without leading zeros (C's `%X`).
    #[inline]
    pub fn hex(&mut self, value: u64) -> &mut Text {
        self.hex_digits(value, 1, Word::UPPER)
    }

    /// Appends a number in upper-case hexadecimal, padded with zeros to `width` digits at least, 16 at
    /// most (C's `%02X` with 2).
    #[inline]
    pub fn hex_upper(&mut self, value: u64, width: u32) -> &mut Text {
        self.hex_digits(value, width, Word::UPPER)
    }

    /// Appends a number in lower-case hexadecimal, padded with zeros to `width` digits at least, 16 at
    /// most (C's `%02x` with 2).
    #[inline]
    pub fn hex_lower(&mut self, value: u64, width: usize) -> &mut Text {
        self.hex_digits(value, width.min(16) as u32, Word::LOWER)
    }

    /// Appends a position as `pg_waldump` of 14 to 18 prints it: both halves in hexadecimal, the lower
    /// one padded where `pad` asks for it.
    #[inline]
    pub fn lsn(&mut self, lsn: Lsn, pad: bool) -> &mut Text {
        let value = lsn.get();
        self.hex(value >> 32).byte(b'/');
        self.word(Word::hex(
            value as u32,
            if pad { 8 } else { 1 },
            Word::UPPER,
        ))
    }

    /// Appends a relation: `1663/5/16384`.
    #[inline]
    pub fn rel(&mut self, rel: RelFileLocator) -> &mut Text {
        self.dec(rel.spc).byte(b'/');
        self.dec(rel.db).byte(b'/').dec(rel.rel)
    }

    /// Appends a time as `pg_waldump` prints it: `2026-05-11 19:49:58.123456 UTC`.
    pub fn time(&mut self, at: PgTime) -> &mut Text {
        // Taken out, since the clock writes to the text.
        let mut clock = std::mem::take(&mut self.clock);
        clock.write(at, self);
        self.clock = clock;
        self
    }

    fn long_dec(&mut self, value: u64) -> &mut Text {
        // At most one more round: 64 bits have 20 digits.
        self.dec(value / Word::NINE_DIGITS);
        self.word(Word::eight(value % Word::NINE_DIGITS))
    }

    #[inline]
    fn hex_digits(&mut self, value: u64, width: u32, letters: u64) -> &mut Text {
        let high = (value >> 32) as u32;
        if high != 0 || width > 8 {
            self.word(Word::hex(high, width.saturating_sub(8), letters));
            return self.word(Word::hex(value as u32, 8, letters));
        }
        self.word(Word::hex(value as u32, width, letters))
    }

    /// Appends up to eight characters.
    #[inline]
    fn word(&mut self, word: Word) -> &mut Text {
        self.store_array(&word.characters.to_le_bytes(), word.used as usize)
    }

    /// Writes up to `N` characters through `write`, which keeps count of them. Cheaper than one piece
    /// after the other where a line has many short ones.
    #[inline]
    pub(crate) fn within<const N: usize>(&mut self, write: impl FnOnce(&mut Room<'_, N>)) {
        loop {
            let room = self.bytes.get_mut(self.len..);
            if let Some(text) = room.and_then(<[u8]>::first_chunk_mut::<N>) {
                let mut room = Room { text, at: 0 };
                write(&mut room);
                self.len += room.at;
                return;
            }
            self.grow(N);
        }
    }

    /// Appends the first `used` of `N` characters: one store of a size that the compiler knows.
    #[inline]
    pub(crate) fn store_array<const N: usize>(&mut self, all: &[u8; N], used: usize) -> &mut Text {
        loop {
            let room = self.bytes.get_mut(self.len..);
            if let Some(room) = room.and_then(<[u8]>::first_chunk_mut::<N>) {
                *room = *all;
                self.len += used;
                return self;
            }
            self.grow(N);
        }
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let least = self.len + more.max(MIN_GROWTH);
        self.bytes.resize(least.max(2 * self.bytes.len()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Text) -> &mut Text) -> String {
        let mut text = Text::new();
        write(text.str("<")).str(">");
        String::from_utf8(text.as_bytes().to_vec()).unwrap()
    }

    /// Numbers around every place where the number of digits changes.
    fn numbers() -> impl Iterator<Item = u64> {
        let decimal = (0..20).map(|digits| 10u64.pow(digits));
        let binary = (0..64).map(|bits| 1u64 << bits);
        let edges = decimal
            .chain(binary)
            .chain([0x0123_4567_89AB_CDEF, 98_765_432]);
        edges.flat_map(|edge| {
            [
                edge.wrapping_sub(1),
                edge,
                edge.wrapping_add(1),
                edge.wrapping_mul(7),
            ]
        })
    }

    #[test]
    fn numbers_are_written_as_printf_writes_them() {
        for value in numbers() {
            assert_eq!(written(|text| text.dec(value)), format!("<{value}>"));
            assert_eq!(written(|text| text.hex(value)), format!("<{value:X}>"));
            let signed = value as i64;
            assert_eq!(written(|text| text.signed(signed)), format!("<{signed}>"));
            for width in 1..=20 {
                assert_eq!(
                    written(|text| text.dec_right(value, width)),
                    format!("<{value:width$}>")
                );
            }
            for width in 1..=16 {
                assert_eq!(
                    written(|text| text.hex_lower(value, width)),
                    format!("<{value:0width$x}>")
                );
            }
            let narrow = value as u32;
            for width in 1..=8 {
                assert_eq!(
                    written(|text| text.dec_zeros(narrow, width)),
                    format!("<{narrow:0width$}>", width = width as usize)
                );
            }
        }
    }

    #[test]
    fn positions_are_padded_where_asked() {
        let lsn = Lsn::new(0x1_00AB_CDEF);
        assert_eq!(written(|text| text.lsn(lsn, true)), "<1/00ABCDEF>");
        assert_eq!(written(|text| text.lsn(lsn, false)), "<1/ABCDEF>");
        assert_eq!(written(|text| text.lsn(Lsn::INVALID, false)), "<0/0>");
    }

    #[test]
    fn text_of_any_length_is_kept_and_cleared() {
        let mut text = Text::new();
        for round in 0..1000u32 {
            text.raw(&[b'x'; 100]).dec(round);
        }
        let digits: usize = (0..1000u32).map(|round| round.to_string().len()).sum();
        assert_eq!(text.len(), 100_000 + digits);
        assert!(text.as_bytes().ends_with(b"x999"));
        text.clear();
        assert!(text.is_empty());
        text.c_str(b"till here\0and no further");
        assert_eq!(text.as_bytes(), b"till here");
    }
}
