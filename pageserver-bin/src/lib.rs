//! The parts of the `pageserver` binary: how the crates are put together.

pub mod follow;
pub mod import;
pub mod truth;
