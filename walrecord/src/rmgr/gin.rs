//! Records of GIN indexes (access/ginxlog.h; redone by `gin_redo`, access/gin/ginxlog.c).

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError, ItemPointer, LeArray, LeItem, block_data, u16_at};
use crate::rmgr::index_tuple::{IndexTuples, Spacing};
use crate::types::{BlockNumber, RelFileLocator, Xid};

const RMGR: Rmgr = Rmgr::Gin;

/// Bytes of the metadata on a metapage (`GinMetaPageData`, padding included).
pub const METADATA_SIZE: usize = 56;

/// A record of resource manager Gin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GinRecord<'a> {
    /// A posting tree begins. Block 0: its root.
    CreatePostingTree {
        /// The compressed posting list, which fills the page from its data area's start.
        content: &'a [u8],
    },
    /// Something is added. Block 0: the page, its data an [`Insertion`]; block 1, if `children`: the
    /// left child, whose split this finishes.
    Insert(Insert),
    /// A page is split. Blocks 0 to 2 have images; block 3, if any: the left child, whose split this
    /// finishes.
    Split(Split),
    /// VACUUM changed a page of the entry tree. Block 0 has an image.
    VacuumPage,
    /// A page is deleted. Block 0: the page; block 1: its parent; block 2: the page left of it.
    DeletePage(DeletePage),
    /// The pending list grows at its tail. Block 0: the metapage; block 1, if any: the tail page, its
    /// data the tuples added.
    UpdateMetaPage(UpdateMetaPage<'a>),
    /// A page of the pending list is made. Block 0: the page, its data its tuples.
    InsertListPage(InsertListPage),
    /// Pages are cut off the pending list's head. Block 0: the metapage; the others: the pages.
    DeleteListPages(DeleteListPages<'a>),
    /// VACUUM changed a leaf of a posting tree. Block 0: the leaf, its data [`Recompression`].
    VacuumDataLeafPage,
}

/// `ginxlogInsert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insert {
    /// The page belongs to a posting tree, else to the entry tree.
    pub is_data: bool,
    /// Left and right half of the child whose split this finishes; none on leaves.
    pub children: Option<Children>,
}

/// The halves of a child page that was split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Children {
    /// The left half.
    pub left: BlockNumber,
    /// The right half.
    pub right: BlockNumber,
}

/// The data of block 0 of INSERT.
#[derive(Clone, Copy, Debug)]
pub enum Insertion<'a> {
    /// Into a page of the entry tree.
    Entry(InsertEntry<'a>),
    /// Into a leaf of a posting tree.
    DataLeaf(Recompression<'a>),
    /// Into an inner page of a posting tree.
    DataInternal(InsertPostingItem),
}

/// `ginxlogInsertEntry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsertEntry<'a> {
    /// The tuple's line pointer.
    pub offnum: u16,
    /// The tuple that is there is removed first.
    pub is_delete: bool,
    /// The tuple.
    pub tuple: &'a [u8],
}

/// `ginxlogInsertDataInternal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsertPostingItem {
    /// The place of the item.
    pub offnum: u16,
    /// The item (`PostingItem`, 10 bytes: child and key), as it stands on the page.
    pub item: [u8; 10],
}

/// How the segments of a posting tree's leaf change (`ginxlogRecompressDataLeaf`): actions in
/// ascending order of segments. An iterator; its content was checked when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Recompression<'a> {
    body: Body<'a>,
    /// Actions that are still to come.
    left: u16,
}

/// What happens at one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentAction<'a> {
    /// The segment, counted from zero in the page before the record.
    pub segment: u8,
    /// What happens.
    pub kind: ActionKind<'a>,
}

/// What can happen to a segment. New segments are posting lists as they stand on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionKind<'a> {
    /// It goes.
    Delete,
    /// A new one goes in front of it.
    Insert(&'a [u8]),
    /// A new one takes its place.
    Replace(&'a [u8]),
    /// It is rebuilt with more items.
    AddItems(LeArray<'a, ItemPointer>),
}

/// `ginxlogSplit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// The index.
    pub rel: RelFileLocator,
    /// The right link, or the root's block if the root is split.
    pub right_link: BlockNumber,
    /// The child whose split this finishes; meaningful if the page is no leaf.
    pub children: Children,
    /// 1: posting tree; 2: leaf; 4: the root is split.
    pub flags: u16,
}

/// `ginxlogDeletePage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletePage {
    /// The downlink's place in the parent.
    pub parent_offset: u16,
    /// The page's right link, which the page left of it takes over.
    pub right_link: BlockNumber,
    /// The page can be used again once no older transaction runs. Stored as `pd_prune_xid`.
    pub delete_xid: Xid,
}

/// `ginxlogUpdateMeta`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateMetaPage<'a> {
    /// The index.
    pub rel: RelFileLocator,
    /// The new metadata, [`METADATA_SIZE`] bytes as they stand on the page.
    pub metadata: &'a [u8],
    /// The old tail page whose right link changes, or the invalid block number.
    pub prev_tail: BlockNumber,
    /// Its new right link.
    pub new_right_link: BlockNumber,
    /// Tuples added to the tail page; 0 if pages were added instead.
    pub tuples: i32,
}

/// `ginxlogInsertListPage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsertListPage {
    /// The page's right link.
    pub right_link: BlockNumber,
    /// Its tuples.
    pub tuples: i32,
}

/// `ginxlogDeleteListPages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteListPages<'a> {
    /// The new metadata, [`METADATA_SIZE`] bytes as they stand on the page.
    pub metadata: &'a [u8],
    /// Pages removed.
    pub deleted: i32,
}

impl<'a> GinRecord<'a> {
    /// Decodes the main data of a Gin record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'a>) -> Result<GinRecord<'a>, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let decoded = match record.info() {
            0x10 => {
                let size = body.u32("posting list size")?;
                GinRecord::CreatePostingTree {
                    content: body.take("posting list", size as usize)?,
                }
            }
            0x20 => GinRecord::Insert(Insert::read(body)?),
            0x30 => GinRecord::Split(Split::read(body)?),
            0x40 => GinRecord::VacuumPage,
            0x50 => GinRecord::DeletePage(DeletePage::read(body)?),
            0x60 => GinRecord::UpdateMetaPage(UpdateMetaPage::read(body)?),
            0x70 => GinRecord::InsertListPage(InsertListPage {
                right_link: body.u32("list page right link")?,
                tuples: body.i32("list page tuple count")?,
            }),
            0x80 => GinRecord::DeleteListPages(DeleteListPages::read(body)?),
            0x90 => GinRecord::VacuumDataLeafPage,
            info => return Err(BodyError::Opcode { rmgr: RMGR, info }),
        };
        body.finish("main data")?;
        Ok(decoded)
    }

    /// The `count` tuples that block `id` gets: 1 in UPDATE_META_PAGE, 0 in INSERT_LISTPAGE.
    ///
    /// # Errors
    /// If block or data is missing, or the data is not that many tuples.
    pub fn list_tuples(
        record: &Record<'a>,
        id: u8,
        count: i32,
    ) -> Result<IndexTuples<'a>, BodyError> {
        let data = block_data(RMGR, record, id)?;
        let tuples = IndexTuples::new(RMGR, data, Spacing::Tight)?;
        if usize::try_from(count) != Ok(tuples.count()) {
            let body = Body::new(RMGR, data);
            return Err(body.value("list tuple count", i64::from(count)));
        }
        Ok(tuples)
    }
}

impl Insert {
    /// What is added.
    ///
    /// # Errors
    /// If block 0 or its data is missing or not what it should be.
    pub fn insertion<'a>(&self, record: &Record<'a>) -> Result<Insertion<'a>, BodyError> {
        let mut body = Body::new(RMGR, block_data(RMGR, record, 0)?);
        let insertion = match (self.is_data, self.children) {
            (false, _) => {
                let offnum = body.u16("entry offset")?;
                let is_delete = body.bool("entry delete flag")?;
                body.pad(1)?;
                Insertion::Entry(InsertEntry {
                    offnum,
                    is_delete,
                    tuple: body.take_rest(),
                })
            }
            (true, None) => return Recompression::read(body).map(Insertion::DataLeaf),
            (true, Some(_)) => {
                let offnum = body.u16("posting item offset")?;
                let mut item = [0; 10];
                item.copy_from_slice(body.take("posting item", 10)?);
                Insertion::DataInternal(InsertPostingItem { offnum, item })
            }
        };
        body.finish("insertion")?;
        Ok(insertion)
    }

    fn read(body: &mut Body<'_>) -> Result<Insert, BodyError> {
        let flags = body.u16("insert flags")?;
        let children = match flags & 0x02 {
            0 => Some(Children {
                left: body.block_id("insert left child")?,
                right: body.block_id("insert right child")?,
            }),
            _ => None,
        };
        Ok(Insert {
            is_data: flags & 0x01 != 0,
            children,
        })
    }
}

impl InsertPostingItem {
    /// The page that the item points at.
    pub fn child(&self) -> BlockNumber {
        u32::from(u16_at(&self.item, 0)) << 16 | u32::from(u16_at(&self.item, 2))
    }

    /// The largest TID in that page's subtree.
    pub fn key(&self) -> ItemPointer {
        ItemPointer::from_le(&self.item[4..])
    }
}

impl Split {
    fn read(body: &mut Body<'_>) -> Result<Split, BodyError> {
        let split = Split {
            rel: body.locator("split relation")?,
            right_link: body.u32("split right link")?,
            children: Children {
                left: body.u32("split left child")?,
                right: body.u32("split right child")?,
            },
            flags: body.u16("split flags")?,
        };
        body.pad(2)?;
        Ok(split)
    }
}

impl DeletePage {
    fn read(body: &mut Body<'_>) -> Result<DeletePage, BodyError> {
        let parent_offset = body.u16("delete parent offset")?;
        body.pad(2)?;
        Ok(DeletePage {
            parent_offset,
            right_link: body.u32("delete right link")?,
            delete_xid: body.u32("delete xid")?,
        })
    }
}

impl<'a> UpdateMetaPage<'a> {
    fn read(body: &mut Body<'a>) -> Result<UpdateMetaPage<'a>, BodyError> {
        let rel = body.locator("metapage relation")?;
        body.pad(4)?;
        let metadata = body.take("metadata", METADATA_SIZE)?;
        let prev_tail = body.u32("previous tail")?;
        let new_right_link = body.u32("new right link")?;
        let tuples = body.i32("added tuple count")?;
        body.pad(4)?;
        Ok(UpdateMetaPage {
            rel,
            metadata,
            prev_tail,
            new_right_link,
            tuples,
        })
    }
}

impl<'a> DeleteListPages<'a> {
    fn read(body: &mut Body<'a>) -> Result<DeleteListPages<'a>, BodyError> {
        let metadata = body.take("metadata", METADATA_SIZE)?;
        let deleted = body.i32("deleted page count")?;
        body.pad(4)?;
        Ok(DeleteListPages { metadata, deleted })
    }
}

impl<'a> Recompression<'a> {
    /// The data of block 0 of VACUUM_DATA_LEAF_PAGE.
    ///
    /// # Errors
    /// If block 0 or its data is missing or no sequence of actions.
    pub fn of_vacuum(record: &Record<'a>) -> Result<Recompression<'a>, BodyError> {
        Recompression::read(Body::new(RMGR, block_data(RMGR, record, 0)?))
    }

    fn read(mut body: Body<'a>) -> Result<Recompression<'a>, BodyError> {
        let count = body.u16("action count")?;
        let mut check = body;
        for _ in 0..count {
            read_action(&mut check)?;
        }
        check.finish("actions")?;
        Ok(Recompression { body, left: count })
    }
}

impl<'a> Iterator for Recompression<'a> {
    type Item = SegmentAction<'a>;

    fn next(&mut self) -> Option<SegmentAction<'a>> {
        self.left = self.left.checked_sub(1)?;
        // Whether the data holds them all was asked when it was made.
        read_action(&mut self.body).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for Recompression<'_> {}

fn read_action<'a>(body: &mut Body<'a>) -> Result<SegmentAction<'a>, BodyError> {
    let segment = body.u8("action segment")?;
    let kind = match body.u8("action kind")? {
        1 => ActionKind::Delete,
        2 => ActionKind::Insert(read_posting_list(body)?),
        3 => ActionKind::Replace(read_posting_list(body)?),
        4 => {
            let count = body.u16("added item count")?;
            ActionKind::AddItems(body.array("added items", usize::from(count))?)
        }
        kind => return Err(body.value("action kind", i64::from(kind))),
    };
    Ok(SegmentAction { segment, kind })
}

/// A `GinPostingList`: first item (6 bytes), length of the rest, the rest padded to 2 bytes.
fn read_posting_list<'a>(body: &mut Body<'a>) -> Result<&'a [u8], BodyError> {
    const HEADER_SIZE: usize = 8;
    let mut header = *body;
    let header = header.take("posting list", HEADER_SIZE)?;
    let length = usize::from(u16_at(header, 6)).next_multiple_of(2);
    body.take("posting list", HEADER_SIZE + length)
}
