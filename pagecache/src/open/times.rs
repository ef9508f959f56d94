//! The run of commit times that an open layer is adding to. Full runs are ordinary values of the layer.

use std::ops::ControlFlow;

use walrecord::{Lsn, PgTime};

use super::{OpenBody, OpenEntry, OpenLayer};
use crate::key::Key;
use crate::layer::EntryKind;
use crate::meta::{CommitTimesWriter, TransactionEnd};

impl OpenLayer {
    /// Notes that a transaction ended. `before` is the largest time of all that ended before it.
    ///
    /// # Panics
    /// If its record is outside the WAL that this layer indexes, or ends before one that was noted.
    pub(crate) fn insert_end(&mut self, before: PgTime, end: TransactionEnd) {
        match &mut self.times {
            Some(run) if !run.is_full() && key_of(run) == Key::commit_times(end.end) => {
                run.push(end);
            }
            _ => {
                self.close_times();
                self.times = Some(CommitTimesWriter::new(before, end));
            }
        }
    }

    /// Makes the run a value like others: what the layer holds is all in its order. To be called before
    /// the layer is frozen.
    pub(crate) fn close_times(&mut self) {
        if let Some(run) = self.times.take() {
            self.insert_value(key_of(&run), run.first(), run.bytes());
        }
    }

    /// Shows the run as the version of `key` that it is.
    pub(super) fn visit_times(
        &self,
        key: &Key,
        above: Lsn,
        upto: Lsn,
        f: &mut dyn FnMut(OpenEntry<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match &self.times {
            Some(run) if key_of(run) == *key && run.first() > above && run.first() <= upto => {
                f(OpenEntry {
                    lsn: run.first(),
                    kind: EntryKind::Value,
                    body: OpenBody::Value(run.bytes()),
                })
            }
            _ => ControlFlow::Continue(()),
        }
    }

    pub(super) fn times_key(&self) -> Option<Key> {
        self.times.as_ref().map(key_of)
    }
}

fn key_of(run: &CommitTimesWriter) -> Key {
    Key::commit_times(run.first())
}
