//! What time it is. Handed in, so that whoever tests what depends on it need not wait.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use walrecord::PgTime;

/// Microseconds from 1970-01-01 to 2000-01-01, where Postgres begins to count.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// Tells the time of day. It may jump, also back: the clock of a machine is set now and then.
pub trait Clock: Send + Sync {
    /// Microseconds since 2000-01-01 00:00:00 UTC.
    fn now(&self) -> PgTime;
}

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> PgTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        // A machine that does not know the time counts from there.
        since.map_or(0, micros).saturating_sub(POSTGRES_EPOCH)
    }
}

/// A clock that stands still until it is set: for tests.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub const fn new(now: PgTime) -> ManualClock {
        ManualClock(AtomicI64::new(now))
    }

    /// Sets it, forward or back.
    pub fn set(&self, now: PgTime) {
        self.0.store(now, Ordering::Release);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> PgTime {
        self.0.load(Ordering::Acquire)
    }
}

/// A length of time as differences of [`PgTime`] count it.
pub(crate) fn micros(length: Duration) -> PgTime {
    PgTime::try_from(length.as_micros()).unwrap_or(PgTime::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_counts_from_2000() {
        // 2026-01-01 and 2126-01-01.
        let years = [820_454_400_000_000, 3_976_128_000_000_000];
        assert!((years[0]..years[1]).contains(&SystemClock.now()));
    }

    #[test]
    fn no_length_of_time_is_too_long() {
        assert_eq!(micros(Duration::from_millis(3)), 3000);
        assert_eq!(micros(Duration::MAX), PgTime::MAX);
    }
}
