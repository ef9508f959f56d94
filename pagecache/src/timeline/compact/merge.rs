//! The versions of several layers as one ascending list.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use walrecord::Lsn;

use crate::error::StoreError;
use crate::key::Key;
use crate::layer::EntryKind;
use crate::timeline::stored_layer::{StoredLayer, StoredScan};

/// Reads layers side by side, each from where it is needed on. Memory is a block of each layer that is being
/// read, and those overlap only as far as the layers overlap in keys.
pub(super) struct Merge<'a> {
    /// Layers that begin above what was read, the first to come last.
    waiting: Vec<&'a Arc<StoredLayer>>,
    sources: Vec<Source<'a>>,
    /// The next version of each source.
    next: BinaryHeap<Reverse<(Key, Lsn, usize)>>,
    from: Key,
    last: Option<(Key, Lsn)>,
}

/// A layer that is being read, and the version at which it stands.
struct Source<'a> {
    scan: StoredScan<'a>,
    kind: EntryKind,
    value: Vec<u8>,
}

/// A version, lent until the next is asked for.
#[derive(Clone, Copy)]
pub(super) struct Version<'a> {
    pub(super) lsn: Lsn,
    pub(super) kind: EntryKind,
    pub(super) value: &'a [u8],
}

impl<'a> Merge<'a> {
    /// Everything in `layers` with keys from `from` on.
    pub(super) fn new(layers: impl Iterator<Item = &'a Arc<StoredLayer>>, from: Key) -> Merge<'a> {
        let mut waiting: Vec<_> = layers
            .filter(|layer| layer.summary().last_key >= from)
            .collect();
        waiting.sort_by_key(|layer| Reverse(layer.summary().first_key));
        Merge {
            waiting,
            sources: Vec::new(),
            next: BinaryHeap::new(),
            from,
            last: None,
        }
    }

    /// The key of the next version, or none behind the last.
    pub(super) fn peek(&mut self) -> Result<Option<Key>, StoreError> {
        self.open_due()?;
        Ok(self.next.peek().map(|Reverse((key, ..))| *key))
    }

    /// Whether the next version is of `key`, at or below `upto`.
    pub(super) fn has(&mut self, key: &Key, upto: Lsn) -> Result<bool, StoreError> {
        self.open_due()?;
        let next = self.next.peek();
        Ok(next.is_some_and(|Reverse((next, lsn, _))| next == key && *lsn <= upto))
    }

    /// Gives the next version to `f` if it is of `key`, at or below `upto`. None if it is not.
    pub(super) fn next_of<T>(
        &mut self,
        key: &Key,
        upto: Lsn,
        f: impl FnOnce(Version<'_>) -> T,
    ) -> Result<Option<T>, StoreError> {
        if !self.has(key, upto)? {
            return Ok(None);
        }
        let Some(Reverse((key, lsn, index))) = self.next.pop() else {
            return Ok(None);
        };
        if self.last.replace((key, lsn)) == Some((key, lsn)) {
            return Err(StoreError::DuplicateVersion {
                key: key.to_string(),
                lsn,
            });
        }
        let source = &self.sources[index];
        let given = f(Version {
            lsn,
            kind: source.kind,
            value: &source.value,
        });
        self.advance(index)?;
        Ok(Some(given))
    }

    /// Begins to read the layers that may hold the next version.
    fn open_due(&mut self) -> Result<(), StoreError> {
        while let Some(layer) = self.waiting.last() {
            let due = match self.next.peek() {
                Some(Reverse((key, ..))) => layer.summary().first_key <= *key,
                None => true,
            };
            if !due {
                break;
            }
            let scan = layer.scan(self.from..Key::all().end, Lsn::MAX);
            self.waiting.pop();
            self.sources.push(Source {
                scan,
                kind: EntryKind::Value,
                value: Vec::new(),
            });
            self.advance(self.sources.len() - 1)?;
        }
        Ok(())
    }

    /// Takes a source to its next version. One that has no more keeps its place, and only a few bytes.
    fn advance(&mut self, index: usize) -> Result<(), StoreError> {
        let source = &mut self.sources[index];
        match source.scan.next()? {
            Some(entry) => {
                source.kind = entry.kind;
                source.value.clear();
                source.value.extend_from_slice(entry.value);
                self.next.push(Reverse((entry.key, entry.lsn, index)));
            }
            None => source.value = Vec::new(),
        }
        Ok(())
    }
}
