//! The cluster-wide state that Postgres keeps in its control file and in checkpoints.

use walrecord::rmgr::xlog::{CheckPoint, ParameterChange};
use walrecord::{Lsn, Oid, PgTime, PgTimelineId, Reader, Xid};

use super::{MetaError, finish};

/// Transaction ids are stored in steps of this many: the stored next id is at most this far above
/// the true one. An id too high is harmless (a clone skips a few), one too low is not.
const XID_STEP: u64 = 256;

/// Control state at an LSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ControlState {
    /// The next transaction id with its epoch: at or at most 256 above the true value.
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
    /// The oldest transaction with a commit time, or 0.
    pub oldest_commit_ts_xid: Xid,
    /// The newest transaction with a commit time, or 0.
    pub newest_commit_ts_xid: Xid,
    /// The Postgres timeline.
    pub tli: PgTimelineId,
    /// When the last checkpoint was written, seconds since 1970-01-01 00:00:00 UTC.
    pub checkpoint_time: i64,
    /// The redo position of the last checkpoint.
    pub redo: Lsn,
    /// The time of the last commit or abort, 0 if none was seen.
    pub last_end_time: PgTime,
    /// The settings that the control file carries.
    pub parameters: ParameterChange,
    /// `full_page_writes` as of the last checkpoint.
    pub full_page_writes: bool,
}

impl ControlState {
    /// The state that a control file carries: its checkpoint and its settings.
    pub fn new(checkpoint: &CheckPoint, parameters: ParameterChange) -> ControlState {
        let mut state = ControlState {
            parameters,
            ..ControlState::default()
        };
        state.checkpoint(checkpoint, true);
        state
    }

    /// Takes what a checkpoint recorded. A shutdown checkpoint is exact; an online one was overtaken
    /// by records that came before it in WAL (`xlog_redo`, access/transam/xlog.c).
    pub(crate) fn checkpoint(&mut self, c: &CheckPoint, shutdown: bool) {
        if shutdown {
            self.next_full_xid = c.next_full_xid;
            self.next_oid = c.next_oid;
            self.next_multi = c.next_multi;
            self.next_multi_offset = c.next_multi_offset;
        } else {
            self.next_full_xid = self.next_full_xid.max(c.next_full_xid);
            // Object ids are not taken from an online checkpoint: NEXTOID is logged on its own.
            self.multixact(c.next_multi, c.next_multi_offset);
        }
        self.oldest_xid = c.oldest_xid;
        self.oldest_xid_db = c.oldest_xid_db;
        self.oldest_multi = c.oldest_multi;
        self.oldest_multi_db = c.oldest_multi_db;
        self.oldest_commit_ts_xid = c.oldest_commit_ts_xid;
        self.newest_commit_ts_xid = c.newest_commit_ts_xid;
        self.tli = c.this_tli;
        self.checkpoint_time = c.time;
        self.redo = c.redo;
        self.full_page_writes = c.full_page_writes;
    }

    /// Moves the next multixact forward, if it is forward.
    pub(crate) fn multixact(&mut self, next: u32, offset: u32) {
        if (next.wrapping_sub(self.next_multi) as i32) > 0 {
            self.next_multi = next;
        }
        if (offset.wrapping_sub(self.next_multi_offset) as i32) > 0 {
            self.next_multi_offset = offset;
        }
    }

    /// Takes note of a transaction id in use. Returns whether the stored next id has to change.
    pub(crate) fn xid_used(&mut self, xid: Xid) -> bool {
        let next = self.next_full_xid;
        // `xid` is within 2^31 of the next id, in either direction.
        let ahead = xid.wrapping_sub(next as u32) as i32;
        if ahead < 0 {
            return false;
        }
        let used = next.saturating_add(ahead as u64);
        self.next_full_xid = (used / XID_STEP + 1).saturating_mul(XID_STEP);
        true
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.next_full_xid.to_le_bytes());
        for value in [
            self.next_oid,
            self.next_multi,
            self.next_multi_offset,
            self.oldest_xid,
            self.oldest_xid_db,
            self.oldest_multi,
            self.oldest_multi_db,
            self.oldest_commit_ts_xid,
            self.newest_commit_ts_xid,
            self.tli,
        ] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&self.checkpoint_time.to_le_bytes());
        out.extend_from_slice(&self.redo.get().to_le_bytes());
        out.extend_from_slice(&self.last_end_time.to_le_bytes());
        let p = &self.parameters;
        for value in [
            p.max_connections,
            p.max_worker_processes,
            p.max_wal_senders,
            p.max_prepared_xacts,
            p.max_locks_per_xact,
            p.wal_level,
        ] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        let flags = [
            p.wal_log_hints,
            p.track_commit_timestamp,
            self.full_page_writes,
        ];
        out.extend(flags.map(u8::from));
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<ControlState, MetaError> {
        let mut r = Reader::new(bytes);
        let state = ControlState {
            next_full_xid: r.u64("next xid")?,
            next_oid: r.u32("next oid")?,
            next_multi: r.u32("next multixact")?,
            next_multi_offset: r.u32("next multixact offset")?,
            oldest_xid: r.u32("oldest xid")?,
            oldest_xid_db: r.u32("oldest xid database")?,
            oldest_multi: r.u32("oldest multixact")?,
            oldest_multi_db: r.u32("oldest multixact database")?,
            oldest_commit_ts_xid: r.u32("oldest commit time xid")?,
            newest_commit_ts_xid: r.u32("newest commit time xid")?,
            tli: r.u32("timeline")?,
            checkpoint_time: r.i64("checkpoint time")?,
            redo: r.lsn("redo")?,
            last_end_time: r.i64("last end time")?,
            parameters: ParameterChange {
                max_connections: r.i32("max_connections")?,
                max_worker_processes: r.i32("max_worker_processes")?,
                max_wal_senders: r.i32("max_wal_senders")?,
                max_prepared_xacts: r.i32("max_prepared_transactions")?,
                max_locks_per_xact: r.i32("max_locks_per_transaction")?,
                wal_level: r.i32("wal_level")?,
                wal_log_hints: r.u8("wal_log_hints")? != 0,
                track_commit_timestamp: r.u8("track_commit_timestamp")? != 0,
            },
            full_page_writes: r.u8("full_page_writes")? != 0,
        };
        finish(&r)?;
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_xid_moves_in_steps_and_over_the_epoch() {
        let mut state = ControlState {
            next_full_xid: 0xFFFF_FFF0,
            ..ControlState::default()
        };
        assert!(!state.xid_used(0xFFFF_FF00), "an older transaction");
        assert!(state.xid_used(0xFFFF_FFF0));
        assert_eq!(state.next_full_xid, 1 << 32);
        assert!(state.xid_used(3));
        assert_eq!(state.next_full_xid, (1 << 32) + 256);
        assert!(!state.xid_used(255));
    }

    #[test]
    fn survives_encoding() {
        let state = ControlState {
            next_full_xid: 7,
            tli: 2,
            redo: Lsn::new(0x1234),
            full_page_writes: true,
            ..ControlState::default()
        };
        let mut bytes = Vec::new();
        state.encode(&mut bytes);
        assert_eq!(ControlState::decode(&bytes), Ok(state));
        assert!(ControlState::decode(&bytes[1..]).is_err());
    }
}
