//! Every version of one key, newest first, from all layers that hold it: for a page's history, whatever a
//! read would need of it.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use walrecord::Lsn;

use super::layers::{FoundBody, LayerSet};
use crate::error::StoreError;
use crate::key::Key;
use crate::layer::{EntryKind, LayerId};

/// Versions and bytes that are gathered at a time; what a walk holds in memory.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 1 << 20;

/// Where a version is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VersionOrigin {
    /// In WAL: the record that starts here. The index over it is in memory.
    Wal {
        /// Where the record starts.
        start: Lsn,
        /// Whose WAL: so many timelines up that each branches from the next.
        ancestors: usize,
    },
    /// In memory: a metadata value that no layer file has yet.
    Memory,
    /// In this layer file.
    Layer(LayerId),
}

/// One version of a key as stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Version {
    pub(crate) lsn: Lsn,
    pub(crate) kind: EntryKind,
    pub(crate) origin: VersionOrigin,
    /// What the layer holds; nothing if it is in WAL.
    pub(crate) bytes: Vec<u8>,
}

/// The versions of a key above one LSN and not above another, newest first. A version that is stored twice
/// (as a change, and as an image that a later layer has in its place) comes twice.
pub(crate) struct Versions<'a> {
    layers: &'a LayerSet,
    key: Key,
    above: Lsn,
    /// Older ones are still to be gathered; none if there are no more.
    upto: Option<Lsn>,
    batch: VecDeque<Version>,
}

impl LayerSet {
    /// The versions of `key` with an LSN in `(above, upto]`.
    pub(crate) fn versions(&self, key: Key, above: Lsn, upto: Lsn) -> Versions<'_> {
        Versions {
            layers: self,
            key,
            above,
            upto: Some(upto),
            batch: VecDeque::new(),
        }
    }
}

impl Versions<'_> {
    /// The next older version.
    pub(crate) fn next(&mut self) -> Result<Option<Version>, StoreError> {
        self.fill()?;
        Ok(self.batch.pop_front())
    }

    fn fill(&mut self) -> Result<(), StoreError> {
        if !self.batch.is_empty() {
            return Ok(());
        }
        let Some(upto) = self.upto.take() else {
            return Ok(());
        };
        let batch = &mut self.batch;
        let mut bytes = 0;
        let mut rest = None;
        self.layers
            .visit(&self.key, self.above, upto, &mut |found| {
                // A batch ends between LSNs: the next one begins below the last.
                let full = batch.len() >= BATCH || bytes >= BATCH_BYTES;
                if full && batch.back().is_some_and(|last| last.lsn != found.lsn) {
                    rest = Some(found.lsn);
                    return ControlFlow::Break(());
                }
                let (origin, content) = match (found.body, found.layer) {
                    (FoundBody::Record { start, ancestors }, _) => {
                        (VersionOrigin::Wal { start, ancestors }, &[][..])
                    }
                    (FoundBody::Bytes(content), Some(layer)) => {
                        (VersionOrigin::Layer(layer), content)
                    }
                    (FoundBody::Bytes(content), None) => (VersionOrigin::Memory, content),
                };
                bytes += content.len();
                batch.push_back(Version {
                    lsn: found.lsn,
                    kind: found.kind,
                    origin,
                    bytes: content.to_vec(),
                });
                ControlFlow::Continue(())
            })?;
        self.upto = rest;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::timeline::layers::{Frozen, MemoryLayer};

    #[test]
    fn all_versions_come_newest_first_whatever_their_number_and_size() {
        let mut layers = LayerSet::new(Lsn::new(0), None);
        let key = Key::control();
        let lsn = |number: u64| Lsn::new(number * 8);
        // Large ones fill a batch before it has its number.
        let value = |number: u64| vec![7; if number % 50 < 10 { 200_000 } else { 9 }];
        for number in 1..=300 {
            let content = value(number);
            layers.open.write().insert_value(key, lsn(number), &content);
            if number % 100 == 0 {
                let layer = Arc::new(MemoryLayer::new(lsn(number)));
                let layer = std::mem::replace(&mut layers.open, layer);
                let end = lsn(number);
                layers.frozen.insert(0, Frozen { layer, end });
            }
        }
        let mut versions = layers.versions(key, lsn(20), lsn(280));
        for number in (21..=280).rev() {
            let version = versions.next().unwrap().unwrap();
            assert_eq!(version.lsn, lsn(number));
            assert_eq!(version.bytes.len(), value(number).len());
            assert_eq!(version.origin, VersionOrigin::Memory);
            let held: usize = versions.batch.iter().map(|held| held.bytes.len()).sum();
            assert!(versions.batch.len() < BATCH && held < BATCH_BYTES + 200_000);
        }
        assert_eq!(versions.next().unwrap(), None);
        assert_eq!(versions.next().unwrap(), None);
    }
}
