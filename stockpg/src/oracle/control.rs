//! The few fields of `pg_control` that the oracle needs (catalog/pg_control.h, ControlFileData; the same
//! offsets in 14 to 18).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use walrecord::Lsn;

/// `DB_SHUTDOWNED_IN_RECOVERY`.
pub(super) const SHUT_DOWN_IN_RECOVERY: u32 = 2;

/// A part of a control file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Control {
    /// The state, a `DBState`.
    pub(super) state: u32,
    /// The start of the last checkpoint's record.
    pub(super) checkpoint: Lsn,
    /// `wal_log_hints` of the server that wrote the WAL.
    pub(super) wal_log_hints: bool,
    /// `max_prepared_transactions` of that server; recovery needs as many.
    pub(super) max_prepared: u32,
    /// `track_commit_timestamp` of that server.
    pub(super) track_commit_timestamp: bool,
    /// The size of a WAL segment in bytes.
    pub(super) segment_size: u32,
}

impl Control {
    pub(super) fn read(data_dir: &Path) -> Result<Control> {
        let path = data_dir.join("global/pg_control");
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let word = |at: usize| -> Result<u32> {
            let field = bytes.get(at..at + 4).context("pg_control is too short")?;
            Ok(u32::from_ne_bytes(field.try_into()?))
        };
        let double = |at: usize| -> Result<u64> {
            let field = bytes.get(at..at + 8).context("pg_control is too short")?;
            Ok(u64::from_ne_bytes(field.try_into()?))
        };
        let flag = |at: usize| -> Result<bool> {
            Ok(*bytes.get(at).context("pg_control is too short")? != 0)
        };
        Ok(Control {
            state: word(16)?,
            checkpoint: Lsn::new(double(32)?),
            wal_log_hints: flag(176)?,
            max_prepared: word(192)?,
            track_commit_timestamp: flag(200)?,
            segment_size: word(228)?,
        })
    }
}
