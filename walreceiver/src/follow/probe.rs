//! What a server of 14 still has of the WAL behind our last good record. It cannot tell from where a slot keeps
//! WAL (`READ_REPLICATION_SLOT` came with 15), so it is asked for the WAL itself, over a connection of its own.

use slog::Logger;
use walrecord::Lsn;

use super::FollowOptions;
use super::error::Trouble;
use crate::attach::segment_size;
use crate::connection::Connection;
use crate::control::Control;
use crate::error::{ConnectionError, SqlState};
use crate::stream::{Held, StreamOptions, WalSink, can_send};

/// A position that the slot has certainly passed if `held.valid_end` is not kept any more: the start of the
/// first segment behind it that is. None if nothing was removed.
///
/// A server removes whole segments, and only below what the slot keeps, which moved only because we
/// acknowledged. So what is gone of ours was synced.
pub(super) fn slot_passed(
    options: &FollowOptions,
    connection: &mut Connection,
    sink: &dyn WalSink,
    flushed: Lsn,
    control: &Control,
    log: &Logger,
) -> Result<Option<Lsn>, Trouble> {
    let Held {
        valid_end,
        file_end,
    } = sink.held();
    if file_end <= valid_end {
        return Ok(None);
    }
    let size =
        segment_size(&connection.show("wal_segment_size")?).map_err(ConnectionError::from)?;
    let mut at = valid_end;
    while at < file_end.min(flushed) {
        let mut probe = Connection::connect_guarded(&options.conninfo, log, &mut |socket| {
            control.guard(socket);
        })?;
        let wanted = StreamOptions {
            start: at,
            timeline: Some(sink.timeline()),
            slot: None,
            status_interval: options.status_interval,
            silence_timeout: options.silence_timeout,
        };
        match can_send(&mut probe, &wanted) {
            Err(ConnectionError::Server { source, .. })
                if source.code == SqlState::UNDEFINED_FILE => {}
            // What else a server objects to, it will say again when it matters.
            Ok(()) | Err(ConnectionError::Server { .. }) => break,
            Err(error) => return Err(error.into()),
        }
        let Some(next) = at.segment_start(size).checked_add(u64::from(size)) else {
            break;
        };
        at = next;
    }
    if let Ok(handle) = connection.interrupt_handle() {
        control.guard(handle);
    }
    Ok((at > valid_end).then_some(at))
}
