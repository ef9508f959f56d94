//! Heap tuples as they stand on a page (`HeapTupleHeaderData`, access/htup_details.h).

use std::ops::Range;

use walrecord::rmgr::heap::{InfoBits, TupleHeader as LoggedHeader};
use walrecord::{BlockNumber, PAGE_SIZE, Page, Xid};

use crate::error::Fault;
use crate::page::{self, Placement};

const XMIN: usize = 0;
const XMAX: usize = XMIN + 4;
const FIELD3: usize = XMAX + 4;
const CTID: usize = FIELD3 + 4;
const INFOMASK2: usize = CTID + 6;
const INFOMASK: usize = INFOMASK2 + 2;
const HOFF: usize = INFOMASK + 2;

/// Bytes of the fixed part, before the null bitmap (`SizeofHeapTupleHeader`).
pub(crate) const TUPLE_HEADER_SIZE: usize = HOFF + 1;
const _: () = assert!(TUPLE_HEADER_SIZE == 23);

/// The longest tuple (`MaxHeapTupleSize`): a page less its header and one line pointer.
const MAX_TUPLE_SIZE: usize = PAGE_SIZE - page::max_align(page::HEADER_SIZE + page::ITEM_ID_SIZE);

const XMAX_KEYSHR_LOCK: u16 = 0x0010;
const COMBO_CID: u16 = 0x0020;
const XMAX_EXCL_LOCK: u16 = 0x0040;
const XMAX_LOCK_ONLY: u16 = 0x0080;
pub(crate) const XMIN_COMMITTED: u16 = 0x0100;
pub(crate) const XMIN_INVALID: u16 = 0x0200;
pub(crate) const XMAX_COMMITTED: u16 = 0x0400;
pub(crate) const XMAX_INVALID: u16 = 0x0800;
const XMAX_IS_MULTI: u16 = 0x1000;
const MOVED: u16 = 0xC000;
const LOCK_MASK: u16 = XMAX_KEYSHR_LOCK | XMAX_EXCL_LOCK;
const XMAX_BITS: u16 = XMAX_COMMITTED | XMAX_INVALID | XMAX_IS_MULTI | LOCK_MASK | XMAX_LOCK_ONLY;

const KEYS_UPDATED: u16 = 0x2000;
const HOT_UPDATED: u16 = 0x4000;

/// The address of a tuple (`ItemPointerData`): block, line pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tid {
    pub(crate) block: BlockNumber,
    pub(crate) offset: u16,
}

impl Tid {
    /// What `t_ctid` says of a tuple that moved to another partition.
    pub(crate) const MOVED_PARTITIONS: Tid = Tid {
        block: u32::MAX,
        offset: 0xFFFD,
    };
    /// The line pointer number in `t_ctid` of a tuple whose insertion is speculative.
    const SPECULATIVE_OFFSET: u16 = 0xFFFE;

    /// The block's high half comes first.
    pub(crate) const fn to_bytes(self) -> [u8; 6] {
        let high = ((self.block >> 16) as u16).to_le_bytes();
        let low = (self.block as u16).to_le_bytes();
        let offset = self.offset.to_le_bytes();
        [high[0], high[1], low[0], low[1], offset[0], offset[1]]
    }
}

/// The header of a tuple on a page.
pub(crate) struct TupleHeader<'a>(&'a mut [u8; TUPLE_HEADER_SIZE]);

/// Where the tuple of a line pointer lies, which must be a normal one.
pub(crate) fn tuple_range(page: &Page, offset: u16) -> Result<Range<usize>, Fault> {
    let range = page::normal_item_range(page, offset)?;
    if range.len() < TUPLE_HEADER_SIZE {
        return Err(Fault::Value {
            what: "tuple length",
            found: range.len() as u64,
            expected: TUPLE_HEADER_SIZE as u64,
        });
    }
    Ok(range)
}

/// Where a tuple's columns lie in the page, for the tuple at `range`.
pub(crate) fn columns_range(page: &Page, range: &Range<usize>) -> Result<Range<usize>, Fault> {
    let hoff = page[range.start + HOFF];
    let start = range.start + usize::from(hoff);
    if usize::from(hoff) < TUPLE_HEADER_SIZE || start > range.end {
        return Err(Fault::Value {
            what: "tuple header length",
            found: u64::from(hoff),
            expected: TUPLE_HEADER_SIZE as u64,
        });
    }
    Ok(start..range.end)
}

impl TupleHeader<'_> {
    /// The header of the tuple of a line pointer, which must be a normal one.
    pub(crate) fn of(page: &mut Page, offset: u16) -> Result<TupleHeader<'_>, Fault> {
        let range = tuple_range(page, offset)?;
        TupleHeader::at(page, range.start)
    }

    /// The header at a place in the page.
    pub(crate) fn at(page: &mut Page, start: usize) -> Result<TupleHeader<'_>, Fault> {
        let bytes = page.get_mut(start..).and_then(|b| b.first_chunk_mut());
        bytes.map(TupleHeader).ok_or(Fault::Value {
            what: "start of a tuple",
            found: start as u64,
            expected: (PAGE_SIZE - TUPLE_HEADER_SIZE) as u64,
        })
    }

    pub(crate) fn infomask(&self) -> u16 {
        u16::from_le_bytes([self.0[INFOMASK], self.0[INFOMASK + 1]])
    }

    pub(crate) fn set_infomask(&mut self, value: u16) {
        self.0[INFOMASK..INFOMASK + 2].copy_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn infomask2(&self) -> u16 {
        u16::from_le_bytes([self.0[INFOMASK2], self.0[INFOMASK2 + 1]])
    }

    pub(crate) fn set_infomask2(&mut self, value: u16) {
        self.0[INFOMASK2..INFOMASK2 + 2].copy_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn set_xmin(&mut self, xid: Xid) {
        self.0[XMIN..XMIN + 4].copy_from_slice(&xid.to_le_bytes());
    }

    pub(crate) fn set_xmax(&mut self, xid: Xid) {
        self.0[XMAX..XMAX + 4].copy_from_slice(&xid.to_le_bytes());
    }

    /// `t_xvac`, which shares its bytes with the command id.
    pub(crate) fn set_xvac(&mut self, xid: Xid) {
        self.0[FIELD3..FIELD3 + 4].copy_from_slice(&xid.to_le_bytes());
    }

    /// Redo knows no command ids: they become 0, and not a combined one.
    pub(crate) fn clear_command_id(&mut self) {
        self.set_xvac(0);
        self.set_infomask(self.infomask() & !COMBO_CID);
    }

    pub(crate) fn set_ctid(&mut self, tid: Tid) {
        self.0[CTID..CTID + 6].copy_from_slice(&tid.to_bytes());
    }

    /// The tuple's insertion is speculative: `t_ctid` holds a token (`HeapTupleHeaderIsSpeculative`).
    pub(crate) fn is_speculative(&self) -> bool {
        self.0[CTID + 4..CTID + 6] == Tid::SPECULATIVE_OFFSET.to_le_bytes()
    }

    pub(crate) fn set_hot_updated(&mut self, hot: bool) {
        let mask = self.infomask2() & !HOT_UPDATED;
        self.set_infomask2(if hot { mask | HOT_UPDATED } else { mask });
    }

    /// Replaces all that the header says of xmax's kind (`fix_infomask_from_infobits`, heapam.c,
    /// and the clearing before it). The lock that Postgres calls shared is the two other bits
    /// together.
    pub(crate) fn set_xmax_kind(&mut self, bits: InfoBits) {
        let mut mask = self.infomask() & !(XMAX_BITS | MOVED);
        for (set, flag) in [
            (bits.is_multi(), XMAX_IS_MULTI),
            (bits.lock_only(), XMAX_LOCK_ONLY),
            (bits.exclusive_lock(), XMAX_EXCL_LOCK),
            (bits.key_share_lock(), XMAX_KEYSHR_LOCK),
        ] {
            mask |= if set { flag } else { 0 };
        }
        self.set_infomask(mask);
        let mask2 = self.infomask2() & !KEYS_UPDATED;
        let keys = if bits.keys_updated() { KEYS_UPDATED } else { 0 };
        self.set_infomask2(mask2 | keys);
    }

    /// Whether xmax only locked the tuple (`HEAP_XMAX_IS_LOCKED_ONLY`).
    pub(crate) fn is_locked_only(&self) -> bool {
        let mask = self.infomask();
        mask & XMAX_LOCK_ONLY != 0 || mask & (XMAX_IS_MULTI | LOCK_MASK) == XMAX_EXCL_LOCK
    }
}

/// A tuple to be added: its header's content and where it goes.
pub(crate) struct NewTuple {
    pub(crate) tid: Tid,
    pub(crate) header: LoggedHeader,
    pub(crate) xmin: Xid,
    pub(crate) xmax: Xid,
}

impl NewTuple {
    /// Adds a tuple with `length` bytes behind the fixed header, writes the header, and says where
    /// the bytes behind it go.
    pub(crate) fn place(&self, page: &mut Page, length: usize) -> Result<Range<usize>, Fault> {
        let size = TUPLE_HEADER_SIZE + length;
        if size > MAX_TUPLE_SIZE {
            return Err(Fault::Value {
                what: "tuple length",
                found: size as u64,
                expected: MAX_TUPLE_SIZE as u64,
            });
        }
        let range = page::reserve_item(page, self.tid.offset, size, Placement::Heap)?;
        let mut header = TupleHeader::at(page, range.start)?;
        header.set_xmin(self.xmin);
        header.set_xmax(self.xmax);
        header.set_ctid(self.tid);
        header.set_infomask2(self.header.infomask2);
        header.set_infomask(self.header.infomask);
        header.0[HOFF] = self.header.hoff;
        header.clear_command_id();
        Ok(range.start + TUPLE_HEADER_SIZE..range.end)
    }
}
