//! The special area of a GiST page (`GISTPageOpaqueData`, access/gist.h).

use walrecord::{BlockNumber, Lsn, Page};

use crate::error::Fault;
use crate::page;

/// Bytes of the special area.
pub(super) const SIZE: usize = 16;

const NSN_HIGH: usize = 0;
const NSN_LOW: usize = NSN_HIGH + 4;
const RIGHT_LINK: usize = NSN_LOW + 4;
const FLAGS: usize = RIGHT_LINK + 4;
const PAGE_ID: usize = FLAGS + 2;

/// What the special area ends with (`GIST_PAGE_ID`).
pub(super) const GIST_PAGE_ID: u16 = 0xFF81;

/// A leaf page (`F_LEAF`).
pub(super) const LEAF: u16 = 1 << 0;
/// Removed from the tree (`F_DELETED`).
pub(super) const DELETED: u16 = 1 << 1;
/// Tuples were deleted (`F_TUPLES_DELETED`).
pub(super) const TUPLES_DELETED: u16 = 1 << 2;
/// The page at the right link has no downlink yet (`F_FOLLOW_RIGHT`).
pub(super) const FOLLOW_RIGHT: u16 = 1 << 3;
/// Some line pointers may be dead (`F_HAS_GARBAGE`). Never logged, cleared by redo.
pub(super) const HAS_GARBAGE: u16 = 1 << 4;

/// The special area's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opaque {
    /// Node sequence number: the end of the record that finished the page's last split.
    pub(super) nsn: Lsn,
    /// Right sibling.
    pub(super) right_link: BlockNumber,
    /// `F_` flags.
    pub(super) flags: u16,
}

impl Opaque {
    /// Writes all fields.
    pub(super) fn write(self, page: &mut Page) -> Result<(), Fault> {
        let at = position(page)?;
        set_nsn(page, self.nsn)?;
        page::put_u32(page, at + RIGHT_LINK, self.right_link);
        page::put_u16(page, at + FLAGS, self.flags);
        page::put_u16(page, at + PAGE_ID, GIST_PAGE_ID);
        Ok(())
    }
}

/// The flags.
pub(super) fn flags(page: &Page) -> Result<u16, Fault> {
    let at = position(page)? + FLAGS;
    Ok(page::get_u16(page, at))
}

pub(super) fn set_flags(page: &mut Page, set: u16) -> Result<(), Fault> {
    write_flags(page, flags(page)? | set)
}

pub(super) fn clear_flags(page: &mut Page, clear: u16) -> Result<(), Fault> {
    write_flags(page, flags(page)? & !clear)
}

/// Stored as two words, the high one first.
pub(super) fn set_nsn(page: &mut Page, nsn: Lsn) -> Result<(), Fault> {
    let at = position(page)?;
    let (high, low) = ((nsn.get() >> 32) as u32, nsn.get() as u32);
    page::put_u32(page, at + NSN_HIGH, high);
    page::put_u32(page, at + NSN_LOW, low);
    Ok(())
}

fn write_flags(page: &mut Page, flags: u16) -> Result<(), Fault> {
    let at = position(page)? + FLAGS;
    page::put_u16(page, at, flags);
    Ok(())
}

/// Where the special area starts.
fn position(page: &Page) -> Result<usize, Fault> {
    Ok(page::special_range(page, SIZE)?.start)
}
