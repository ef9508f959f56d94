//! The received WAL on disk: ordinary segment files, appended, synced in groups, read by position.
//!
//! These files are the durable log, what recovery starts from and the body of the newest page
//! versions. [`WalStore`] knows positions, bytes and the Postgres timelines that they belong
//! to; what the bytes mean is `walrecord`'s business.

mod error;
mod handles;
mod history;
mod scan;
mod store;
#[cfg(test)]
mod tests;

pub use error::WalStoreError;
pub use store::{SegmentInfo, WalStore};
