//! The truth: stock recovery of the same backup bytes with the same WAL, and the comparison with it.
//!
//! With `hot_standby = off` everything that recovery does is deterministic, bytes in holes included, so
//! pages are compared without a mask.

mod base;
mod compare;
mod control;
mod recovered;
mod recovery;
mod subject;

pub use base::BackupSource;
pub use compare::{ChecksumField, CompareOptions, Comparison, Difference, compare};
pub use recovered::RecoveredDir;
pub use recovery::Recovery;
pub use subject::{ForkSize, SlruSegment, StateFile, TruthSubject};
