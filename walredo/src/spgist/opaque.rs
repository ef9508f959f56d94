//! The special area of an SP-GiST page (`SpGistPageOpaqueData`, access/spgist_private.h).

use walrecord::Page;

use crate::error::Fault;
use crate::page;

/// Bytes of the special area.
const SIZE: usize = 8;

const FLAGS: usize = 0;
const REDIRECTIONS: usize = FLAGS + 2;
const PLACEHOLDERS: usize = REDIRECTIONS + 2;
const PAGE_ID: usize = PLACEHOLDERS + 2;

/// What the special area ends with (`SPGIST_PAGE_ID`).
pub(super) const SPGIST_PAGE_ID: u16 = 0xFF82;

/// A page of leaf tuples (`SPGIST_LEAF`).
const LEAF: u16 = 1 << 2;
/// A page of the tree of nulls (`SPGIST_NULLS`).
const NULLS: u16 = 1 << 3;

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Inner,
    Leaf,
}

/// What the special area counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    /// Tuples that say where a list or an inner tuple went (`nRedirection`).
    Redirections,
    /// Tuples that keep a line pointer from being taken back (`nPlaceholder`).
    Placeholders,
}

/// Makes an empty page (`SpGistInitPage`, spgutils.c).
pub(super) fn init_page(page: &mut Page, level: Level, stores_nulls: bool) -> Result<(), Fault> {
    page::init(page, SIZE);
    let leaf = if level == Level::Leaf { LEAF } else { 0 };
    let nulls = if stores_nulls { NULLS } else { 0 };
    let at = position(page)?;
    page::put_u16(page, at + FLAGS, leaf | nulls);
    page::put_u16(page, at + PAGE_ID, SPGIST_PAGE_ID);
    Ok(())
}

/// Adds `count`, which may be negative, to a counter.
pub(super) fn count(page: &mut Page, counter: Counter, count: i32) -> Result<(), Fault> {
    let at = position(page)?
        + match counter {
            Counter::Redirections => REDIRECTIONS,
            Counter::Placeholders => PLACEHOLDERS,
        };
    let old = page::get_u16(page, at);
    let new = u16::try_from(i32::from(old) + count).map_err(|_| Fault::Value {
        what: match counter {
            Counter::Redirections => "the page's number of redirections",
            Counter::Placeholders => "the page's number of placeholders",
        },
        found: u64::from(old),
        expected: u64::from(count.unsigned_abs()),
    })?;
    page::put_u16(page, at, new);
    Ok(())
}

/// Where the special area starts.
fn position(page: &Page) -> Result<usize, Fault> {
    Ok(page::special_range(page, SIZE)?.start)
}
