//! The decoders against the WAL of real servers.

mod common;
mod framing; // How records lie in pages.
mod truth; // What is in them, against `pg_waldump`.
