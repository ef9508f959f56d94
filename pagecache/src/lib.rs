//! The versioned page store: every version of every page, on disk

mod block_cache;
mod key;
mod layer;
mod manifest;
mod open;
pub mod storage;
mod wal;

pub use block_cache::{BlockCache, BlockCacheStats};
pub use key::{KEY_SIZE, Key, KeyError, KeyKind};
pub use layer::{
    Compression, Damage, EntryKind, EntryRef, Layer, LayerError, LayerId, LayerKind, LayerOptions,
    LayerSummary, LayerWriter, Scan,
};
pub use manifest::{
    CLONE_TIMELINE_STEP, CloneRecord, ClonesExhausted, Contradiction, FIRST_CLONE_TIMELINE,
    HistoryEntry, LayerRecord, Manifest, ManifestDamage, ManifestError, ManifestFile,
    ManifestFormat, Settings, TenantManifest, TenantPaths, TimelinePaths, list_tenants,
    list_timelines, remove_strays,
};
pub use open::{OpenBody, OpenEntries, OpenEntry, OpenLayer, Sorted};
pub use wal::{SegmentInfo, WalStore, WalStoreError};
