//! Pages and the keys that name them.

use std::fmt;

use super::{BlockTag, SlruPage};

/// Bytes of one page (`BLCKSZ` of every supported build).
pub const PAGE_SIZE: usize = 8192;

/// The bytes of one page, as they stand in a relation file or an SLRU segment.
pub type Page = [u8; PAGE_SIZE];

/// The page that was never written.
pub const ZERO_PAGE: Page = [0; PAGE_SIZE];

/// Names a page: a block of a relation fork, or a page of a transaction-status log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PageKey {
    /// A block of a relation fork.
    Block(BlockTag),
    /// A page of an SLRU (commit log, multixacts, commit times).
    Slru(SlruPage),
}

impl fmt::Display for PageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PageKey::Block(tag) => tag.fmt(f),
            PageKey::Slru(page) => page.fmt(f),
        }
    }
}

impl fmt::Debug for PageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<BlockTag> for PageKey {
    fn from(tag: BlockTag) -> PageKey {
        PageKey::Block(tag)
    }
}

impl From<SlruPage> for PageKey {
    fn from(page: SlruPage) -> PageKey {
        PageKey::Slru(page)
    }
}
