//! What to stream, and how a stream ends.

use std::time::Duration;

use thiserror::Error;
use walrecord::{Lsn, PgTimelineId};

use super::SinkError;
use crate::command::SlotName;
use crate::error::{ConnectionError, ProtocolError};

/// What to stream.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// The first byte wanted. Any position that the server still has.
    pub start: Lsn,
    /// On this timeline; none for the server's own, as a safekeeper wants it.
    pub timeline: Option<PgTimelineId>,
    /// The slot that keeps WAL for us.
    pub slot: Option<SlotName>,
    /// Replies leave at least this often, so that the server sees us alive. Must be below its
    /// `wal_sender_timeout` (60 s by default).
    pub status_interval: Duration,
    /// A server that sends nothing for so long is dead; after half of it, it is asked for a sign of
    /// life.
    pub silence_timeout: Duration,
}

impl StreamOptions {
    /// From `start`, with Postgres's own defaults: status every 10 s, silence of 60 s.
    pub fn new(start: Lsn) -> StreamOptions {
        StreamOptions {
            start,
            timeline: None,
            slot: None,
            status_interval: Duration::from_secs(10),
            silence_timeout: Duration::from_secs(60),
        }
    }
}

/// The timeline that follows one that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextTimeline {
    /// Its number.
    pub timeline: PgTimelineId,
    /// Where it begins: the end of the one before.
    pub at: Lsn,
}

/// How a stream ended without an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// [`Control::stop`](crate::Control::stop) was called. The connection is closed.
    Stopped,
    /// The timeline ends, and everything of it has arrived. The connection can be used again.
    TimelineEnded(NextTimeline),
    /// The server shuts down, and has sent everything. The connection is closed.
    ServerShutdown,
    /// A safekeeper has nothing to send for the time being. The connection is closed.
    Idle,
}

/// Why a stream broke off.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The server or the connection failed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// Nothing came for [`StreamOptions::silence_timeout`], though a sign of life was asked for.
    #[error("the server has been silent for {0:?}")]
    Silent(Duration),
    /// The sink did not take the WAL.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

impl From<ProtocolError> for StreamError {
    fn from(error: ProtocolError) -> StreamError {
        StreamError::Connection(error.into())
    }
}
