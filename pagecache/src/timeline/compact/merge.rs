//! The versions of several layers as one ascending list.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use walrecord::Lsn;

use crate::error::StoreError;
use crate::key::Key;
use crate::layer::{BlockAhead, BlockEdges, Compression, EntryKind, KeyVersions, WholeBlock};
use crate::timeline::stored_layer::{StoredLayer, StoredScan};

/// Reads layers side by side, each from where it is needed on. Memory is a block of each layer that is being
/// read, and those overlap only as far as the layers overlap in keys.
pub(super) struct Merge<'a> {
    /// Layers that begin above what was read, the first to come last.
    waiting: Vec<&'a Arc<StoredLayer>>,
    sources: Vec<StoredScan<'a>>,
    /// The next version of all.
    least: Option<Next>,
    /// The next version of each other source.
    others: BinaryHeap<Reverse<Next>>,
    from: Key,
    last: Option<(Key, Lsn)>,
}

/// The next version of a source, and its number.
type Next = (Key, Lsn, usize);

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
            least: None,
            others: BinaryHeap::new(),
            from,
            last: None,
        }
    }

    /// The key of the next version, or none behind the last.
    pub(super) fn peek(&mut self) -> Result<Option<Key>, StoreError> {
        self.open_due()?;
        Ok(self.least.map(|(key, ..)| key))
    }

    /// Whether the next version is of `key`, at or below `upto`.
    pub(super) fn has(&mut self, key: &Key, upto: Lsn) -> Result<bool, StoreError> {
        self.open_due()?;
        let next = self.least;
        Ok(next.is_some_and(|(next, lsn, _)| next == *key && lsn <= upto))
    }

    /// Whether one layer alone has all versions of `key` that are to come.
    pub(super) fn is_in_one(&mut self, key: &Key) -> Result<bool, StoreError> {
        self.open_due()?;
        let next = self.others.peek();
        Ok(next.is_none_or(|Reverse((next, ..))| next != key))
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
        let Some((key, lsn, index)) = self.least else {
            return Ok(None);
        };
        if self.last.replace((key, lsn)) == Some((key, lsn)) {
            return Err(duplicate(&key, lsn));
        }
        let given = self.sources[index].entry().map(|entry| {
            f(Version {
                lsn,
                kind: entry.kind,
                value: entry.value,
            })
        });
        self.advance(index)?;
        Ok(given)
    }

    /// The next versions, if they are of `key`: one or more that lie side by side in a layer, with none of the others
    /// in between.
    pub(super) fn side_by_side(
        &mut self,
        key: &Key,
    ) -> Result<Option<KeyVersions<'_>>, StoreError> {
        if !self.has(key, Lsn::MAX)? {
            return Ok(None);
        }
        let Some((key, lsn, index)) = self.least else {
            return Ok(None);
        };
        if self.last == Some((key, lsn)) {
            return Err(duplicate(&key, lsn));
        }
        let Some(versions) = self.sources[index].side_by_side() else {
            return Ok(None);
        };
        let other = self
            .others
            .peek()
            .map(|Reverse((key, lsn, _))| (*key, *lsn));
        Ok(Some(match other {
            // The first is below, unless it is there twice: then it is found next.
            Some((other, above)) if other == key && above > lsn => versions.below(above),
            Some((other, _)) if other == key => versions.first(1),
            _ => versions,
        }))
    }

    /// Goes on behind so many of [`Merge::side_by_side`], the last of them at `last`.
    pub(super) fn leave(&mut self, count: usize, last: Lsn) -> Result<(), StoreError> {
        if let Some((key, _, index)) = self.least
            && count > 0
        {
            self.last = Some((key, last));
            self.sources[index].leave(count);
            self.advance(index)?;
        }
        Ok(())
    }

    /// The block that comes next, if a block comes next whole, and nothing of the other layers comes in between or is of
    /// the same keys.
    pub(super) fn block_ahead(
        &mut self,
        edges: BlockEdges,
        compression: Compression,
    ) -> Result<Option<BlockAhead<'_>>, StoreError> {
        self.open_due()?;
        let Some((.., index)) = self.least else {
            return Ok(None);
        };
        let others = self.others.peek().map(|Reverse((key, ..))| *key);
        let waiting = self.waiting.last().map(|layer| layer.summary().first_key);
        let before = others.into_iter().chain(waiting).min();
        self.sources[index].block_ahead(before.as_ref(), edges, compression)
    }

    /// What [`Merge::block_ahead`] tells of, as it stands in its file.
    pub(super) fn whole_block(
        &self,
        compression: Compression,
    ) -> Result<Option<WholeBlock>, StoreError> {
        match self.least {
            Some((.., index)) => self.sources[index].whole_block(compression),
            None => Ok(None),
        }
    }

    /// Goes on behind the block that comes next.
    pub(super) fn leave_block(&mut self) -> Result<(), StoreError> {
        if let Some((.., index)) = self.least {
            self.sources[index].leave_block();
            self.advance(index)?;
        }
        Ok(())
    }

    /// Begins to read the layers that may hold the next version.
    fn open_due(&mut self) -> Result<(), StoreError> {
        while let Some(layer) = self.waiting.last() {
            let due = self
                .least
                .is_none_or(|(key, ..)| layer.summary().first_key <= key);
            if !due {
                break;
            }
            let scan = layer.scan(self.from..Key::all().end, Lsn::MAX);
            self.waiting.pop();
            self.sources.push(scan);
            let index = self.sources.len() - 1;
            let Some((key, lsn)) = self.sources[index].step()? else {
                continue;
            };
            let next = (key, lsn, index);
            if self.least.is_none_or(|least| next < least) {
                let other = self.least.replace(next);
                self.others.extend(other.map(Reverse));
            } else {
                self.others.push(Reverse(next));
            }
        }
        Ok(())
    }

    /// Takes the source that had the least to its next version. Mostly that is the least again: versions of one
    /// key lie in one source up to the last.
    fn advance(&mut self, index: usize) -> Result<(), StoreError> {
        let next = self.sources[index].step()?;
        self.least = match (next, self.others.peek_mut()) {
            (None, None) => None,
            (None, Some(other)) => Some(PeekMut::pop(other).0),
            (Some((key, lsn)), None) => Some((key, lsn, index)),
            (Some((key, lsn)), Some(mut other)) => {
                let mut next = (key, lsn, index);
                if other.0 < next {
                    std::mem::swap(&mut other.0, &mut next);
                }
                Some(next)
            }
        };
        Ok(())
    }
}

fn duplicate(key: &Key, lsn: Lsn) -> StoreError {
    StoreError::DuplicateVersion {
        key: key.to_string(),
        lsn,
    }
}
