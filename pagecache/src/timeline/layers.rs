//! The set of layers that a read sees: an immutable snapshot, replaced whole.

use std::ops::{ControlFlow, Range};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use walrecord::Lsn;

use crate::error::StoreError;
use crate::key::Key;
use crate::layer::{EntryKind, Layer, LayerId};
use crate::open::{OpenBody, OpenLayer};

/// An open or frozen layer: an index over WAL on disk.
pub(crate) struct MemoryLayer {
    index: RwLock<OpenLayer>,
}

impl MemoryLayer {
    pub(crate) fn new(start: Lsn) -> MemoryLayer {
        MemoryLayer {
            index: RwLock::new(OpenLayer::new(start)),
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, OpenLayer> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, OpenLayer> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The layers of a timeline. Each list is newest first; their LSN ranges follow one another.
#[derive(Clone)]
pub(crate) struct LayerSet {
    /// Takes new records.
    pub(crate) open: Arc<MemoryLayer>,
    /// Waiting to be written out.
    pub(crate) frozen: Vec<Frozen>,
    /// Written out.
    pub(crate) deltas: Vec<Arc<Layer>>,
    /// From the import, at its start LSN, sorted by first key. Ranges of keys may overlap.
    pub(crate) images: Vec<Arc<Layer>>,
}

/// A memory layer that takes no more records.
#[derive(Clone)]
pub(crate) struct Frozen {
    pub(crate) layer: Arc<MemoryLayer>,
    /// End of its last record.
    pub(crate) end: Lsn,
}

/// One version of a page, or a metadata value, as found.
pub(crate) struct Found<'a> {
    pub(crate) lsn: Lsn,
    pub(crate) kind: EntryKind,
    pub(crate) body: FoundBody<'a>,
    /// The layer file that has it; none if it is in memory.
    pub(crate) layer: Option<LayerId>,
}

/// Where the version's bytes are.
pub(crate) enum FoundBody<'a> {
    /// In WAL: the record that starts here.
    Record(Lsn),
    /// Here.
    Bytes(&'a [u8]),
}

impl LayerSet {
    fn memory(&self) -> impl Iterator<Item = &MemoryLayer> {
        std::iter::once(&*self.open).chain(self.frozen.iter().map(|frozen| &*frozen.layer))
    }

    /// Bytes that the frozen layers take.
    pub(crate) fn frozen_memory(&self) -> usize {
        let memory = |frozen: &Frozen| frozen.layer.read().memory();
        self.frozen.iter().map(memory).sum()
    }

    /// Visits the versions of `key` with an LSN in `(above, upto]`, newest first.
    pub(crate) fn visit(
        &self,
        key: &Key,
        above: Lsn,
        upto: Lsn,
        visitor: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut flow = ControlFlow::Continue(());
        for layer in self.memory() {
            layer.read().visit(key, above, upto, &mut |entry| {
                flow = visitor(Found {
                    lsn: entry.lsn,
                    kind: entry.kind,
                    body: match entry.body {
                        OpenBody::Record { start } => FoundBody::Record(start),
                        OpenBody::Value(bytes) => FoundBody::Bytes(bytes),
                    },
                    layer: None,
                });
                flow
            });
            if flow.is_break() {
                return Ok(());
            }
        }
        for layer in self.deltas.iter().chain(self.image_candidates(key)) {
            let summary = layer.summary();
            if summary.min_lsn > upto || summary.max_lsn <= above || !layer.may_contain(key) {
                continue;
            }
            layer.visit(key, above, upto, &mut |entry| {
                flow = visitor(Found {
                    lsn: entry.lsn,
                    kind: entry.kind,
                    body: FoundBody::Bytes(entry.value),
                    layer: Some(layer.id()),
                });
                flow
            })?;
            if flow.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn image_candidates(&self, key: &Key) -> impl Iterator<Item = &Arc<Layer>> {
        let upto = self
            .images
            .partition_point(|layer| layer.summary().first_key <= *key);
        let key = *key;
        self.images[..upto]
            .iter()
            .filter(move |layer| layer.summary().last_key >= key)
    }

    /// The newest value of a metadata key with an LSN in `(above, upto]`.
    pub(crate) fn value<T>(
        &self,
        key: &Key,
        above: Lsn,
        upto: Lsn,
        decode: impl Fn(&[u8]) -> Result<T, crate::meta::MetaError>,
    ) -> Result<Option<(Lsn, T)>, StoreError> {
        let mut found = None;
        self.visit(key, above, upto, &mut |entry| {
            if let FoundBody::Bytes(bytes) = entry.body {
                found = Some((entry.lsn, decode(bytes)));
            }
            ControlFlow::Break(())
        })?;
        match found {
            None => Ok(None),
            Some((lsn, Ok(value))) => Ok(Some((lsn, value))),
            Some((lsn, Err(source))) => Err(StoreError::Meta {
                key: format!("{key:?}"),
                lsn,
                source,
            }),
        }
    }

    /// All keys in `range` that have any version at or below `upto`, ascending, each once.
    pub(crate) fn keys_in(&self, range: &Range<Key>, upto: Lsn) -> Result<Vec<Key>, StoreError> {
        let mut keys = Vec::new();
        for layer in self.memory() {
            keys.extend(layer.read().keys_in(range));
        }
        for layer in self.deltas.iter().chain(&self.images) {
            let summary = layer.summary();
            let apart = summary.first_key >= range.end || summary.last_key < range.start;
            if apart || summary.min_lsn > upto {
                continue;
            }
            let mut scan = layer.scan(range.clone(), upto);
            while let Some(entry) = scan.next()? {
                let key = entry.key;
                if keys.last() != Some(&key) {
                    keys.push(key);
                }
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}
