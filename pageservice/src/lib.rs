//! The wire: page stream over the Postgres protocol, HTTP
#![forbid(unsafe_code)]

pub mod client;
pub mod http;
mod listen;
mod plausible;
mod server;
mod source;
mod stats;
mod wire;

pub use listen::{Exposure, Listen, StartError};
pub use server::{MAX_BATCH, MAX_NAME, PageService, PageServiceOptions};
/// The log that events go to appears in signatures.
pub use slog;
pub use source::{ErrorKind, PageSource, SourceError, TimelineSource};
pub use stats::{LATENCY_BUCKETS, LatencyHistogram, PageServiceStats, REQUEST_KINDS, StatsReader};
pub use wire::request::{ProtocolVersion, Request, RequestBody, RequestError, RequestHeader};
pub use wire::response::{Response, ResponseError};
