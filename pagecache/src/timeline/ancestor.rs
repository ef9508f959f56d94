//! What a branch rests on: another timeline, up to where it branches from it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use walrecord::Lsn;

use super::layers::{Found, FoundBody};
use super::pins::Pin;
use super::progress::Tracker;
use super::shared::Shared;
use crate::error::{ReadError, StoreError};
use crate::key::Key;

/// How soon a branch notices, after a start, that its ancestor is indexed up to where it begins.
const READY_PERIOD: Duration = Duration::from_millis(5);

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
                    timeline: ancestor.shared.name(),
                    branch: ancestor.lsn,
                    last_record,
                });
            }
            next = ancestor.shared.ancestor.as_ref();
        }
        Ok(())
    }

    /// Waits until everything up to the branch point is there, or the branch, whose tracker is `own`, stops: what WAL
    /// does to the branch is judged by what was there before.
    ///
    /// # Errors
    /// If it will not be, because the ancestor's WAL is damaged below the branch point.
    pub(crate) fn wait_ready(&self, own: &Tracker) -> Result<(), StoreError> {
        loop {
            // Asked before: what is examined may be what makes it ready.
            let examined = self.shared.tracker.wait_examined(Duration::ZERO).is_ok();
            match self.check_ready() {
                Ok(()) => return Ok(()),
                Err(error) if examined => return Err(error.into()),
                Err(_) if own.pause(READY_PERIOD) => return Ok(()),
                Err(_) => {}
            }
        }
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
