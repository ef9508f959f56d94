//! Positions in the write-ahead log.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use thiserror::Error;

/// Bytes of one WAL page (`XLOG_BLCKSZ` of every supported build).
const WAL_PAGE: u64 = 8192;

/// A byte position in the write-ahead log, printed as Postgres prints it: `0/16B3748`.
///
/// The LSN of a page version is the *end* of the record that made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// The position that Postgres calls `InvalidXLogRecPtr`; no record starts or ends here.
    pub const INVALID: Lsn = Lsn(0);
    /// The largest position: "latest" in the page-stream protocol.
    pub const MAX: Lsn = Lsn(u64::MAX);

    /// A position from its 64-bit value.
    pub const fn new(value: u64) -> Lsn {
        Lsn(value)
    }

    /// The 64-bit value.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether this is a position at all (not zero).
    pub const fn is_valid(self) -> bool {
        self.0 != 0
    }

    /// The next multiple of 8, where a record may start (Postgres's `MAXALIGN`).
    pub const fn align_up(self) -> Lsn {
        Lsn((self.0 + 7) & !7)
    }

    /// The byte offset inside the WAL page.
    pub const fn page_offset(self) -> u64 {
        self.0 % WAL_PAGE
    }

    /// The start of the WAL page that holds this byte.
    pub const fn page_start(self) -> Lsn {
        Lsn(self.0 - self.0 % WAL_PAGE)
    }

    /// The number of the segment that holds this byte, for segments of `segment_size` bytes.
    pub const fn segment_number(self, segment_size: u32) -> u64 {
        self.0 / segment_size as u64
    }

    /// The byte offset inside that segment.
    pub const fn segment_offset(self, segment_size: u32) -> u32 {
        (self.0 % segment_size as u64) as u32
    }

    /// The first byte of the segment that holds this byte.
    pub const fn segment_start(self, segment_size: u32) -> Lsn {
        Lsn(self.0 - self.0 % segment_size as u64)
    }

    /// `self + bytes`, or none past the end of the 64-bit range.
    pub const fn checked_add(self, bytes: u64) -> Option<Lsn> {
        match self.0.checked_add(bytes) {
            Some(v) => Some(Lsn(v)),
            None => None,
        }
    }

    /// Bytes from `earlier` to `self`, or none if `earlier` is later.
    pub const fn checked_sub(self, earlier: Lsn) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }

    /// Bytes from `earlier` to `self`, zero if `earlier` is later.
    pub const fn saturating_sub(self, earlier: Lsn) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Lsn {
    type Output = Lsn;
    /// # Panics
    /// If the sum leaves the 64-bit range; use [`Lsn::checked_add`] on lengths from outside.
    fn add(self, bytes: u64) -> Lsn {
        Lsn(self.0.checked_add(bytes).expect("LSN overflow"))
    }
}

impl Sub<Lsn> for Lsn {
    type Output = u64;
    /// # Panics
    /// If `earlier` is later than `self`.
    fn sub(self, earlier: Lsn) -> u64 {
        self.0.checked_sub(earlier.0).expect("LSN underflow")
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an LSN.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not an LSN; expected two hexadecimal numbers of at most 8 digits, as in 0/16B3748"
)]
pub struct LsnParseError(String);

impl FromStr for Lsn {
    type Err = LsnParseError;

    fn from_str(text: &str) -> Result<Lsn, LsnParseError> {
        let error = || LsnParseError(text.to_owned());
        let half = |part: &str| {
            let plain =
                (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(part, 16).ok()).flatten()
        };
        let (high, low) = text.split_once('/').ok_or_else(error)?;
        let high = half(high).ok_or_else(error)?;
        let low = half(low).ok_or_else(error)?;
        Ok(Lsn(high << 32 | low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_postgres_notation() {
        for text in ["0/0", "0/16B3748", "FFFFFFFF/FFFFFFFF", "1/0"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn rejects_what_postgres_rejects_and_shows_it() {
        for text in [
            "",
            "/",
            "1/",
            "/1",
            "123456789/0",
            "0/+1",
            "0/16B3748 ",
            "g/0",
        ] {
            let error = text.parse::<Lsn>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")));
        }
    }

    #[test]
    fn page_and_segment_arithmetic() {
        let lsn = Lsn::new(0x1_0100_2018);
        assert_eq!(lsn.page_start(), Lsn::new(0x1_0100_2000));
        assert_eq!(lsn.page_offset(), 0x18);
        assert_eq!(lsn.segment_number(16 << 20), 0x101);
        assert_eq!(lsn.segment_start(16 << 20), Lsn::new(0x1_0100_0000));
        assert_eq!(Lsn::new(9).align_up(), Lsn::new(16));
    }
}
