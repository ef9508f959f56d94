//! Descriptions of Hash records (`hash_desc`, access/rmgrdesc/hashdesc.c).

use super::fields::{Fields, Style, horizon_name};
use super::float;
use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::hash::{HashRecord, VacuumOnePage};
use crate::types::PgVersion;

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    let fields = &mut Fields::new(out, Style::COMMA);
    match HashRecord::decode(record)? {
        HashRecord::InitMetaPage(init) => {
            float::general(fields.name("num_tuples"), init.tuples);
            fields.dec("fillfactor", init.fill_factor);
        }
        HashRecord::InitBitmapPage { bitmap_size } => {
            fields.dec("bmsize", bitmap_size);
        }
        HashRecord::Insert { offnum } => {
            fields.dec("off", offnum);
        }
        HashRecord::AddOverflowPage(add) => {
            fields
                .dec("bmsize", add.bitmap_size)
                .truth("bmpage_found", add.bitmap_page_found);
        }
        HashRecord::SplitAllocatePage(split) => {
            fields
                .dec("new_bucket", split.new_bucket)
                .truth("meta_page_masks_updated", split.flags & 0x01 != 0)
                .truth("issplitpoint_changed", split.flags & 0x02 != 0);
        }
        HashRecord::SplitPage | HashRecord::SplitCleanup => {}
        HashRecord::SplitComplete(split) => {
            fields
                .dec("old_bucket_flag", split.old_flag)
                .dec("new_bucket_flag", split.new_flag);
        }
        HashRecord::MovePageContents(moved) => {
            fields
                .dec("ntups", moved.tuples)
                .truth("is_primary", moved.to_primary_page);
        }
        HashRecord::SqueezePage(squeeze) => {
            fields
                .dec("prevblkno", squeeze.prev)
                .dec("nextblkno", squeeze.next)
                .dec("ntups", squeeze.tuples)
                .truth("is_primary", squeeze.to_primary_page);
        }
        HashRecord::Delete(delete) => {
            fields
                .truth("clear_dead_marking", delete.clear_dead_marking)
                .truth("is_primary", delete.is_primary_page);
        }
        HashRecord::UpdateMetaPage { tuples } => {
            float::general(fields.name("ntuples"), tuples);
        }
        HashRecord::VacuumOnePage(vacuum) => vacuumed(fields, &vacuum, record.version),
    }
    Ok(())
}

/// 17 added the catalog flag.
fn vacuumed(fields: &mut Fields<'_>, vacuum: &VacuumOnePage<'_>, version: PgVersion) {
    fields
        .dec("ntuples", vacuum.offsets.len() as u64)
        .dec(horizon_name(version), vacuum.horizon);
    if version >= PgVersion::V17 {
        fields.truth("isCatalogRel", vacuum.is_catalog);
    }
}
