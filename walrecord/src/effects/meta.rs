//! Effects on state outside pages, and the few page effects that come with them.

use super::{Effect, EffectContext, EffectError, MetaEffect, PageTouch, blocks, slru};
use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::clog::{self, ClogRecord};
use crate::rmgr::commit_ts::{self, CommitTsRecord};
use crate::rmgr::database::DatabaseRecord;
use crate::rmgr::multixact::{
    MultiXactRecord, TruncateId, member_segment, next_multixact, offset_page, previous_multixact,
};
use crate::rmgr::origin::OriginRecord;
use crate::rmgr::relmap::RelMapUpdate;
use crate::rmgr::storage::{StorageRecord, Truncate};
use crate::rmgr::tablespace::TablespaceRecord;
use crate::rmgr::xact::{Prepare, XactEnd, XactRecord};
use crate::rmgr::xlog::{ParameterChange, XlogRecord};
use crate::types::{ForkNumber, Lsn, SlruKind, Xid};

/// Transaction ids below this are permanent: 0 invalid, 1 bootstrap, 2 frozen.
const FIRST_NORMAL_XID: Xid = 3;

/// The origin that means "do not replicate further"; it has no progress (`DoNotReplicateId`).
const DO_NOT_REPLICATE: u16 = u16::MAX;

/// Tells the largest id, in circular order, of `header` and `others`, if it is an ordinary one
/// (`AdvanceNextFullTransactionIdPastXid`, which redo calls for the header of every record).
#[inline]
pub(super) fn xid_used<'a, F>(header: Xid, others: impl IntoIterator<Item = Xid>, sink: &mut F)
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    let mut latest = header;
    for xid in others {
        if latest < FIRST_NORMAL_XID
            || (xid >= FIRST_NORMAL_XID && xid.wrapping_sub(latest) as i32 > 0)
        {
            latest = xid;
        }
    }
    if latest >= FIRST_NORMAL_XID {
        sink(Effect::Meta(MetaEffect::XidUsed { xid: latest }));
    }
}

/// Records of transactions (`xact_redo`, access/transam/xact.c).
pub(super) fn transaction<'a, F>(
    record: &Record<'a>,
    context: &EffectContext,
    sink: &mut F,
) -> Result<(), EffectError>
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    match XactRecord::decode(record)? {
        XactRecord::Commit(end) | XactRecord::CommitPrepared(end) => {
            end_transaction(record, &end, true, context, sink);
        }
        XactRecord::Abort(end) | XactRecord::AbortPrepared(end) => {
            end_transaction(record, &end, false, context, sink);
        }
        XactRecord::Prepare(prepare) => prepare_transaction(record, &prepare, sink),
        XactRecord::Assignment(_) | XactRecord::Invalidations(_) => {
            xid_used(record.header.xid, [], sink);
        }
    }
    Ok(())
}

fn end_transaction<'a, F>(
    record: &Record<'a>,
    end: &XactEnd<'a>,
    committed: bool,
    context: &EffectContext,
    sink: &mut F,
) where
    F: FnMut(Effect<'a>) + ?Sized,
{
    let xid = end.xid(record);
    slru::transaction_tree(SlruKind::Clog, clog::page, xid, end.subxids, sink);
    if committed && context.track_commit_timestamp {
        slru::transaction_tree(SlruKind::CommitTs, commit_ts::page, xid, end.subxids, sink);
    }
    let header = record.header.xid;
    xid_used(header, std::iter::once(xid).chain(end.subxids), sink);
    if let Some(origin) = end.origin {
        advance_origin(record, origin.lsn, sink);
    }
    for rel in end.dropped_relations {
        sink(Effect::Meta(MetaEffect::RelationDrop { rel }));
    }
    if end.two_phase.is_some() {
        sink(Effect::Meta(MetaEffect::PrepareEnd { xid }));
    }
    sink(Effect::Meta(MetaEffect::TransactionEnd {
        xid,
        committed,
        time: end.time,
    }));
}

/// Recovery takes note of a prepared transaction's subtransactions only at its end
/// (`PrescanPreparedTransactions`, access/transam/twophase.c); here every position is an end.
fn prepare_transaction<'a, F>(record: &Record<'a>, prepare: &Prepare<'a>, sink: &mut F)
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    let xid = prepare.xid;
    let header = record.header.xid;
    xid_used(header, std::iter::once(xid).chain(prepare.subxids), sink);
    sink(Effect::Meta(MetaEffect::Prepare {
        xid,
        state: record.main_data,
    }));
    // PrepareRedoAdd advances the origin of every record that names one.
    advance_origin(record, prepare.origin.lsn, sink);
}

/// Progress of the origin that the record names, if it names one.
fn advance_origin<'a, F>(record: &Record<'a>, remote: Lsn, sink: &mut F)
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    let tracked = |origin: &u16| !matches!(*origin, 0 | DO_NOT_REPLICATE);
    if let Some(origin) = record.origin.filter(tracked) {
        sink(Effect::Meta(MetaEffect::OriginAdvance {
            origin,
            remote,
            force: false,
        }));
    }
}

/// Records of multixacts (`multixact_redo`, access/transam/multixact.c).
pub(super) fn multixact<'a, F>(
    record: &Record<'a>,
    context: &EffectContext,
    sink: &mut F,
) -> Result<(), EffectError>
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    let header = record.header.xid;
    match MultiXactRecord::decode(record)? {
        MultiXactRecord::ZeroOffsetPage(page) => {
            slru::zero(SlruKind::MultiXactOffsets, page, sink);
            xid_used(header, [], sink);
        }
        MultiXactRecord::ZeroMemberPage(page) => {
            slru::zero(SlruKind::MultiXactMembers, page, sink);
            xid_used(header, [], sink);
        }
        MultiXactRecord::CreateId(create) => {
            slru::new_multixact(&create, context, sink);
            xid_used(header, create.members.iter().map(|it| it.xid), sink);
            let count = create.members.len() as u32;
            sink(Effect::Meta(MetaEffect::MultiXactUsed {
                next: next_multixact(create.multi),
                next_offset: create.offset.wrapping_add(count),
                exact: false,
            }));
        }
        MultiXactRecord::TruncateId(truncate) => {
            xid_used(header, [], sink);
            truncate_multixacts(&truncate, sink);
        }
    }
    Ok(())
}

fn truncate_multixacts<'a, F>(truncate: &TruncateId, sink: &mut F)
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    sink(Effect::Meta(MetaEffect::OldestMultiXact {
        oldest: truncate.end_multi,
        db: truncate.oldest_db,
    }));
    sink(Effect::Meta(MetaEffect::MembersTruncate {
        first: member_segment(truncate.start_member),
        end: member_segment(truncate.end_member),
    }));
    // One back: the page of the oldest multixact may not exist yet (PerformOffsetsTruncation).
    sink(Effect::Meta(MetaEffect::SlruTruncate {
        kind: SlruKind::MultiXactOffsets,
        cutoff: offset_page(previous_multixact(truncate.end_multi)),
    }));
}

/// Records of all other resource managers that do more than change the blocks they name.
pub(super) fn other<'a, F>(
    rmgr: Rmgr,
    record: &Record<'a>,
    context: &EffectContext,
    sink: &mut F,
) -> Result<(), EffectError>
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    match rmgr {
        Rmgr::Xlog => xlog(record, context, sink),
        Rmgr::Storage => storage(record, sink),
        Rmgr::Clog => commit_log(record, sink),
        Rmgr::CommitTs => commit_times(record, sink),
        Rmgr::Database => database(record, sink),
        Rmgr::Tablespace => tablespace(record, sink),
        Rmgr::RelMap => relation_map(record, sink),
        Rmgr::ReplicationOrigin => origin(record, sink),
        _ => Ok(()),
    }
}

fn xlog<'a, F>(
    record: &Record<'a>,
    context: &EffectContext,
    sink: &mut F,
) -> Result<(), EffectError>
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    match XlogRecord::decode(record)? {
        XlogRecord::CheckpointShutdown(checkpoint) => {
            sink(Effect::Meta(MetaEffect::Checkpoint {
                checkpoint,
                shutdown: true,
            }));
        }
        XlogRecord::CheckpointOnline(checkpoint) => {
            sink(Effect::Meta(MetaEffect::Checkpoint {
                checkpoint,
                shutdown: false,
            }));
        }
        XlogRecord::NextOid(next) => sink(Effect::Meta(MetaEffect::NextOid { next })),
        XlogRecord::ParameterChange(change) => parameters(change, context, sink),
        XlogRecord::EndOfRecovery(end) => {
            sink(Effect::Meta(MetaEffect::EndOfRecovery {
                this: end.this_tli,
                previous: end.prev_tli,
                time: end.time,
            }));
        }
        XlogRecord::Noop
        | XlogRecord::Switch
        | XlogRecord::BackupEnd(_)
        | XlogRecord::RestorePoint(_)
        | XlogRecord::FullPageWrites(_)
        | XlogRecord::FullPageImageForHint
        | XlogRecord::FullPageImage
        | XlogRecord::OverwriteContRecord(_)
        | XlogRecord::CheckpointRedo(_) => {}
    }
    Ok(())
}

/// `CommitTsParameterChange` (access/transam/commit_ts.c) removes all commit times when the feature is
/// switched off.
fn parameters<'a, F>(change: ParameterChange, context: &EffectContext, sink: &mut F)
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    if context.track_commit_timestamp && !change.track_commit_timestamp {
        sink(Effect::Meta(MetaEffect::SlruRemove {
            kind: SlruKind::CommitTs,
        }));
    }
    sink(Effect::Meta(MetaEffect::Parameters(change)));
}

fn storage<'a, F>(record: &Record<'a>, sink: &mut F) -> Result<(), EffectError>
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    match StorageRecord::decode(record)? {
        StorageRecord::Create(create) => {
            sink(Effect::Meta(MetaEffect::RelationCreate {
                rel: create.rel,
                fork: create.fork,
            }));
        }
        StorageRecord::Truncate(truncate) => truncate_relation(&truncate, sink),
    }
    Ok(())
}

/// `smgr_redo` (catalog/storage.c): the main fork is created if it is missing, whether it is cut or
/// not; maps that do not exist are left alone.
fn truncate_relation<'a, F>(truncate: &Truncate, sink: &mut F)
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    let rel = truncate.rel;
    if truncate.cuts_vm()
        && let Some(map) = blocks::vm_page_to_trim(rel, truncate.blocks)
    {
        sink(Effect::Page {
            key: map.into(),
            touch: PageTouch::IfPresent,
        });
    }
    let mut meta = |effect| sink(Effect::Meta(effect));
    meta(MetaEffect::RelationCreate {
        rel,
        fork: ForkNumber::Main,
    });
    if truncate.cuts_main() {
        meta(MetaEffect::RelationTruncate {
            rel,
            fork: ForkNumber::Main,
            blocks: truncate.blocks,
        });
    }
    if truncate.cuts_fsm() {
        meta(MetaEffect::RelationTruncate {
            rel,
            fork: ForkNumber::Fsm,
            blocks: blocks::fsm_blocks(truncate.blocks),
        });
    }
    if truncate.cuts_vm() {
        meta(MetaEffect::RelationTruncate {
            rel,
            fork: ForkNumber::Vm,
            blocks: blocks::vm_blocks(truncate.blocks),
        });
    }
}

fn commit_log<'a, F>(record: &Record<'a>, sink: &mut F) -> Result<(), EffectError>
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    match ClogRecord::decode(record)? {
        ClogRecord::ZeroPage(page) => slru::zero(SlruKind::Clog, page, sink),
        ClogRecord::Truncate(truncate) => {
            sink(Effect::Meta(MetaEffect::OldestXid {
                oldest: truncate.oldest_xid,
                db: truncate.oldest_db,
            }));
            sink(Effect::Meta(MetaEffect::SlruTruncate {
                kind: SlruKind::Clog,
                cutoff: truncate.cutoff,
            }));
        }
    }
    Ok(())
}

fn commit_times<'a, F>(record: &Record<'a>, sink: &mut F) -> Result<(), EffectError>
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    match CommitTsRecord::decode(record)? {
        CommitTsRecord::ZeroPage(page) => slru::zero(SlruKind::CommitTs, page, sink),
        CommitTsRecord::Truncate(truncate) => {
            sink(Effect::Meta(MetaEffect::OldestCommitTsXid {
                oldest: truncate.oldest_xid,
            }));
            sink(Effect::Meta(MetaEffect::SlruTruncate {
                kind: SlruKind::CommitTs,
                cutoff: truncate.cutoff,
            }));
        }
    }
    Ok(())
}

fn database<'a, F>(record: &Record<'a>, sink: &mut F) -> Result<(), EffectError>
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    match DatabaseRecord::decode(record)? {
        DatabaseRecord::CreateFileCopy(copy) => {
            sink(Effect::Meta(MetaEffect::DatabaseCopy {
                spc: copy.target.spc,
                db: copy.target.db,
                from_spc: copy.source.spc,
                from_db: copy.source.db,
            }));
        }
        DatabaseRecord::CreateWalLog(created) => {
            sink(Effect::Meta(MetaEffect::DatabaseCreate {
                spc: created.spc,
                db: created.db,
            }));
        }
        DatabaseRecord::Drop(dropped) => {
            for spc in dropped.tablespaces {
                sink(Effect::Meta(MetaEffect::DatabaseDrop {
                    spc,
                    db: dropped.db,
                }));
            }
        }
    }
    Ok(())
}

fn tablespace<'a, F>(record: &Record<'a>, sink: &mut F) -> Result<(), EffectError>
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    sink(Effect::Meta(match TablespaceRecord::decode(record)? {
        TablespaceRecord::Create(create) => MetaEffect::TablespaceCreate {
            spc: create.spc,
            path: create.path,
        },
        TablespaceRecord::Drop(spc) => MetaEffect::TablespaceDrop { spc },
    }));
    Ok(())
}

fn relation_map<'a, F>(record: &Record<'a>, sink: &mut F) -> Result<(), EffectError>
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    let RelMapUpdate { db, spc, content } = RelMapUpdate::decode(record)?;
    sink(Effect::Meta(MetaEffect::RelationMap { spc, db, content }));
    Ok(())
}

fn origin<'a, F>(record: &Record<'a>, sink: &mut F) -> Result<(), EffectError>
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    sink(Effect::Meta(match OriginRecord::decode(record)? {
        OriginRecord::Set(set) if set.origin == DO_NOT_REPLICATE => return Ok(()),
        OriginRecord::Set(set) => MetaEffect::OriginAdvance {
            origin: set.origin,
            remote: set.remote,
            force: set.force,
        },
        OriginRecord::Drop(origin) => MetaEffect::OriginDrop { origin },
    }));
    Ok(())
}
