//! The wire: pages over the page stream of the Postgres protocol, everything else over HTTP.
//!
//! What it is not: it does not know how pages are stored. Whoever does implements [`PageSource`], and
//! [`http::StatusSource`] for what HTTP shows and starts. It does not authenticate either, and does
//! not speak TLS: it refuses to listen anywhere but on loopback unless [told](Exposure) otherwise.
//!
//! The pieces:
//!
//! - [`PageService`]: the Postgres-protocol port. A thread for each connection, blocking I/O: at depth
//!   1 a page costs one read and one write call. `docs/page-service.md` describes the protocol.
//! - [`http::HttpService`]: the HTTP port.
//! - [`client::PageStreamClient`]: the other end of the page stream.
//!
//! The bytes of the protocol are encoded and decoded by pure functions ([`Request`], [`Response`]).
//!
//! ```
//! use std::sync::Arc;
//!
//! use pageservice::client::PageStreamClient;
//! use pageservice::{
//!     ErrorKind, Listen, PageService, PageServiceOptions, PageSource, ProtocolVersion, SourceError,
//!     TimelineSource,
//! };
//!
//! struct Nothing;
//!
//! impl PageSource for Nothing {
//!     fn open(&self, _: &str, timeline: &str) -> Result<Arc<dyn TimelineSource>, SourceError> {
//!         let text = format!("there is no timeline {timeline}");
//!         Err(SourceError::new(ErrorKind::NotFound, text))
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let log = slog::Logger::root(slog::Discard, slog::o!());
//! let listen = Listen::loopback("127.0.0.1:0".parse()?);
//! let options = PageServiceOptions::default();
//! let service = PageService::start(listen, Arc::new(Nothing), options, &log)?;
//!
//! let tenant = "0123456789abcdef0123456789abcdef";
//! let version = ProtocolVersion::V3;
//! let refused = PageStreamClient::connect(service.local_addr(), version, tenant, "main").err();
//! assert!(refused.unwrap().to_string().contains("there is no timeline main"));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod client;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
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
/// The vocabulary of the traits and of requests.
pub use walrecord;
pub use wire::request::{ProtocolVersion, Request, RequestBody, RequestError, RequestHeader};
pub use wire::response::{Response, ResponseError};
