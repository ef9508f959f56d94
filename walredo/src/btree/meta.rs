//! The metapage, and a new root (`_bt_restore_meta` and `btree_xlog_newroot`, nbtxlog.c).

use walrecord::Page;
use walrecord::rmgr::btree::Metadata;

use super::opaque::{self, LEAF, META, NO_BLOCK, Opaque, ROOT};
use crate::error::Fault;
use crate::page::{self, HEADER_SIZE};

/// What a metapage starts with (`BTREE_MAGIC`).
const MAGIC: u32 = 0x05_3162;

// `BTMetaPageData`: seven words, padding, a double, a flag, padding.
const MAGIC_AT: usize = HEADER_SIZE;
const LOGGED_AT: usize = MAGIC_AT + 4;
const HEAP_TUPLES_AT: usize = HEADER_SIZE + 32;
const ALL_EQUAL_IMAGE_AT: usize = HEAP_TUPLES_AT + 8;
const END: usize = HEADER_SIZE + 48;

/// What a metapage's double says that nobody has counted (deprecated since 14).
const HEAP_TUPLES_UNKNOWN: f64 = -1.0;

/// Makes the metapage.
pub(super) fn make(page: &mut Page, meta: &Metadata) -> Result<(), Fault> {
    page::init(page, opaque::SIZE);
    page::put_u32(page, MAGIC_AT, MAGIC);
    let words = [
        meta.version,
        meta.root,
        meta.level,
        meta.fast_root,
        meta.fast_level,
        meta.last_cleanup_num_delpages,
    ];
    for (index, word) in words.into_iter().enumerate() {
        let at = LOGGED_AT + index * 4;
        page::put_u32(page, at, word);
    }
    page[HEAP_TUPLES_AT..ALL_EQUAL_IMAGE_AT].copy_from_slice(&HEAP_TUPLES_UNKNOWN.to_le_bytes());
    page[ALL_EQUAL_IMAGE_AT] = u8::from(meta.all_equal_image);
    page::set_lower(page, END as u16);
    Opaque {
        prev: NO_BLOCK,
        next: NO_BLOCK,
        level: 0,
        flags: META,
    }
    .write(page)
}

/// Makes a root page without items.
pub(super) fn make_root(page: &mut Page, level: u32) -> Result<(), Fault> {
    page::init(page, opaque::SIZE);
    Opaque {
        prev: NO_BLOCK,
        next: NO_BLOCK,
        level,
        flags: ROOT | if level == 0 { LEAF } else { 0 },
    }
    .write(page)
}
