//! What the tests of this crate share: a stock server, a sink that remembers, a scripted server.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod fake;
pub(crate) mod server;
pub(crate) mod sink;

/// A log that nobody reads.
pub(crate) fn no_log() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}
