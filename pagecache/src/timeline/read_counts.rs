//! What reads of pages took: counted by every read without a lock, read as a whole for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use super::read::ReadStats;

/// Numbers that the histograms tell apart: 0, 1, then powers of two; the last bucket is for all above.
const BUCKETS: usize = 14;

/// Counts of small numbers, in buckets of powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    sum: u64,
}

impl Histogram {
    /// Each bucket's upper bound, itself included, and how many fell into it; the last has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = (0..BUCKETS).map(bound);
        bounds.zip(self.buckets)
    }

    /// The sum of all numbers.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// How many numbers there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The upper bound of the bucket that holds this quantile (0.5: the median); none if there were no
    /// numbers, or if that is the last bucket.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let rank = (self.count() as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        let mut buckets = self.buckets();
        let found = buckets.find(|(_, count)| {
            seen += count;
            seen >= rank
        });
        found.and_then(|(bound, _)| bound)
    }
}

fn bound(bucket: usize) -> Option<u64> {
    match bucket {
        0 => Some(0),
        last if last == BUCKETS - 1 => None,
        bucket => Some(1 << (bucket - 1)),
    }
}

/// What the reads of a timeline's pages took since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReadCounts {
    /// Layer files looked into for a page.
    pub layers: Histogram,
    /// Records applied for a page.
    pub records: Histogram,
}

/// The counters behind a [`ReadCounts`].
#[derive(Default)]
pub(crate) struct ReadCounters {
    layers: Counters,
    records: Counters,
}

#[derive(Default)]
struct Counters {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl ReadCounters {
    /// Counts a page that was read.
    pub(crate) fn add(&self, stats: &ReadStats) {
        self.layers.add(stats.layers);
        self.records.add(stats.records);
    }

    pub(crate) fn get(&self) -> ReadCounts {
        ReadCounts {
            layers: self.layers.get(),
            records: self.records.get(),
        }
    }
}

impl Counters {
    fn add(&self, number: u32) {
        let bucket = match number {
            0 => 0,
            number => 1 + (u32::BITS - (number - 1).leading_zeros()) as usize,
        };
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(number.into(), Ordering::Relaxed);
    }

    fn get(&self) -> Histogram {
        Histogram {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed)),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let counters = Counters::default();
        assert_eq!(counters.get().quantile(0.5), None);
        for number in [0, 1, 2, 3, 4, 16, 17] {
            counters.add(number);
        }
        let counts = counters.get();
        let bounds = [0.1, 0.2, 0.4, 0.5, 0.7, 0.8, 1.0].map(|part| counts.quantile(part));
        assert_eq!(bounds, [0, 1, 2, 4, 4, 16, 32].map(Some));
        assert_eq!((counts.count(), counts.sum()), (7, 43));
        counters.add(u32::MAX);
        assert_eq!(counters.get().quantile(1.0), None);
        assert_eq!(counters.get().buckets().count(), BUCKETS);
    }
}
