//! Settings of the store. Every one has a unit, a trade-off and one default.

use std::time::Duration;

use crate::layer::LayerOptions;

/// Settings of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Memory of an open layer, in bytes, at which it is frozen. More makes larger and fewer layer files.
    pub open_layer_memory: usize,
    /// WAL, in bytes, after which the open layer is frozen. It bounds the memory for writing a layer.
    pub open_layer_wal: u64,
    /// Memory of frozen layers that wait to be written, in bytes. Past it indexing waits for the writing
    /// of layers, which else yields to it; WAL is still synced and acknowledged. More takes longer bursts
    /// at the speed of indexing, and leaves more to decode again at start.
    pub frozen_memory: usize,
    /// Memory for decompressed blocks of layer files, in bytes, shared by all timelines.
    pub block_cache: usize,
    /// Memory of each timeline for pages that took many changes to rebuild, in bytes.
    pub hot_pages: usize,
    /// Changes that a read applies to a page, above which it is kept as it was, for the next read. Changes in memory
    /// have no images among them, however many.
    pub hot_changes: usize,
    /// Bytes of pages gathered for one image layer at import. An import holds up to three such batches.
    pub import_batch: usize,
    /// Changes of a page in a row, in one layer, after which it gets an image when the layer is written:
    /// a read of it applies no more than so many records of a layer. (After 64 KiB of WAL it
    /// gets one in any case.) Carrying pages forward to store images more often costs a flush more than
    /// everything else; applying a small record takes a tenth of a microsecond.
    pub max_deltas: usize,
    /// The same when layers are compacted. Changes of a page in a run which need an older run become an image if
    /// they are more than a quarter of it: a reader that goes on in older runs meets no more than that in each. (A page of a
    /// copied database may rest on one of its source, with changes of its own.)
    pub compacted_deltas: usize,
    /// Bytes of a block of a layer file before compression: what a read of a page that is not cached decompresses.
    /// More compresses better. Less than one is one, more than 16 MiB is 16 MiB.
    pub layer_block: u32,
    /// Bytes of versions, before compression, after which a compaction ends a layer file and goes on with the
    /// next. What was rewritten up to there counts at once, and is not done again after a crash.
    pub compacted_layer: u64,
    /// Runs of layers of about the same size that are merged into one. More means less writing, and more runs
    /// for a read to look through.
    pub merge_runs: usize,
    /// Runs from which on, while layers wait to be written, compaction does not stand back any more, but merges quickly:
    /// what it writes is half as large again and has fewer images, and is merged once more when there is time. Less
    /// keeps runs fewer while much comes in, and writes more. Zero: it is always in a hurry.
    pub hurried_runs: usize,
    /// Bytes of WAL below the last record in which every LSN stays readable. None: [`StoreConfig::history_time`]
    /// alone decides.
    pub history_bytes: Option<u64>,
    /// Time before now in which every LSN stays readable: what came behind the last transaction that ended before,
    /// by the primary's clock, as far as this machine's agrees. With both windows an LSN stays if either wants
    /// it; with none everything since the import does. More takes more space.
    pub history_time: Option<Duration>,
}

/// Bytes of WAL that change a page, in a row and in one layer, after which it gets an image.
pub(crate) const MAX_RUN_BYTES: u64 = 64 << 10;

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig {
            open_layer_memory: 64 << 20,
            open_layer_wal: 96 << 20,
            frozen_memory: 192 << 20,
            block_cache: 64 << 20,
            hot_pages: 8 << 20,
            hot_changes: 128,
            import_batch: 64 << 20,
            max_deltas: 512,
            compacted_deltas: 64,
            layer_block: LayerOptions::DEFAULT_BLOCK_SIZE,
            compacted_layer: 256 << 20,
            merge_runs: 6,
            hurried_runs: 12,
            history_bytes: None,
            history_time: None,
        }
    }
}
