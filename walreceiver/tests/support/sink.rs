//! A sink that keeps everything in memory, and lets tests decide what it acknowledges.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use walreceiver::{Control, Held, Positions, Progress, SinkError, TimelineSwitch, WalSink};
use walrecord::{Lsn, PgTimelineId};

/// How long tests wait for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The test's end of a [`MemorySink`].
#[derive(Clone)]
pub(crate) struct Memory(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

pub(crate) struct State {
    /// Where `bytes` begins.
    pub(crate) start: Lsn,
    pub(crate) bytes: Vec<u8>,
    /// Everything below counts as verified.
    pub(crate) valid_end: Option<Lsn>,
    pub(crate) timeline: PgTimelineId,
    pub(crate) history: Option<Vec<u8>>,
    pub(crate) positions: Positions,
    /// Acknowledge as durable whatever is written.
    pub(crate) acknowledge: bool,
    pub(crate) rewinds: Vec<Lsn>,
    pub(crate) switches: Vec<(PgTimelineId, Lsn)>,
    pub(crate) writes: usize,
    pub(crate) refuse: Option<fn() -> SinkError>,
}

impl State {
    pub(crate) fn end(&self) -> Lsn {
        self.start + self.bytes.len() as u64
    }
}

impl Memory {
    pub(crate) fn at(start: Lsn) -> Memory {
        Memory(Arc::new(Inner {
            state: Mutex::new(State {
                start,
                bytes: Vec::new(),
                valid_end: None,
                timeline: 1,
                history: None,
                positions: Positions::default(),
                acknowledge: true,
                rewinds: Vec::new(),
                switches: Vec::new(),
                writes: 0,
                refuse: None,
            }),
            changed: Condvar::new(),
        }))
    }

    pub(crate) fn sink(&self) -> MemorySink {
        MemorySink(self.clone())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Waits until `condition` holds.
    pub(crate) fn wait(&self, what: &str, mut condition: impl FnMut(&State) -> bool) {
        let (_unlocked_below, result) = self
            .0
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, |state| !condition(state))
            .unwrap();
        assert!(!result.timed_out(), "waited in vain for {what}");
    }

    pub(crate) fn wait_for(&self, lsn: Lsn) {
        self.wait("WAL", |state| state.end() >= lsn);
    }

    /// Declares everything received durable and readable, and says so.
    pub(crate) fn acknowledge(&self, control: &Control) {
        let mut state = self.lock();
        let end = state.end();
        state.positions = Positions {
            written: end,
            flushed: end,
            applied: end,
        };
        drop(state);
        control.wake();
    }
}

pub(crate) struct MemorySink(Memory);

impl Progress for Memory {
    fn positions(&self) -> Positions {
        self.lock().positions
    }
}

impl WalSink for MemorySink {
    fn held(&self) -> Held {
        let state = self.0.lock();
        Held {
            valid_end: state.valid_end.unwrap_or(state.end()),
            file_end: state.end(),
        }
    }

    fn timeline(&self) -> PgTimelineId {
        self.0.lock().timeline
    }

    fn timeline_history(&self) -> Option<Vec<u8>> {
        self.0.lock().history.clone()
    }

    fn rewind(&mut self, to: Lsn) -> Result<(), SinkError> {
        let mut state = self.0.lock();
        let kept = to - state.start;
        state.bytes.truncate(kept as usize);
        state.rewinds.push(to);
        Ok(())
    }

    fn write(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), SinkError> {
        let mut state = self.0.lock();
        if let Some(refuse) = state.refuse {
            return Err(refuse());
        }
        assert_eq!(lsn, state.end(), "WAL must come without gaps");
        assert!(!bytes.is_empty());
        state.bytes.extend_from_slice(bytes);
        state.writes += 1;
        let end = state.end();
        state.positions.written = end;
        if state.acknowledge {
            state.positions.flushed = end;
            state.positions.applied = end;
        }
        drop(state);
        self.0.0.changed.notify_all();
        Ok(())
    }

    fn switch_timeline(&mut self, switch: TimelineSwitch<'_>) -> Result<(), SinkError> {
        let mut state = self.0.lock();
        assert_eq!(switch.at, state.end());
        assert_eq!(switch.from, state.timeline);
        state.timeline = switch.to;
        state.history = Some(switch.history.content.clone());
        state.switches.push((switch.to, switch.at));
        drop(state);
        self.0.0.changed.notify_all();
        Ok(())
    }

    fn progress(&self) -> Arc<dyn Progress> {
        Arc::new(self.0.clone())
    }
}
