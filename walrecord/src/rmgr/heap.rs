//! Records of the heap (access/heapam_xlog.h; redone by `heap_redo`, access/heap/heapam.c).

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError, LeArray, block_data};
use crate::rmgr::standby::Invalidations;
use crate::types::{Oid, PgVersion};

const RMGR: Rmgr = Rmgr::Heap;

/// The bits of the flag byte that tell Heap and Heap2 records apart (`XLOG_HEAP_OPMASK`).
pub(crate) const OPCODE_MASK: u8 = 0x70;

/// Block 0 is initialised before the change (`XLOG_HEAP_INIT_PAGE`).
pub(crate) const INIT_PAGE: u8 = 0x80;

/// A record of resource manager Heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeapRecord<'a> {
    /// A tuple is added.
    Insert(Insert),
    /// A tuple is marked deleted.
    Delete(Delete<'a>),
    /// A tuple is replaced by a new version; indexes point at both.
    Update(Update<'a>),
    /// A tuple is replaced by a heap-only new version on the same page.
    HotUpdate(Update<'a>),
    /// Tables are truncated. For logical decoding; redo does nothing.
    Truncate(Truncate<'a>),
    /// A speculative insertion is kept.
    Confirm(Confirm),
    /// A tuple is locked.
    Lock(Lock),
    /// A tuple is overwritten in place.
    Inplace(Inplace<'a>),
}

/// `xl_heap_insert`. Block 0: the page; its data is an [`InsertedTuple`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insert {
    /// The new tuple's line pointer.
    pub offnum: u16,
    /// `XLH_INSERT_*`.
    pub flags: u8,
    /// The page is initialised first.
    pub init_page: bool,
}

/// `xl_heap_delete`. Block 0: the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete<'a> {
    /// The tuple's new xmax: the deleting transaction or a multixact.
    pub xmax: u32,
    /// The tuple's line pointer.
    pub offnum: u16,
    /// What is known of `xmax`.
    pub infobits: InfoBits,
    /// `XLH_DELETE_*`.
    pub flags: u8,
    /// The old tuple or its key, for logical decoding.
    pub old_tuple: Option<LoggedTuple<'a>>,
}

/// `xl_heap_update`. Block 0: the new tuple's page, its data an [`UpdatedTuple`]; block 1: the old
/// tuple's page, if it is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    /// The old tuple's new xmax: the updating transaction or a multixact.
    pub old_xmax: u32,
    /// The old tuple's line pointer.
    pub old_offnum: u16,
    /// What is known of `old_xmax`.
    pub old_infobits: InfoBits,
    /// `XLH_UPDATE_*`.
    pub flags: u8,
    /// The new tuple's xmax.
    pub new_xmax: u32,
    /// The new tuple's line pointer.
    pub new_offnum: u16,
    /// The new tuple's page is initialised first.
    pub init_page: bool,
    /// The old tuple or its key, for logical decoding.
    pub old_tuple: Option<LoggedTuple<'a>>,
}

/// `xl_heap_truncate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncate<'a> {
    /// The database.
    pub db: Oid,
    /// 1: cascade, 2: restart sequences.
    pub flags: u8,
    /// Object ids of the tables.
    pub relids: LeArray<'a, Oid>,
}

/// `xl_heap_confirm`. Block 0: the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// The tuple's line pointer.
    pub offnum: u16,
}

/// `xl_heap_lock`, and `xl_heap_lock_updated` of Heap2. Block 0: the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The tuple's new xmax: the locking transaction or a multixact.
    pub xmax: u32,
    /// The tuple's line pointer.
    pub offnum: u16,
    /// What is known of `xmax`.
    pub infobits: InfoBits,
    /// 1: the page's all-frozen bit is cleared in the visibility map.
    pub flags: u8,
}

/// `xl_heap_inplace`. Block 0: the page; its data replaces what follows the tuple's header and has
/// the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inplace<'a> {
    /// The tuple's line pointer.
    pub offnum: u16,
    /// Cache invalidations (18 and newer).
    pub invalidations: Option<Invalidations<'a>>,
}

/// What a record says about an xmax (`XLHL_*`; `fix_infomask_from_infobits` turns it into infomask
/// bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct InfoBits(pub u8);

impl InfoBits {
    /// The xmax is a multixact (`HEAP_XMAX_IS_MULTI`).
    pub const fn is_multi(self) -> bool {
        self.0 & 0x01 != 0
    }

    /// The xmax only locks (`HEAP_XMAX_LOCK_ONLY`).
    pub const fn lock_only(self) -> bool {
        self.0 & 0x02 != 0
    }

    /// It locks exclusively (`HEAP_XMAX_EXCL_LOCK`).
    pub const fn exclusive_lock(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// It holds a key-share lock (`HEAP_XMAX_KEYSHR_LOCK`).
    pub const fn key_share_lock(self) -> bool {
        self.0 & 0x08 != 0
    }

    /// Key columns were updated, or the tuple deleted (`HEAP_KEYS_UPDATED`, in infomask2).
    pub const fn keys_updated(self) -> bool {
        self.0 & 0x10 != 0
    }
}

/// The part of a tuple header that is logged (`xl_heap_header`, 5 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TupleHeader {
    /// `t_infomask2`.
    pub infomask2: u16,
    /// `t_infomask`.
    pub infomask: u16,
    /// `t_hoff`: bytes of the whole header on the page, null bitmap and padding included.
    pub hoff: u8,
}

/// A tuple with its logged header. `data` is what follows the fixed 23 bytes of a tuple header:
/// null bitmap, padding, columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedTuple<'a> {
    /// The logged header.
    pub header: TupleHeader,
    /// Null bitmap, padding, columns.
    pub data: &'a [u8],
}

/// The data of block 0 of INSERT.
pub type InsertedTuple<'a> = LoggedTuple<'a>;

/// The data of block 0 of UPDATE and HOT_UPDATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdatedTuple<'a> {
    /// Bytes to take over from the start of the old tuple's columns.
    pub prefix_length: u16,
    /// Bytes to take over from the end of the old tuple.
    pub suffix_length: u16,
    /// The logged header.
    pub header: TupleHeader,
    /// Null bitmap, padding and the columns' bytes between prefix and suffix. With a prefix, the
    /// first `header.hoff` - 23 bytes (bitmap and padding) go before it.
    pub data: &'a [u8],
}

impl<'a> HeapRecord<'a> {
    /// Decodes the main data of a Heap record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    #[inline]
    pub fn decode(record: &Record<'a>) -> Result<HeapRecord<'a>, BodyError> {
        let info = record.info();
        let init_page = info & INIT_PAGE != 0;
        let mut body = Body::main(RMGR, record);
        Ok(match info & OPCODE_MASK {
            0x00 => HeapRecord::Insert(Insert::read(&mut body, init_page)?),
            0x10 => HeapRecord::Delete(Delete::read(&mut body)?),
            0x20 => HeapRecord::Update(Update::read(&mut body, init_page)?),
            0x30 => HeapRecord::Truncate(Truncate::read(&mut body)?),
            0x40 => HeapRecord::HotUpdate(Update::read(&mut body, init_page)?),
            0x50 => HeapRecord::Confirm(Confirm::read(&mut body)?),
            0x60 => HeapRecord::Lock(Lock::read(&mut body)?),
            _ => HeapRecord::Inplace(Inplace::read(&mut body, record.version)?),
        })
    }
}

impl Insert {
    /// The page was all-visible and is no longer.
    pub const fn all_visible_cleared(&self) -> bool {
        self.flags & 0x01 != 0
    }

    /// The insertion is speculative (`INSERT ... ON CONFLICT`): `t_ctid` is a token on the primary.
    pub const fn is_speculative(&self) -> bool {
        self.flags & 0x04 != 0
    }

    /// The page holds only frozen tuples and becomes all-visible.
    pub const fn all_frozen_set(&self) -> bool {
        self.flags & 0x20 != 0
    }

    fn read(body: &mut Body<'_>, init_page: bool) -> Result<Insert, BodyError> {
        let insert = Insert {
            offnum: body.u16("insert offset")?,
            flags: body.u8("insert flags")?,
            init_page,
        };
        body.finish("insert")?;
        Ok(insert)
    }

    /// The new tuple.
    ///
    /// # Errors
    /// If block 0 or its data is missing or too short.
    pub fn tuple<'a>(&self, record: &Record<'a>) -> Result<InsertedTuple<'a>, BodyError> {
        LoggedTuple::read(Body::new(RMGR, block_data(RMGR, record, 0)?))
    }
}

impl<'a> Delete<'a> {
    /// The page was all-visible and is no longer.
    pub const fn all_visible_cleared(&self) -> bool {
        self.flags & 0x01 != 0
    }

    /// A speculative insertion is taken back: xmin becomes invalid instead of xmax being set.
    pub const fn is_super(&self) -> bool {
        self.flags & 0x08 != 0
    }

    /// The tuple moves to another partition: `t_ctid` says so.
    pub const fn is_partition_move(&self) -> bool {
        self.flags & 0x10 != 0
    }

    fn read(body: &mut Body<'a>) -> Result<Delete<'a>, BodyError> {
        let xmax = body.u32("delete xmax")?;
        let offnum = body.u16("delete offset")?;
        let infobits = InfoBits(body.u8("delete infobits")?);
        let flags = body.u8("delete flags")?;
        // XLH_DELETE_CONTAINS_OLD_TUPLE, XLH_DELETE_CONTAINS_OLD_KEY.
        let old_tuple = LoggedTuple::read_if(flags & 0x06 != 0, body, "delete")?;
        Ok(Delete {
            xmax,
            offnum,
            infobits,
            flags,
            old_tuple,
        })
    }
}

impl<'a> Update<'a> {
    /// The old tuple's page was all-visible and is no longer.
    pub const fn old_all_visible_cleared(&self) -> bool {
        self.flags & 0x01 != 0
    }

    /// The new tuple's page was all-visible and is no longer.
    pub const fn new_all_visible_cleared(&self) -> bool {
        self.flags & 0x02 != 0
    }

    /// The new tuple, as block 0 carries it.
    ///
    /// # Errors
    /// If block 0 or its data is missing or too short.
    pub fn tuple<'r>(&self, record: &Record<'r>) -> Result<UpdatedTuple<'r>, BodyError> {
        let mut body = Body::new(RMGR, block_data(RMGR, record, 0)?);
        // XLH_UPDATE_PREFIX_FROM_OLD, XLH_UPDATE_SUFFIX_FROM_OLD.
        let prefix_length = match self.flags & 0x20 {
            0 => 0,
            _ => body.u16("update prefix length")?,
        };
        let suffix_length = match self.flags & 0x40 {
            0 => 0,
            _ => body.u16("update suffix length")?,
        };
        let LoggedTuple { header, data } = LoggedTuple::read(body)?;
        Ok(UpdatedTuple {
            prefix_length,
            suffix_length,
            header,
            data,
        })
    }

    fn read(body: &mut Body<'a>, init_page: bool) -> Result<Update<'a>, BodyError> {
        let old_xmax = body.u32("update old xmax")?;
        let old_offnum = body.u16("update old offset")?;
        let old_infobits = InfoBits(body.u8("update old infobits")?);
        let flags = body.u8("update flags")?;
        let new_xmax = body.u32("update new xmax")?;
        let new_offnum = body.u16("update new offset")?;
        // XLH_UPDATE_CONTAINS_OLD_TUPLE, XLH_UPDATE_CONTAINS_OLD_KEY.
        let old_tuple = LoggedTuple::read_if(flags & 0x0C != 0, body, "update")?;
        Ok(Update {
            old_xmax,
            old_offnum,
            old_infobits,
            flags,
            new_xmax,
            new_offnum,
            init_page,
            old_tuple,
        })
    }
}

impl<'a> Truncate<'a> {
    /// Tables that refer to these are among them (`XLH_TRUNCATE_CASCADE`).
    pub const fn cascades(&self) -> bool {
        self.flags & 0x01 != 0
    }

    /// Their sequences start again (`XLH_TRUNCATE_RESTART_SEQS`).
    pub const fn restarts_sequences(&self) -> bool {
        self.flags & 0x02 != 0
    }

    fn read(body: &mut Body<'a>) -> Result<Truncate<'a>, BodyError> {
        let db = body.u32("truncate database")?;
        let count = body.u32("truncate relation count")?;
        let flags = body.u8("truncate flags")?;
        body.pad(3)?;
        let relids = body.array("truncate relations", count as usize)?;
        body.finish("truncate")?;
        Ok(Truncate { db, flags, relids })
    }
}

impl Confirm {
    fn read(body: &mut Body<'_>) -> Result<Confirm, BodyError> {
        let offnum = body.u16("confirm offset")?;
        body.finish("confirm")?;
        Ok(Confirm { offnum })
    }
}

impl Lock {
    /// The page's all-frozen bit in the visibility map is cleared.
    pub const fn all_frozen_cleared(&self) -> bool {
        self.flags & 0x01 != 0
    }

    /// 14 and 15 name the first field `locking_xid` and make the third signed: the same bytes.
    pub(crate) fn read(body: &mut Body<'_>) -> Result<Lock, BodyError> {
        let lock = Lock {
            xmax: body.u32("lock xmax")?,
            offnum: body.u16("lock offset")?,
            infobits: InfoBits(body.u8("lock infobits")?),
            flags: body.u8("lock flags")?,
        };
        body.finish("lock")?;
        Ok(lock)
    }
}

impl<'a> Inplace<'a> {
    /// The bytes that replace what follows the tuple's header.
    ///
    /// # Errors
    /// If block 0 or its data is missing.
    pub fn content<'r>(&self, record: &Record<'r>) -> Result<&'r [u8], BodyError> {
        block_data(RMGR, record, 0)
    }

    /// 18 added the invalidations.
    fn read(body: &mut Body<'a>, version: PgVersion) -> Result<Inplace<'a>, BodyError> {
        let offnum = body.u16("inplace offset")?;
        let mut invalidations = None;
        if version >= PgVersion::V18 {
            body.pad(2)?;
            invalidations = Some(Invalidations::read(body)?);
        }
        body.finish("inplace")?;
        Ok(Inplace {
            offnum,
            invalidations,
        })
    }
}

impl TupleHeader {
    /// Bytes that it takes in a record (`SizeOfHeapHeader`).
    pub const SIZE: usize = 5;

    pub(crate) fn read(body: &mut Body<'_>) -> Result<TupleHeader, BodyError> {
        Ok(TupleHeader {
            infomask2: body.u16("tuple infomask2")?,
            infomask: body.u16("tuple infomask")?,
            hoff: body.u8("tuple hoff")?,
        })
    }
}

impl<'a> LoggedTuple<'a> {
    fn read(mut body: Body<'a>) -> Result<LoggedTuple<'a>, BodyError> {
        Ok(LoggedTuple {
            header: TupleHeader::read(&mut body)?,
            data: body.take_rest(),
        })
    }

    /// The rest of `body` if it is announced; else there must be no rest.
    fn read_if(
        announced: bool,
        body: &mut Body<'a>,
        after: &'static str,
    ) -> Result<Option<LoggedTuple<'a>>, BodyError> {
        if announced {
            return LoggedTuple::read(*body).map(Some);
        }
        body.finish(after)?;
        Ok(None)
    }
}
