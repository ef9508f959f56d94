//! Redo of the transaction-status logs. Records do not refer to their pages, and the pages have no
//! LSN: every record is applied, to pages from before it and after it alike, and because each write
//! is of a value that does not depend on the page, the last record decides, as in stock recovery.

mod clog;
mod commit_ts;
mod multixact;

#[cfg(test)]
mod tests;

use walrecord::rmgr::clog::ClogRecord;
use walrecord::rmgr::commit_ts::CommitTsRecord;
use walrecord::rmgr::multixact::MultiXactRecord;
use walrecord::rmgr::xact::{XactEnd, XactRecord};
use walrecord::{Page, Record, RedoRules, Rmgr, SlruKind, SlruPage, Xid};

use self::clog::Status;
use self::commit_ts::CommitTime;
use crate::error::Fault;
use crate::redo::Edit;

/// Applies a record to a page of a transaction-status log. Whether commit times are kept is not the
/// record's to say: who asks for a page of them knows that they are.
pub(crate) fn redo(
    page: &mut Page,
    rmgr: Rmgr,
    record: &Record<'_>,
    key: SlruPage,
    rules: &RedoRules,
) -> Result<Edit, Fault> {
    let changed = match rmgr {
        Rmgr::Transaction => end_transaction(page, record, key)?,
        Rmgr::Clog => match ClogRecord::decode(record)? {
            ClogRecord::ZeroPage(number) => zero(page, key, SlruKind::Clog, number),
            ClogRecord::Truncate(_) => false,
        },
        Rmgr::CommitTs => match CommitTsRecord::decode(record)? {
            CommitTsRecord::ZeroPage(number) => zero(page, key, SlruKind::CommitTs, number),
            CommitTsRecord::Truncate(_) => false,
        },
        Rmgr::MultiXact => multixact(page, record, key, rules)?,
        _ => false,
    };
    Ok(if changed { Edit::Changed } else { Edit::None })
}

/// `xact_redo_commit` and `xact_redo_abort` (access/transam/xact.c).
fn end_transaction(page: &mut Page, record: &Record<'_>, key: SlruPage) -> Result<bool, Fault> {
    let (end, status) = match XactRecord::decode(record)? {
        XactRecord::Commit(end) | XactRecord::CommitPrepared(end) => (end, Status::Committed),
        XactRecord::Abort(end) | XactRecord::AbortPrepared(end) => (end, Status::Aborted),
        XactRecord::Prepare(_) | XactRecord::Assignment(_) | XactRecord::Invalidations(_) => {
            return Ok(false);
        }
    };
    Ok(match (key.kind, status) {
        (SlruKind::Clog, _) => clog::set_status(page, key.page, status, tree(record, &end)),
        (SlruKind::CommitTs, Status::Committed) => {
            let commit = CommitTime {
                time: end.commit_ts_time(),
                origin: record.origin.unwrap_or(0),
            };
            commit_ts::set_times(page, key.page, commit, tree(record, &end))
        }
        _ => false,
    })
}

/// A transaction and its subtransactions.
fn tree<'a>(record: &Record<'_>, end: &XactEnd<'a>) -> impl Iterator<Item = Xid> + use<'a> {
    std::iter::once(end.xid(record)).chain(end.subxids.iter())
}

/// `multixact_redo` (access/transam/multixact.c).
fn multixact(
    page: &mut Page,
    record: &Record<'_>,
    key: SlruPage,
    rules: &RedoRules,
) -> Result<bool, Fault> {
    Ok(match (MultiXactRecord::decode(record)?, key.kind) {
        (MultiXactRecord::ZeroOffsetPage(number), _) => {
            zero(page, key, SlruKind::MultiXactOffsets, number)
        }
        (MultiXactRecord::ZeroMemberPage(number), _) => {
            zero(page, key, SlruKind::MultiXactMembers, number)
        }
        (MultiXactRecord::CreateId(create), SlruKind::MultiXactOffsets) => {
            multixact::set_offsets(page, key.page, &create, rules)
        }
        (MultiXactRecord::CreateId(create), SlruKind::MultiXactMembers) => {
            multixact::set_members(page, key.page, &create)
        }
        _ => false,
    })
}

fn zero(page: &mut Page, key: SlruPage, kind: SlruKind, number: u32) -> bool {
    let here = key == SlruPage { kind, page: number };
    if here {
        page.fill(0);
    }
    here
}
