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
