//! Records of BRIN indexes (access/brin_xlog.h; redone by `brin_redo`, access/brin/brin_xlog.c).

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError, block_data};
use crate::types::BlockNumber;

const RMGR: Rmgr = Rmgr::Brin;

/// The bits of the flag byte that tell records apart (`XLOG_BRIN_OPMASK`). The remaining one says
/// that block 0 is initialised first, as its reference does.
const OPCODE_MASK: u8 = 0x70;

/// A record of resource manager BRIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrinRecord {
    /// The metapage is made. Block 0: the metapage.
    CreateIndex(CreateIndex),
    /// A summary is added. Block 0: its page, its data the tuple; block 1: the page of the range map.
    Insert(Insert),
    /// A summary moves. As `Insert`; block 2: the page that it leaves.
    Update(Update),
    /// A summary is replaced in place. Block 0: its page, its data the tuple.
    SamepageUpdate {
        /// The summary's line pointer.
        offnum: u16,
    },
    /// The range map grows. Block 0: the metapage; block 1: the new page of the range map.
    RevmapExtend {
        /// The new page's number.
        target: BlockNumber,
    },
    /// A summary is removed. Block 0: the page of the range map; block 1: the summary's page.
    Desummarize(Desummarize),
}

/// `xl_brin_createidx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateIndex {
    /// Heap blocks in one range.
    pub pages_per_range: u32,
    /// The index's version.
    pub version: u16,
}

/// `xl_brin_insert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insert {
    /// A heap block of the range.
    pub heap_block: BlockNumber,
    /// Heap blocks in one range.
    pub pages_per_range: u32,
    /// The summary's line pointer.
    pub offnum: u16,
}

/// `xl_brin_update`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// The old summary's line pointer.
    pub old_offnum: u16,
    /// The new summary.
    pub insert: Insert,
}

/// `xl_brin_desummarize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Desummarize {
    /// Heap blocks in one range.
    pub pages_per_range: u32,
    /// A heap block of the range.
    pub heap_block: BlockNumber,
    /// The summary's line pointer.
    pub offnum: u16,
}

impl BrinRecord {
    /// Decodes the main data of a BRIN record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'_>) -> Result<BrinRecord, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let decoded = match record.info() & OPCODE_MASK {
            0x00 => BrinRecord::CreateIndex(CreateIndex {
                pages_per_range: body.u32("pages per range")?,
                version: body.u16("index version")?,
            }),
            0x10 => BrinRecord::Insert(Insert::read(body)?),
            0x20 => {
                let old_offnum = body.u16("old offset")?;
                body.pad(2)?;
                let insert = Insert::read(body)?;
                BrinRecord::Update(Update { old_offnum, insert })
            }
            0x30 => BrinRecord::SamepageUpdate {
                offnum: body.u16("offset")?,
            },
            0x40 => BrinRecord::RevmapExtend {
                target: body.u32("target block")?,
            },
            0x50 => BrinRecord::Desummarize(Desummarize {
                pages_per_range: body.u32("pages per range")?,
                heap_block: body.u32("heap block")?,
                offnum: body.u16("offset")?,
            }),
            _ => {
                return Err(BodyError::Opcode {
                    rmgr: RMGR,
                    info: record.info(),
                });
            }
        };
        body.finish("main data")?;
        Ok(decoded)
    }

    /// The tuple of INSERT, UPDATE and SAMEPAGE_UPDATE.
    ///
    /// # Errors
    /// If block 0 or its data is missing.
    pub fn tuple<'a>(record: &Record<'a>) -> Result<&'a [u8], BodyError> {
        block_data(RMGR, record, 0)
    }
}

impl Insert {
    fn read(body: &mut Body<'_>) -> Result<Insert, BodyError> {
        Ok(Insert {
            heap_block: body.u32("heap block")?,
            pages_per_range: body.u32("pages per range")?,
            offnum: body.u16("offset")?,
        })
    }
}
