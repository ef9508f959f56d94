//! Writes a layer file, front to back.

use std::io;
use std::sync::Arc;

use walrecord::Lsn;

use super::{EntryKind, LayerOptions, LayerSummary};
use crate::key::Key;
use crate::storage::StorageFile;

/// Writes a layer file, front to back.
#[derive(Debug)]
pub struct LayerWriter {
    _file: Arc<dyn StorageFile>,
}

impl LayerWriter {
    /// Starts a layer in an empty file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(_file: Arc<dyn StorageFile>, _options: LayerOptions) -> io::Result<LayerWriter> {
        unimplemented!()
    }

    /// Appends a version.
    ///
    /// # Errors
    /// If the file cannot be written.
    ///
    /// # Panics
    /// If (key, LSN) is not above the one before.
    pub fn add(
        &mut self,
        _key: &Key,
        _lsn: Lsn,
        _kind: EntryKind,
        _value: &[u8],
    ) -> io::Result<()> {
        unimplemented!()
    }

    /// Bytes of the file so far, near enough to cut layers by.
    pub fn bytes_written(&self) -> u64 {
        unimplemented!()
    }

    /// Writes what is left, index, filter and footer, and makes the file durable.
    ///
    /// # Errors
    /// If the file cannot be written or synced.
    ///
    /// # Panics
    /// If nothing was added.
    pub fn finish(self) -> io::Result<LayerSummary> {
        unimplemented!()
    }
}
