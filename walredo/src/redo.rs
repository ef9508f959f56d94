//! The contract that every resource manager's redo shares (`XLogReadBufferForRedoExtended`,
//! access/transam/xlogutils.c), in one place; resource managers only edit pages that are ripe for it.

use walrecord::{BlockRef, PageKey, Record, RedoRules, Rmgr, RmgrId};

use crate::error::Fault;

/// What a resource manager's redo is given besides the page.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a, 'r> {
    /// The record.
    pub(crate) record: &'a Record<'r>,
    /// The record's reference to the page.
    pub(crate) block: &'a BlockRef<'r>,
    /// The rule set in force.
    pub(crate) rules: &'a RedoRules,
}

/// What a resource manager did to a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Edit {
    /// It changed the page; `pd_lsn` becomes the record's end.
    Changed,
    /// It changed the page, and `pd_lsn` stays what it was.
    KeepLsn,
    /// The record asks for nothing on this page.
    None,
}

impl<'r> Context<'_, 'r> {
    /// The block's own data.
    pub(crate) fn data(&self) -> Result<&'r [u8], Fault> {
        self.block.data.ok_or(Fault::Missing("data for this block"))
    }
}
