//! Descriptions of Gin records (`gin_desc`, access/rmgrdesc/gindesc.c; the same in 14 to 18).

use super::fields::{tid, truth};
use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::gin::{ActionKind, GinRecord, Insert, Insertion, Recompression};

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    match GinRecord::decode(record)? {
        GinRecord::CreatePostingTree { .. }
        | GinRecord::VacuumPage
        | GinRecord::DeletePage(_)
        | GinRecord::UpdateMetaPage(_)
        | GinRecord::InsertListPage(_) => {}
        GinRecord::Insert(insert) => describe_insert(&insert, record, out)?,
        GinRecord::Split(split) => {
            truth(out.str("isrootsplit: "), split.flags & 0x04 != 0);
            out.byte(b' ');
            page_kind(out, split.flags & 0x01 != 0, split.flags & 0x02 != 0);
        }
        GinRecord::VacuumDataLeafPage => {
            if !note_image(record, out) {
                recompression(out, Recompression::of_vacuum(record)?);
            }
        }
        GinRecord::DeleteListPages(delete) => {
            out.str("ndeleted: ").signed(delete.deleted);
        }
    }
    Ok(())
}

fn describe_insert(insert: &Insert, record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    page_kind(out, insert.is_data, insert.children.is_none());
    if let Some(children) = insert.children {
        out.str(" children: ").dec(children.left);
        out.byte(b'/').dec(children.right);
    }
    if note_image(record, out) {
        return Ok(());
    }
    match insert.insertion(record)? {
        Insertion::Entry(entry) => truth(out.str(" isdelete: "), entry.is_delete),
        Insertion::DataLeaf(actions) => recompression(out, actions),
        Insertion::DataInternal(insert) => {
            out.str(" pitem: ").dec(insert.child()).byte(b'-');
            tid(out, insert.key());
        }
    }
    Ok(())
}

fn page_kind(out: &mut Text, is_data: bool, is_leaf: bool) {
    truth(out.str("isdata: "), is_data);
    truth(out.str(" isleaf: "), is_leaf);
}

/// Says that block 0 has an image; false if it has none. Its data is not looked at then, even if there
/// is some beside an image for verification.
fn note_image(record: &Record<'_>, out: &mut Text) -> bool {
    let image = record.block(0).and_then(|block| block.image.as_ref());
    let Some(image) = image else {
        return false;
    };
    out.str(match image.apply {
        true => " (full page image)",
        false => " (full page image, for WAL verification)",
    });
    true
}

/// What happens to which segment of a leaf (`desc_recompress_leaf`).
fn recompression(out: &mut Text, actions: Recompression<'_>) {
    out.byte(b' ').dec(actions.len() as u64).str(" segments:");
    for action in actions {
        out.byte(b' ').dec(action.segment);
        match action.kind {
            ActionKind::Delete => out.str(" (delete)"),
            ActionKind::Insert(_) => out.str(" (insert)"),
            ActionKind::Replace(_) => out.str(" (replace)"),
            ActionKind::AddItems(items) => out.str(" (add ").dec(items.len() as u64).str(" items)"),
        };
    }
}
