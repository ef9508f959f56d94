//! Records of B-tree indexes (access/nbtxlog.h; redone by `btree_redo`, access/nbtree/nbtxlog.c).

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError, LeArray, LeItem, block_data, u16_at};
use crate::rmgr::index_tuple::{IndexTuples, Spacing, read_index_tuple};
use crate::types::{BlockNumber, PgVersion, RelFileLocator, Xid};

const RMGR: Rmgr = Rmgr::Btree;

/// A record of resource manager Btree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BtreeRecord {
    /// A tuple is added to a leaf. Block 0: the leaf.
    InsertLeaf(Insert),
    /// A downlink is added. Block 0: the page; block 1: the child whose split that finishes.
    InsertUpper(Insert),
    /// As `InsertUpper`; block 2: the metapage, its data a [`Metadata`].
    InsertMeta(Insert),
    /// A page is split and the new tuple goes to the left half.
    SplitLeft(Split),
    /// A page is split and the new tuple goes to the right half.
    SplitRight(Split),
    /// A tuple is added between the TIDs of the posting list before it. Block 0: the leaf, its data a
    /// [`PostingInsert`].
    InsertPost(Insert),
    /// Equal tuples are merged into posting lists. Block 0: the leaf, its data intervals.
    Dedup(Dedup),
    /// Tuples are removed by an insertion. Block 0: the leaf, its data [`Deletions`].
    Delete(Delete),
    /// An empty page is taken out of its level.
    UnlinkPage(UnlinkPage),
    /// As `UnlinkPage`; block 4: the metapage, its data a [`Metadata`].
    UnlinkPageMeta(UnlinkPage),
    /// A new root. Block 0: the root, its data [`Items`] if `level` > 0; block 1 (`level` > 0): the
    /// left child whose split that finishes; block 2: the metapage, its data a [`Metadata`].
    NewRoot(NewRoot),
    /// An empty leaf is cut off its parent. Block 0: the leaf; block 1: the parent.
    MarkPageHalfDead(MarkPageHalfDead),
    /// Tuples are removed by VACUUM. Block 0: the leaf, its data [`Deletions`].
    Vacuum(Vacuum),
    /// A deleted page is about to be used again. No page changes.
    ReusePage(ReusePage),
    /// VACUUM updates the metapage. Block 0: the metapage, its data a [`Metadata`].
    MetaCleanup,
}

/// `xl_btree_insert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insert {
    /// The new tuple's line pointer.
    pub offnum: u16,
}

/// `xl_btree_split`. Block 0: the page that is split, its data a [`SplitLeftData`]; block 1: the new
/// right page, its data [`Items`]; block 2, if any: the page right of it; block 3 (`level` > 0): the
/// child whose split that finishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// The level of the page; leaves are 0.
    pub level: u32,
    /// The first tuple that moves to the right page.
    pub first_right: u16,
    /// The new tuple's line pointer before the split.
    pub new_item: u16,
    /// Where in the posting list before it the new tuple goes; 0 if the left page needs no new list.
    pub posting_offset: u16,
}

/// `xl_btree_dedup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dedup {
    /// Intervals in the data of block 0.
    pub interval_count: u16,
}

/// `xl_btree_delete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Queries older than this conflict on a standby.
    pub horizon: Xid,
    /// What is removed.
    pub counts: DeletionCounts,
    /// The table is a catalog, or like one (16 and newer).
    pub is_catalog: bool,
}

/// `xl_btree_vacuum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vacuum {
    /// What is removed.
    pub counts: DeletionCounts,
}

/// How much of what the data of DELETE and VACUUM holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletionCounts {
    /// Tuples removed.
    pub deleted: u16,
    /// Posting lists that lose some of their TIDs.
    pub updated: u16,
}

/// `xl_btree_mark_page_halfdead`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkPageHalfDead {
    /// The downlink's line pointer in the parent.
    pub parent_offset: u16,
    /// The leaf.
    pub leaf: BlockNumber,
    /// Its left sibling, or 0.
    pub left: BlockNumber,
    /// Its right sibling.
    pub right: BlockNumber,
    /// The topmost page of the subtree, or the invalid block number if that is the leaf.
    pub top_parent: BlockNumber,
}

/// `xl_btree_unlink_page`. Block 0: the target; block 1, if any: its left sibling; block 2: its right
/// sibling; block 3, if it is not the target: the leaf of the subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnlinkPage {
    /// The target's left sibling, or 0.
    pub left: BlockNumber,
    /// The target's right sibling.
    pub right: BlockNumber,
    /// The target's level.
    pub level: u32,
    /// The page can be used again once no older transaction runs (with epoch).
    pub safe_xid: u64,
    /// The leaf's left sibling.
    pub leaf_left: BlockNumber,
    /// The leaf's right sibling.
    pub leaf_right: BlockNumber,
    /// The next page to delete below the target, or the invalid block number.
    pub leaf_top_parent: BlockNumber,
}

/// `xl_btree_newroot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRoot {
    /// The root's block.
    pub root: BlockNumber,
    /// Its level.
    pub level: u32,
}

/// `xl_btree_reuse_page`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReusePage {
    /// The index.
    pub rel: RelFileLocator,
    /// The page.
    pub block: BlockNumber,
    /// Queries older than this conflict on a standby (with epoch).
    pub horizon: u64,
    /// The table is a catalog, or like one (16 and newer).
    pub is_catalog: bool,
}

/// `xl_btree_metadata`: what the metapage is rebuilt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The index's version.
    pub version: u32,
    /// The root.
    pub root: BlockNumber,
    /// The root's level.
    pub level: u32,
    /// The fast root.
    pub fast_root: BlockNumber,
    /// The fast root's level.
    pub fast_level: u32,
    /// Deleted pages not yet reusable at the last cleanup.
    pub last_cleanup_num_delpages: u32,
    /// Equality of all columns means equal bytes.
    pub all_equal_image: bool,
}

/// The data of block 0 of INSERT_POST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostingInsert<'a> {
    /// Where in the posting list the new TID goes.
    pub posting_offset: u16,
    /// The new tuple as it was before the lists were swapped.
    pub item: &'a [u8],
}

/// The data of block 0 of SPLIT_L and SPLIT_R. Both tuples are padded to 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitLeftData<'a> {
    /// The new tuple, if it goes to the left page or the left page needs a new posting list.
    pub new_item: Option<&'a [u8]>,
    /// The left page's new high key.
    pub high_key: &'a [u8],
}

/// A run of tuples that are merged into one (`BTDedupInterval`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupInterval {
    /// The first tuple's line pointer.
    pub base: u16,
    /// Tuples.
    pub count: u16,
}

/// The data of block 0 of DELETE and VACUUM. Updates are applied before deletions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletions<'a> {
    /// Line pointers of the tuples removed.
    pub deleted: LeArray<'a, u16>,
    /// Posting lists that lose some of their TIDs.
    pub updated: PostingUpdates<'a>,
}

/// A posting list that loses some of its TIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostingUpdate<'a> {
    /// Its line pointer.
    pub offnum: u16,
    /// The places, counted from zero, of the TIDs that go.
    pub deleted_tids: LeArray<'a, u16>,
}

/// The [`PostingUpdate`]s of a record. An iterator; its content was checked when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostingUpdates<'a> {
    offsets: LeArray<'a, u16>,
    next: usize,
    rest: &'a [u8],
}

/// Index tuples that stand one after the other, each padded to 8 bytes, in the order in which a page
/// holds them from its upper bound on: **the last is the page's first** (`_bt_restore_page`). An
/// iterator of their padded bytes; its content was checked when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a>(IndexTuples<'a>);

impl LeItem for DedupInterval {
    const SIZE: usize = 4;

    #[inline]
    fn from_le(bytes: &[u8]) -> DedupInterval {
        DedupInterval {
            base: u16_at(bytes, 0),
            count: u16_at(bytes, 2),
        }
    }
}

impl BtreeRecord {
    /// Decodes the main data of a Btree record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'_>) -> Result<BtreeRecord, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let version = record.version;
        let decoded = match record.info() {
            0x00 => BtreeRecord::InsertLeaf(Insert::read(body)?),
            0x10 => BtreeRecord::InsertUpper(Insert::read(body)?),
            0x20 => BtreeRecord::InsertMeta(Insert::read(body)?),
            0x30 => BtreeRecord::SplitLeft(Split::read(body)?),
            0x40 => BtreeRecord::SplitRight(Split::read(body)?),
            0x50 => BtreeRecord::InsertPost(Insert::read(body)?),
            0x60 => BtreeRecord::Dedup(Dedup::read(body)?),
            0x70 => BtreeRecord::Delete(Delete::read(body, version)?),
            0x80 => BtreeRecord::UnlinkPage(UnlinkPage::read(body)?),
            0x90 => BtreeRecord::UnlinkPageMeta(UnlinkPage::read(body)?),
            0xA0 => BtreeRecord::NewRoot(NewRoot::read(body)?),
            0xB0 => BtreeRecord::MarkPageHalfDead(MarkPageHalfDead::read(body)?),
            0xC0 => BtreeRecord::Vacuum(Vacuum::read(body)?),
            0xD0 => BtreeRecord::ReusePage(ReusePage::read(body, version)?),
            0xE0 => BtreeRecord::MetaCleanup,
            info => return Err(BodyError::Opcode { rmgr: RMGR, info }),
        };
        body.finish("main data")?;
        Ok(decoded)
    }
}

impl Insert {
    /// The new tuple of INSERT_LEAF, INSERT_UPPER and INSERT_META.
    ///
    /// # Errors
    /// If block 0 or its data is missing.
    pub fn item<'a>(&self, record: &Record<'a>) -> Result<&'a [u8], BodyError> {
        block_data(RMGR, record, 0)
    }

    /// The new tuple of INSERT_POST.
    ///
    /// # Errors
    /// If block 0 or its data is missing or too short.
    pub fn posting<'a>(&self, record: &Record<'a>) -> Result<PostingInsert<'a>, BodyError> {
        let mut body = Body::new(RMGR, block_data(RMGR, record, 0)?);
        Ok(PostingInsert {
            posting_offset: body.u16("posting offset")?,
            item: body.take_rest(),
        })
    }

    fn read(body: &mut Body<'_>) -> Result<Insert, BodyError> {
        Ok(Insert {
            offnum: body.u16("insert offset")?,
        })
    }
}

impl Split {
    /// What the left page is rebuilt from besides itself. `new_item_on_left`: the record is SPLIT_L.
    ///
    /// # Errors
    /// If block 0 or its data is missing or not exactly the announced tuples.
    pub fn left_data<'a>(
        &self,
        record: &Record<'a>,
        new_item_on_left: bool,
    ) -> Result<SplitLeftData<'a>, BodyError> {
        let mut body = Body::new(RMGR, block_data(RMGR, record, 0)?);
        let new_item = if new_item_on_left || self.posting_offset != 0 {
            Some(read_index_tuple(
                &mut body,
                "split new item",
                Spacing::Aligned,
            )?)
        } else {
            None
        };
        let high_key = read_index_tuple(&mut body, "split high key", Spacing::Aligned)?;
        body.finish("split high key")?;
        Ok(SplitLeftData { new_item, high_key })
    }

    fn read(body: &mut Body<'_>) -> Result<Split, BodyError> {
        Ok(Split {
            level: body.u32("split level")?,
            first_right: body.u16("split first right offset")?,
            new_item: body.u16("split new item offset")?,
            posting_offset: body.u16("split posting offset")?,
        })
    }
}

impl Dedup {
    /// The runs that are merged.
    ///
    /// # Errors
    /// If block 0 or its data is missing or not of the announced length.
    pub fn intervals<'a>(
        &self,
        record: &Record<'a>,
    ) -> Result<LeArray<'a, DedupInterval>, BodyError> {
        let mut body = Body::new(RMGR, block_data(RMGR, record, 0)?);
        let intervals = body.array("dedup intervals", usize::from(self.interval_count))?;
        body.finish("dedup intervals")?;
        Ok(intervals)
    }

    fn read(body: &mut Body<'_>) -> Result<Dedup, BodyError> {
        Ok(Dedup {
            interval_count: body.u16("dedup interval count")?,
        })
    }
}

impl DeletionCounts {
    /// What is removed.
    ///
    /// # Errors
    /// If block 0 or its data is missing or not of the announced length.
    pub fn deletions<'a>(&self, record: &Record<'a>) -> Result<Deletions<'a>, BodyError> {
        let mut body = Body::new(RMGR, block_data(RMGR, record, 0)?);
        let deleted = body.array("deleted offsets", usize::from(self.deleted))?;
        let offsets = body.array("updated offsets", usize::from(self.updated))?;
        let mut check = body;
        for _ in 0..self.updated {
            let count = check.u16("deleted tid count")?;
            check.array::<u16>("deleted tids", usize::from(count))?;
        }
        check.finish("deleted tids")?;
        Ok(Deletions {
            deleted,
            updated: PostingUpdates {
                offsets,
                next: 0,
                rest: body.take_rest(),
            },
        })
    }

    fn read(body: &mut Body<'_>) -> Result<DeletionCounts, BodyError> {
        Ok(DeletionCounts {
            deleted: body.u16("deleted count")?,
            updated: body.u16("updated count")?,
        })
    }
}

impl Delete {
    /// 16 added `isCatalogRel`.
    fn read(body: &mut Body<'_>, version: PgVersion) -> Result<Delete, BodyError> {
        Ok(Delete {
            horizon: body.u32("delete horizon")?,
            counts: DeletionCounts::read(body)?,
            is_catalog: version >= PgVersion::V16 && body.bool("delete catalog flag")?,
        })
    }
}

impl Vacuum {
    fn read(body: &mut Body<'_>) -> Result<Vacuum, BodyError> {
        Ok(Vacuum {
            counts: DeletionCounts::read(body)?,
        })
    }
}

impl MarkPageHalfDead {
    fn read(body: &mut Body<'_>) -> Result<MarkPageHalfDead, BodyError> {
        let parent_offset = body.u16("half-dead parent offset")?;
        body.pad(2)?;
        Ok(MarkPageHalfDead {
            parent_offset,
            leaf: body.u32("half-dead leaf")?,
            left: body.u32("half-dead left sibling")?,
            right: body.u32("half-dead right sibling")?,
            top_parent: body.u32("half-dead top parent")?,
        })
    }
}

impl UnlinkPage {
    fn read(body: &mut Body<'_>) -> Result<UnlinkPage, BodyError> {
        let left = body.u32("unlink left sibling")?;
        let right = body.u32("unlink right sibling")?;
        let level = body.u32("unlink level")?;
        body.pad(4)?;
        Ok(UnlinkPage {
            left,
            right,
            level,
            safe_xid: body.u64("unlink safe xid")?,
            leaf_left: body.u32("unlink leaf left sibling")?,
            leaf_right: body.u32("unlink leaf right sibling")?,
            leaf_top_parent: body.u32("unlink leaf top parent")?,
        })
    }
}

impl NewRoot {
    /// The new root's tuples, if it has some (`level` > 0).
    ///
    /// # Errors
    /// If block 0 or its data is missing or no sequence of index tuples.
    pub fn items<'a>(&self, record: &Record<'a>) -> Result<Items<'a>, BodyError> {
        Items::new(block_data(RMGR, record, 0)?)
    }

    fn read(body: &mut Body<'_>) -> Result<NewRoot, BodyError> {
        Ok(NewRoot {
            root: body.u32("new root block")?,
            level: body.u32("new root level")?,
        })
    }
}

impl ReusePage {
    /// 16 added `isCatalogRel`.
    fn read(body: &mut Body<'_>, version: PgVersion) -> Result<ReusePage, BodyError> {
        Ok(ReusePage {
            rel: body.locator("reuse relation")?,
            block: body.u32("reuse block")?,
            horizon: body.u64("reuse horizon")?,
            is_catalog: version >= PgVersion::V16 && body.bool("reuse catalog flag")?,
        })
    }
}

impl Metadata {
    /// The metadata that block `id` of the record carries.
    ///
    /// # Errors
    /// If the block or its data is missing or not of the right length.
    pub fn decode(record: &Record<'_>, id: u8) -> Result<Metadata, BodyError> {
        let mut body = Body::new(RMGR, block_data(RMGR, record, id)?);
        let metadata = Metadata {
            version: body.u32("metadata version")?,
            root: body.u32("metadata root")?,
            level: body.u32("metadata level")?,
            fast_root: body.u32("metadata fast root")?,
            fast_level: body.u32("metadata fast level")?,
            last_cleanup_num_delpages: body.u32("metadata deleted pages")?,
            all_equal_image: body.bool("metadata equal image flag")?,
        };
        body.pad(3)?;
        body.finish("metadata")?;
        Ok(metadata)
    }
}

impl<'a> Items<'a> {
    /// The tuples of the new right page of SPLIT_L and SPLIT_R.
    ///
    /// # Errors
    /// If block 1 or its data is missing or no sequence of index tuples.
    pub fn of_right_page(record: &Record<'a>) -> Result<Items<'a>, BodyError> {
        Items::new(block_data(RMGR, record, 1)?)
    }

    fn new(bytes: &'a [u8]) -> Result<Items<'a>, BodyError> {
        IndexTuples::new(RMGR, bytes, Spacing::Aligned).map(Items)
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.next()
    }
}

impl<'a> Iterator for PostingUpdates<'a> {
    type Item = PostingUpdate<'a>;

    fn next(&mut self) -> Option<PostingUpdate<'a>> {
        let offnum = self.offsets.get(self.next)?;
        self.next += 1;
        let mut body = Body::new(RMGR, self.rest);
        let count = body.u16("deleted tid count").ok()?;
        let deleted_tids = body.array("deleted tids", usize::from(count)).ok()?;
        self.rest = body.take_rest();
        Some(PostingUpdate {
            offnum,
            deleted_tids,
        })
    }
}
