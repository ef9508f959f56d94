//! The vocabulary of the page server: positions, relations, pages, versions and identities.
//!
//! Nothing here knows how WAL is laid out; every other module and crate is written in these words.

mod id;
mod lsn;
mod page;
mod relation;
mod slru;
mod version;

pub use id::{IdParseError, TenantId, TimelineId};
pub use lsn::{Lsn, LsnParseError};
pub use page::{PAGE_SIZE, Page, PageKey, ZERO_PAGE};
pub use relation::{
    BlockNumber, BlockTag, DEFAULT_TABLESPACE, ForkNumber, GLOBAL_TABLESPACE, Oid, RELSEG_BLOCKS,
    RelFileLocator, RelPathError,
};
pub use slru::{SLRU_PAGES_PER_SEGMENT, SlruKind, SlruPage};
pub use version::{PgVersion, UnknownVersion};

/// A 32-bit transaction id, as records carry it. Zero is invalid, 1 and 2 are the permanent
/// bootstrap and frozen ids, ordinary ids start at 3 and wrap around.
pub type Xid = u32;

/// A point in time: microseconds since 2000-01-01 00:00:00 UTC (Postgres's `TimestampTz`).
pub type PgTime = i64;

/// The timeline number of Postgres itself (1, 2, ...), not a [`TimelineId`].
pub type PgTimelineId = u32;
