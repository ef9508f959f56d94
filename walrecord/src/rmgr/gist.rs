//! Records of GiST indexes (access/gistxlog.h; redone by `gist_redo`, access/gist/gistxlog.c).

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError, LeArray, block_data};
use crate::rmgr::index_tuple::{IndexTuples, Spacing};
use crate::types::{BlockNumber, PgVersion, RelFileLocator, Xid};

const RMGR: Rmgr = Rmgr::Gist;

/// A record of resource manager Gist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GistRecord<'a> {
    /// Tuples are removed and added. Block 0: the page, its data a [`PageUpdateData`]; block 1, if
    /// any: the left half of the split that this finishes, changed after an image, too.
    PageUpdate(PageUpdate),
    /// Dead tuples are removed by an insertion. Block 0: the leaf.
    Delete(Delete<'a>),
    /// A deleted page is about to be used again. No page changes.
    PageReuse(PageReuse),
    /// A page is split. Blocks 1 to `pages`: the halves, their data [`SplitPageTuples`]; block 0, if any: the
    /// left half of the split that this finishes, changed after an image, too.
    PageSplit(PageSplit),
    /// An empty leaf is deleted. Block 0: the leaf; block 1: its parent.
    PageDelete(PageDelete),
    /// Takes up WAL so that the insert position moves. No page changes.
    AssignLsn,
}

/// `gistxlogPageUpdate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageUpdate {
    /// Tuples removed.
    pub deleted: u16,
    /// Tuples added.
    pub inserted: u16,
}

/// The data of block 0 of PAGE_UPDATE. One removed and one added means: replaced in place.
#[derive(Clone, Copy, Debug)]
pub struct PageUpdateData<'a> {
    /// Line pointers of the tuples removed.
    pub deleted: LeArray<'a, u16>,
    /// The tuples added.
    pub inserted: IndexTuples<'a>,
}

/// `gistxlogDelete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete<'a> {
    /// Queries older than this conflict on a standby.
    pub horizon: Xid,
    /// The table is a catalog, or like one (16 and newer).
    pub is_catalog: bool,
    /// Line pointers of the tuples removed.
    pub offsets: LeArray<'a, u16>,
}

/// `gistxlogPageReuse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageReuse {
    /// The index.
    pub rel: RelFileLocator,
    /// The page.
    pub block: BlockNumber,
    /// Queries older than this conflict on a standby (with epoch).
    pub horizon: u64,
    /// The table is a catalog, or like one (16 and newer).
    pub is_catalog: bool,
}

/// `gistxlogPageSplit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSplit {
    /// The page's right link before the split.
    pub right_link: BlockNumber,
    /// The page's node sequence number before the split.
    pub nsn: u64,
    /// The page is a leaf.
    pub is_leaf: bool,
    /// Pages after the split.
    pub pages: u16,
    /// All pages but the last are marked as not yet known to the parent.
    pub mark_follow_right: bool,
}

/// `gistxlogPageDelete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageDelete {
    /// The page can be used again once no older transaction runs (with epoch).
    pub delete_xid: u64,
    /// The downlink's line pointer in the parent.
    pub downlink_offset: u16,
}

/// The data of blocks 1 to n of PAGE_SPLIT: the page's tuples in order.
pub type SplitPageTuples<'a> = IndexTuples<'a>;

impl<'a> GistRecord<'a> {
    /// Decodes the main data of a Gist record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'a>) -> Result<GistRecord<'a>, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let decoded = match record.info() {
            0x00 => GistRecord::PageUpdate(PageUpdate {
                deleted: body.u16("deleted count")?,
                inserted: body.u16("inserted count")?,
            }),
            0x10 => GistRecord::Delete(Delete::read(body, record.version)?),
            0x20 => GistRecord::PageReuse(PageReuse {
                rel: body.locator("reuse relation")?,
                block: body.u32("reuse block")?,
                horizon: body.u64("reuse horizon")?,
                is_catalog: record.version >= PgVersion::V16 && body.bool("reuse catalog flag")?,
            }),
            0x30 => GistRecord::PageSplit(PageSplit::read(body)?),
            0x60 => GistRecord::PageDelete(PageDelete {
                delete_xid: body.u64("delete xid")?,
                downlink_offset: body.u16("downlink offset")?,
            }),
            0x70 => {
                body.u32("dummy")?;
                GistRecord::AssignLsn
            }
            info => return Err(BodyError::Opcode { rmgr: RMGR, info }),
        };
        body.finish("main data")?;
        Ok(decoded)
    }
}

impl PageUpdate {
    /// The tuples that go and come.
    ///
    /// # Errors
    /// If block 0 or its data is missing or not what the counts announce.
    pub fn data<'a>(&self, record: &Record<'a>) -> Result<PageUpdateData<'a>, BodyError> {
        let data = match (self.deleted, self.inserted) {
            (0, 0) => &[],
            _ => block_data(RMGR, record, 0)?,
        };
        let mut body = Body::new(RMGR, data);
        let deleted = body.array("deleted offsets", usize::from(self.deleted))?;
        let inserted = IndexTuples::new(RMGR, body.take_rest(), Spacing::Tight)?;
        let found = inserted.count();
        if found != usize::from(self.inserted) {
            return Err(body.value("inserted tuple count", found as i64));
        }
        Ok(PageUpdateData { deleted, inserted })
    }
}

impl<'a> Delete<'a> {
    /// 16 added `isCatalogRel`, and padding behind it.
    fn read(body: &mut Body<'a>, version: PgVersion) -> Result<Delete<'a>, BodyError> {
        let horizon = body.u32("delete horizon")?;
        let count = body.u16("delete count")?;
        let mut is_catalog = false;
        if version >= PgVersion::V16 {
            is_catalog = body.bool("delete catalog flag")?;
            body.pad(1)?;
        }
        Ok(Delete {
            horizon,
            is_catalog,
            offsets: body.array("deleted offsets", usize::from(count))?,
        })
    }
}

impl PageSplit {
    /// The tuples of block `id`, 1 to [`PageSplit::pages`].
    ///
    /// # Errors
    /// If block or data is missing, or the data is not as many tuples as it says.
    pub fn tuples<'a>(record: &Record<'a>, id: u8) -> Result<SplitPageTuples<'a>, BodyError> {
        const COUNT: &str = "split tuple count";
        let mut body = Body::new(RMGR, block_data(RMGR, record, id)?);
        let count = body.i32(COUNT)?;
        let tuples = IndexTuples::new(RMGR, body.take_rest(), Spacing::Tight)?;
        if usize::try_from(count) != Ok(tuples.count()) {
            return Err(body.value(COUNT, i64::from(count)));
        }
        Ok(tuples)
    }

    fn read(body: &mut Body<'_>) -> Result<PageSplit, BodyError> {
        let right_link = body.u32("split right link")?;
        body.pad(4)?;
        let nsn = body.u64("split nsn")?;
        let is_leaf = body.bool("split leaf flag")?;
        body.pad(1)?;
        let pages = body.u16("split page count")?;
        let mark_follow_right = body.bool("split follow-right flag")?;
        body.pad(3)?;
        Ok(PageSplit {
            right_link,
            nsn,
            is_leaf,
            pages,
            mark_follow_right,
        })
    }
}
