//! Pages of bits that say which overflow pages are in use (`_hash_initbitmapbuffer`, hashovfl.c).

use walrecord::Page;

use super::opaque::{self, BITMAP_PAGE, NO_BLOCK, NO_BUCKET, Opaque};
use crate::error::Fault;
use crate::page::{self, HEADER_SIZE};

/// Makes a bitmap of `size` bytes, all bits set: what lies behind the bucket pages is not free but
/// not there.
pub(super) fn make(page: &mut Page, size: u16) -> Result<(), Fault> {
    Opaque {
        prev: NO_BLOCK,
        next: NO_BLOCK,
        bucket: NO_BUCKET,
        flags: BITMAP_PAGE,
    }
    .make(page)?;
    let end = HEADER_SIZE + usize::from(size);
    let room = page::upper(page) - HEADER_SIZE as u16;
    if size > room {
        return Err(Fault::Value {
            what: "the size of a bitmap",
            found: u64::from(size),
            expected: u64::from(room),
        });
    }
    page[HEADER_SIZE..end].fill(0xFF);
    page::set_lower(page, end as u16);
    Ok(())
}

/// Marks an overflow page as in use or as free.
pub(super) fn set(page: &mut Page, bit: u32, in_use: bool) -> Result<(), Fault> {
    opaque::expect_type(page, BITMAP_PAGE)?;
    let bytes = HEADER_SIZE..usize::from(page::lower(page));
    let size = bytes.len() as u64;
    let byte = page[bytes].get_mut(bit as usize / 8).ok_or(Fault::Value {
        what: "a bit of a bitmap page",
        found: u64::from(bit),
        expected: size * 8,
    })?;
    let mask = 1 << (bit % 8);
    if in_use {
        *byte |= mask;
    } else {
        *byte &= !mask;
    }
    Ok(())
}
