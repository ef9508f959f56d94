//! The one bounds-checked reader that every decoder of this crate is written on.

use crate::types::Lsn;

/// A field that does not fit the bytes at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} needs {needed} bytes, {left} are left")]
pub struct Truncated {
    /// What was being read.
    pub field: &'static str,
    /// Bytes it takes.
    pub needed: usize,
    /// Bytes there were.
    pub left: usize,
}

/// Reads little-endian integers and slices off the front of a byte slice. Total: it never panics
/// and never reads past the end.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

macro_rules! integers {
    ($($name:ident: $type:ty),*) => {$(
        #[doc = concat!("Reads a little-endian `", stringify!($type), "`.")]
        ///
        /// # Errors
        /// If too few bytes are left.
        #[inline]
        pub fn $name(&mut self, field: &'static str) -> Result<$type, Truncated> {
            let bytes = self.array::<{ size_of::<$type>() }>(field)?;
            Ok(<$type>::from_le_bytes(bytes))
        }
    )*};
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// Bytes left.
    #[inline]
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// The bytes left, without consuming them.
    #[inline]
    pub const fn peek(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes the next `count` bytes.
    ///
    /// # Errors
    /// If fewer are left.
    #[inline]
    pub fn take(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], Truncated> {
        match self.rest.split_at_checked(count) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None => Err(Truncated {
                field,
                needed: count,
                left: self.rest.len(),
            }),
        }
    }

    /// Takes all that is left.
    #[inline]
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    /// If fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Truncated> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(*head)
            }
            None => Err(Truncated {
                field,
                needed: N,
                left: self.rest.len(),
            }),
        }
    }

    integers!(u8: u8, u16: u16, u32: u32, u64: u64, i32: i32, i64: i64);

    /// Reads an LSN.
    ///
    /// # Errors
    /// If too few bytes are left.
    #[inline]
    pub fn lsn(&mut self, field: &'static str) -> Result<Lsn, Truncated> {
        Ok(Lsn::new(self.u64(field)?))
    }
}
