//! Records of hash indexes (access/hash_xlog.h; redone by `hash_redo`, access/hash/hash_xlog.c).

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError, LeArray, block_data};
use crate::rmgr::index_tuple::{IndexTuples, Spacing};
use crate::types::{BlockNumber, PgVersion, Xid};

const RMGR: Rmgr = Rmgr::Hash;

/// A record of resource manager Hash.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HashRecord<'a> {
    /// The metapage is made. Block 0: the metapage.
    InitMetaPage(InitMetaPage),
    /// A bitmap page is made. Block 0: the bitmap; block 1: the metapage.
    InitBitmapPage {
        /// Bytes of the bitmap.
        bitmap_size: u16,
    },
    /// A tuple is added. Block 0: its page, its data the tuple; block 1: the metapage.
    Insert {
        /// The tuple's line pointer.
        offnum: u16,
    },
    /// An overflow page is added. Block 0: the page, its data the bucket number; block 1: the page
    /// before it; block 2, if any: the bitmap page, its data the bit; block 3, if any: a new bitmap
    /// page; block 4: the metapage, its data its first free bit.
    AddOverflowPage(AddOverflowPage),
    /// A bucket's split begins. Block 0: the old bucket, changed after an image, too; block 1: the new
    /// bucket; block 2: the metapage, its data a [`SplitMeta`].
    SplitAllocatePage(SplitAllocatePage),
    /// A page of the new bucket. Block 0 always has an image.
    SplitPage,
    /// A bucket's split ends. Blocks 0 and 1: old and new bucket, changed after an image, too.
    SplitComplete(SplitComplete),
    /// Tuples move between pages of a bucket. Block 0, if any: the bucket's first page, only locked;
    /// block 1: the page that they move to, its data [`AddedTuples`]; block 2: the page that they
    /// leave, its data their line pointers.
    MovePageContents(MovePageContents),
    /// An overflow page is freed. Block 0, if any: the bucket's first page, only locked; block 1, if
    /// any: the page that its tuples move to, its data [`AddedTuples`]; block 2: the page that is
    /// freed; block 3, if any: the page before it; block 4, if any: the page after it; block 5: the
    /// bitmap page, its data the bit; block 6, if any: the metapage, its data its first free bit.
    SqueezePage(SqueezePage),
    /// Tuples are removed. Block 0, if any: the bucket's first page, only locked; block 1: the page,
    /// its data their line pointers.
    Delete(Delete),
    /// A bucket is cleaned up after its split. Block 0: its first page.
    SplitCleanup,
    /// The number of tuples is set. Block 0: the metapage.
    UpdateMetaPage {
        /// Tuples in the index.
        tuples: f64,
    },
    /// Dead tuples are removed by an insertion. Block 0: the page; block 1: the metapage.
    VacuumOnePage(VacuumOnePage<'a>),
}

/// `xl_hash_init_meta_page`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InitMetaPage {
    /// Tuples that are expected.
    pub tuples: f64,
    /// The hash function's object id.
    pub procid: u32,
    /// Tuples that fill a bucket.
    pub fill_factor: u16,
}

/// `xl_hash_add_ovfl_page`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddOverflowPage {
    /// Bytes of a new bitmap.
    pub bitmap_size: u16,
    /// A free bit was found in a bitmap page.
    pub bitmap_page_found: bool,
}

/// `xl_hash_split_allocate_page`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitAllocatePage {
    /// The new bucket's number.
    pub new_bucket: u32,
    /// The old bucket's page flags.
    pub old_flag: u16,
    /// The new bucket's page flags.
    pub new_flag: u16,
    /// 1: the masks change; 2: the split point changes.
    pub flags: u8,
}

/// The data of block 2 of SPLIT_ALLOCATE_PAGE: what changes on the metapage besides the highest
/// bucket number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitMeta {
    /// New low and high mask.
    pub masks: Option<(u32, u32)>,
    /// New split point, and its entry of `hashm_spares`.
    pub split_point: Option<(u32, u32)>,
}

/// `xl_hash_split_complete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitComplete {
    /// The old bucket's page flags.
    pub old_flag: u16,
    /// The new bucket's page flags.
    pub new_flag: u16,
}

/// `xl_hash_move_page_contents`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovePageContents {
    /// Tuples that move.
    pub tuples: u16,
    /// They move to the bucket's first page.
    pub to_primary_page: bool,
}

/// `xl_hash_squeeze_page`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqueezePage {
    /// The page before the one that is freed.
    pub prev: BlockNumber,
    /// The page after it.
    pub next: BlockNumber,
    /// Tuples that move.
    pub tuples: u16,
    /// They move to the bucket's first page.
    pub to_primary_page: bool,
    /// They move to the page before the one that is freed.
    pub to_prev_page: bool,
}

/// `xl_hash_delete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete {
    /// No dead tuples are left on the page.
    pub clear_dead_marking: bool,
    /// The page is the bucket's first.
    pub is_primary_page: bool,
}

/// `xl_hash_vacuum_one_page`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VacuumOnePage<'a> {
    /// Queries older than this conflict on a standby.
    pub horizon: Xid,
    /// The table is a catalog, or like one (16 and newer).
    pub is_catalog: bool,
    /// Line pointers of the tuples that are removed.
    pub offsets: LeArray<'a, u16>,
}

/// The data of block 1 of MOVE_PAGE_CONTENTS and SQUEEZE_PAGE.
#[derive(Clone, Copy, Debug)]
pub struct AddedTuples<'a> {
    /// Line pointers of the tuples.
    pub offsets: LeArray<'a, u16>,
    /// As many tuples, each padded to 8 bytes.
    pub tuples: IndexTuples<'a>,
}

impl<'a> HashRecord<'a> {
    /// Decodes the main data of a Hash record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'a>) -> Result<HashRecord<'a>, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let decoded = match record.info() {
            0x00 => HashRecord::InitMetaPage(InitMetaPage::read(body)?),
            0x10 => HashRecord::InitBitmapPage {
                bitmap_size: body.u16("bitmap size")?,
            },
            0x20 => HashRecord::Insert {
                offnum: body.u16("insert offset")?,
            },
            0x30 => HashRecord::AddOverflowPage(AddOverflowPage {
                bitmap_size: body.u16("bitmap size")?,
                bitmap_page_found: body.bool("bitmap page flag")?,
            }),
            0x40 => HashRecord::SplitAllocatePage(SplitAllocatePage::read(body)?),
            0x50 => HashRecord::SplitPage,
            0x60 => HashRecord::SplitComplete(SplitComplete {
                old_flag: body.u16("old bucket flag")?,
                new_flag: body.u16("new bucket flag")?,
            }),
            0x70 => HashRecord::MovePageContents(MovePageContents {
                tuples: body.u16("moved tuple count")?,
                to_primary_page: body.bool("primary page flag")?,
            }),
            0x80 => HashRecord::SqueezePage(SqueezePage::read(body)?),
            0x90 => HashRecord::Delete(Delete {
                clear_dead_marking: body.bool("dead marking flag")?,
                is_primary_page: body.bool("primary page flag")?,
            }),
            0xA0 => HashRecord::SplitCleanup,
            0xB0 => HashRecord::UpdateMetaPage {
                tuples: f64::from_bits(body.u64("tuple count")?),
            },
            0xC0 => HashRecord::VacuumOnePage(VacuumOnePage::read(body, record.version)?),
            info => return Err(BodyError::Opcode { rmgr: RMGR, info }),
        };
        body.finish("main data")?;
        Ok(decoded)
    }

    /// The tuple of INSERT.
    ///
    /// # Errors
    /// If block 0 or its data is missing.
    pub fn inserted_tuple(record: &Record<'a>) -> Result<&'a [u8], BodyError> {
        block_data(RMGR, record, 0)
    }

    /// The number that is all the data of block `id`: bucket, bit or first free bit.
    ///
    /// # Errors
    /// If block or data is missing, or the data is no single number.
    pub fn block_number_data(record: &Record<'_>, id: u8) -> Result<u32, BodyError> {
        let mut body = Body::new(RMGR, block_data(RMGR, record, id)?);
        let number = body.u32("block data")?;
        body.finish("block data")?;
        Ok(number)
    }

    /// The line pointers of the tuples that are removed from block `id`: 2 in MOVE_PAGE_CONTENTS, 1 in
    /// DELETE. None at all if there is no data.
    ///
    /// # Errors
    /// If the block is missing, or its data ends in half a line pointer.
    pub fn removed(record: &Record<'a>, id: u8) -> Result<LeArray<'a, u16>, BodyError> {
        let block = record
            .block(id)
            .ok_or(BodyError::NoBlock { rmgr: RMGR, id })?;
        Body::new(RMGR, block.data.unwrap_or(&[])).array_rest("removed offsets")
    }

    /// The `count` tuples that are added to block 1 by MOVE_PAGE_CONTENTS or SQUEEZE_PAGE. No data is
    /// looked for if there are none.
    ///
    /// # Errors
    /// If block 1 or its data is missing or not line pointers and tuples.
    pub fn added(record: &Record<'a>, count: u16) -> Result<AddedTuples<'a>, BodyError> {
        let data = match count {
            0 => &[],
            _ => block_data(RMGR, record, 1)?,
        };
        let mut body = Body::new(RMGR, data);
        let offsets = body.array("added offsets", usize::from(count))?;
        let tuples = IndexTuples::new(RMGR, body.take_rest(), Spacing::Aligned)?;
        let found = tuples.count();
        if found != usize::from(count) {
            return Err(body.value("added tuple count", found as i64));
        }
        Ok(AddedTuples { offsets, tuples })
    }
}

/// Whether redo of a Hash record only locks block `id` and leaves the page as it is: the bucket's
/// first page of MOVE_PAGE_CONTENTS, SQUEEZE_PAGE and DELETE when another page of the bucket changes;
/// since 17, also the page that SQUEEZE_PAGE has no tuples for and does not relink.
///
/// # Errors
/// If the record's main data is not what it should be.
pub fn only_locks(record: &Record<'_>, id: u8) -> Result<bool, BodyError> {
    Ok(match (record.info(), id) {
        (0x70 | 0x80 | 0x90, 0) => true,
        (0x80, 1) if record.version >= PgVersion::V17 => {
            let squeeze = SqueezePage::read(&mut Body::main(RMGR, record))?;
            squeeze.tuples == 0 && !squeeze.to_prev_page
        }
        _ => false,
    })
}

impl InitMetaPage {
    fn read(body: &mut Body<'_>) -> Result<InitMetaPage, BodyError> {
        Ok(InitMetaPage {
            tuples: f64::from_bits(body.u64("tuple count")?),
            procid: body.u32("hash function")?,
            fill_factor: body.u16("fill factor")?,
        })
    }
}

impl SplitAllocatePage {
    /// What changes on the metapage. No data is looked for if nothing is announced.
    ///
    /// # Errors
    /// If block 2 or its data is missing or not what the flags announce.
    pub fn meta(&self, record: &Record<'_>) -> Result<SplitMeta, BodyError> {
        let data = match self.flags & 0x03 {
            0 => &[],
            _ => block_data(RMGR, record, 2)?,
        };
        let mut body = Body::new(RMGR, data);
        let masks = match self.flags & 0x01 {
            0 => None,
            _ => Some((body.u32("low mask")?, body.u32("high mask")?)),
        };
        let split_point = match self.flags & 0x02 {
            0 => None,
            _ => Some((body.u32("split point")?, body.u32("split point spares")?)),
        };
        body.finish("split metadata")?;
        Ok(SplitMeta { masks, split_point })
    }

    fn read(body: &mut Body<'_>) -> Result<SplitAllocatePage, BodyError> {
        Ok(SplitAllocatePage {
            new_bucket: body.u32("new bucket")?,
            old_flag: body.u16("old bucket flag")?,
            new_flag: body.u16("new bucket flag")?,
            flags: body.u8("split flags")?,
        })
    }
}

impl SqueezePage {
    fn read(body: &mut Body<'_>) -> Result<SqueezePage, BodyError> {
        Ok(SqueezePage {
            prev: body.u32("previous block")?,
            next: body.u32("next block")?,
            tuples: body.u16("moved tuple count")?,
            to_primary_page: body.bool("primary page flag")?,
            to_prev_page: body.bool("previous page flag")?,
        })
    }
}

impl<'a> VacuumOnePage<'a> {
    /// 16 narrowed the count to make room for `isCatalogRel`; the line pointers stay where they were.
    fn read(body: &mut Body<'a>, version: PgVersion) -> Result<VacuumOnePage<'a>, BodyError> {
        let horizon = body.u32("vacuum horizon")?;
        let (count, is_catalog) = match version >= PgVersion::V16 {
            true => {
                let count = body.u16("vacuum tuple count")?;
                let is_catalog = body.bool("vacuum catalog flag")?;
                body.pad(1)?;
                (i32::from(count), is_catalog)
            }
            false => (body.i32("vacuum tuple count")?, false),
        };
        Ok(VacuumOnePage {
            horizon,
            is_catalog,
            offsets: body.array_i32("vacuum offsets", count)?,
        })
    }
}
