//! Asking a process to end: by signal, or by whoever started its parts.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// A flag that threads can wait for.
#[derive(Clone, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// A flag that SIGINT and SIGTERM set.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn on_signal() -> Result<Stop> {
        let stop = Stop::default();
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("installing signal handlers")?;
        let other = stop.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                if signals.forever().next().is_some() {
                    other.set();
                }
                // A second signal ends the process at once: a hung stop must not need SIGKILL.
                if signals.forever().next().is_some() {
                    std::process::exit(1);
                }
            })?;
        Ok(stop)
    }

    /// Sets the flag.
    pub fn set(&self) {
        let (flag, changed) = &*self.0;
        *flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    /// Whether the flag is set.
    pub fn is_set(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the flag is set, at most for `limit`. Returns whether it is.
    pub fn wait(&self, limit: Duration) -> bool {
        let (flag, changed) = &*self.0;
        let begin = Instant::now();
        let mut set = flag.lock().unwrap_or_else(PoisonError::into_inner);
        while !*set {
            let left = limit.saturating_sub(begin.elapsed());
            if left.is_zero() {
                break;
            }
            set = changed
                .wait_timeout(set, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *set
    }

    /// Waits until the flag is set.
    pub fn wait_for_ever(&self) {
        while !self.wait(Duration::from_secs(3600)) {}
    }
}
