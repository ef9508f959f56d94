//! Descriptions of Gist records (`gist_desc`, access/rmgrdesc/gistdesc.c). 16 renamed the horizons, 17
//! added the catalog flags.

use super::fields::{Fields, Style, horizon_name};
use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::gist::{Delete, GistRecord, PageReuse};
use crate::types::PgVersion;

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    match GistRecord::decode(record)? {
        GistRecord::PageUpdate(_) | GistRecord::AssignLsn => {}
        GistRecord::Delete(delete) => describe_delete(&delete, record.version, out),
        GistRecord::PageReuse(reuse) => describe_reuse(&reuse, record.version, out),
        GistRecord::PageSplit(split) => {
            out.str("page_split: splits to ").dec(split.pages);
            out.str(" pages");
        }
        GistRecord::PageDelete(delete) => {
            Fields::new(out, Style::SEMICOLON)
                .full_xid("deleteXid", delete.delete_xid)
                .dec("downlink", delete.downlink_offset);
        }
    }
    Ok(())
}

fn describe_delete(delete: &Delete<'_>, version: PgVersion, out: &mut Text) {
    out.str("delete: ").str(horizon_name(version));
    out.byte(b' ').dec(delete.horizon);
    out.str(", nitems: ").dec(delete.offsets.len() as u64);
    catalog_flag(delete.is_catalog, version, out);
}

fn describe_reuse(reuse: &PageReuse, version: PgVersion, out: &mut Text) {
    Fields::new(out, Style::SEMICOLON)
        .relation("rel", reuse.rel)
        .dec("blk", reuse.block)
        .full_xid(horizon_name(version), reuse.horizon);
    catalog_flag(reuse.is_catalog, version, out);
}

fn catalog_flag(is_catalog: bool, version: PgVersion, out: &mut Text) {
    if version >= PgVersion::V17 {
        let fields = &mut Fields::new(out, Style::COMMA);
        fields.resume();
        fields.truth("isCatalogRel", is_catalog);
    }
}
