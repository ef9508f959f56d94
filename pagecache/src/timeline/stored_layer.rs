//! A layer file that the manifest names, sound or not. Damage is an error of whoever needs what the file holds,
//! and of nobody else: what range that is the manifest tells.

use std::io;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use walrecord::Lsn;

use crate::block_cache::BlockCache;
use crate::error::StoreError;
use crate::key::Key;
use crate::layer::{
    BlockAhead, BlockEdges, Compression, Damage, EntryRef, KeyVersions, Layer, LayerError,
    LayerFinding, LayerId, LayerKind, LayerSummary, RunId, Scan, WholeBlock,
};
use crate::manifest::LayerRecord;
use crate::storage::{Access, Storage};

/// A layer file of a timeline.
#[derive(Debug)]
pub(crate) struct StoredLayer {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    id: LayerId,
    /// As the manifest has it.
    summary: LayerSummary,
    cache: Arc<BlockCache>,
    /// Set once the file could be opened. Until then whoever needs it tries.
    open: OnceLock<Layer>,
    /// What was found to be wrong with it first.
    damage: OnceLock<Arc<StoreError>>,
}

impl StoredLayer {
    /// The file at `path`, which the manifest describes so. It is opened when it is needed, or by
    /// [`StoredLayer::opened`].
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        path: PathBuf,
        record: &LayerRecord,
        cache: Arc<BlockCache>,
    ) -> StoredLayer {
        StoredLayer {
            storage,
            path,
            id: record.id,
            summary: record.summary,
            cache,
            open: OnceLock::new(),
            damage: OnceLock::new(),
        }
    }

    /// A file that was just written.
    pub(crate) fn written(
        storage: Arc<dyn Storage>,
        path: PathBuf,
        cache: Arc<BlockCache>,
        id: LayerId,
    ) -> Result<StoredLayer, StoreError> {
        let file = storage
            .open(&path, Access::Read)
            .map_err(StoreError::io("opening", &path))?;
        let layer = Layer::open(file, id, Arc::clone(&cache))
            .map_err(|error| StoreError::layer(&path, error))?;
        Ok(StoredLayer {
            summary: *layer.summary(),
            open: OnceLock::from(layer),
            damage: OnceLock::new(),
            storage,
            path,
            id,
            cache,
        })
    }

    /// The same file, opened anew when it is needed, with nothing of it cached.
    pub(crate) fn anew(&self, cache: &Arc<BlockCache>) -> StoredLayer {
        StoredLayer {
            storage: Arc::clone(&self.storage),
            path: self.path.clone(),
            id: self.id,
            summary: self.summary,
            cache: Arc::clone(cache),
            open: OnceLock::new(),
            damage: OnceLock::new(),
        }
    }

    pub(crate) fn id(&self) -> LayerId {
        self.id
    }

    /// Where it is, below the store's directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the manifest knows of it.
    pub(crate) fn summary(&self) -> &LayerSummary {
        &self.summary
    }

    /// What the manifest is to say of it as a part of `run`.
    pub(crate) fn manifest_record(&self, run: RunId) -> LayerRecord {
        LayerRecord {
            id: self.id,
            run,
            summary: self.summary,
        }
    }

    /// What was found to be wrong with it, if anything was since the timeline was opened.
    pub(crate) fn damage(&self) -> Option<&Arc<StoreError>> {
        self.damage.get()
    }

    /// Whether it is known to be of changes, written to be merged once more.
    pub(crate) fn is_makeshift(&self) -> bool {
        let is_delta = self.summary.kind == LayerKind::Delta;
        is_delta && self.open.get().is_some_and(|layer| !layer.is_compact())
    }

    /// Whether it may have a version of `key`: false is certain.
    pub(crate) fn may_contain(&self, key: &Key) -> bool {
        match self.open.get() {
            Some(layer) => layer.may_contain(key),
            None => (self.summary.first_key..=self.summary.last_key).contains(key),
        }
    }

    /// As [`Layer::visit`].
    pub(crate) fn visit(
        &self,
        key: &Key,
        above: Lsn,
        upto: Lsn,
        f: &mut dyn FnMut(EntryRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let visited = self.opened()?.visit(key, above, upto, f);
        visited.map_err(|error| self.failed(error))
    }

    /// As [`Layer::scan`].
    pub(crate) fn scan(&self, range: Range<Key>, upto: Lsn) -> StoredScan<'_> {
        StoredScan {
            layer: self,
            range,
            upto,
            scan: None,
        }
    }

    /// Checks everything in it, and reports each thing that is wrong.
    pub(crate) fn examine(&self, report: &mut dyn FnMut(LayerFinding)) -> Result<(), StoreError> {
        self.opened()?.examine(report);
        Ok(())
    }

    /// The file, open. What the manifest says of it holds.
    pub(crate) fn opened(&self) -> Result<&Layer, StoreError> {
        if let Some(layer) = self.open.get() {
            return Ok(layer);
        }
        let layer = self.try_open().map_err(|error| self.failed(error))?;
        // If another thread was faster, its is as good.
        Ok(self.open.get_or_init(|| layer))
    }

    fn try_open(&self) -> Result<Layer, LayerError> {
        let file = match self.storage.open(&self.path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LayerError::Missing { layer: self.id });
            }
            Err(source) => return Err(self.unreadable(source)),
        };
        let length = file.len().map_err(|source| self.unreadable(source))?;
        self.expect("length of the file", self.summary.file_size, length)?;
        let layer = Layer::open(file, self.id, Arc::clone(&self.cache))?;
        // The footer is covered: a sound file in the place of another is found out.
        let expected = self.summary.checksum.into();
        self.expect("checksum", expected, layer.summary().checksum.into())?;
        Ok(layer)
    }

    fn expect(&self, field: &'static str, expected: u64, found: u64) -> Result<(), LayerError> {
        Damage::unless_equal(field, expected, found).map_err(|damage| LayerError::Damaged {
            layer: self.id,
            offset: 0,
            damage,
        })
    }

    fn unreadable(&self, source: io::Error) -> LayerError {
        LayerError::Io {
            layer: self.id,
            offset: 0,
            len: 0,
            source,
        }
    }

    /// Names the file. Damage is taken note of; an error of the system may pass.
    fn failed(&self, error: LayerError) -> StoreError {
        let note = match &error {
            LayerError::Io { .. } => None,
            LayerError::Missing { layer } => Some(LayerError::Missing { layer: *layer }),
            LayerError::Damaged {
                layer,
                offset,
                damage,
            } => Some(LayerError::Damaged {
                layer: *layer,
                offset: *offset,
                damage: *damage,
            }),
        };
        if let Some(note) = note {
            self.damage
                .get_or_init(|| Arc::new(StoreError::layer(&self.path, note)));
        }
        StoreError::layer(&self.path, error)
    }
}

/// The versions of a range of keys in a layer file, in ascending order.
#[derive(Debug)]
pub(crate) struct StoredScan<'a> {
    layer: &'a StoredLayer,
    range: Range<Key>,
    upto: Lsn,
    /// None before the first version is asked for.
    scan: Option<Scan<'a>>,
}

impl StoredScan<'_> {
    /// As [`Scan::next`].
    pub(crate) fn next(&mut self) -> Result<Option<EntryRef<'_>>, StoreError> {
        self.step()?;
        Ok(self.entry())
    }

    /// As [`Scan::step`].
    pub(crate) fn step(&mut self) -> Result<Option<(Key, Lsn)>, StoreError> {
        let layer = self.layer;
        let scan = match &mut self.scan {
            Some(scan) => scan,
            none => none.insert(layer.opened()?.scan(self.range.clone(), self.upto)),
        };
        scan.step().map_err(|error| layer.failed(error))
    }

    /// As [`Scan::entry`].
    pub(crate) fn entry(&mut self) -> Option<EntryRef<'_>> {
        self.scan.as_mut()?.entry()
    }

    /// As [`Scan::side_by_side`].
    pub(crate) fn side_by_side(&self) -> Option<KeyVersions<'_>> {
        self.scan.as_ref()?.side_by_side()
    }

    /// As [`Scan::leave`].
    pub(crate) fn leave(&mut self, count: usize) {
        if let Some(scan) = &mut self.scan {
            scan.leave(count);
        }
    }

    /// As [`Scan::block_ahead`].
    pub(crate) fn block_ahead(
        &self,
        before: Option<&Key>,
        edges: BlockEdges,
        compression: Compression,
    ) -> Result<Option<BlockAhead<'_>>, StoreError> {
        let Some(scan) = &self.scan else {
            return Ok(None);
        };
        let block = scan.block_ahead(before, edges, compression);
        block.map_err(|error| self.layer.failed(error))
    }

    /// As [`Scan::whole_block`].
    pub(crate) fn whole_block(
        &self,
        compression: Compression,
    ) -> Result<Option<WholeBlock>, StoreError> {
        let Some(scan) = &self.scan else {
            return Ok(None);
        };
        let block = scan.whole_block(compression);
        block.map_err(|error| self.layer.failed(error))
    }

    /// As [`Scan::leave_block`].
    pub(crate) fn leave_block(&mut self) {
        if let Some(scan) = &mut self.scan {
            scan.leave_block();
        }
    }
}
