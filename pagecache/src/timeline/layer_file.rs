//! A layer file on its way into the manifest.

use std::path::PathBuf;
use std::sync::Arc;

use slog::error;
use walrecord::Lsn;

use super::layers::LayerSet;
use super::shared::Shared;
use super::stored_layer::StoredLayer;
use crate::block_cache::BlockCache;
use crate::error::StoreError;
use crate::key::Key;
use crate::layer::{
    EntryKind, KeyVersions, LayerId, LayerOptions, LayerWriter, MAX_BLOCK_SIZE, WholeBlock,
};
use crate::manifest::LayerRecord;
use crate::storage::{Storage, remove_if_there};

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
        let options = LayerOptions {
            block_size: shared.config.layer_block.clamp(1, MAX_BLOCK_SIZE),
            ..options
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

    pub(crate) fn add_versions(&mut self, versions: &KeyVersions<'_>) -> Result<(), StoreError> {
        self.writer
            .add_versions(versions)
            .map_err(StoreError::io("writing", &self.file.path))
    }

    pub(crate) fn add_block(&mut self, block: WholeBlock) -> Result<(), StoreError> {
        self.writer
            .add_block(block)
            .map_err(StoreError::io("writing", &self.file.path))
    }

    /// Makes the file and its name durable, and opens it for reading.
    pub(crate) fn finish(mut self, shared: &Shared) -> Result<StoredLayer, StoreError> {
        self.writer
            .finish()
            .map_err(StoreError::io("writing", &self.file.path))?;
        let dir = shared.paths.layers();
        shared
            .storage
            .sync_dir(&dir)
            .map_err(StoreError::io("syncing", &dir))?;
        let storage = Arc::clone(&shared.storage);
        let cache = Arc::clone(&shared.cache);
        let layer = StoredLayer::written(storage, self.file.path.clone(), cache, self.id)?;
        self.file.keep = true;
        Ok(layer)
    }
}

/// The layer file that the manifest describes so. It is looked at: if it is damaged that is logged, and an error
/// of whoever needs it.
pub(super) fn open_layer(shared: &Shared, record: &LayerRecord) -> StoredLayer {
    let storage = Arc::clone(&shared.storage);
    let path = shared.paths.layer(record.id);
    let layer = StoredLayer::new(storage, path, record, Arc::clone(&shared.cache));
    if let Err(error) = layer.opened() {
        error!(shared.log, "a layer file is damaged; what it holds cannot be read"; "error" => %error);
    }
    layer
}

/// The timeline's present layers, their files opened anew with nothing cached. A damaged one is as it was.
pub(crate) fn reopened(shared: &Shared) -> Result<LayerSet, StoreError> {
    let cache = Arc::new(BlockCache::new(0));
    // While it is held no file goes that the present layers have.
    let _manifest = shared.manifest();
    let mut layers = LayerSet::clone(&shared.layers());
    layers.replace_files(|layer| {
        let anew = Arc::new(layer.anew(&cache));
        match anew.opened() {
            Err(error) if !error.is_damage() => Err(error),
            _ => Ok(anew),
        }
    })?;
    Ok(layers)
}
