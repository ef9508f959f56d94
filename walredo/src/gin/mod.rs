//! Redo of GIN records (`gin_redo`, access/gin/ginxlog.c): who does what to which of a record's
//! blocks. The same in all versions.
//!
//! A GIN index is a tree of entries, whose leaves hold short posting lists or point to posting trees;
//! a list of tuples that are not in the tree yet; and a metapage.

mod entry;
mod leaf;
mod list;
mod mask;
mod opaque;
mod posting;
mod posting_items;

#[cfg(test)]
mod tests;

pub(crate) use mask::mask;

use walrecord::rmgr::gin::{
    Children, DeletePage, GinRecord, Insert, Insertion, METADATA_SIZE, Recompression,
};
use walrecord::{Page, Record};

use self::opaque::{DELETED, INCOMPLETE_SPLIT, META, NO_BLOCK};
use crate::error::Fault;
use crate::page::{self, HEADER_SIZE};
use crate::redo::{Context, Edit};

/// Applies a record of resource manager Gin to the page of `cx.block`.
pub(crate) fn redo(page: &mut Page, cx: &Context<'_, '_>) -> Result<Edit, Fault> {
    let record = cx.record;
    let id = cx.block.id;
    match (GinRecord::decode(record)?, id) {
        (GinRecord::CreatePostingTree { content }, 0) => leaf::make(page, content)?,
        (GinRecord::Insert(it), 0) => insert(page, record, &it)?,
        (
            GinRecord::Insert(Insert {
                children: Some(_), ..
            }),
            1,
        )
        | (GinRecord::Split(_), 3) => {
            opaque::clear_flags(page, INCOMPLETE_SPLIT)?;
        }
        (GinRecord::Split(_), 0..=2) | (GinRecord::VacuumPage, 0) => {
            return Err(Fault::Missing("image"));
        }
        (GinRecord::DeletePage(it), _) => delete_page(page, cx, &it)?,
        (GinRecord::UpdateMetaPage(it), 0) => make_meta(page, it.metadata)?,
        (GinRecord::UpdateMetaPage(it), 1) if it.tuples > 0 => {
            list::append(page, GinRecord::list_tuples(record, id, it.tuples)?)?;
        }
        (GinRecord::UpdateMetaPage(it), 1) if it.prev_tail != NO_BLOCK => {
            opaque::set_right_link(page, it.new_right_link)?;
        }
        (GinRecord::InsertListPage(it), 0) => {
            let tuples = GinRecord::list_tuples(record, id, it.tuples)?;
            list::make(page, it.right_link, tuples)?;
        }
        (GinRecord::DeleteListPages(it), 0) => make_meta(page, it.metadata)?,
        (GinRecord::DeleteListPages(it), 1..) if i32::from(id) <= it.deleted => {
            opaque::make(page, DELETED)?;
        }
        (GinRecord::VacuumDataLeafPage, 0) => {
            leaf::recompress(page, Recompression::of_vacuum(record)?)?;
        }
        _ => return Err(cx.surplus_block()),
    }
    Ok(Edit::Changed)
}

fn insert(page: &mut Page, record: &Record<'_>, it: &Insert) -> Result<(), Fault> {
    match (it.insertion(record)?, it.children) {
        (Insertion::Entry(entry), children) => entry::insert(page, &entry, children),
        (Insertion::DataLeaf(actions), _) => leaf::recompress(page, actions),
        (Insertion::DataInternal(item), Some(Children { right, .. })) => {
            posting_items::insert(page, &item, right)
        }
        (Insertion::DataInternal(_), None) => Err(Fault::Missing("child pages")),
    }
}

/// A leaf of a posting tree leaves the tree (`ginRedoDeletePage`).
fn delete_page(page: &mut Page, cx: &Context<'_, '_>, it: &DeletePage) -> Result<(), Fault> {
    match cx.block.id {
        0 => {
            opaque::set_flags(page, DELETED)?;
            // `GinPageSetDeleteXid`: the field has no other use in GIN.
            page::set_prune_xid(page, it.delete_xid);
            Ok(())
        }
        1 => posting_items::delete(page, it.parent_offset),
        2 => opaque::set_right_link(page, it.right_link),
        _ => Err(cx.surplus_block()),
    }
}

/// Makes the metapage (`GinInitMetabuffer`, ginutil.c); the record has all its content.
fn make_meta(page: &mut Page, metadata: &[u8]) -> Result<(), Fault> {
    const END: usize = HEADER_SIZE + METADATA_SIZE;
    opaque::make(page, META)?;
    let metadata: &[u8; METADATA_SIZE] = metadata
        .try_into()
        .map_err(|_| Fault::Missing("metadata"))?;
    page[HEADER_SIZE..END].copy_from_slice(metadata);
    page::set_lower(page, END as u16);
    Ok(())
}
