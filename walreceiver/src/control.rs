//! What other threads say to a receiver: stop, and "positions advanced, tell the server".

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::connection::Interrupt;

/// The handle of one receiver, cheap to clone. It outlives connections: the receiver attaches each
/// new one to it.
#[derive(Clone, Default)]
pub struct Control(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopped: bool,
    /// Counts [`Control::wake`], so that a wake between two waits is not lost.
    wakes: u64,
    /// The connection whose blocking reads a stop must end.
    interrupt: Option<Interrupt>,
}

/// What a waiting thread finds when it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Signal {
    pub(crate) stopped: bool,
    pub(crate) wakes: u64,
}

impl Control {
    /// A control that nobody has stopped.
    pub fn new() -> Control {
        Control::default()
    }

    /// Asks the receiver to end; returns at once. What blocks on the network is interrupted.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        if let Some(interrupt) = state.interrupt.take() {
            interrupt.interrupt();
        }
        drop(state);
        self.0.changed.notify_all();
    }

    /// Whether [`Control::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Says that a position of [`Progress`](crate::Progress) has advanced: the status thread sends
    /// it at once. Cheap and never blocks on the network, so a thread that syncs files may call it
    /// after each sync.
    pub fn wake(&self) {
        self.lock().wakes += 1;
        self.0.changed.notify_all();
    }

    /// Waits until something happened since `seen`, a stop, or `deadline`.
    pub(crate) fn wait(&self, seen: u64, deadline: Instant) -> Signal {
        let mut state = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.stopped || state.wakes != seen || left.is_zero() {
                return Signal {
                    stopped: state.stopped,
                    wakes: state.wakes,
                };
            }
            state = self.wait_on(state, left);
        }
    }

    /// Sleeps, unless and until stopped.
    pub(crate) fn sleep(&self, duration: Duration) {
        let deadline = Instant::now() + duration;
        let mut state = self.lock();
        while !state.stopped {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.wait_on(state, left);
        }
    }

    /// Lets [`Control::stop`] end the blocking reads of a connection. At once if it has stopped.
    pub(crate) fn guard(&self, interrupt: Interrupt) {
        let mut state = self.lock();
        if state.stopped {
            interrupt.interrupt();
        } else {
            state.interrupt = Some(interrupt);
        }
    }

    /// Undoes [`Control::guard`].
    pub(crate) fn unguard(&self) {
        self.lock().interrupt = None;
    }

    /// The state stays valid at every point, so a panic elsewhere does not make it unusable.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_on<'a>(&self, state: MutexGuard<'a, State>, left: Duration) -> MutexGuard<'a, State> {
        self.0
            .changed
            .wait_timeout(state, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}
