//! The special area of a B-tree page (`BTPageOpaqueData`, access/nbtree.h).

use walrecord::{BlockNumber, Page};

use crate::error::Fault;
use crate::page;

/// Bytes of the special area.
pub(super) const SIZE: usize = 16;

const PREV: usize = 0;
const NEXT: usize = 4;
const LEVEL: usize = 8;
const FLAGS: usize = 12;
const CYCLE_ID: usize = 14;

/// The block number that says "no sibling" (`P_NONE`); block 0 is the metapage.
pub(super) const NO_BLOCK: BlockNumber = 0;

/// A leaf page (`BTP_LEAF`).
pub(super) const LEAF: u16 = 1 << 0;
/// The root of the tree (`BTP_ROOT`).
pub(super) const ROOT: u16 = 1 << 1;
/// Removed from the tree (`BTP_DELETED`).
pub(super) const DELETED: u16 = 1 << 2;
/// The metapage (`BTP_META`).
pub(super) const META: u16 = 1 << 3;
/// Empty, without a downlink, still in the sibling chain (`BTP_HALF_DEAD`).
pub(super) const HALF_DEAD: u16 = 1 << 4;
/// The last right half of splits that one vacuum saw (`BTP_SPLIT_END`). Never logged.
pub(super) const SPLIT_END: u16 = 1 << 5;
/// Some line pointers may be dead (`BTP_HAS_GARBAGE`). Never logged, cleared by redo.
pub(super) const HAS_GARBAGE: u16 = 1 << 6;
/// The right sibling's downlink is missing (`BTP_INCOMPLETE_SPLIT`).
pub(super) const INCOMPLETE_SPLIT: u16 = 1 << 7;
/// A deleted page that stores a 64-bit transaction id (`BTP_HAS_FULLXID`).
pub(super) const HAS_FULL_XID: u16 = 1 << 8;

/// The special area's fields. The vacuum cycle id is left out: whoever writes all the others makes
/// it zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opaque {
    /// Left sibling.
    pub(super) prev: BlockNumber,
    /// Right sibling.
    pub(super) next: BlockNumber,
    /// Height above the leaves.
    pub(super) level: u32,
    /// `BTP_` flags.
    pub(super) flags: u16,
}

impl Opaque {
    /// Writes the fields and a zero cycle id.
    pub(super) fn write(self, page: &mut Page) -> Result<(), Fault> {
        let at = position(page)?;
        page::put_u32(page, at + PREV, self.prev);
        page::put_u32(page, at + NEXT, self.next);
        page::put_u32(page, at + LEVEL, self.level);
        page::put_u16(page, at + FLAGS, self.flags);
        page[at + CYCLE_ID..at + SIZE].copy_from_slice(&[0; SIZE - CYCLE_ID]);
        Ok(())
    }
}

/// Whether the page has no right sibling, and therefore no high key (`P_RIGHTMOST`).
pub(super) fn is_rightmost(page: &Page) -> Result<bool, Fault> {
    let at = position(page)? + NEXT;
    Ok(page::get_u32(page, at) == NO_BLOCK)
}

pub(super) fn set_prev(page: &mut Page, prev: BlockNumber) -> Result<(), Fault> {
    let at = position(page)? + PREV;
    page::put_u32(page, at, prev);
    Ok(())
}

pub(super) fn set_next(page: &mut Page, next: BlockNumber) -> Result<(), Fault> {
    let at = position(page)? + NEXT;
    page::put_u32(page, at, next);
    Ok(())
}

/// The flags.
pub(super) fn flags(page: &Page) -> Result<u16, Fault> {
    let at = position(page)? + FLAGS;
    Ok(page::get_u16(page, at))
}

pub(super) fn set_flags(page: &mut Page, flags: u16) -> Result<(), Fault> {
    let at = position(page)? + FLAGS;
    page::put_u16(page, at, flags);
    Ok(())
}

pub(super) fn clear_flags(page: &mut Page, clear: u16) -> Result<(), Fault> {
    let left = flags(page)? & !clear;
    set_flags(page, left)
}

pub(super) fn clear_cycle_id(page: &mut Page) -> Result<(), Fault> {
    let at = position(page)? + CYCLE_ID;
    page::put_u16(page, at, 0);
    Ok(())
}

/// Where the special area starts.
fn position(page: &Page) -> Result<usize, Fault> {
    Ok(page::special_range(page, SIZE)?.start)
}
