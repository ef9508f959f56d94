//! The versioned page store: every version of every page of a PostgreSQL cluster, on disk.
//!
//! A [`Store`] is a directory of timelines. A [`Timeline`] takes WAL in as bytes
//! ([`Timeline::append`]), keeps it as ordinary segment files, indexes it in the background, and
//! writes the index out as immutable layer files. A [`Snapshot`] of it at one LSN gives pages and
//! metadata. An [`ImportWriter`] begins a timeline from a base backup.
//!
//! ```text
//! append ── WAL files ── indexer ── open layer ── frozen ── delta layer files
//!                                        │           │              │
//! import ── image layer files ───────────┴── reads ──┴──────────────┘
//! ```
//!
//! What it is not: it knows nothing of sockets, of replication, or of object storage. Everything is
//! blocking; the threads are a timeline's own. All file access goes through [`storage::Storage`].
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use pagecache::storage::SimulatedDisk;
//! use pagecache::{Store, StoreConfig, Timeline};
//! use walrecord::{Lsn, Page, PageKey};
//!
//! /// A page as it is once the record that ends at `lsn` has arrived.
//! fn page_at(
//!     timeline: &Timeline,
//!     key: PageKey,
//!     lsn: Lsn,
//! ) -> Result<Page, Box<dyn std::error::Error>> {
//!     timeline.wait_for(lsn, Duration::from_secs(1))?;
//!     let (page, _) = timeline.snapshot(lsn)?.page(key)?;
//!     Ok(page)
//! }
//!
//! let log = slog::Logger::root(slog::Discard, slog::o!());
//! let store = Store::open(Arc::new(SimulatedDisk::new()), StoreConfig::default(), log)?;
//! assert!(store.timelines().is_empty());
//! # let _ = page_at;
//! # Ok::<(), pagecache::StoreError>(())
//! ```

mod block_cache;
mod clock;
mod config;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod key;
mod layer;
mod manifest;
mod meta;
mod open;
pub mod storage;
mod store;
mod timeline;
mod wal;

pub use block_cache::{BlockCache, BlockCacheStats};
pub use clock::{Clock, ManualClock, SystemClock};
pub use config::StoreConfig;
pub use error::{ReadError, StoreError};
pub use key::{KEY_SIZE, Key, KeyError, KeyKind};
pub use layer::{
    BlockAhead, BlockEdges, BlockVersion, Compression, Damage, EntryKind, EntryRef, KeyVersions,
    Layer, LayerError, LayerId, LayerKind, LayerOptions, LayerSummary, LayerWriter, RunId, Scan,
    WholeBlock,
};
pub use manifest::{
    Ancestor, CLONE_TIMELINE_STEP, CloneRecord, ClonesExhausted, Contradiction,
    FIRST_CLONE_TIMELINE, FoundTenant, FoundTimeline, HistoryEntry, Inventory, LayerRecord,
    LeaseRecord, MAX_LEASES, Manifest, ManifestDamage, ManifestError, ManifestFile, ManifestFormat,
    Replaced, Rewrite, RulesRecord, Settings, Superseded, TenantManifest, TenantPaths,
    TimelinePaths, Upstream, list_tenants, list_timelines, take_inventory,
};
pub use meta::{ControlState, MetaError};
pub use open::{KeyGroup, OpenBody, OpenEntries, OpenEntry, OpenLayer, Sorted};
pub use store::{Refused, Store};
pub use timeline::{
    CompactionReport, CutoffHolder, EndedTransaction, Finding, ForkSize, GcReport, HeldPoint,
    Histogram, ImportParams, ImportWriter, IndexingWaits, Lease, LeaseError, MAX_LEASE_TIME,
    NewBranch, NewSuccessor, PageVersion, PageVersionKind, PointHolder, Progress, ReadCounts,
    ReadStats, Snapshot, TimeError, TimeTarget, Timeline, TimelineInfo, TimelineSizes, Verified,
    VerifyStage, VerifyWatch, VersionOrigin, WaitError, Windows,
};
pub use wal::{SegmentInfo, WalStore, WalStoreError};
