//! What all record-body decoders share: a reader whose errors name the resource manager, and
//! borrowed views of the fixed-size arrays that records carry.

use std::marker::PhantomData;

use crate::reader::{Reader, Truncated};
use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::types::{BlockNumber, BlockTag, Lsn, RelFileLocator};

/// A record body that is not what its resource manager writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The opcode belongs to no record of the resource manager in this version.
    #[error("{} record: unknown opcode {info:#04x}", .rmgr.name())]
    Opcode {
        /// The resource manager.
        rmgr: Rmgr,
        /// The high four bits of the flag byte.
        info: u8,
    },
    /// A field does not fit what is left.
    #[error("{} record: {cause}", .rmgr.name())]
    Truncated {
        /// The resource manager.
        rmgr: Rmgr,
        /// Field and sizes.
        cause: Truncated,
    },
    /// Bytes are left over behind the last field.
    #[error("{} record: {left} bytes are left over behind {after}", .rmgr.name())]
    Leftover {
        /// The resource manager.
        rmgr: Rmgr,
        /// What had been read, as a noun.
        after: &'static str,
        /// Bytes left.
        left: usize,
    },
    /// A field's value cannot be.
    #[error("{} record: {field} cannot be {value}", .rmgr.name())]
    Value {
        /// The resource manager.
        rmgr: Rmgr,
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// The record refers to fewer blocks than its kind needs.
    #[error("{} record: no reference to block {id}", .rmgr.name())]
    NoBlock {
        /// The resource manager.
        rmgr: Rmgr,
        /// The block's number in the record.
        id: u8,
    },
    /// A block reference has no data where its kind needs some (and no image made it unnecessary).
    #[error("{} record: no data for block {id}", .rmgr.name())]
    NoBlockData {
        /// The resource manager.
        rmgr: Rmgr,
        /// The block's number in the record.
        id: u8,
    },
}

/// Reads one record's main data or one block's data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'a> {
    rmgr: Rmgr,
    reader: Reader<'a>,
}

macro_rules! forward {
    ($($name:ident: $type:ty),*) => {$(
        #[inline]
        pub(crate) fn $name(&mut self, field: &'static str) -> Result<$type, BodyError> {
            let rmgr = self.rmgr;
            self.reader.$name(field).map_err(|cause| BodyError::Truncated { rmgr, cause })
        }
    )*};
}

impl<'a> Body<'a> {
    #[inline]
    pub(crate) const fn new(rmgr: Rmgr, bytes: &'a [u8]) -> Body<'a> {
        Body {
            rmgr,
            reader: Reader::new(bytes),
        }
    }

    #[inline]
    pub(crate) const fn main(rmgr: Rmgr, record: &Record<'a>) -> Body<'a> {
        Body::new(rmgr, record.main_data)
    }

    forward!(u8: u8, u16: u16, u32: u32, u64: u64, i32: i32, i64: i64, lsn: Lsn);

    /// One byte that C calls a bool.
    #[inline]
    pub(crate) fn bool(&mut self, field: &'static str) -> Result<bool, BodyError> {
        Ok(self.u8(field)? != 0)
    }

    #[inline]
    pub(crate) fn take(
        &mut self,
        field: &'static str,
        count: usize,
    ) -> Result<&'a [u8], BodyError> {
        let rmgr = self.rmgr;
        self.reader
            .take(field, count)
            .map_err(|cause| BodyError::Truncated { rmgr, cause })
    }

    /// Text up to a NUL, which is consumed and not returned.
    pub(crate) fn cstr(&mut self, field: &'static str) -> Result<&'a [u8], BodyError> {
        let rest = self.reader.peek();
        // Without a NUL this asks for one byte more than there is, and fails.
        let length = memchr::memchr(0, rest).unwrap_or(rest.len());
        let text = self.take(field, length + 1)?;
        Ok(&text[..length])
    }

    /// Skips bytes that the C compiler put between fields.
    #[inline]
    pub(crate) fn pad(&mut self, count: usize) -> Result<(), BodyError> {
        self.take("padding", count).map(|_| ())
    }

    #[inline]
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        self.reader.take_rest()
    }

    #[inline]
    pub(crate) const fn left(&self) -> usize {
        self.reader.left()
    }

    pub(crate) fn locator(&mut self, field: &'static str) -> Result<RelFileLocator, BodyError> {
        Ok(RelFileLocator {
            spc: self.u32(field)?,
            db: self.u32(field)?,
            rel: self.u32(field)?,
        })
    }

    /// A block number in two halves, high one first (`BlockIdData`).
    pub(crate) fn block_id(&mut self, field: &'static str) -> Result<BlockNumber, BodyError> {
        let high = self.u16(field)?;
        let low = self.u16(field)?;
        Ok(u32::from(high) << 16 | u32::from(low))
    }

    pub(crate) fn item_pointer(&mut self, field: &'static str) -> Result<ItemPointer, BodyError> {
        Ok(ItemPointer {
            block: self.block_id(field)?,
            offnum: self.u16(field)?,
        })
    }

    /// `count` items. No allocation follows from `count`: the bytes must be there.
    #[inline]
    pub(crate) fn array<T: LeItem>(
        &mut self,
        field: &'static str,
        count: usize,
    ) -> Result<LeArray<'a, T>, BodyError> {
        // A count that overflows is larger than any slice.
        let bytes = self.take(field, count.saturating_mul(T::SIZE))?;
        Ok(LeArray {
            bytes,
            item: PhantomData,
        })
    }

    /// An array counted by a C `int`.
    pub(crate) fn array_i32<T: LeItem>(
        &mut self,
        field: &'static str,
        count: i32,
    ) -> Result<LeArray<'a, T>, BodyError> {
        let count = usize::try_from(count).map_err(|_| self.value(field, i64::from(count)))?;
        self.array(field, count)
    }

    /// All that is left, as items.
    pub(crate) fn array_rest<T: LeItem>(
        &mut self,
        field: &'static str,
    ) -> Result<LeArray<'a, T>, BodyError> {
        let array = self.array(field, self.left() / T::SIZE)?;
        self.finish(field)?;
        Ok(array)
    }

    /// Asserts that nothing is left.
    #[inline]
    pub(crate) const fn finish(&self, after: &'static str) -> Result<(), BodyError> {
        match self.left() {
            0 => Ok(()),
            left => Err(BodyError::Leftover {
                rmgr: self.rmgr,
                after,
                left,
            }),
        }
    }

    #[inline]
    pub(crate) const fn value(&self, field: &'static str, value: i64) -> BodyError {
        BodyError::Value {
            rmgr: self.rmgr,
            field,
            value,
        }
    }
}

/// The tag of block `id`, or an error that says it is missing.
///
/// # Errors
/// If the record does not refer to such a block.
pub(crate) fn block_tag(rmgr: Rmgr, record: &Record<'_>, id: u8) -> Result<BlockTag, BodyError> {
    match record.block(id) {
        Some(block) => Ok(block.tag),
        None => Err(BodyError::NoBlock { rmgr, id }),
    }
}

/// The data of block `id`, as redo of a block that needs it takes it.
///
/// # Errors
/// If the record does not refer to the block, or carries no data for it.
pub(crate) fn block_data<'a>(
    rmgr: Rmgr,
    record: &Record<'a>,
    id: u8,
) -> Result<&'a [u8], BodyError> {
    match record.block(id) {
        Some(block) => block.data.ok_or(BodyError::NoBlockData { rmgr, id }),
        None => Err(BodyError::NoBlock { rmgr, id }),
    }
}

/// An item of a [`LeArray`]: a little-endian integer, or a structure of a fixed size.
pub trait LeItem: Copy {
    /// Bytes that one item takes in the array.
    const SIZE: usize;

    /// Decodes one item.
    ///
    /// # Panics
    /// If there are not [`LeItem::SIZE`] bytes; a [`LeArray`] never lets that happen.
    fn from_le(bytes: &[u8]) -> Self;
}

/// A borrowed, possibly unaligned array of fixed-size items. Its length is checked once, when it is
/// made; reading is infallible after that and nothing is allocated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LeArray<'a, T> {
    bytes: &'a [u8],
    item: PhantomData<T>,
}

/// The iterator of a [`LeArray`].
pub type LeIter<'a, T> = std::iter::Map<std::slice::ChunksExact<'a, u8>, fn(&'a [u8]) -> T>;

impl<'a, T: LeItem> LeArray<'a, T> {
    /// An array of no items.
    pub const EMPTY: LeArray<'a, T> = LeArray {
        bytes: &[],
        item: PhantomData,
    };

    /// A view of `bytes`; none unless they are a whole number of items.
    pub const fn new(bytes: &'a [u8]) -> Option<LeArray<'a, T>> {
        match bytes.len() % T::SIZE {
            0 => Some(LeArray {
                bytes,
                item: PhantomData,
            }),
            _ => None,
        }
    }

    /// Items.
    #[inline]
    pub const fn len(&self) -> usize {
        self.bytes.len() / T::SIZE
    }

    /// Whether there are none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The item at `index`, counted from zero.
    #[inline]
    pub fn get(&self, index: usize) -> Option<T> {
        let start = index.checked_mul(T::SIZE)?;
        let end = start.checked_add(T::SIZE)?;
        self.bytes.get(start..end).map(T::from_le)
    }

    /// The items in order.
    #[inline]
    pub fn iter(&self) -> LeIter<'a, T> {
        self.bytes.chunks_exact(T::SIZE).map(T::from_le)
    }

    /// The bytes behind the view.
    #[inline]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a, T: LeItem> IntoIterator for LeArray<'a, T> {
    type Item = T;
    type IntoIter = LeIter<'a, T>;

    #[inline]
    fn into_iter(self) -> LeIter<'a, T> {
        self.iter()
    }
}

impl<T: LeItem + std::fmt::Debug> std::fmt::Debug for LeArray<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl LeItem for u16 {
    const SIZE: usize = 2;

    #[inline]
    fn from_le(bytes: &[u8]) -> u16 {
        u16_at(bytes, 0)
    }
}

impl LeItem for u32 {
    const SIZE: usize = 4;

    #[inline]
    fn from_le(bytes: &[u8]) -> u32 {
        u32_at(bytes, 0)
    }
}

impl LeItem for RelFileLocator {
    const SIZE: usize = 12;

    #[inline]
    fn from_le(bytes: &[u8]) -> RelFileLocator {
        RelFileLocator {
            spc: u32_at(bytes, 0),
            db: u32_at(bytes, 4),
            rel: u32_at(bytes, 8),
        }
    }
}

/// Where a tuple is (`ItemPointerData`, 6 bytes: the block number in two halves, high one first).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ItemPointer {
    /// The block.
    pub block: BlockNumber,
    /// The line pointer.
    pub offnum: u16,
}

impl LeItem for ItemPointer {
    const SIZE: usize = 6;

    #[inline]
    fn from_le(bytes: &[u8]) -> ItemPointer {
        let high = u32::from(u16_at(bytes, 0));
        ItemPointer {
            block: high << 16 | u32::from(u16_at(bytes, 2)),
            offnum: u16_at(bytes, 4),
        }
    }
}

/// The little-endian `u16` at `at`, for implementations of [`LeItem::from_le`].
#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// The little-endian `u32` at `at`, for implementations of [`LeItem::from_le`].
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_reads_unaligned_items_and_nothing_past_its_end() {
        let bytes = [9, 1, 0, 2, 0, 3, 0];
        let array = LeArray::<u16>::new(&bytes[1..]).unwrap();
        assert_eq!(array.len(), 3);
        assert_eq!(array.iter().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(array.get(2), Some(3));
        assert_eq!(array.get(3), None);
        assert_eq!(array.get(usize::MAX), None);
        assert!(LeArray::<u16>::new(&bytes).is_none());
    }

    #[test]
    fn a_count_larger_than_the_bytes_is_an_error_that_names_field_and_manager() {
        let mut body = Body::new(Rmgr::Heap2, &[0; 4]);
        let error = body.array::<u16>("unused offsets", 3).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Heap2 record: unused offsets needs 6 bytes, 4 are left"
        );
        assert!(body.array::<u32>("xids", usize::MAX).is_err());
        assert!(body.array_i32::<u32>("xids", -1).is_err());
    }
}
