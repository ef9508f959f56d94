//! Keeps decompressed blocks of layer files in bounded memory, for all layers of a server.

/// Keeps decompressed blocks of layer files in bounded memory.
#[derive(Debug)]
pub struct BlockCache {}

/// What a [`BlockCache`] did so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BlockCacheStats {
    /// Blocks found.
    pub hits: u64,
    /// Blocks not found.
    pub misses: u64,
    /// Bytes held.
    pub bytes: usize,
}

impl BlockCache {
    /// A cache of at most `capacity` bytes.
    pub fn new(_capacity: usize) -> BlockCache {
        BlockCache {}
    }

    /// What the cache did so far.
    pub fn stats(&self) -> BlockCacheStats {
        BlockCacheStats::default()
    }
}
