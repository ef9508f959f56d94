//! Waiting between attempts: exponential, bounded, jittered. Clock and dice are handed in, so that
//! tests neither wait nor guess.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use crate::control::Control;

/// How long to wait before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure, and after a connection that worked.
    pub first: Duration,
    /// Never longer than this.
    pub longest: Duration,
}

impl Default for Backoff {
    /// From 100 ms to 15 s: a server that restarts is noticed soon, one that is gone is not
    /// hammered.
    fn default() -> Backoff {
        Backoff {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(15),
        }
    }
}

impl Backoff {
    /// The wait after `failures` failures in a row (at least one). It doubles with each; `dice`,
    /// from 0 to 1, takes up to half of it away, so that many receivers do not come back at once.
    pub fn delay(&self, failures: u32, dice: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.longest);
        full.mul_f64(1.0 - dice.clamp(0.0, 1.0) / 2.0)
    }
}

/// Time and chance.
pub trait Timing: Send {
    /// Waits for `duration`, or until `control` is stopped.
    fn pause(&mut self, duration: Duration, control: &Control);

    /// A number from 0 to 1.
    fn dice(&mut self) -> f64;
}

/// The real ones.
#[derive(Debug, Default)]
pub struct SystemTiming {
    throws: u64,
    seed: RandomState,
}

impl Timing for SystemTiming {
    fn pause(&mut self, duration: Duration, control: &Control) {
        control.sleep(duration);
    }

    fn dice(&mut self) -> f64 {
        self.throws += 1;
        // A keyed hash of a counter: good enough to spread reconnects.
        let bits = self.seed.hash_one(self.throws) >> 11;
        bits as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(1),
        };
        let waits = [1, 2, 3, 4, 5, u32::MAX].map(|n| backoff.delay(n, 0.0).as_millis());
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn chance_takes_at_most_half() {
        let backoff = Backoff::default();
        assert_eq!(backoff.delay(1, 1.0), Duration::from_millis(50));
        let mut timing = SystemTiming::default();
        for _ in 0..1000 {
            assert!((0.0..1.0).contains(&timing.dice()));
        }
    }
}
