//! Descriptions of BRIN records (`brin_desc`, access/rmgrdesc/brindesc.c; the same in 14 to 18).

use super::fields::{Fields, Style};
use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::brin::{BrinRecord, Insert};

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    match BrinRecord::decode(record)? {
        BrinRecord::CreateIndex(create) => {
            out.byte(b'v').dec(create.version);
            out.str(" pagesPerRange ").dec(create.pages_per_range);
        }
        BrinRecord::Insert(insert) => {
            range(out, &insert).dec("offnum", insert.offnum);
        }
        BrinRecord::Update(update) => {
            range(out, &update.insert).dec("old offnum", update.old_offnum);
            out.str(", new offnum ").dec(update.insert.offnum);
        }
        BrinRecord::SamepageUpdate { offnum } => {
            out.str("offnum ").dec(offnum);
        }
        BrinRecord::RevmapExtend { target } => {
            out.str("targetBlk ").dec(target);
        }
        BrinRecord::Desummarize(desummarize) => {
            Fields::new(out, Style::COMMA)
                .dec("pagesPerRange", desummarize.pages_per_range)
                .dec("heapBlk", desummarize.heap_block)
                .dec("page offset", desummarize.offnum);
        }
    }
    Ok(())
}

/// The range that a summary is of.
fn range<'t>(out: &'t mut Text, insert: &Insert) -> Fields<'t> {
    let mut fields = Fields::new(out, Style::SPACE);
    fields
        .dec("heapBlk", insert.heap_block)
        .dec("pagesPerRange", insert.pages_per_range);
    fields
}
