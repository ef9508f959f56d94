//! What a store must be able to say about one LSN to be compared with stock recovery. Owned here, by the
//! side that asks.

use anyhow::Result;
use walrecord::{BlockTag, ForkNumber, Page, RelFileLocator, SlruKind, SlruPage};

/// A fork of a relation and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForkSize {
    /// The relation.
    pub rel: RelFileLocator,
    /// The fork.
    pub fork: ForkNumber,
    /// Its length in blocks, over all segment files.
    pub blocks: u32,
}

/// A segment file of an SLRU and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlruSegment {
    /// The number that the file name gives in hexadecimal.
    pub number: u32,
    /// Pages in the file, 1 to 32.
    pub pages: u32,
}

/// A small file that recovery keeps whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateFile {
    /// Its path below the data directory; in a tablespace `pg_tblspc/<oid>/PG_<major>_<catalog>/...`.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A view of a whole cluster at one LSN.
///
/// Free space maps are never asked for: redo maintains them by heuristics, so they are judged otherwise.
pub trait TruthSubject {
    /// Every fork of every relation that exists, in any order; free space maps may be left out. An existing
    /// empty fork has zero blocks. Main forks of unlogged relations do not exist: recovery removes them.
    ///
    /// # Errors
    /// If the subject cannot say.
    fn relation_forks(&mut self) -> Result<Vec<ForkSize>>;

    /// One page of a fork, with `pd_checksum` as it stands in a file.
    ///
    /// # Errors
    /// If the page cannot be had.
    fn page(&mut self, tag: BlockTag) -> Result<Page>;

    /// `count` pages from `first` on, in block order. Worth its own implementation where many pages cost
    /// less together.
    ///
    /// # Errors
    /// If a page cannot be had.
    fn pages(&mut self, first: BlockTag, count: u32) -> Result<Vec<Page>> {
        (first.block..first.block + count)
            .map(|block| self.page(BlockTag { block, ..first }))
            .collect()
    }

    /// The segments of an SLRU, in any order.
    ///
    /// # Errors
    /// If the subject cannot say.
    fn slru_segments(&mut self, kind: SlruKind) -> Result<Vec<SlruSegment>>;

    /// One page of an SLRU.
    ///
    /// # Errors
    /// If the page cannot be had.
    fn slru_page(&mut self, page: SlruPage) -> Result<Page>;

    /// Every `pg_filenode.map` and every database's `PG_VERSION`, in any order.
    ///
    /// # Errors
    /// If the subject cannot say.
    fn state_files(&mut self) -> Result<Vec<StateFile>>;

    /// The files of `pg_twophase`, one for each transaction that is prepared.
    ///
    /// # Errors
    /// If the subject cannot say.
    fn twophase_files(&mut self) -> Result<Vec<StateFile>>;
}
