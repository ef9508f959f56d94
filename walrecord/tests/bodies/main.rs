//! What records hold and what they do: real WAL of all versions, bodies made by hand, and damage.

mod build; // Records made by hand.
#[path = "../wal/common.rs"]
#[expect(
    dead_code,
    reason = "shared with the tests of framing, which use the rest"
)]
mod common;
mod damage; // Damaged bodies.
mod effects; // What a record does, one rule a test.
mod layouts; // Layouts that versions do not share.
mod real; // Real WAL, against `pg_waldump`.
mod texts; // Descriptions of rare records.
mod walk;
