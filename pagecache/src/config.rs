//! Settings of the store. Every one has a unit, a trade-off and one default.

/// Settings of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Memory of an open layer, in bytes, at which it is frozen. A timeline holds up to three such
    /// layers while it writes one out. More makes larger and fewer layer files.
    pub open_layer_memory: usize,
    /// WAL, in bytes, after which the open layer is frozen. It bounds what is decoded again at start.
    pub open_layer_wal: u64,
    /// Memory for decompressed blocks of layer files, in bytes, shared by all timelines.
    pub block_cache: usize,
    /// Bytes of pages gathered for one image layer at import. An import holds up to three such batches.
    pub import_batch: usize,
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig {
            open_layer_memory: 64 << 20,
            open_layer_wal: 128 << 20,
            block_cache: 64 << 20,
            import_batch: 64 << 20,
        }
    }
}
