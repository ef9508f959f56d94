//! How far a timeline has come, and waiting for it to come further.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use walrecord::Lsn;

use crate::error::StoreError;

/// Positions of a timeline. Invariant: `synced <= written`, `last_record <= written`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// End of the WAL bytes received.
    pub written: Lsn,
    /// End of the WAL bytes that survive a crash; may lie inside a record.
    pub synced: Lsn,
    /// End of the last record that is indexed: the newest readable LSN, once it is at or above
    /// `readable_from`.
    pub last_record: Lsn,
    /// The oldest readable LSN: the import's stop position, later that up to which garbage was collected.
    pub readable_from: Lsn,
    /// Up to here, everything is in layer files.
    pub disk_consistent: Lsn,
}

/// Why a wait ended without the LSN.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WaitError {
    /// The limit ran out.
    #[error("timed out after {waited:?} waiting for {wanted}; the last record is at {last_record}")]
    Timeout {
        /// What was waited for.
        wanted: Lsn,
        /// The newest readable LSN.
        last_record: Lsn,
        /// How long.
        waited: Duration,
    },
    /// The timeline is being closed.
    #[error("the timeline is shutting down")]
    Stopping,
    /// Indexing stopped on an error.
    #[error("{wanted} cannot arrive: {reason}")]
    Failed {
        /// What was waited for.
        wanted: Lsn,
        /// Why.
        reason: Arc<StoreError>,
    },
}

type Listener = Box<dyn Fn() + Send + Sync>;

/// Shared positions with waiters. Listeners are called, outside the lock, after each change that a
/// replication peer wants to hear of.
#[derive(Default)]
pub(crate) struct Tracker {
    state: Mutex<State>,
    changed: Condvar,
    listeners: Mutex<Vec<Listener>>,
}

#[derive(Default)]
struct State {
    progress: Progress,
    /// End of the WAL that the indexer has looked at. At or above `last_record`: behind that may be the
    /// first part of a record.
    examined: Lsn,
    failure: Option<Arc<StoreError>>,
    /// Why the last attempt to write a layer failed.
    flush_failure: Option<Arc<StoreError>>,
    /// No rewind helps against `failure`.
    is_final: bool,
    stopping: bool,
}

impl Tracker {
    pub(crate) fn new(progress: Progress) -> Tracker {
        Tracker {
            state: Mutex::new(State {
                progress,
                examined: progress.last_record,
                ..State::default()
            }),
            ..Tracker::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn get(&self) -> Progress {
        self.lock().progress
    }

    pub(crate) fn failure(&self) -> Option<Arc<StoreError>> {
        self.lock().failure.clone()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.lock().progress);
        self.notify();
    }

    /// Notes a failure that a rewind heals.
    pub(crate) fn fail(&self, reason: StoreError) {
        self.lock().failure.get_or_insert_with(|| Arc::new(reason));
        self.notify();
    }

    /// Notes a failure that only a restart heals.
    pub(crate) fn fail_for_good(&self, reason: StoreError) {
        {
            let mut state = self.lock();
            if !state.is_final {
                state.failure = Some(Arc::new(reason));
                state.is_final = true;
            }
        }
        self.notify();
    }

    /// What the last attempt to write a layer came to.
    pub(crate) fn set_flush_failure(&self, failure: Option<Arc<StoreError>>) {
        self.lock().flush_failure = failure;
    }

    pub(crate) fn flush_failure(&self) -> Option<Arc<StoreError>> {
        self.lock().flush_failure.clone()
    }

    /// The failure that no rewind heals, if there is one.
    pub(crate) fn final_failure(&self) -> Option<Arc<StoreError>> {
        let state = self.lock();
        state.failure.clone().filter(|_| state.is_final)
    }

    /// The WAL ends at `written` now, and what stands behind the last record is to be looked at anew.
    pub(crate) fn rewound(&self, written: Lsn, synced: Lsn) {
        {
            let mut state = self.lock();
            state.progress.written = written;
            state.progress.synced = synced.min(written);
            state.examined = state.progress.last_record;
            if !state.is_final {
                state.failure = None;
            }
        }
        self.notify();
    }

    pub(crate) fn set_examined(&self, examined: Lsn) {
        self.lock().examined = examined;
        self.notify();
    }

    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.notify();
    }

    pub(crate) fn listen(&self, listener: Listener) {
        self.listeners
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .push(listener);
    }

    fn notify(&self) {
        self.changed.notify_all();
        let listeners = self
            .listeners
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        for listener in listeners.iter() {
            listener();
        }
    }

    /// Waits until `ready` says so, the timeline stops, or (with `or_failure`) indexing fails.
    /// Returns the positions, or none if the timeline stops.
    pub(crate) fn wait_while(
        &self,
        mut unready: impl FnMut(&Progress) -> bool,
    ) -> Option<Progress> {
        let mut state = self.lock();
        while !state.stopping && unready(&state.progress) {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        (!state.stopping).then_some(state.progress)
    }

    /// As [`Tracker::wait_while`], for no longer than `limit`.
    pub(crate) fn wait_while_within(
        &self,
        limit: Duration,
        mut unready: impl FnMut(&Progress) -> bool,
    ) {
        let begin = Instant::now();
        let mut state = self.lock();
        while !state.stopping && unready(&state.progress) {
            let left = limit.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .0;
        }
    }

    /// Waits for `limit`, less if the timeline stops. Returns whether it does.
    pub(crate) fn pause(&self, limit: Duration) -> bool {
        self.wait_while_within(limit, |_| true);
        self.is_stopping()
    }

    /// Waits until the indexer has looked at all WAL that is there, or stopped at damage in it.
    pub(crate) fn wait_examined(&self, limit: Duration) -> Result<Progress, WaitError> {
        let begin = Instant::now();
        let mut state = self.lock();
        loop {
            if state.failure.is_some() || state.examined >= state.progress.written {
                return Ok(state.progress);
            }
            let wanted = state.progress.written;
            state = self.wait_some(state, wanted, begin, limit)?;
        }
    }

    /// Waits until the record that ends at `wanted` is readable.
    pub(crate) fn wait_for(&self, wanted: Lsn, limit: Duration) -> Result<Progress, WaitError> {
        self.wait_until(wanted, limit, |progress| progress.last_record)
    }

    /// Waits until `position` reaches `wanted`.
    pub(crate) fn wait_until(
        &self,
        wanted: Lsn,
        limit: Duration,
        position: impl Fn(&Progress) -> Lsn,
    ) -> Result<Progress, WaitError> {
        let begin = Instant::now();
        let mut state = self.lock();
        loop {
            if position(&state.progress) >= wanted {
                return Ok(state.progress);
            }
            if let Some(reason) = &state.failure
                && !state.stopping
            {
                return Err(WaitError::Failed {
                    wanted,
                    reason: Arc::clone(reason),
                });
            }
            state = self.wait_some(state, wanted, begin, limit)?;
        }
    }

    /// Waits for a change, at most until `limit` after `begin`.
    fn wait_some<'a>(
        &self,
        state: MutexGuard<'a, State>,
        wanted: Lsn,
        begin: Instant,
        limit: Duration,
    ) -> Result<MutexGuard<'a, State>, WaitError> {
        if state.stopping {
            return Err(WaitError::Stopping);
        }
        let left = limit.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return Err(WaitError::Timeout {
                wanted,
                last_record: state.progress.last_record,
                waited: limit,
            });
        }
        let waited = self.changed.wait_timeout(state, left);
        Ok(waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0)
    }
}
