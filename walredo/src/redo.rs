//! The contract that every resource manager's redo shares (`XLogReadBufferForRedoExtended`,
//! access/transam/xlogutils.c), in one place; the resource managers only edit pages that are ripe.

use walrecord::rmgr::visibility;
use walrecord::{
    BlockNumber, BlockRef, BlockTag, ForkNumber, Page, PageKey, Record, RedoRules, Rmgr, RmgrId,
};

use crate::error::{Fault, RecordId, RedoError};
use crate::page;
use crate::tuple::Tid;
use crate::{brin, btree, generic, gin, gist, hash, heap, heap2, sequence, slru, spgist, vm, xlog};

/// What became of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// The record made a new version of the page.
    Changed,
    /// The page is as it was: it has the record's change already (by its `pd_lsn`), or the record
    /// asks for none.
    Skipped,
    /// The page was never written, and the record neither initialises nor replaces it: the history
    /// before is missing, or the relation is dropped or truncated later. The page is as it was.
    NoBase,
}

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

/// Why there is no edit.
enum Refusal {
    Unsupported,
    Untouched,
    Fault(Fault),
}

impl<F: Into<Fault>> From<F> for Refusal {
    fn from(fault: F) -> Refusal {
        Refusal::Fault(fault.into())
    }
}

impl Context<'_, '_> {
    /// The address of a tuple on this page.
    pub(crate) fn tid(&self, offset: u16) -> Tid {
        Tid {
            block: self.block.tag.block,
            offset,
        }
    }

    /// Which block another of the record's references means.
    pub(crate) fn block_number(&self, id: u8) -> Result<BlockNumber, Fault> {
        match self.record.block(id) {
            Some(block) => Ok(block.tag.block),
            None => Err(Fault::Missing("reference to the other page")),
        }
    }

    /// The fault of a reference that records of this kind do not have.
    pub(crate) fn surplus_block(&self) -> Fault {
        Fault::Value {
            what: "the block's number in the record",
            found: u64::from(self.block.id),
            expected: 0,
        }
    }
}

/// Applies a record to a page that it touches, as stock recovery does. `page` is the version before,
/// all zeros if there is none; `key` says which page it is.
///
/// Records may be trimmed to what this page needs ([`Record::encode_trimmed`]). `pd_checksum` is
/// carried along as it comes.
///
/// # Errors
/// If the record's effect is unknown here, if it does not touch the page, or if the two contradict
/// each other. The page's bytes are unspecified then.
pub fn redo(
    page: &mut Page,
    record: &Record<'_>,
    key: &PageKey,
    rules: &RedoRules,
) -> Result<Applied, RedoError> {
    apply(page, record, key, rules).map_err(|refusal| {
        let (key, record) = (*key, RecordId::of(record));
        match refusal {
            Refusal::Unsupported => RedoError::Unsupported { key, record },
            Refusal::Untouched => RedoError::Untouched { key, record },
            Refusal::Fault(fault) => RedoError::Mismatch { key, record, fault },
        }
    })
}

fn apply(
    page: &mut Page,
    record: &Record<'_>,
    key: &PageKey,
    rules: &RedoRules,
) -> Result<Applied, Refusal> {
    let RmgrId::BuiltIn(rmgr) = record.header.rmgr else {
        return Err(Refusal::Unsupported);
    };
    let tag = match key {
        PageKey::Block(tag) => tag,
        PageKey::Slru(key) => {
            return match slru::redo(page, rmgr, record, *key, rules)? {
                Edit::None => Err(Refusal::Untouched),
                Edit::Changed | Edit::KeepLsn => Ok(Applied::Changed),
            };
        }
    };
    match record.blocks().iter().find(|block| block.tag == *tag) {
        Some(block) => {
            let cx = Context {
                record,
                block,
                rules,
            };
            apply_to_named(page, rmgr, &cx)
        }
        None => {
            let edit = edit_unnamed(page, rmgr, record, tag)?;
            Ok(match edit {
                Edit::Changed | Edit::KeepLsn => Applied::Changed,
                Edit::None => Applied::Skipped,
            })
        }
    }
}

/// A page that the record refers to. An image comes first, then initialisation, then the LSN test.
fn apply_to_named(page: &mut Page, rmgr: Rmgr, cx: &Context<'_, '_>) -> Result<Applied, Refusal> {
    if let Some(image) = cx.block.apply_image() {
        image.restore(page)?;
        if edits_restored_page(rmgr, cx) {
            let make_edit = editor(rmgr, cx)?;
            page::check_header(page)?;
            make_edit(page, cx)?;
        }
        // A page that was never written is logged as it is, and must stay so.
        if !page::is_new(page) {
            page::set_lsn(page, cx.record.end);
        }
        return Ok(Applied::Changed);
    }
    let make_edit = editor(rmgr, cx)?;
    if cx.block.will_init {
        page.fill(0);
    } else if page::is_new(page) {
        if cx.block.tag.fork != ForkNumber::Vm || !visibility::sets(cx.record) {
            return Ok(Applied::NoBase);
        }
    } else if cx.record.end <= page::page_lsn(page) {
        return Ok(Applied::Skipped);
    } else {
        page::check_header(page)?;
    }
    match make_edit(page, cx)? {
        Edit::Changed => page::set_lsn(page, cx.record.end),
        Edit::KeepLsn => {}
        Edit::None => return Ok(Applied::Skipped),
    }
    Ok(Applied::Changed)
}

type Editor = fn(&mut Page, &Context<'_, '_>) -> Result<Edit, Fault>;

/// Who edits pages for records of this resource manager.
fn editor(rmgr: Rmgr, cx: &Context<'_, '_>) -> Result<Editor, Refusal> {
    Ok(match rmgr {
        Rmgr::Heap | Rmgr::Heap2 if cx.block.tag.fork == ForkNumber::Vm => vm::redo_named,
        Rmgr::Heap => heap::redo,
        Rmgr::Heap2 => heap2::redo,
        Rmgr::Btree => btree::redo,
        Rmgr::Hash => hash::redo,
        Rmgr::Gin => gin::redo,
        Rmgr::Gist => gist::redo,
        Rmgr::SpGist => spgist::redo,
        Rmgr::Brin => brin::redo,
        Rmgr::Xlog => xlog::redo,
        Rmgr::Sequence => sequence::redo,
        Rmgr::Generic => generic::redo,
        _ => return Err(Refusal::Unsupported),
    })
}

/// Whether redo goes on to change a page that it restored from an image, which the primary logged
/// before it made that change. These are all such records of all versions.
fn edits_restored_page(rmgr: Rmgr, cx: &Context<'_, '_>) -> bool {
    match (rmgr, cx.record.info(), cx.block.id) {
        // SPLIT_ALLOCATE_PAGE, SPLIT_COMPLETE: flags of the buckets.
        (Rmgr::Hash, 0x40, 0) | (Rmgr::Hash, 0x60, 0 | 1) => true,
        // PAGE_UPDATE, PAGE_SPLIT: the child whose split is complete.
        (Rmgr::Gist, 0x00, 1) | (Rmgr::Gist, 0x30, 0) => true,
        _ => false,
    }
}

/// A page that the record changes without a reference to it.
fn edit_unnamed(
    page: &mut Page,
    rmgr: Rmgr,
    record: &Record<'_>,
    tag: &BlockTag,
) -> Result<Edit, Refusal> {
    let edit = match (rmgr, tag.fork) {
        (Rmgr::Heap | Rmgr::Heap2, ForkNumber::Vm) => vm::redo_unnamed(page, record, tag)?,
        (Rmgr::Storage, ForkNumber::Vm) => vm::redo_truncation(page, record, tag)?,
        _ => None,
    };
    edit.ok_or(Refusal::Untouched)
}

#[cfg(test)]
mod tests;
