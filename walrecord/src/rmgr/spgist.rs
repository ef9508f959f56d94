//! Records of SP-GiST indexes (access/spgxlog.h; redone by `spg_redo`, access/spgist/spgxlog.c).
//! All tuples and line pointers are main data, so redo needs that of every block.

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError, LeArray, u16_at, u32_at};
use crate::types::{PgVersion, Xid};

const RMGR: Rmgr = Rmgr::SpGist;

/// A record of resource manager SPGist. Tuples are as they stand on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpGistRecord<'a> {
    /// A leaf tuple is added. Block 0: the leaf page; block 1, if any: the parent.
    AddLeaf(AddLeaf<'a>),
    /// Leaf tuples move. Block 0: the page they leave; block 1: the page they go to; block 2: the
    /// parent.
    MoveLeafs(MoveLeafs<'a>),
    /// An inner tuple gets one more node. Block 0: its page; block 1, if any: the page it moves to;
    /// block 2, if any: the parent.
    AddNode(AddNode<'a>),
    /// An inner tuple is split in two. Block 0: the prefix tuple's page; block 1, if any: the postfix
    /// tuple's page.
    SplitTuple(SplitTuple<'a>),
    /// A list of leaf tuples is split. Block 0, if any: its page; block 1, if any: another page for
    /// leaf tuples; block 2: the page of the new inner tuple; block 3, if any: the parent.
    PickSplit(PickSplit<'a>),
    /// VACUUM removes leaf tuples. Block 0: the page.
    VacuumLeaf(VacuumLeaf<'a>),
    /// VACUUM removes leaf tuples of a root page. Block 0: the page.
    VacuumRoot(VacuumRoot<'a>),
    /// VACUUM removes redirections and placeholders. Block 0: the page.
    VacuumRedirect(VacuumRedirect<'a>),
}

/// What redo needs to know of the index (`spgxlogState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The transaction that redirections are marked with.
    pub xid: Xid,
    /// The index is being built: placeholders take the place of redirections.
    pub is_build: bool,
}

/// Where a downlink is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParentLink {
    /// The parent tuple's line pointer; 0 if there is none.
    pub offnum: u16,
    /// The node in it, counted from zero.
    pub node: u16,
}

/// `spgxlogAddLeaf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddLeaf<'a> {
    /// The page is initialised first.
    pub new_page: bool,
    /// The page belongs to the tree of nulls.
    pub stores_nulls: bool,
    /// The tuple's line pointer.
    pub offnum: u16,
    /// The line pointer of the head of its list, or 0.
    pub head_offnum: u16,
    /// Where the downlink is, if it changes.
    pub parent: ParentLink,
    /// The tuple.
    pub tuple: &'a [u8],
}

/// `spgxlogMoveLeafs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveLeafs<'a> {
    /// The page they go to is initialised first.
    pub new_page: bool,
    /// A dead tuple is replaced: nothing moves, one tuple is added.
    pub replace_dead: bool,
    /// The pages belong to the tree of nulls.
    pub stores_nulls: bool,
    /// Where the downlink is.
    pub parent: ParentLink,
    /// State of the index.
    pub state: State,
    /// Line pointers of the tuples that go.
    pub deleted: LeArray<'a, u16>,
    /// Line pointers of the tuples that come, one more unless `replace_dead`, then one.
    pub inserted: LeArray<'a, u16>,
    /// As many tuples.
    pub tuples: LeafTuples<'a>,
}

/// `spgxlogAddNode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddNode<'a> {
    /// The old tuple's line pointer.
    pub offnum: u16,
    /// The new tuple's line pointer on block 1; 0 if it replaces the old one.
    pub new_offnum: u16,
    /// The new tuple's page is initialised first.
    pub new_page: bool,
    /// The block reference that holds the parent: 0, 1 or 2; -1 if the downlink does not change.
    pub parent_block: i8,
    /// Where the downlink is.
    pub parent: ParentLink,
    /// State of the index.
    pub state: State,
    /// The new tuple.
    pub tuple: &'a [u8],
}

/// `spgxlogSplitTuple`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitTuple<'a> {
    /// The prefix tuple's line pointer.
    pub prefix_offnum: u16,
    /// The postfix tuple's line pointer.
    pub postfix_offnum: u16,
    /// The postfix tuple's page is initialised first.
    pub new_page: bool,
    /// Both are on block 0.
    pub same_page: bool,
    /// The prefix tuple.
    pub prefix: &'a [u8],
    /// The postfix tuple.
    pub postfix: &'a [u8],
}

/// `spgxlogPickSplit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PickSplit<'a> {
    /// The root page is split.
    pub is_root_split: bool,
    /// Block 0 is initialised first.
    pub init_source: bool,
    /// Block 1 is initialised first.
    pub init_dest: bool,
    /// The new inner tuple's line pointer.
    pub inner_offnum: u16,
    /// Block 2 is initialised first.
    pub init_inner: bool,
    /// The pages belong to the tree of nulls.
    pub stores_nulls: bool,
    /// The parent is on block 2, too.
    pub inner_is_parent: bool,
    /// Where the downlink is, if there is one.
    pub parent: ParentLink,
    /// State of the index.
    pub state: State,
    /// Line pointers of the tuples that leave block 0.
    pub deleted: LeArray<'a, u16>,
    /// Line pointers of the leaf tuples.
    pub inserted: LeArray<'a, u16>,
    /// The page of each of them: 0 for block 0, else block 1.
    pub page_select: &'a [u8],
    /// The new inner tuple.
    pub inner: &'a [u8],
    /// The leaf tuples.
    pub tuples: LeafTuples<'a>,
}

/// `spgxlogVacuumLeaf`. Lists of line pointers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VacuumLeaf<'a> {
    /// State of the index.
    pub state: State,
    /// To become dead.
    pub dead: LeArray<'a, u16>,
    /// To become placeholders.
    pub placeholder: LeArray<'a, u16>,
    /// To move from; they become placeholders.
    pub move_from: LeArray<'a, u16>,
    /// To move to.
    pub move_to: LeArray<'a, u16>,
    /// Whose link to the next tuple changes.
    pub chain_from: LeArray<'a, u16>,
    /// What the links become.
    pub chain_to: LeArray<'a, u16>,
}

/// `spgxlogVacuumRoot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VacuumRoot<'a> {
    /// State of the index.
    pub state: State,
    /// Line pointers of the tuples removed.
    pub deleted: LeArray<'a, u16>,
}

/// `spgxlogVacuumRedirect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VacuumRedirect<'a> {
    /// The first placeholder to remove, and with it all after it; 0 if none is.
    pub first_placeholder: u16,
    /// Queries older than this conflict on a standby.
    pub horizon: Xid,
    /// The table is a catalog, or like one (16 and newer).
    pub is_catalog: bool,
    /// Line pointers of the redirections that become placeholders.
    pub to_placeholder: LeArray<'a, u16>,
}

/// Leaf tuples that stand one after the other. An iterator of their bytes; its content was checked
/// when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafTuples<'a> {
    rest: &'a [u8],
}

impl<'a> SpGistRecord<'a> {
    /// Decodes the main data of an SPGist record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'a>) -> Result<SpGistRecord<'a>, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let decoded = match record.info() {
            0x10 => SpGistRecord::AddLeaf(AddLeaf::read(body)?),
            0x20 => SpGistRecord::MoveLeafs(MoveLeafs::read(body)?),
            0x30 => SpGistRecord::AddNode(AddNode::read(body)?),
            0x40 => SpGistRecord::SplitTuple(SplitTuple::read(body)?),
            0x50 => SpGistRecord::PickSplit(PickSplit::read(body)?),
            0x60 => SpGistRecord::VacuumLeaf(VacuumLeaf::read(body)?),
            0x70 => SpGistRecord::VacuumRoot(VacuumRoot::read(body)?),
            0x80 => SpGistRecord::VacuumRedirect(VacuumRedirect::read(body, record.version)?),
            info => return Err(BodyError::Opcode { rmgr: RMGR, info }),
        };
        body.finish("main data")?;
        Ok(decoded)
    }
}

impl State {
    fn read(body: &mut Body<'_>) -> Result<State, BodyError> {
        let xid = body.u32("state xid")?;
        let is_build = body.bool("state build flag")?;
        body.pad(3)?;
        Ok(State { xid, is_build })
    }
}

impl ParentLink {
    fn read(body: &mut Body<'_>) -> Result<ParentLink, BodyError> {
        Ok(ParentLink {
            offnum: body.u16("parent offset")?,
            node: body.u16("parent node")?,
        })
    }
}

impl<'a> AddLeaf<'a> {
    fn read(body: &mut Body<'a>) -> Result<AddLeaf<'a>, BodyError> {
        Ok(AddLeaf {
            new_page: body.bool("new page flag")?,
            stores_nulls: body.bool("nulls flag")?,
            offnum: body.u16("leaf offset")?,
            head_offnum: body.u16("head leaf offset")?,
            parent: ParentLink::read(body)?,
            tuple: read_leaf_tuple(body)?,
        })
    }
}

impl<'a> MoveLeafs<'a> {
    fn read(body: &mut Body<'a>) -> Result<MoveLeafs<'a>, BodyError> {
        let moves = usize::from(body.u16("move count")?);
        let new_page = body.bool("new page flag")?;
        let replace_dead = body.bool("replace dead flag")?;
        let stores_nulls = body.bool("nulls flag")?;
        body.pad(1)?;
        let parent = ParentLink::read(body)?;
        body.pad(2)?;
        let state = State::read(body)?;
        let inserts = if replace_dead { 1 } else { moves + 1 };
        Ok(MoveLeafs {
            new_page,
            replace_dead,
            stores_nulls,
            parent,
            state,
            deleted: body.array("deleted offsets", moves)?,
            inserted: body.array("inserted offsets", inserts)?,
            tuples: LeafTuples::read(body, inserts)?,
        })
    }
}

impl<'a> AddNode<'a> {
    fn read(body: &mut Body<'a>) -> Result<AddNode<'a>, BodyError> {
        let offnum = body.u16("old offset")?;
        let new_offnum = body.u16("new offset")?;
        let new_page = body.bool("new page flag")?;
        let parent_block = body.u8("parent block")? as i8;
        let parent = ParentLink::read(body)?;
        body.pad(2)?;
        Ok(AddNode {
            offnum,
            new_offnum,
            new_page,
            parent_block,
            parent,
            state: State::read(body)?,
            tuple: read_inner_tuple(body)?,
        })
    }
}

impl<'a> SplitTuple<'a> {
    fn read(body: &mut Body<'a>) -> Result<SplitTuple<'a>, BodyError> {
        Ok(SplitTuple {
            prefix_offnum: body.u16("prefix offset")?,
            postfix_offnum: body.u16("postfix offset")?,
            new_page: body.bool("new page flag")?,
            same_page: body.bool("same page flag")?,
            prefix: read_inner_tuple(body)?,
            postfix: read_inner_tuple(body)?,
        })
    }
}

impl<'a> PickSplit<'a> {
    fn read(body: &mut Body<'a>) -> Result<PickSplit<'a>, BodyError> {
        let is_root_split = body.bool("root split flag")?;
        body.pad(1)?;
        let deletes = usize::from(body.u16("delete count")?);
        let inserts = usize::from(body.u16("insert count")?);
        let init_source = body.bool("init source flag")?;
        let init_dest = body.bool("init destination flag")?;
        let inner_offnum = body.u16("inner offset")?;
        let init_inner = body.bool("init inner flag")?;
        let stores_nulls = body.bool("nulls flag")?;
        let inner_is_parent = body.bool("inner is parent flag")?;
        body.pad(1)?;
        let parent = ParentLink::read(body)?;
        body.pad(2)?;
        Ok(PickSplit {
            is_root_split,
            init_source,
            init_dest,
            inner_offnum,
            init_inner,
            stores_nulls,
            inner_is_parent,
            parent,
            state: State::read(body)?,
            deleted: body.array("deleted offsets", deletes)?,
            inserted: body.array("inserted offsets", inserts)?,
            page_select: body.take("page selectors", inserts)?,
            inner: read_inner_tuple(body)?,
            tuples: LeafTuples::read(body, inserts)?,
        })
    }
}

impl<'a> VacuumLeaf<'a> {
    fn read(body: &mut Body<'a>) -> Result<VacuumLeaf<'a>, BodyError> {
        let dead = usize::from(body.u16("dead count")?);
        let placeholder = usize::from(body.u16("placeholder count")?);
        let moves = usize::from(body.u16("move count")?);
        let chains = usize::from(body.u16("chain count")?);
        Ok(VacuumLeaf {
            state: State::read(body)?,
            dead: body.array("dead offsets", dead)?,
            placeholder: body.array("placeholder offsets", placeholder)?,
            move_from: body.array("move source offsets", moves)?,
            move_to: body.array("move target offsets", moves)?,
            chain_from: body.array("chain source offsets", chains)?,
            chain_to: body.array("chain target offsets", chains)?,
        })
    }
}

impl<'a> VacuumRoot<'a> {
    fn read(body: &mut Body<'a>) -> Result<VacuumRoot<'a>, BodyError> {
        let deletes = usize::from(body.u16("delete count")?);
        body.pad(2)?;
        Ok(VacuumRoot {
            state: State::read(body)?,
            deleted: body.array("deleted offsets", deletes)?,
        })
    }
}

impl<'a> VacuumRedirect<'a> {
    /// 16 added `isCatalogRel`, and padding behind it.
    fn read(body: &mut Body<'a>, version: PgVersion) -> Result<VacuumRedirect<'a>, BodyError> {
        let count = usize::from(body.u16("placeholder count")?);
        let first_placeholder = body.u16("first placeholder")?;
        let horizon = body.u32("redirect horizon")?;
        let mut is_catalog = false;
        if version >= PgVersion::V16 {
            is_catalog = body.bool("redirect catalog flag")?;
            body.pad(1)?;
        }
        Ok(VacuumRedirect {
            first_placeholder,
            horizon,
            is_catalog,
            to_placeholder: body.array("placeholder offsets", count)?,
        })
    }
}

impl<'a> LeafTuples<'a> {
    /// `count` tuples, and nothing behind them.
    fn read(body: &mut Body<'a>, count: usize) -> Result<LeafTuples<'a>, BodyError> {
        let mut rest = *body;
        for _ in 0..count {
            read_leaf_tuple(body)?;
        }
        body.finish("leaf tuples")?;
        Ok(LeafTuples {
            rest: rest.take_rest(),
        })
    }
}

impl<'a> Iterator for LeafTuples<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut body = Body::new(RMGR, self.rest);
        let tuple = read_leaf_tuple(&mut body).ok()?;
        self.rest = body.take_rest();
        Some(tuple)
    }
}

/// A leaf tuple (`SpGistLeafTupleData`): its first word holds two bits of state and 30 of size.
fn read_leaf_tuple<'a>(body: &mut Body<'a>) -> Result<&'a [u8], BodyError> {
    const FIELD: &str = "leaf tuple";
    const HEADER_SIZE: usize = 12;
    let mut header = *body;
    let size = (u32_at(header.take(FIELD, HEADER_SIZE)?, 0) >> 2) as usize;
    if size < HEADER_SIZE {
        return Err(body.value(FIELD, size as i64));
    }
    body.take(FIELD, size)
}

/// An inner tuple (`SpGistInnerTupleData`): its size is behind its first word.
fn read_inner_tuple<'a>(body: &mut Body<'a>) -> Result<&'a [u8], BodyError> {
    const FIELD: &str = "inner tuple";
    const HEADER_SIZE: usize = 8;
    let mut header = *body;
    let size = usize::from(u16_at(header.take(FIELD, HEADER_SIZE)?, 4));
    if size < HEADER_SIZE {
        return Err(body.value(FIELD, size as i64));
    }
    body.take(FIELD, size)
}
