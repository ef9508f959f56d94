//! How a receiver is doing, for whoever asks: status command, metrics, HTTP.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use walrecord::{Lsn, PgTimelineId};

use crate::stream::Positions;

/// A receiver's state, shared between it and those who look at it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ReceiverStatus(Arc<Mutex<StatusSnapshot>>);

/// What a receiver was doing at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusSnapshot {
    /// What it is at.
    pub phase: Phase,
    /// The server that it is or was connected to.
    pub server: Option<String>,
    /// The timeline that the server is on.
    pub server_timeline: Option<PgTimelineId>,
    /// The server's WAL ended here when it last said so.
    pub server_end: Lsn,
    /// WAL was handed to the sink up to here.
    pub received: Lsn,
    /// What was last reported to the server.
    pub reported: Positions,
    /// Batches of messages received while streaming.
    pub messages: u64,
    /// When the server last sent something.
    pub last_message: Option<SystemTime>,
    /// Everything that the server had was received at least once on this connection.
    pub caught_up: bool,
    /// Connections that got as far as streaming.
    pub connects: u64,
    /// Attempts that failed since a stream last worked.
    pub failures: u32,
    /// Why the last one did.
    pub last_error: Option<String>,
}

impl StatusSnapshot {
    /// Bytes of WAL that the server has and we do not, as of its last message.
    pub fn lag_bytes(&self) -> u64 {
        self.server_end.saturating_sub(self.received)
    }
}

/// What a receiver is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Nothing yet.
    #[default]
    Starting,
    /// Connecting, or asking the server who it is.
    Connecting,
    /// WAL flows.
    Streaming,
    /// Waiting before the next attempt.
    Waiting,
    /// Stopped, or given up.
    Ended,
}

impl ReceiverStatus {
    /// The status of a receiver that has not begun.
    pub fn new() -> ReceiverStatus {
        ReceiverStatus::default()
    }

    /// The state at this moment.
    pub fn snapshot(&self) -> StatusSnapshot {
        self.lock().clone()
    }

    pub(crate) fn connecting(&self) {
        self.lock().phase = Phase::Connecting;
    }

    pub(crate) fn identified(&self, server: &str, timeline: PgTimelineId, end: Lsn) {
        let mut state = self.lock();
        state.server = Some(server.to_owned());
        state.server_timeline = Some(timeline);
        state.server_end = end;
        state.last_message = Some(SystemTime::now());
    }

    pub(crate) fn streaming(&self, start: Lsn) {
        let mut state = self.lock();
        state.phase = Phase::Streaming;
        state.received = start;
        state.connects += 1;
        state.caught_up = false;
    }

    pub(crate) fn heard(&self, received: Lsn, server_end: Lsn) {
        let mut state = self.lock();
        state.received = received;
        state.server_end = server_end;
        state.last_message = Some(SystemTime::now());
        state.caught_up |= received >= server_end;
        state.messages += 1;
    }

    pub(crate) fn reported(&self, positions: &Positions) {
        self.lock().reported = *positions;
    }

    pub(crate) fn waiting(&self, failures: u32, error: Option<String>) {
        let mut state = self.lock();
        state.phase = Phase::Waiting;
        state.failures = failures;
        if error.is_some() {
            state.last_error = error;
        }
    }

    /// Nothing is received any more, for this reason if there is one.
    pub fn ended(&self, error: Option<String>) {
        let mut state = self.lock();
        state.phase = Phase::Ended;
        if error.is_some() {
            state.last_error = error;
        }
    }

    fn lock(&self) -> MutexGuard<'_, StatusSnapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
