//! Which records to show (`pg_waldump`'s main loop and `XLogRecordMatchesRelationBlock`,
//! bin/pg_waldump/pg_waldump.c).

use crate::record::{BlockRef, Record};
use crate::rmgr::RmgrId;
use crate::types::{BlockNumber, ForkNumber, RelFileLocator, Xid};

/// What a record must have to be shown; all of it, where more is asked for. Asks for nothing at first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// It belongs to one of these resource managers; to any, if there are none.
    pub rmgrs: Vec<RmgrId>,
    /// It was written by this transaction. Subtransactions count by their own id.
    pub xid: Option<Xid>,
    /// It refers to a block of this relation.
    pub rel: Option<RelFileLocator>,
    /// It refers to a block with this number; the same block where `rel` or `fork` is asked for, too.
    pub block: Option<BlockNumber>,
    /// It refers to a block of this fork.
    pub fork: Option<ForkNumber>,
    /// It carries a page image.
    pub with_image: bool,
}

impl Filter {
    /// Whether a record is to be shown.
    #[inline]
    pub fn admits(&self, record: &Record<'_>) -> bool {
        let asks_for_block = self.rel.is_some() || self.block.is_some() || self.fork.is_some();
        (self.rmgrs.is_empty() || self.rmgrs.contains(&record.header.rmgr))
            && self.xid.is_none_or(|xid| xid == record.header.xid)
            && (!asks_for_block || record.blocks().iter().any(|block| self.admits_block(block)))
            && (!self.with_image || record.blocks().iter().any(|block| block.image.is_some()))
    }

    fn admits_block(&self, block: &BlockRef<'_>) -> bool {
        self.rel.is_none_or(|rel| rel == block.tag.rel)
            && self.block.is_none_or(|number| number == block.tag.block)
            && self.fork.is_none_or(|fork| fork == block.tag.fork)
    }
}
