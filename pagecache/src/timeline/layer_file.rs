//! A layer file on its way into the manifest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use walrecord::Lsn;

use super::shared::Shared;
use crate::error::StoreError;
use crate::key::Key;
use crate::layer::{EntryKind, Layer, LayerId, LayerKind, LayerOptions, LayerWriter};
use crate::storage::Access;

/// The directory of layer files in a timeline's.
pub(crate) const LAYERS_DIR: &str = "layers";

/// Writes a layer file under a name that is never used again. It counts only once the manifest names
/// it: until then a crash leaves a stray, which is removed at start.
pub(crate) struct LayerFile {
    id: LayerId,
    path: PathBuf,
    writer: LayerWriter,
}

impl LayerFile {
    pub(crate) fn create(shared: &Shared, kind: LayerKind) -> Result<LayerFile, StoreError> {
        let id = {
            let mut manifest = shared.manifest();
            // The number is burnt even if writing fails, also across a crash: strays go at start.
            let id = manifest.next_layer_id;
            manifest.next_layer_id = LayerId::new(id.get() + 1);
            id
        };
        let path = layer_path(&shared.dir, id);
        match shared.storage.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io("removing", &path)(error));
            }
            _ => {}
        }
        let file = shared
            .storage
            .create(&path)
            .map_err(StoreError::io("creating", &path))?;
        let writer = LayerWriter::create(file, LayerOptions::new(kind))
            .map_err(StoreError::io("writing", &path))?;
        Ok(LayerFile { id, path, writer })
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
            .map_err(StoreError::io("writing", &self.path))
    }

    /// Makes the file and its name durable, and opens it for reading.
    pub(crate) fn finish(self, shared: &Shared) -> Result<Layer, StoreError> {
        self.writer
            .finish()
            .map_err(StoreError::io("writing", &self.path))?;
        let dir = shared.dir.join(LAYERS_DIR);
        shared
            .storage
            .sync_dir(&dir)
            .map_err(StoreError::io("syncing", &dir))?;
        open_layer(shared, self.id)
    }
}

/// Opens a layer file that is complete.
pub(crate) fn open_layer(shared: &Shared, id: LayerId) -> Result<Layer, StoreError> {
    let path = layer_path(&shared.dir, id);
    let file = shared
        .storage
        .open(&path, Access::Read)
        .map_err(StoreError::io("opening", &path))?;
    Ok(Layer::open(file, id, Arc::clone(&shared.cache))?)
}

fn layer_path(dir: &Path, id: LayerId) -> PathBuf {
    dir.join(LAYERS_DIR).join(id.to_string())
}
