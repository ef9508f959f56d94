//! The versioned page store: every version of every page, on disk

pub mod storage;
pub mod wal;
