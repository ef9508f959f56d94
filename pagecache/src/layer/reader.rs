//! Reads a layer file.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use walrecord::Lsn;

use super::{EntryRef, LayerError, LayerId, LayerSummary};
use crate::block_cache::BlockCache;
use crate::key::Key;
use crate::storage::StorageFile;

/// An open layer file. Any number of threads may read it at once.
#[derive(Debug)]
pub struct Layer {
    _file: Arc<dyn StorageFile>,
}

impl Layer {
    /// Opens a layer file: reads footer, top index and filter.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn open(
        _file: Arc<dyn StorageFile>,
        _id: LayerId,
        _cache: Arc<BlockCache>,
    ) -> Result<Layer, LayerError> {
        unimplemented!()
    }

    /// The name.
    pub fn id(&self) -> LayerId {
        unimplemented!()
    }

    /// What the footer says.
    pub fn summary(&self) -> &LayerSummary {
        unimplemented!()
    }

    /// Whether the layer may have a version of `key`: false is certain. Touches memory only.
    pub fn may_contain(&self, _key: &Key) -> bool {
        unimplemented!()
    }

    /// Shows the versions of `key` above `above` and not above `upto`, newest first, until `f`
    /// breaks.
    ///
    /// # Errors
    /// If a block cannot be read or is damaged.
    pub fn visit(
        &self,
        _key: &Key,
        _above: Lsn,
        _upto: Lsn,
        _f: &mut dyn FnMut(EntryRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), LayerError> {
        unimplemented!()
    }

    /// Reads the entries of a range of keys in ascending order, those above `upto` left out.
    pub fn scan(&self, _range: Range<Key>, _upto: Lsn) -> Scan<'_> {
        unimplemented!()
    }

    /// Reads the whole file and checks everything in it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self) -> Result<(), LayerError> {
        unimplemented!()
    }
}

/// Reads entries in ascending order.
#[derive(Debug)]
pub struct Scan<'a> {
    _layer: &'a Layer,
}

impl Scan<'_> {
    /// The next entry, or none behind the last. Lent until the next call.
    ///
    /// # Errors
    /// If a block cannot be read or is damaged. The scan is over then.
    #[expect(
        clippy::should_implement_trait,
        reason = "the entry is lent from the scan, which Iterator cannot express"
    )]
    pub fn next(&mut self) -> Result<Option<EntryRef<'_>>, LayerError> {
        unimplemented!()
    }
}
