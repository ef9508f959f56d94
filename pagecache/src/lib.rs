//! The versioned page store: every version of every page, on disk

mod block_cache;
mod key;
mod layer;
mod open;
pub mod storage;

pub use block_cache::{BlockCache, BlockCacheStats};
pub use key::{KEY_SIZE, Key, KeyError, KeyKind};
pub use layer::{
    Compression, Damage, EntryKind, EntryRef, Layer, LayerError, LayerId, LayerKind, LayerOptions,
    LayerSummary, LayerWriter, Scan,
};
pub use open::{OpenBody, OpenEntries, OpenEntry, OpenLayer, Sorted};
