//! Pages of the entry tree (`ginRedoInsertEntry`, ginxlog.c).

use walrecord::Page;
use walrecord::rmgr::gin::{Children, InsertEntry};

use super::opaque::{self, DATA, LEAF};
use super::posting_items::block_bytes;
use crate::error::Fault;
use crate::page::{Placement, add_item, delete_item, item_range};

/// Bytes of an index tuple's TID field.
const TID: usize = 6;
/// Bytes of an index tuple's header: TID, then size and flags.
const HEADER: usize = 8;
/// The bits of `t_info` that hold the tuple's size (`INDEX_SIZE_MASK`).
const SIZE_MASK: u16 = 0x1FFF;

/// Inserts an entry. On an inner page the downlink that was at its place then leads to the right half
/// of the child that was split, and the new entry to the left half.
pub(super) fn insert(
    page: &mut Page,
    entry: &InsertEntry<'_>,
    children: Option<Children>,
) -> Result<(), Fault> {
    check_size(entry.tuple)?;
    match children {
        Some(Children { right, .. }) => {
            opaque::expect_flags(page, DATA | LEAF, 0)?;
            set_downlink(page, entry.offnum, block_bytes(right))?;
        }
        None => opaque::expect_flags(page, DATA | LEAF, LEAF)?,
    }
    if entry.is_delete {
        delete_item(page, entry.offnum)?;
    }
    add_item(page, entry.offnum, entry.tuple, Placement::Shift)
}

/// Points a tuple to a child; its TID's offset number becomes zero (`GinSetDownlink`).
fn set_downlink(page: &mut Page, offset: u16, child: [u8; 4]) -> Result<(), Fault> {
    let item = item_range(page, offset)?;
    let length = item.len();
    let [a, b, c, d] = child;
    match page[item].first_chunk_mut::<TID>() {
        Some(tid) => *tid = [a, b, c, d, 0, 0],
        None => return Err(wrong_size(HEADER, length)),
    }
    Ok(())
}

/// The tuple is as long as it says.
fn check_size(tuple: &[u8]) -> Result<(), Fault> {
    let said = match tuple {
        [_, _, _, _, _, _, low, high, ..] => u16::from_le_bytes([*low, *high]) & SIZE_MASK,
        _ => return Err(wrong_size(HEADER, tuple.len())),
    };
    if usize::from(said) == tuple.len() {
        return Ok(());
    }
    Err(wrong_size(usize::from(said), tuple.len()))
}

const fn wrong_size(said: usize, found: usize) -> Fault {
    Fault::Value {
        what: "the size of an index tuple",
        found: found as u64,
        expected: said as u64,
    }
}
