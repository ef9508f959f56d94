//! Following a server for as long as the process lives: connect, check who answers, stream,
//! reconnect. Decides which errors are worth another try.

mod ancestry;
mod error;
mod old_slot;
mod resume;
mod session;
mod status;
mod timing;

use std::time::Duration;

use slog::{Logger, error, info, o, warn};
use walrecord::{Lsn, PgTimelineId, PgVersion};

pub use error::{FollowError, ProbeError};
pub use resume::resume_point;
pub use status::{Phase, ReceiverStatus, StatusSnapshot};
pub use timing::{Backoff, SystemTiming, Timing};

use crate::command::SlotName;
use crate::conninfo::ConnInfo;
use crate::control::Control;
use crate::stream::{StreamEnd, WalSink};
use error::Trouble;

/// Whom to follow, and how.
#[derive(Debug, Clone)]
pub struct FollowOptions {
    /// Where the server is.
    pub conninfo: ConnInfo,
    /// What it is.
    pub peer: Peer,
    /// The system identifier that it must have.
    pub system_identifier: u64,
    /// The slot that keeps WAL for us. On a server whose timeline is new to us it is made if it is missing.
    pub slot: Option<SlotName>,
    /// The server must be a clone that begins there, or what such a one became.
    pub origin: Option<Origin>,
    /// Replies leave at least this often.
    pub status_interval: Duration,
    /// A server that sends nothing for so long is dead.
    pub silence_timeout: Duration,
    /// Waits between attempts.
    pub backoff: Backoff,
}

/// Where a clone begins: it left its parent's Postgres timeline here for one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The parent's timeline.
    pub timeline: PgTimelineId,
    /// The position.
    pub lsn: Lsn,
}

/// What kind of server sends the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Stock PostgreSQL of this version, primary or standby.
    Postgres(PgVersion),
    /// A WAL safekeeper, which knows neither settings nor slots nor Postgres timelines. It is told
    /// which tenant and timeline by `options` of the connection string.
    Safekeeper,
}

impl FollowOptions {
    /// Postgres's own intervals: status every 10 s, silence of 60 s.
    pub fn new(conninfo: ConnInfo, peer: Peer, system_identifier: u64) -> FollowOptions {
        FollowOptions {
            conninfo,
            peer,
            system_identifier,
            slot: None,
            origin: None,
            status_interval: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(60),
            backoff: Backoff::default(),
        }
    }
}

/// Streams into `sink` from where it is, until `control` is stopped.
///
/// Reconnects whenever the server or the network fails. On each connection it checks the system
/// identifier, the version, `wal_level`, the slot and the timeline history before the first byte.
/// When the server's timeline ends, it goes over to the next.
///
/// # Errors
/// What no reconnect can cure; see [`FollowError`].
pub fn follow(
    options: &FollowOptions,
    sink: &mut dyn WalSink,
    control: &Control,
    status: &ReceiverStatus,
    timing: &mut dyn Timing,
    log: &Logger,
) -> Result<(), FollowError> {
    let log = log.new(o!("slot" => options.slot.as_ref().map(ToString::to_string)));
    let mut failures = 0;
    while !control.is_stopped() {
        status.connecting();
        let before = status.snapshot();
        let outcome = session::run(options, sink, control, status, &log);
        control.unguard();
        if worked(&outcome, &before, &status.snapshot()) {
            failures = 0;
        }
        failures += 1;
        let delay = options.backoff.delay(failures, timing.dice());
        match outcome {
            Err(Trouble::Fatal(fatal)) => {
                error!(log, "cannot follow the server any more"; "reason" => %fatal);
                status.ended(Some(fatal.to_string()));
                return Err(fatal);
            }
            // Being interrupted looks like a broken connection.
            _ if control.is_stopped() => break,
            Ok(end) => {
                info!(log, "the stream ended"; "how" => ?end);
                status.waiting(failures, None);
            }
            Err(trouble) => {
                warn!(log, "cannot follow the server; trying again";
                    "reason" => %trouble, "attempt" => failures, "delay" => ?delay);
                status.waiting(failures, Some(trouble.to_string()));
            }
        }
        timing.pause(delay, control);
    }
    status.ended(None);
    Ok(())
}

/// Asks a server once whether it can be followed into `sink`: its identity, its version, its settings, its timeline
/// history, and whether it still has the WAL that comes next. Changes nothing there, and nothing of the sink.
///
/// # Errors
/// Why it cannot, or could not be asked.
pub fn probe(
    options: &FollowOptions,
    sink: &mut dyn WalSink,
    log: &Logger,
) -> Result<(), ProbeError> {
    Ok(session::probe(options, sink, log)?)
}

/// Whether an attempt did its job for a while, so that waits start small again. A safekeeper that
/// only says that it is idle did not: it would be asked again and again.
fn worked(
    outcome: &Result<StreamEnd, Trouble>,
    before: &StatusSnapshot,
    after: &StatusSnapshot,
) -> bool {
    match outcome {
        Ok(StreamEnd::Idle) => after.received != before.received,
        _ => after.messages != before.messages,
    }
}
