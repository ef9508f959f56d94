//! The metapage (`BrinMetaPageData`, access/brin_page.h).

use walrecord::rmgr::brin::CreateIndex;
use walrecord::{BlockNumber, Page};

use super::special::{META, check_page_type, init_page};
use crate::error::Fault;
use crate::page::{self, HEADER_SIZE};

/// What a metapage starts with (`BRIN_META_MAGIC`).
const MAGIC: u32 = 0xA810_9CFA;

const MAGIC_AT: usize = HEADER_SIZE;
const VERSION_AT: usize = MAGIC_AT + 4;
const PAGES_PER_RANGE_AT: usize = VERSION_AT + 4;
const LAST_REVMAP_PAGE_AT: usize = PAGES_PER_RANGE_AT + 4;
const END: usize = LAST_REVMAP_PAGE_AT + 4;

/// Makes the metapage of an index without a range map (`brin_metapage_init`, brin_pageops.c).
pub(super) fn make(page: &mut Page, create: &CreateIndex) -> Result<(), Fault> {
    init_page(page, META)?;
    page::put_u32(page, MAGIC_AT, MAGIC);
    let version = u32::from(create.version);
    page::put_u32(page, VERSION_AT, version);
    page::put_u32(page, PAGES_PER_RANGE_AT, create.pages_per_range);
    page::set_lower(page, END as u16);
    Ok(())
}

/// Notes the new last page of the range map. Indexes that an old release made have a wrong `pd_lower`,
/// which is mended on the way (`brin_xlog_revmap_extend`, brin_xlog.c).
pub(super) fn extend_revmap(page: &mut Page, target: BlockNumber) -> Result<(), Fault> {
    check_page_type(page, META)?;
    page::set_lower(page, END as u16);
    // There may be too little room on a page that is damaged.
    page::check_header(page)?;
    page::put_u32(page, LAST_REVMAP_PAGE_AT, target);
    Ok(())
}
