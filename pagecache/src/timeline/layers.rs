//! The set of layers that a read sees: an immutable snapshot, replaced whole.

use std::ops::{ControlFlow, Range};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use walrecord::Lsn;

use super::ancestor::Ancestor;
use super::runs::{Run, sort_into_runs};
use super::stored_layer::StoredLayer;
use crate::error::StoreError;
use crate::key::Key;
use crate::layer::{EntryKind, LayerId, RunId};
use crate::manifest::Rewrite;
use crate::meta::MetaError;
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

/// The layers of a timeline, newest first; their LSN ranges follow one another.
#[derive(Clone)]
pub(crate) struct LayerSet {
    /// Takes new records.
    pub(crate) open: Arc<MemoryLayer>,
    /// Waiting to be written out.
    pub(crate) frozen: Vec<Frozen>,
    /// Written out.
    runs: Vec<Arc<Run>>,
    /// Below all of them, if the timeline is a branch.
    ancestor: Option<Ancestor>,
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
    /// In WAL.
    Record {
        /// Where the record starts.
        start: Lsn,
        /// Whose WAL: so many ancestors up.
        ancestors: usize,
    },
    /// Here.
    Bytes(&'a [u8]),
}

impl LayerSet {
    /// Nothing above the ancestor, with an open layer that begins at `start`.
    pub(crate) fn new(start: Lsn, ancestor: Option<Ancestor>) -> LayerSet {
        LayerSet {
            open: Arc::new(MemoryLayer::new(start)),
            frozen: Vec::new(),
            runs: Vec::new(),
            ancestor,
        }
    }

    /// The same files, with nothing in memory above them; an empty open layer begins at `start`.
    pub(crate) fn files_only(&self, start: Lsn) -> LayerSet {
        LayerSet {
            runs: self.runs.clone(),
            ..LayerSet::new(start, self.ancestor.clone())
        }
    }

    /// Layer files as runs, the newest first.
    pub(crate) fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// Every layer file, with its run.
    pub(crate) fn files(&self) -> impl Iterator<Item = (RunId, &Arc<StoredLayer>)> {
        let runs = self.runs.iter();
        runs.flat_map(|run| run.layers().iter().map(|layer| (run.id(), layer)))
    }

    /// Replaces the layer files.
    pub(crate) fn set_files(
        &mut self,
        files: impl IntoIterator<Item = (RunId, Arc<StoredLayer>)>,
        rewrite: Option<&Rewrite>,
    ) {
        self.runs = sort_into_runs(files, rewrite);
    }

    /// Puts another object in the place of each layer file's.
    pub(crate) fn replace_files<E>(
        &mut self,
        mut replace: impl FnMut(&StoredLayer) -> Result<Arc<StoredLayer>, E>,
    ) -> Result<(), E> {
        for run in &mut self.runs {
            *run = Arc::new(run.replaced(&mut replace)?);
        }
        Ok(())
    }

    /// Adds a layer file that is newer than all others, a run of its own.
    pub(crate) fn add_newest(&mut self, run: RunId, layer: Arc<StoredLayer>) {
        self.runs
            .insert(0, Arc::new(Run::new(run, vec![layer], None)));
    }

    fn memory(&self) -> impl Iterator<Item = &MemoryLayer> {
        std::iter::once(&*self.open).chain(self.frozen.iter().map(|frozen| &*frozen.layer))
    }

    /// Where the WAL begins that the layers in memory refer to.
    pub(crate) fn memory_start(&self) -> Lsn {
        let oldest = self
            .frozen
            .last()
            .map_or(&self.open, |frozen| &frozen.layer);
        oldest.read().start()
    }

    /// Bytes that the frozen layers take.
    pub(crate) fn frozen_memory(&self) -> usize {
        let memory = |frozen: &Frozen| frozen.layer.read().memory();
        self.frozen.iter().map(memory).sum()
    }

    /// Visits the versions of `key` with an LSN in `(above, upto]`, newest first. Returns how many layer files were
    /// looked into.
    pub(crate) fn visit(
        &self,
        key: &Key,
        above: Lsn,
        upto: Lsn,
        visitor: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<u32, StoreError> {
        let mut files = 0;
        let flow = self.visit_own(key, above, upto, &mut files, visitor)?;
        match &self.ancestor {
            Some(ancestor) if flow.is_continue() => {
                Ok(files + ancestor.visit(key, above, upto, visitor)?)
            }
            _ => Ok(files),
        }
    }

    /// The same of the timeline's own versions only.
    fn visit_own(
        &self,
        key: &Key,
        above: Lsn,
        upto: Lsn,
        files: &mut u32,
        visitor: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut flow = ControlFlow::Continue(());
        for layer in self.memory() {
            layer.read().visit(key, above, upto, &mut |entry| {
                flow = visitor(Found {
                    lsn: entry.lsn,
                    kind: entry.kind,
                    body: match entry.body {
                        OpenBody::Record { start } => FoundBody::Record {
                            start,
                            ancestors: 0,
                        },
                        OpenBody::Value(bytes) => FoundBody::Bytes(bytes),
                    },
                    layer: None,
                });
                flow
            });
            if flow.is_break() {
                return Ok(flow);
            }
        }
        for run in &self.runs {
            for layer in run.candidates(key) {
                let summary = layer.summary();
                if summary.min_lsn > upto || summary.max_lsn <= above || !layer.may_contain(key) {
                    continue;
                }
                *files += 1;
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
                    return Ok(flow);
                }
            }
        }
        Ok(flow)
    }

    /// What the timeline branches from.
    pub(crate) fn ancestor(&self) -> Option<&Ancestor> {
        self.ancestor.as_ref()
    }

    /// The newest value of a metadata key with an LSN in `(above, upto]`.
    pub(crate) fn value<T>(
        &self,
        key: &Key,
        above: Lsn,
        upto: Lsn,
        decode: impl Fn(&[u8]) -> Result<T, MetaError>,
    ) -> Result<Option<(Lsn, T)>, StoreError> {
        let mut found = None;
        self.visit(key, above, upto, &mut take_value(&mut found, &decode))?;
        decoded(key, found)
    }

    /// The same of the timeline's own values only.
    pub(crate) fn own_value<T>(
        &self,
        key: &Key,
        upto: Lsn,
        decode: impl Fn(&[u8]) -> Result<T, MetaError>,
    ) -> Result<Option<(Lsn, T)>, StoreError> {
        let mut found = None;
        let _ = self.visit_own(
            key,
            Lsn::INVALID,
            upto,
            &mut 0,
            &mut take_value(&mut found, &decode),
        )?;
        decoded(key, found)
    }

    /// All keys in `range` that have any version at or below `upto`, ascending, each once.
    pub(crate) fn keys_in(&self, range: &Range<Key>, upto: Lsn) -> Result<Vec<Key>, StoreError> {
        let mut keys = Vec::new();
        for layer in self.memory() {
            keys.extend(layer.read().keys_in(range));
        }
        for (_, layer) in self.files() {
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
        if let Some(Ancestor { shared, lsn }) = &self.ancestor {
            keys.extend(shared.layers().keys_in(range, upto.min(*lsn))?);
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}

/// A visitor that takes the first value it sees.
fn take_value<T>(
    found: &mut Option<(Lsn, Result<T, MetaError>)>,
    decode: &impl Fn(&[u8]) -> Result<T, MetaError>,
) -> impl FnMut(Found<'_>) -> ControlFlow<()> {
    |entry| {
        if let FoundBody::Bytes(bytes) = entry.body {
            *found = Some((entry.lsn, decode(bytes)));
        }
        ControlFlow::Break(())
    }
}

fn decoded<T>(
    key: &Key,
    found: Option<(Lsn, Result<T, MetaError>)>,
) -> Result<Option<(Lsn, T)>, StoreError> {
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
