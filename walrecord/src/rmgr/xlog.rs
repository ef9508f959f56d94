//! Records of the WAL machinery itself (catalog/pg_control.h, access/xlog_internal.h).

use crate::types::{Lsn, Oid, PgTimelineId, Xid};

/// What a checkpoint recorded (`CheckPoint`, catalog/pg_control.h; 88 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CheckPoint {
    /// Where recovery from it starts.
    pub redo: Lsn,
    /// The timeline.
    pub this_tli: PgTimelineId,
    /// The timeline before, if this record begins a new one.
    pub prev_tli: PgTimelineId,
    /// `full_page_writes` was on.
    pub full_page_writes: bool,
    /// `wal_level` as a number (17 and newer, else 0).
    pub wal_level: i32,
    /// The next transaction id with its epoch.
    pub next_full_xid: u64,
    /// The next object id.
    pub next_oid: Oid,
    /// The next multixact id.
    pub next_multi: u32,
    /// The next multixact member offset.
    pub next_multi_offset: u32,
    /// The oldest transaction with a commit status.
    pub oldest_xid: Xid,
    /// The database that needs it.
    pub oldest_xid_db: Oid,
    /// The oldest multixact.
    pub oldest_multi: u32,
    /// The database that needs it.
    pub oldest_multi_db: Oid,
    /// When it was written, in seconds since 1970-01-01 00:00:00 UTC.
    pub time: i64,
    /// The oldest transaction with a commit time, or 0.
    pub oldest_commit_ts_xid: Xid,
    /// The newest transaction with a commit time, or 0.
    pub newest_commit_ts_xid: Xid,
    /// The oldest running transaction, or 0.
    pub oldest_active_xid: Xid,
}

/// Settings that the control file carries (`xl_parameter_change`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ParameterChange {
    /// `max_connections`.
    pub max_connections: i32,
    /// `max_worker_processes`.
    pub max_worker_processes: i32,
    /// `max_wal_senders`.
    pub max_wal_senders: i32,
    /// `max_prepared_transactions`.
    pub max_prepared_xacts: i32,
    /// `max_locks_per_transaction`.
    pub max_locks_per_xact: i32,
    /// `wal_level`: 0 minimal, 1 replica, 2 logical.
    pub wal_level: i32,
    /// `wal_log_hints`.
    pub wal_log_hints: bool,
    /// `track_commit_timestamp`.
    pub track_commit_timestamp: bool,
}
