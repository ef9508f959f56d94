//! Descriptions of SPGist records (`spg_desc`, access/rmgrdesc/spgdesc.c).

use super::fields::{Fields, Style};
use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::spgist::{ParentLink, SpGistRecord, VacuumRedirect};
use crate::types::PgVersion;

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    let fields = &mut Fields::new(out, Style::COLON);
    match SpGistRecord::decode(record)? {
        SpGistRecord::AddLeaf(add) => {
            fields
                .dec("off", add.offnum)
                .dec("headoff", add.head_offnum);
            parent(fields, add.parent);
            marks(
                out,
                [(add.new_page, "newpage"), (add.stores_nulls, "nulls")],
            );
        }
        SpGistRecord::MoveLeafs(moved) => {
            fields.dec("nmoves", moved.deleted.len() as u64);
            parent(fields, moved.parent);
            marks(
                out,
                [
                    (moved.new_page, "newpage"),
                    (moved.replace_dead, "replacedead"),
                    (moved.stores_nulls, "nulls"),
                ],
            );
        }
        SpGistRecord::AddNode(add) => {
            fields
                .dec("off", add.offnum)
                .dec("newoff", add.new_offnum)
                .name("parentBlk")
                .signed(add.parent_block);
            parent(fields, add.parent);
            marks(out, [(add.new_page, "newpage")]);
        }
        SpGistRecord::SplitTuple(split) => {
            fields
                .dec("prefixoff", split.prefix_offnum)
                .dec("postfixoff", split.postfix_offnum);
            marks(
                out,
                [(split.new_page, "newpage"), (split.same_page, "same")],
            );
        }
        SpGistRecord::PickSplit(split) => {
            fields
                .dec("ndelete", split.deleted.len() as u64)
                .dec("ninsert", split.inserted.len() as u64)
                .dec("inneroff", split.inner_offnum);
            parent(fields, split.parent);
            marks(
                out,
                [
                    (split.inner_is_parent, "innerIsParent"),
                    (split.stores_nulls, "nulls"),
                    (split.is_root_split, "isRootSplit"),
                ],
            );
        }
        SpGistRecord::VacuumLeaf(vacuum) => {
            fields
                .dec("ndead", vacuum.dead.len() as u64)
                .dec("nplaceholder", vacuum.placeholder.len() as u64)
                .dec("nmove", vacuum.move_from.len() as u64)
                .dec("nchain", vacuum.chain_from.len() as u64);
        }
        SpGistRecord::VacuumRoot(vacuum) => {
            fields.dec("ndelete", vacuum.deleted.len() as u64);
        }
        SpGistRecord::VacuumRedirect(vacuum) => vacuum_redirect(fields, &vacuum, record.version),
    }
    Ok(())
}

fn parent(fields: &mut Fields<'_>, parent: ParentLink) {
    fields
        .dec("parentoff", parent.offnum)
        .dec("nodeI", parent.node);
}

/// The names of what is true, each in parentheses.
fn marks<const N: usize>(out: &mut Text, marks: [(bool, &'static str); N]) {
    for (is_set, name) in marks {
        if is_set {
            out.str(" (").str(name).byte(b')');
        }
    }
}

/// 16 renamed the horizon, 17 added the catalog flag.
fn vacuum_redirect(fields: &mut Fields<'_>, vacuum: &VacuumRedirect<'_>, version: PgVersion) {
    let horizon = match version < PgVersion::V16 {
        true => "newestredirectxid",
        false => "snapshotConflictHorizon",
    };
    fields
        .dec("ntoplaceholder", vacuum.to_placeholder.len() as u64)
        .dec("firstplaceholder", vacuum.first_placeholder)
        .dec(horizon, vacuum.horizon);
    if version >= PgVersion::V17 {
        fields.truth("isCatalogRel", vacuum.is_catalog);
    }
}
