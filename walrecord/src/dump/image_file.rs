//! The names of the files that page images are saved to (`XLogRecordSaveFPWs`,
//! bin/pg_waldump/pg_waldump.c, 16 and newer).

use crate::record::{BlockRef, Record};
use crate::types::PgTimelineId;

/// The name for the image of a block: timeline, record's start, relation, block, fork.
pub fn image_file_name(
    timeline: PgTimelineId,
    record: &Record<'_>,
    block: &BlockRef<'_>,
) -> String {
    let (start, tag) = (record.start.get(), block.tag);
    format!(
        "{timeline:08X}-{:08X}-{:08X}.{}.{}.{}.{}_{}",
        start >> 32,
        start & 0xFFFF_FFFF,
        tag.rel.spc,
        tag.rel.db,
        tag.rel.rel,
        tag.block,
        tag.fork
    )
}
