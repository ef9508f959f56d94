//! WAL as text, against what `pg_waldump` of its version printed of it.

#[path = "../wal/common.rs"]
#[expect(dead_code, reason = "the tests of the decoders need more of it")]
mod common;
mod filter; // Which records are shown.
mod golden; // Lines and statistics of real WAL.
mod line; // Records that no server writes.
