//! What a branch rests on: another timeline, up to where it branches from it.

use std::ops::ControlFlow;
use std::sync::Arc;

use walrecord::Lsn;

use super::layers::{Found, FoundBody};
use super::pins::Pin;
use super::shared::Shared;
use crate::error::{ReadError, StoreError};
use crate::key::Key;

/// A timeline as its branch sees it: as it is at `lsn`.
#[derive(Clone)]
pub(crate) struct Ancestor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lsn: Lsn,
}

impl Ancestor {
    /// As [`super::layers::LayerSet::visit`]; positions in WAL are one timeline further away.
    pub(crate) fn visit(
        &self,
        key: &Key,
        above: Lsn,
        upto: Lsn,
        visitor: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<u32, StoreError> {
        if above >= self.lsn {
            return Ok(0);
        }
        let layers = self.shared.layers();
        layers.visit(key, above, upto.min(self.lsn), &mut |mut found| {
            if let FoundBody::Record { ancestors, .. } = &mut found.body {
                *ancestors += 1;
            }
            visitor(found)
        })
    }

    /// Whether everything up to the branch point is there, all the way down: after a start it is not before the
    /// WAL was indexed.
    pub(crate) fn check_ready(&self) -> Result<(), ReadError> {
        let mut next = Some(self);
        while let Some(ancestor) = next {
            let last_record = ancestor.shared.tracker.get().last_record;
            if last_record < ancestor.lsn {
                return Err(ReadError::AncestorBehind {
                    timeline: ancestor.shared.name().to_owned(),
                    branch: ancestor.lsn,
                    last_record,
                });
            }
            next = ancestor.shared.ancestor.as_ref();
        }
        Ok(())
    }

    /// Holds the WAL that a reader may need of timelines whose layers do not reach the branch point yet.
    pub(crate) fn hold_wal(&self) -> Vec<Pin> {
        let mut pins = Vec::new();
        let mut next = Some(self);
        while let Some(ancestor) = next {
            let shared = &ancestor.shared;
            if shared.tracker.get().disk_consistent < ancestor.lsn {
                let mut pin = shared.pins.hold(Lsn::MAX);
                pin.needs_wal_from(shared.layers().memory_start());
                pins.push(pin);
            }
            next = shared.ancestor.as_ref();
        }
        pins
    }
}
