//! From where a server of 14 keeps WAL for our slot. It has no `READ_REPLICATION_SLOT`; it is asked with SQL, and
//! where it lets us into no database, for the WAL itself. Both on connections of their own.

use slog::{Logger, warn};
use walrecord::Lsn;

use super::error::Trouble;
use super::{FollowError, FollowOptions};
use crate::attach::segment_size;
use crate::command::SlotName;
use crate::connection::{ConnectFailure, Connection};
use crate::control::Control;
use crate::error::{ConnectionError, SqlState};
use crate::stream::{Held, StreamOptions, WalSink, can_send};

/// What is asked, of whom.
pub(super) struct OldSlot<'a> {
    pub(super) options: &'a FollowOptions,
    pub(super) slot: &'a SlotName,
    pub(super) sink: &'a dyn WalSink,
    /// How far the server has WAL.
    pub(super) flushed: Lsn,
    pub(super) control: &'a Control,
    pub(super) log: &'a Logger,
}

impl OldSlot<'_> {
    /// The slot's `restart_lsn`, or a position that it has certainly passed. None if all behind our last good
    /// record is to be sent again.
    pub(super) fn restart(&self, connection: &mut Connection) -> Result<Option<Lsn>, Trouble> {
        let Held {
            valid_end,
            file_end,
        } = self.sink.held();
        if file_end <= valid_end {
            return Ok(None);
        }
        let found = match self.by_sql()? {
            Some(restart_lsn) => restart_lsn,
            None => self.by_wal(connection, valid_end, file_end)?,
        };
        // They have taken the place of the connection that a stop interrupts.
        if let Ok(handle) = connection.interrupt_handle() {
            self.control.guard(handle);
        }
        Ok(found)
    }

    /// None if the server does not let us ask.
    fn by_sql(&self) -> Result<Option<Option<Lsn>>, Trouble> {
        let opened =
            Connection::connect_to_database(&self.options.conninfo, self.log, &mut |socket| {
                self.control.guard(socket);
            });
        let mut connection = match opened {
            Ok(connection) => connection,
            Err(error) if keeps_us_out(&error.source) => {
                warn!(self.log, "the slot's position cannot be asked for with SQL: let the role connect to the \
                                 database postgres as well"; "reason" => %error);
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        match connection.select_slot(self.slot)? {
            Some(position) => Ok(Some(position)),
            None => Err(FollowError::SlotMissing {
                slot: self.slot.clone(),
            }
            .into()),
        }
    }

    /// The first position from `valid_end` on, by whole segments, from which the server sends. It removes only
    /// segments below what the slot keeps, and the slot moved only because we acknowledged: what is gone was synced
    /// here.
    fn by_wal(
        &self,
        connection: &mut Connection,
        valid_end: Lsn,
        file_end: Lsn,
    ) -> Result<Option<Lsn>, Trouble> {
        let size = connection.show("wal_segment_size")?;
        let size = segment_size(&size).map_err(ConnectionError::from)?;
        let mut at = valid_end;
        while at < file_end.min(self.flushed) && !self.sends_from(at)? {
            let Some(next) = at.segment_start(size).checked_add(u64::from(size)) else {
                break;
            };
            at = next;
        }
        Ok((at > valid_end).then_some(at))
    }

    fn sends_from(&self, start: Lsn) -> Result<bool, Trouble> {
        let conninfo = &self.options.conninfo;
        let mut connection = Connection::connect_guarded(conninfo, self.log, &mut |socket| {
            self.control.guard(socket);
        })?;
        let wanted = StreamOptions {
            start,
            timeline: Some(self.sink.timeline()),
            slot: None,
            status_interval: self.options.status_interval,
            silence_timeout: self.options.silence_timeout,
        };
        match can_send(&mut connection, &wanted) {
            // What else a server objects to, it will say again when it matters.
            Ok(()) => Ok(true),
            Err(ConnectionError::Server { source, .. }) => {
                Ok(source.code != SqlState::UNDEFINED_FILE)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether trying again is no use.
fn keeps_us_out(failure: &ConnectFailure) -> bool {
    let passing = [
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
    ];
    match failure {
        ConnectFailure::Refused(error) => !passing.contains(&error.code),
        ConnectFailure::Authentication(_) => true,
        _ => false,
    }
}
