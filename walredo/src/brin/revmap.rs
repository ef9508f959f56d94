//! The range map: the address of each range's summary (`RevmapContents`, access/brin_page.h). It lies
//! where other pages have line pointers and hole.

use walrecord::{BlockNumber, PAGE_SIZE, Page};

use super::special::{REVMAP, check_page_type};
use crate::error::Fault;
use crate::page::{self, HEADER_SIZE, max_align};

/// Bytes of one address (`ItemPointerData`).
const ENTRY: usize = 6;
/// Addresses on a page (`REVMAP_PAGE_MAXITEMS`).
const ENTRIES: u32 = ((PAGE_SIZE - max_align(HEADER_SIZE) - 8) / ENTRY) as u32;

/// The address of no summary.
pub(super) const NONE: [u8; ENTRY] = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0];

/// Sets the address of the summary of the range that a heap block belongs to (`brinSetHeapBlockItemptr`,
/// brin_revmap.c). Which page of the map that is, the record says by naming it.
pub(super) fn set_summary(
    page: &mut Page,
    heap_block: BlockNumber,
    pages_per_range: u32,
    summary: [u8; ENTRY],
) -> Result<(), Fault> {
    check_page_type(page, REVMAP)?;
    let Some(range) = heap_block.checked_div(pages_per_range) else {
        return Err(Fault::Value {
            what: "the number of heap pages in a range",
            found: 0,
            expected: 1,
        });
    };
    let at = HEADER_SIZE + (range % ENTRIES) as usize * ENTRY;
    // A page of another layout would have its special area elsewhere.
    if at + ENTRY > usize::from(page::special(page)) {
        return Err(Fault::Special {
            special: page::special(page),
            needed: 8,
        });
    }
    page[at..at + ENTRY].copy_from_slice(&summary);
    Ok(())
}
