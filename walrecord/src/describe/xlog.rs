//! Descriptions of XLOG records (access/rmgrdesc/xlogdesc.c).

use crate::describe::Text;
use crate::record::Record;
use crate::rmgr::BodyError;
use crate::rmgr::xlog::{CheckPoint, EndOfRecovery, ParameterChange, XlogRecord};
use crate::types::PgVersion;

pub(super) fn describe(record: &Record<'_>, out: &mut Text) -> Result<(), BodyError> {
    let version = record.version;
    match XlogRecord::decode(record)? {
        XlogRecord::CheckpointShutdown(checkpoint) => {
            describe_checkpoint(&checkpoint, version, out);
            out.str("shutdown");
        }
        XlogRecord::CheckpointOnline(checkpoint) => {
            describe_checkpoint(&checkpoint, version, out);
            out.str("online");
        }
        XlogRecord::NextOid(oid) => {
            out.dec(oid);
        }
        XlogRecord::BackupEnd(start) => {
            out.lsn(start, false);
        }
        XlogRecord::ParameterChange(change) => describe_parameters(&change, out),
        XlogRecord::RestorePoint(point) => {
            out.raw(point.name);
        }
        XlogRecord::FullPageWrites(on) => {
            out.str(true_or_false(on));
        }
        XlogRecord::EndOfRecovery(end) => describe_end_of_recovery(&end, version, out),
        XlogRecord::OverwriteContRecord(overwrite) => {
            out.str("lsn ").lsn(overwrite.overwritten, false);
            out.str("; time ").time(overwrite.time);
        }
        XlogRecord::CheckpointRedo(level) => {
            out.str("wal_level ").str(wal_level(level));
        }
        XlogRecord::Noop
        | XlogRecord::Switch
        | XlogRecord::FullPageImageForHint
        | XlogRecord::FullPageImage => {}
    }
    Ok(())
}

/// 17 added `wal_level`.
fn describe_checkpoint(checkpoint: &CheckPoint, version: PgVersion, out: &mut Text) {
    out.str("redo ").lsn(checkpoint.redo, false);
    out.str("; tli ").dec(checkpoint.this_tli);
    out.str("; prev tli ").dec(checkpoint.prev_tli);
    out.str("; fpw ")
        .str(true_or_false(checkpoint.full_page_writes));
    if version >= PgVersion::V17 {
        out.str("; wal_level ").str(wal_level(checkpoint.wal_level));
    }
    out.str("; xid ").dec(checkpoint.next_full_xid >> 32);
    out.byte(b':').dec(checkpoint.next_full_xid as u32);
    out.str("; oid ").dec(checkpoint.next_oid);
    out.str("; multi ").dec(checkpoint.next_multi);
    out.str("; offset ").dec(checkpoint.next_multi_offset);
    out.str("; oldest xid ").dec(checkpoint.oldest_xid);
    out.str(" in DB ").dec(checkpoint.oldest_xid_db);
    out.str("; oldest multi ").dec(checkpoint.oldest_multi);
    out.str(" in DB ").dec(checkpoint.oldest_multi_db);
    out.str("; oldest/newest commit timestamp xid: ");
    out.dec(checkpoint.oldest_commit_ts_xid).byte(b'/');
    out.dec(checkpoint.newest_commit_ts_xid);
    out.str("; oldest running xid ");
    out.dec(checkpoint.oldest_active_xid).str("; ");
}

fn describe_parameters(change: &ParameterChange, out: &mut Text) {
    let on = |on| if on { "on" } else { "off" };
    out.str("max_connections=").signed(change.max_connections);
    out.str(" max_worker_processes=");
    out.signed(change.max_worker_processes);
    out.str(" max_wal_senders=").signed(change.max_wal_senders);
    out.str(" max_prepared_xacts=");
    out.signed(change.max_prepared_xacts);
    out.str(" max_locks_per_xact=");
    out.signed(change.max_locks_per_xact);
    out.str(" wal_level=").str(wal_level(change.wal_level));
    out.str(" wal_log_hints=").str(on(change.wal_log_hints));
    out.str(" track_commit_timestamp=");
    out.str(on(change.track_commit_timestamp));
}

/// 17 added `wal_level`.
fn describe_end_of_recovery(end: &EndOfRecovery, version: PgVersion, out: &mut Text) {
    out.str("tli ").dec(end.this_tli);
    out.str("; prev tli ").dec(end.prev_tli);
    out.str("; time ").time(end.time);
    if version >= PgVersion::V17 {
        out.str("; wal_level ").str(wal_level(end.wal_level));
    }
}

const fn true_or_false(value: bool) -> &'static str {
    match value {
        true => "true",
        false => "false",
    }
}

/// The setting's name (`wal_level_options`).
const fn wal_level(level: i32) -> &'static str {
    match level {
        0 => "minimal",
        1 => "replica",
        2 => "logical",
        _ => "?",
    }
}
