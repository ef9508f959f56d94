//! The second half of the heap's records (access/heapam_xlog.h; redone by `heap2_redo`,
//! access/heap/heapam.c). Opcodes 0x10 to 0x30 changed their meaning in 17.

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{
    Body, BodyError, ItemPointer, LeArray, LeItem, block_data, u16_at, u32_at,
};
use crate::rmgr::heap::{INIT_PAGE, Lock, LoggedTuple, OPCODE_MASK, TupleHeader};
use crate::types::{Lsn, Oid, PgVersion, RelFileLocator, Xid};

const RMGR: Rmgr = Rmgr::Heap2;

/// A record of resource manager Heap2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heap2Record<'a> {
    /// A rewrite's old-to-new mapping. For logical decoding; no page changes.
    Rewrite(Rewrite<'a>),
    /// Line pointers are redirected, dead or unused; the page is compacted (14 to 16).
    Prune(Prune),
    /// Dead line pointers become unused (14 to 16).
    Vacuum(Vacuum),
    /// Tuples are frozen (14 to 16).
    Freeze(Freeze),
    /// Pruning, vacuum and freezing in one (17 and newer, three opcodes that differ in the name only).
    PruneFreeze(PruneFreeze),
    /// Bits of the visibility map are set.
    Visible(Visible),
    /// Tuples are added.
    MultiInsert(MultiInsert<'a>),
    /// A later version of a locked tuple is locked. Unlike LOCK it leaves `t_ctid`, cmax and the HOT
    /// bits alone.
    LockUpdated(Lock),
    /// Command ids of a catalog tuple. For logical decoding; no page changes.
    NewCid(NewCid),
}

/// `xl_heap_rewrite_mapping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite<'a> {
    /// The transaction that might need to see the rows.
    pub mapped_xid: Xid,
    /// The database, or 0.
    pub mapped_db: Oid,
    /// The table's object id.
    pub mapped_rel: Oid,
    /// Bytes of the mapping file written before.
    pub offset: i64,
    /// Insert position when the rewrite began.
    pub start_lsn: Lsn,
    /// Mappings of 36 bytes: old and new relation with block and line pointer.
    pub mappings: &'a [u8],
}

/// `xl_heap_prune` of 14 to 16. Block 0: the page, its data [`PruneOffsets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prune {
    /// Queries older than this conflict on a standby.
    pub horizon: Xid,
    /// Pairs of redirections in the data.
    pub redirected: u16,
    /// Dead line pointers in the data.
    pub dead: u16,
    /// The table is a catalog, or like one (16).
    pub is_catalog: bool,
}

/// `xl_heap_vacuum` of 14 to 16. Block 0: the page, its data `unused` line pointers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vacuum {
    /// Line pointers that become unused.
    pub unused: u16,
}

/// `xl_heap_freeze_page` of 14 to 16. Block 0: the page, its data [`FrozenTuples`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// Before 16 the cutoff of the freezing, in 16 the transaction that conflicts on a standby.
    pub horizon: Xid,
    /// Tuples (14, 15) or plans (16) in the data.
    pub count: u16,
    /// The table is a catalog, or like one (16).
    pub is_catalog: bool,
    /// How the data is laid out.
    layout: FreezeLayout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FreezeLayout {
    /// One entry a tuple (14, 15).
    Tuples,
    /// Plans that several tuples share, then the tuples' line pointers (16).
    Plans,
}

/// `xl_heap_prune` of 17 and newer. Block 0: the page, its data a [`PruneFreezeData`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneFreeze {
    /// Why: 0 on access, 1 vacuum's scan, 2 vacuum's cleanup.
    pub reason: u8,
    /// `XLHP_*`.
    pub flags: u8,
    /// Queries older than this conflict on a standby.
    pub horizon: Option<Xid>,
}

/// `xl_heap_visible`. Block 0: the page of the visibility map; block 1: the heap page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visible {
    /// Queries older than this conflict on a standby.
    pub horizon: Xid,
    /// The flag byte, which [`Visible::bits`] and [`Visible::is_catalog`] are of.
    pub flags: u8,
    /// Bits to set for the heap block: 1 all-visible, 2 all-frozen.
    pub bits: u8,
    /// The table is a catalog, or like one (16 and newer).
    pub is_catalog: bool,
}

/// `xl_heap_multi_insert`. Block 0: the page, its data [`MultiInsertTuples`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiInsert<'a> {
    /// `XLH_INSERT_*`.
    pub flags: u8,
    /// Tuples.
    pub tuple_count: u16,
    /// The page is initialised first, and the tuples go to line pointers 1, 2, ...
    pub init_page: bool,
    /// The tuples' line pointers; empty if the page is initialised.
    pub offsets: LeArray<'a, u16>,
}

/// `xl_heap_new_cid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewCid {
    /// The top-level transaction.
    pub top_xid: Xid,
    /// The command that inserted.
    pub cmin: u32,
    /// The command that deleted.
    pub cmax: u32,
    /// The combined command id.
    pub combocid: u32,
    /// The catalog's storage.
    pub rel: RelFileLocator,
    /// The tuple.
    pub tid: ItemPointer,
}

/// One line pointer that becomes a redirection to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The line pointer.
    pub from: u16,
    /// Where it points.
    pub to: u16,
}

/// The data of block 0 of PRUNE (14 to 16). Applied in this order by `heap_page_prune_execute`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneOffsets<'a> {
    /// Redirections.
    pub redirected: LeArray<'a, Redirect>,
    /// Line pointers that become dead.
    pub dead: LeArray<'a, u16>,
    /// Line pointers that become unused.
    pub unused: LeArray<'a, u16>,
}

/// The data of block 0 of the PRUNE records of 17 and newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneFreezeData<'a> {
    /// Changes of line pointers.
    pub offsets: PruneOffsets<'a>,
    /// Tuples to freeze, after those changes.
    pub frozen: FrozenTuples<'a>,
}

/// How one tuple is frozen: what its header's fields become (`heap_execute_freeze_tuple`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrozenTuple {
    /// The tuple's line pointer.
    pub offnum: u16,
    /// The raw xmax.
    pub xmax: Xid,
    /// `t_infomask2`.
    pub infomask2: u16,
    /// `t_infomask`.
    pub infomask: u16,
    /// 2: xvac becomes the frozen id; 4: xvac becomes invalid.
    pub frzflags: u8,
}

/// The tuples that a record freezes, in its order. An iterator that knows its length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FrozenTuples<'a> {
    tuples: LeArray<'a, FrozenTuple>,
    plans: LeArray<'a, FreezePlan>,
    offsets: LeArray<'a, u16>,
    /// Items of `tuples`, or of `offsets`, consumed.
    next: usize,
    /// The plan in use.
    plan: usize,
    /// Tuples that it is still for.
    plan_left: u16,
}

/// How several tuples are frozen alike (`xl_heap_freeze_plan`; 16 and newer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreezePlan {
    /// What becomes of each; its `offnum` is 0.
    pub tuple: FrozenTuple,
    /// Tuples that share the plan.
    pub tuple_count: u16,
}

impl LeItem for Redirect {
    const SIZE: usize = 4;

    #[inline]
    fn from_le(bytes: &[u8]) -> Redirect {
        Redirect {
            from: u16_at(bytes, 0),
            to: u16_at(bytes, 2),
        }
    }
}

impl LeItem for FrozenTuple {
    const SIZE: usize = 12;

    #[inline]
    fn from_le(bytes: &[u8]) -> FrozenTuple {
        FrozenTuple {
            xmax: u32_at(bytes, 0),
            offnum: u16_at(bytes, 4),
            infomask2: u16_at(bytes, 6),
            infomask: u16_at(bytes, 8),
            frzflags: bytes[10],
        }
    }
}

impl LeItem for FreezePlan {
    const SIZE: usize = 12;

    #[inline]
    fn from_le(bytes: &[u8]) -> FreezePlan {
        FreezePlan {
            tuple: FrozenTuple {
                offnum: 0,
                xmax: u32_at(bytes, 0),
                infomask2: u16_at(bytes, 4),
                infomask: u16_at(bytes, 6),
                frzflags: bytes[8],
            },
            tuple_count: u16_at(bytes, 10),
        }
    }
}

impl<'a> Heap2Record<'a> {
    /// Decodes the main data of a Heap2 record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'a>) -> Result<Heap2Record<'a>, BodyError> {
        let unified = record.version >= PgVersion::V17;
        let mut body = Body::main(RMGR, record);
        Ok(match record.info() & OPCODE_MASK {
            0x00 => Heap2Record::Rewrite(Rewrite::read(&mut body)?),
            0x10..=0x30 if unified => Heap2Record::PruneFreeze(PruneFreeze::read(&mut body)?),
            0x10 => Heap2Record::Prune(Prune::read(&mut body, record.version)?),
            0x20 => Heap2Record::Vacuum(Vacuum::read(&mut body)?),
            0x30 => Heap2Record::Freeze(Freeze::read(&mut body, record.version)?),
            0x40 => Heap2Record::Visible(Visible::read(&mut body)?),
            0x50 => {
                let init_page = record.info() & INIT_PAGE != 0;
                Heap2Record::MultiInsert(MultiInsert::read(&mut body, init_page)?)
            }
            0x60 => Heap2Record::LockUpdated(Lock::read(&mut body)?),
            _ => Heap2Record::NewCid(NewCid::read(&mut body)?),
        })
    }
}

impl<'a> Rewrite<'a> {
    /// Bytes of one mapping (`LogicalRewriteMappingData`).
    pub const MAPPING_SIZE: usize = 36;

    fn read(body: &mut Body<'a>) -> Result<Rewrite<'a>, BodyError> {
        let mapped_xid = body.u32("rewrite xid")?;
        let mapped_db = body.u32("rewrite database")?;
        let mapped_rel = body.u32("rewrite relation")?;
        body.pad(4)?;
        let offset = body.i64("rewrite offset")?;
        let count = body.u32("rewrite mapping count")? as usize;
        body.pad(4)?;
        let start_lsn = body.lsn("rewrite start")?;
        let length = count.saturating_mul(Self::MAPPING_SIZE);
        let mappings = body.take("rewrite mappings", length)?;
        body.finish("rewrite mappings")?;
        Ok(Rewrite {
            mapped_xid,
            mapped_db,
            mapped_rel,
            offset,
            start_lsn,
            mappings,
        })
    }
}

impl Prune {
    /// The line pointers that change.
    ///
    /// # Errors
    /// If block 0 or its data is missing, too short, or ends in half a line pointer.
    pub fn offsets<'a>(&self, record: &Record<'a>) -> Result<PruneOffsets<'a>, BodyError> {
        let mut body = Body::new(RMGR, block_data(RMGR, record, 0)?);
        Ok(PruneOffsets {
            redirected: body.array("redirected offsets", usize::from(self.redirected))?,
            dead: body.array("dead offsets", usize::from(self.dead))?,
            unused: body.array_rest("unused offsets")?,
        })
    }

    /// 16 added `isCatalogRel`.
    fn read(body: &mut Body<'_>, version: PgVersion) -> Result<Prune, BodyError> {
        let prune = Prune {
            horizon: body.u32("prune horizon")?,
            redirected: body.u16("prune redirected count")?,
            dead: body.u16("prune dead count")?,
            is_catalog: version >= PgVersion::V16 && body.bool("prune catalog flag")?,
        };
        body.finish("prune")?;
        Ok(prune)
    }
}

impl Vacuum {
    /// The line pointers that become unused.
    ///
    /// # Errors
    /// If block 0 or its data is missing or not of the announced length.
    pub fn offsets<'a>(&self, record: &Record<'a>) -> Result<LeArray<'a, u16>, BodyError> {
        let mut body = Body::new(RMGR, block_data(RMGR, record, 0)?);
        let offsets = body.array("unused offsets", usize::from(self.unused))?;
        body.finish("unused offsets")?;
        Ok(offsets)
    }

    fn read(body: &mut Body<'_>) -> Result<Vacuum, BodyError> {
        let unused = body.u16("vacuum unused count")?;
        body.finish("vacuum")?;
        Ok(Vacuum { unused })
    }
}

impl Freeze {
    /// The tuples to freeze.
    ///
    /// # Errors
    /// If block 0 or its data is missing or not of the announced length.
    pub fn tuples<'a>(&self, record: &Record<'a>) -> Result<FrozenTuples<'a>, BodyError> {
        let mut body = Body::new(RMGR, block_data(RMGR, record, 0)?);
        let count = usize::from(self.count);
        let frozen = match self.layout {
            FreezeLayout::Tuples => FrozenTuples::of_tuples(body.array("freeze tuples", count)?),
            FreezeLayout::Plans => {
                let plans = body.array("freeze plans", count)?;
                FrozenTuples::of_plans(plans, &mut body)?
            }
        };
        body.finish("freeze data")?;
        Ok(frozen)
    }

    /// 16 replaced entries by shared plans and added `isCatalogRel`.
    fn read(body: &mut Body<'_>, version: PgVersion) -> Result<Freeze, BodyError> {
        let with_plans = version >= PgVersion::V16;
        let freeze = Freeze {
            horizon: body.u32("freeze horizon")?,
            count: body.u16("freeze count")?,
            is_catalog: with_plans && body.bool("freeze catalog flag")?,
            layout: if with_plans {
                FreezeLayout::Plans
            } else {
                FreezeLayout::Tuples
            },
        };
        body.finish("freeze")?;
        Ok(freeze)
    }
}

impl PruneFreeze {
    /// The table is a catalog, or like one.
    pub const fn is_catalog(&self) -> bool {
        self.flags & 0x02 != 0
    }

    /// The primary held a cleanup lock: the page is compacted (`PageRepairFragmentation`). Otherwise
    /// only unused line pointers are cut off its end.
    pub const fn has_cleanup_lock(&self) -> bool {
        self.flags & 0x04 != 0
    }

    /// What changes on the page. What is announced nowhere is empty.
    ///
    /// # Errors
    /// If block 0 or its data is missing or not what the flags announce.
    pub fn data<'a>(&self, record: &Record<'a>) -> Result<PruneFreezeData<'a>, BodyError> {
        let mut body = Body::new(RMGR, block_data(RMGR, record, 0)?);
        let mut plans = LeArray::EMPTY;
        if self.flags & 0x10 != 0 {
            let count = body.u16("freeze plan count")?;
            body.pad(2)?;
            plans = body.array("freeze plans", usize::from(count))?;
        }
        let mut offsets = PruneOffsets {
            redirected: LeArray::EMPTY,
            dead: LeArray::EMPTY,
            unused: LeArray::EMPTY,
        };
        if self.flags & 0x20 != 0 {
            let count = body.u16("redirected count")?;
            offsets.redirected = body.array("redirected offsets", usize::from(count))?;
        }
        if self.flags & 0x40 != 0 {
            let count = body.u16("dead count")?;
            offsets.dead = body.array("dead offsets", usize::from(count))?;
        }
        if self.flags & 0x80 != 0 {
            let count = body.u16("unused count")?;
            offsets.unused = body.array("unused offsets", usize::from(count))?;
        }
        let frozen = FrozenTuples::of_plans(plans, &mut body)?;
        body.finish("prune data")?;
        Ok(PruneFreezeData { offsets, frozen })
    }

    fn read(body: &mut Body<'_>) -> Result<PruneFreeze, BodyError> {
        let reason = body.u8("prune reason")?;
        let flags = body.u8("prune flags")?;
        let horizon = match flags & 0x08 {
            0 => None,
            _ => Some(body.u32("prune horizon")?),
        };
        body.finish("prune")?;
        Ok(PruneFreeze {
            reason,
            flags,
            horizon,
        })
    }
}

impl Visible {
    fn read(body: &mut Body<'_>) -> Result<Visible, BodyError> {
        let horizon = body.u32("visible horizon")?;
        let flags = body.u8("visible flags")?;
        body.finish("visible")?;
        Ok(Visible {
            horizon,
            flags,
            // VISIBILITYMAP_VALID_BITS; VISIBILITYMAP_XLOG_CATALOG_REL since 16.
            bits: flags & 0x03,
            is_catalog: flags & 0x04 != 0,
        })
    }
}

impl<'a> MultiInsert<'a> {
    /// The page was all-visible and is no longer.
    pub const fn all_visible_cleared(&self) -> bool {
        self.flags & 0x01 != 0
    }

    /// The page holds only frozen tuples and becomes all-visible.
    pub const fn all_frozen_set(&self) -> bool {
        self.flags & 0x20 != 0
    }

    /// The tuples with their line pointers.
    ///
    /// # Errors
    /// If block 0 or its data is missing. Faults inside the data come from the iterator.
    pub fn tuples(&self, record: &Record<'a>) -> Result<MultiInsertTuples<'a>, BodyError> {
        let data = block_data(RMGR, record, 0)?;
        Ok(MultiInsertTuples {
            length: data.len(),
            body: Body::new(RMGR, data),
            insert: *self,
            next: 0,
        })
    }

    /// The line pointer of tuple `index`, counted from zero.
    fn offset(&self, index: u16) -> u16 {
        match self.offsets.get(usize::from(index)) {
            Some(offset) => offset,
            None => index.wrapping_add(1),
        }
    }

    fn read(body: &mut Body<'a>, init_page: bool) -> Result<MultiInsert<'a>, BodyError> {
        let flags = body.u8("multi-insert flags")?;
        body.pad(1)?;
        let tuple_count = body.u16("multi-insert tuple count")?;
        let listed = if init_page { 0 } else { tuple_count };
        let offsets = body.array("multi-insert offsets", usize::from(listed))?;
        body.finish("multi-insert")?;
        Ok(MultiInsert {
            flags,
            tuple_count,
            init_page,
            offsets,
        })
    }
}

/// One tuple of MULTI_INSERT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberedTuple<'a> {
    /// Its line pointer.
    pub offnum: u16,
    /// The tuple.
    pub tuple: LoggedTuple<'a>,
}

/// The tuples of MULTI_INSERT. After the first error it ends.
#[derive(Clone, Copy, Debug)]
pub struct MultiInsertTuples<'a> {
    length: usize,
    body: Body<'a>,
    insert: MultiInsert<'a>,
    next: u16,
}

impl<'a> MultiInsertTuples<'a> {
    fn read(&mut self) -> Result<NumberedTuple<'a>, BodyError> {
        // Each header is 2-byte aligned from the start of the data.
        if (self.length - self.body.left()) % 2 == 1 {
            self.body.pad(1)?;
        }
        let data_length = self.body.u16("multi-insert data length")?;
        let header = TupleHeader::read(&mut self.body)?;
        let data = self
            .body
            .take("multi-insert data", usize::from(data_length))?;
        Ok(NumberedTuple {
            offnum: self.insert.offset(self.next),
            tuple: LoggedTuple { header, data },
        })
    }
}

impl<'a> Iterator for MultiInsertTuples<'a> {
    type Item = Result<NumberedTuple<'a>, BodyError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.insert.tuple_count {
            // heap_xlog_multi_insert insists on an exact end, too.
            let rest = self.body.finish("multi-insert tuples");
            self.body.take_rest();
            return rest.err().map(Err);
        }
        let tuple = self.read();
        if tuple.is_err() {
            self.next = self.insert.tuple_count;
            self.body.take_rest();
        } else {
            self.next += 1;
        }
        Some(tuple)
    }
}

impl NewCid {
    fn read(body: &mut Body<'_>) -> Result<NewCid, BodyError> {
        let top_xid = body.u32("new-cid top xid")?;
        let cmin = body.u32("new-cid cmin")?;
        let cmax = body.u32("new-cid cmax")?;
        let combocid = body.u32("new-cid combocid")?;
        let rel = body.locator("new-cid relation")?;
        let tid = body.item_pointer("new-cid tuple")?;
        body.finish("new-cid")?;
        Ok(NewCid {
            top_xid,
            cmin,
            cmax,
            combocid,
            rel,
            tid,
        })
    }
}

impl<'a> FrozenTuples<'a> {
    /// The plans; none before 16, which has an entry for each tuple.
    pub const fn plans(&self) -> LeArray<'a, FreezePlan> {
        self.plans
    }

    /// The line pointers of the plans' tuples, all of the first plan, then those of the next.
    pub const fn planned_offsets(&self) -> LeArray<'a, u16> {
        self.offsets
    }

    const fn of_tuples(tuples: LeArray<'a, FrozenTuple>) -> FrozenTuples<'a> {
        FrozenTuples {
            tuples,
            plans: LeArray::EMPTY,
            offsets: LeArray::EMPTY,
            next: 0,
            plan: 0,
            plan_left: 0,
        }
    }

    /// Plans, and the line pointers that stand behind all other lists: as many as the plans say.
    fn of_plans(
        plans: LeArray<'a, FreezePlan>,
        body: &mut Body<'a>,
    ) -> Result<FrozenTuples<'a>, BodyError> {
        let count = plans.iter().map(|plan| usize::from(plan.tuple_count)).sum();
        Ok(FrozenTuples {
            tuples: LeArray::EMPTY,
            plans,
            offsets: body.array("freeze offsets", count)?,
            next: 0,
            plan: 0,
            plan_left: 0,
        })
    }
}

impl Iterator for FrozenTuples<'_> {
    type Item = FrozenTuple;

    fn next(&mut self) -> Option<FrozenTuple> {
        if let Some(tuple) = self.tuples.get(self.next) {
            self.next += 1;
            return Some(tuple);
        }
        let offnum = self.offsets.get(self.next)?;
        self.next += 1;
        while self.plan_left == 0 {
            self.plan_left = self.plans.get(self.plan)?.tuple_count;
            self.plan += 1;
        }
        self.plan_left -= 1;
        let plan = self.plans.get(self.plan - 1)?;
        Some(FrozenTuple {
            offnum,
            ..plan.tuple
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.tuples.len() + self.offsets.len()).saturating_sub(self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for FrozenTuples<'_> {}

impl std::fmt::Debug for FrozenTuples<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}
