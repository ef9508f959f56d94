//! Streaming WAL over one connection: one thread receives and hands WAL to the sink, another sends
//! status replies.

mod message;
mod options;
mod receive;
mod reply;
mod sink;
mod start;

pub use options::{NextTimeline, StreamEnd, StreamError, StreamOptions};
pub use receive::stream;
pub use sink::{Held, Positions, Progress, SinkError, TimelineSwitch, WalSink};
pub(crate) use start::can_send;

/// For fuzzing: reads the data of a copy as what a WAL sender sends.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_as_copy_data(body: &[u8]) {
    if let Ok(message::FromServer::Wal { bytes, .. }) = message::FromServer::decode(body) {
        assert!(bytes.len() < body.len() && bytes.len() <= message::MAX_WAL);
    }
}
