//! The special area of a BRIN page (`BrinSpecialSpace`, access/brin_page.h): a type and flags at its
//! very end.

use walrecord::Page;

use crate::error::Fault;
use crate::page;

/// Bytes of the special area.
const SIZE: usize = 8;
const FLAGS: usize = SIZE - 4;
const PAGE_TYPE: usize = FLAGS + 2;

/// The metapage (`BRIN_PAGETYPE_META`).
pub(super) const META: u16 = 0xF091;
/// A page of the range map (`BRIN_PAGETYPE_REVMAP`).
pub(super) const REVMAP: u16 = 0xF092;
/// A page of summaries (`BRIN_PAGETYPE_REGULAR`).
pub(super) const REGULAR: u16 = 0xF093;

/// Summaries are being moved away (`BRIN_EVACUATE_PAGE`). Never logged.
const EVACUATE: u16 = 1 << 0;

/// Makes an empty page of a type (`brin_page_init`, brin_pageops.c).
pub(super) fn init_page(page: &mut Page, page_type: u16) -> Result<(), Fault> {
    page::init(page, SIZE);
    let at = page::special_range(page, SIZE)?.start + PAGE_TYPE;
    page::put_u16(page, at, page_type);
    Ok(())
}

/// The page's type.
pub(super) fn page_type(page: &Page) -> Result<u16, Fault> {
    let at = page::special_range(page, SIZE)?.start + PAGE_TYPE;
    Ok(page::get_u16(page, at))
}

/// Demands that the page is of a type. Postgres asks so before it logs a change, not in redo.
pub(super) fn check_page_type(page: &Page, expected: u16) -> Result<(), Fault> {
    let found = page_type(page)?;
    if found == expected {
        return Ok(());
    }
    Err(Fault::Value {
        what: "the type of a BRIN page",
        found: u64::from(found),
        expected: u64::from(expected),
    })
}

/// Clears the flag that says that the page is being emptied.
pub(super) fn clear_evacuation(page: &mut Page) -> Result<(), Fault> {
    let at = page::special_range(page, SIZE)?.start + FLAGS;
    let flags = page::get_u16(page, at) & !EVACUATE;
    page::put_u16(page, at, flags);
    Ok(())
}
