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
        let (true, Some(upto)) = (self.batch.is_empty(), self.upto.take()) else {
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
