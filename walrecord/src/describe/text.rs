//! The buffer that descriptions are written to: bytes, since names in WAL are in the database's
//! encoding, and no formatting machinery, since a dump writes hundreds of bytes for every record.

use crate::types::Lsn;

/// Text under construction.
#[derive(Clone, Debug, Default)]
pub struct Text {
    bytes: Vec<u8>,
}

impl Text {
    /// An empty one.
    pub fn new() -> Text {
        Text::default()
    }

    /// What was written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets what was written and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Appends a piece of text.
    pub fn str(&mut self, text: &str) -> &mut Text {
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Text {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends one ASCII character.
    pub fn byte(&mut self, byte: u8) -> &mut Text {
        self.bytes.push(byte);
        self
    }

    /// Appends an unsigned number in decimal (C's `%u`).
    pub fn dec(&mut self, value: impl Into<u64>) -> &mut Text {
        let mut digits = itoa::Buffer::new();
        self.str(digits.format(value.into()))
    }

    /// Appends a signed number in decimal (C's `%d`).
    pub fn signed(&mut self, value: impl Into<i64>) -> &mut Text {
        let mut digits = itoa::Buffer::new();
        self.str(digits.format(value.into()))
    }

    /// Appends a number in upper-case hexadecimal without leading zeros (C's `%X`).
    pub fn hex(&mut self, value: u64) -> &mut Text {
        self.hex_digits(value, 1, b"0123456789ABCDEF")
    }

    /// Appends a number in lower-case hexadecimal, padded with zeros to `width` digits at least
    /// (C's `%02x` with 2).
    pub fn hex_lower(&mut self, value: u64, width: usize) -> &mut Text {
        self.hex_digits(value, width, b"0123456789abcdef")
    }

    /// Appends a position as `pg_waldump` of 14 to 18 prints it: both halves in hexadecimal, the lower
    /// one padded where `pad` asks for it.
    pub fn lsn(&mut self, lsn: Lsn, pad: bool) -> &mut Text {
        let value = lsn.get();
        self.hex(value >> 32).byte(b'/');
        self.hex_digits(
            value & 0xFFFF_FFFF,
            if pad { 8 } else { 1 },
            b"0123456789ABCDEF",
        )
    }

    fn hex_digits(&mut self, value: u64, width: usize, digits: &[u8; 16]) -> &mut Text {
        let significant = (64 - value.leading_zeros() as usize).div_ceil(4).max(1);
        for place in (0..significant.max(width).min(16)).rev() {
            self.bytes
                .push(digits[(value >> (4 * place)) as usize & 15]);
        }
        self
    }
}
