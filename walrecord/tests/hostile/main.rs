//! Hostile WAL in quantity: real records of all versions, damaged with and without a right checksum.

#[path = "../wal/common.rs"]
#[expect(
    dead_code,
    reason = "fixtures of the newest minor releases and texts are for other tests"
)]
mod common;
mod mutation; // Hundreds of thousands of damaged records.
mod seeds; // Where the fuzzers' corpora begin.
#[path = "../bodies/walk.rs"]
mod walk;
