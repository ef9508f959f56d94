//! Descriptions of Btree records (`btree_desc`, access/rmgrdesc/nbtdesc.c). 16 gave them new
//! punctuation and the lists of DELETE and VACUUM, 17 the catalog flag.

use super::fields::{Fields, Style, has_block_data, horizon_name, offsets};
use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::btree::{
    BtreeRecord, Delete, DeletionCounts, MarkPageHalfDead, Metadata, PostingUpdate, ReusePage,
    Split, UnlinkPage, Vacuum,
};
use crate::types::PgVersion;

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    let version = record.version;
    let fields = &mut Fields::new(out, style(version));
    match BtreeRecord::decode(record)? {
        BtreeRecord::InsertLeaf(insert)
        | BtreeRecord::InsertUpper(insert)
        | BtreeRecord::InsertMeta(insert)
        | BtreeRecord::InsertPost(insert) => {
            fields.dec("off", insert.offnum);
        }
        BtreeRecord::SplitLeft(split) | BtreeRecord::SplitRight(split) => {
            describe_split(&split, version, out);
        }
        BtreeRecord::Dedup(dedup) => {
            fields.dec("nintervals", dedup.interval_count);
        }
        BtreeRecord::Vacuum(vacuum) => describe_vacuum(fields, &vacuum, record)?,
        BtreeRecord::Delete(delete) => describe_delete(fields, &delete, record)?,
        BtreeRecord::MarkPageHalfDead(mark) => half_dead(fields, &mark),
        BtreeRecord::UnlinkPage(unlink) | BtreeRecord::UnlinkPageMeta(unlink) => {
            unlinked(fields, &unlink);
        }
        BtreeRecord::NewRoot(root) => {
            let name = if is_terse(version) { "lev" } else { "level" };
            fields.dec(name, root.level);
        }
        BtreeRecord::ReusePage(reuse) => reused(fields, &reuse, version),
        BtreeRecord::MetaCleanup => {
            let metadata = Metadata::decode(record, 0)?;
            fields.dec(
                "last_cleanup_num_delpages",
                metadata.last_cleanup_num_delpages,
            );
        }
    }
    Ok(())
}

fn is_terse(version: PgVersion) -> bool {
    version < PgVersion::V16
}

fn style(version: PgVersion) -> Style {
    match is_terse(version) {
        true => Style::SEMICOLON,
        false => Style::COLON,
    }
}

/// 14 and 15 put commas here, and nowhere else.
fn describe_split(split: &Split, version: PgVersion, out: &mut Text) {
    let style = match is_terse(version) {
        true => Style::COMMA,
        false => Style::COLON,
    };
    Fields::new(out, style)
        .dec("level", split.level)
        .dec("firstrightoff", split.first_right)
        .dec("newitemoff", split.new_item)
        .dec("postingoff", split.posting_offset);
}

fn describe_vacuum(
    fields: &mut Fields<'_>,
    vacuum: &Vacuum,
    record: &Record<'_>,
) -> Result<(), BodyError> {
    counts(fields, vacuum.counts);
    deletions(fields, vacuum.counts, record)
}

fn describe_delete(
    fields: &mut Fields<'_>,
    delete: &Delete,
    record: &Record<'_>,
) -> Result<(), BodyError> {
    fields.dec(horizon_name(record.version), delete.horizon);
    counts(fields, delete.counts);
    if record.version >= PgVersion::V17 {
        fields.truth("isCatalogRel", delete.is_catalog);
    }
    deletions(fields, delete.counts, record)
}

fn counts(fields: &mut Fields<'_>, counts: DeletionCounts) {
    fields
        .dec("ndeleted", counts.deleted)
        .dec("nupdated", counts.updated);
}

/// The tuples that go and those that lose some of their TIDs (`delvacuum_desc`, 16 and newer).
fn deletions(
    fields: &mut Fields<'_>,
    counts: DeletionCounts,
    record: &Record<'_>,
) -> Result<(), BodyError> {
    if is_terse(record.version) || !has_block_data(record) {
        return Ok(());
    }
    let deletions = counts.deletions(record)?;
    fields
        .offsets("deleted", deletions.deleted)
        .list("updated", deletions.updated, posting_update);
    Ok(())
}

fn posting_update(out: &mut Text, update: PostingUpdate<'_>) {
    out.str("{ off: ").dec(update.offnum);
    out.str(", nptids: ").dec(update.deleted_tids.len() as u64);
    out.str(", ptids: ");
    offsets(out, update.deleted_tids);
    out.str(" }");
}

fn half_dead(fields: &mut Fields<'_>, mark: &MarkPageHalfDead) {
    fields
        .dec("topparent", mark.top_parent)
        .dec("leaf", mark.leaf)
        .dec("left", mark.left)
        .dec("right", mark.right);
}

fn unlinked(fields: &mut Fields<'_>, unlink: &UnlinkPage) {
    fields
        .dec("left", unlink.left)
        .dec("right", unlink.right)
        .dec("level", unlink.level)
        .full_xid("safexid", unlink.safe_xid)
        .dec("leafleft", unlink.leaf_left)
        .dec("leafright", unlink.leaf_right)
        .dec("leaftopparent", unlink.leaf_top_parent);
}

fn reused(fields: &mut Fields<'_>, reuse: &ReusePage, version: PgVersion) {
    fields
        .relation("rel", reuse.rel)
        .full_xid(horizon_name(version), reuse.horizon);
    if version >= PgVersion::V17 {
        fields.truth("isCatalogRel", reuse.is_catalog);
    }
}
