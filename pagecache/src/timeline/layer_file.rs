//! A layer file on its way into the manifest.

use std::path::PathBuf;
use std::sync::Arc;

use walrecord::Lsn;

use super::layers::LayerSet;
use super::shared::Shared;
use crate::block_cache::BlockCache;
use crate::error::StoreError;
use crate::key::Key;
use crate::layer::{EntryKind, Layer, LayerId, LayerOptions, LayerWriter};
use crate::storage::{Access, Storage, remove_if_there};

/// Writes a layer file under a name that is never used again. It counts only once the manifest names
/// it: until then a crash leaves a stray, which is removed at start.
pub(crate) struct LayerFile {
    id: LayerId,
    file: UnfinishedFile,
    writer: LayerWriter,
}

/// A file that goes when it is not finished: on a full disk what was written would stand in the way of
/// the next attempt.
struct UnfinishedFile {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    keep: bool,
}

impl Drop for UnfinishedFile {
    fn drop(&mut self) {
        if !self.keep {
            // If it cannot be removed it is a stray, for the next start.
            let _ = self.storage.remove_file(&self.path);
        }
    }
}

impl LayerFile {
    pub(crate) fn create(shared: &Shared, options: LayerOptions) -> Result<LayerFile, StoreError> {
        let id = {
            let mut manifest = shared.manifest();
            // The number is burnt even if writing fails, also across a crash: strays go at start.
            let id = manifest.next_layer;
            manifest.next_layer = LayerId::new(id.get() + 1);
            id
        };
        let path = shared.paths.layer(id);
        remove_if_there(&*shared.storage, &path).map_err(StoreError::io("removing", &path))?;
        let content = shared
            .storage
            .create(&path)
            .map_err(StoreError::io("creating", &path))?;
        let file = UnfinishedFile {
            storage: Arc::clone(&shared.storage),
            path,
            keep: false,
        };
        let writer =
            LayerWriter::create(content, options).map_err(StoreError::io("writing", &file.path))?;
        Ok(LayerFile { id, file, writer })
    }

    pub(crate) fn add(
        &mut self,
        key: &Key,
        lsn: Lsn,
        kind: EntryKind,
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.writer
            .add(key, lsn, kind, value)
            .map_err(StoreError::io("writing", &self.file.path))
    }

    /// Makes the file and its name durable, and opens it for reading.
    pub(crate) fn finish(mut self, shared: &Shared) -> Result<Layer, StoreError> {
        self.writer
            .finish()
            .map_err(StoreError::io("writing", &self.file.path))?;
        let dir = shared.paths.layers();
        shared
            .storage
            .sync_dir(&dir)
            .map_err(StoreError::io("syncing", &dir))?;
        let layer = open_layer(shared, self.id)?;
        self.file.keep = true;
        Ok(layer)
    }
}

/// Opens a layer file that is complete.
pub(crate) fn open_layer(shared: &Shared, id: LayerId) -> Result<Layer, StoreError> {
    open_with(shared, id, &shared.cache)
}

/// The same file, with nothing of it cached.
pub(crate) fn open_anew(shared: &Shared, id: LayerId) -> Result<Layer, StoreError> {
    open_with(shared, id, &Arc::new(BlockCache::new(0)))
}

fn open_with(shared: &Shared, id: LayerId, cache: &Arc<BlockCache>) -> Result<Layer, StoreError> {
    let path = shared.paths.layer(id);
    let file = shared
        .storage
        .open(&path, Access::Read)
        .map_err(StoreError::io("opening", &path))?;
    Ok(Layer::open(file, id, Arc::clone(cache))?)
}

/// The timeline's present layers, their files opened anew with nothing cached.
pub(crate) fn reopened(shared: &Shared) -> Result<LayerSet, StoreError> {
    let cache = Arc::new(BlockCache::new(0));
    // While it is held no file goes that the present layers have.
    let _manifest = shared.manifest();
    let mut layers = LayerSet::clone(&shared.layers());
    layers.replace_files(|layer| open_with(shared, layer.id(), &cache).map(Arc::new))?;
    Ok(layers)
}
