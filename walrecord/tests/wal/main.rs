//! The decoders against WAL: of real servers, written by hand, and damaged.

#[expect(dead_code, reason = "shared with the other tests, which use the rest")]
mod common;
mod damage; // Damaged WAL.
mod edges; // Rare cases of framing, and every error.
mod framing; // How records lie in pages, on real WAL.
mod truth; // What records hold, against `pg_waldump`.
mod writer;
