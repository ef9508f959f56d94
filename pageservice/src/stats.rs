//! What the page service counts. Written by every connection without a lock, read as a whole for
//! `/metrics` and for tests.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets of a [`LatencyHistogram`]: bucket `i` counts what took up to `2^i` microseconds, the last
/// one everything above 8 seconds.
pub const LATENCY_BUCKETS: usize = 25;

/// Kinds of requests, in the order of the protocol's tags.
pub const REQUEST_KINDS: [&str; 5] = ["exists", "nblocks", "getpage", "dbsize", "slru"];

/// What the page service counted since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageServiceStats {
    /// Connections that are open now.
    pub connections_open: u64,
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that were turned away because there were too many.
    pub connections_refused: u64,
    /// Connections that ended by a panic, ours or the source's: a bug.
    pub connections_panicked: u64,
    /// Requests answered, by kind, in the order of [`REQUEST_KINDS`]; errors are counted, too.
    pub requests: [u64; REQUEST_KINDS.len()],
    /// Requests answered with an error.
    pub errors: u64,
    /// Requests that had to wait for their LSN.
    pub waits: u64,
    /// Runs of pages that were read together.
    pub batches: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// How long page requests took from being decoded to their answer lying in the output buffer.
    pub getpage_latency: LatencyHistogram,
}

/// Durations in buckets of powers of two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyHistogram {
    /// How many fell into each bucket.
    pub buckets: [u64; LATENCY_BUCKETS],
    /// The sum of all, in microseconds.
    pub sum_micros: u64,
}

impl LatencyHistogram {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The upper bound of the bucket that holds this quantile (0.5: the median); none if it is
    /// empty, or if that is the last bucket, which has no bound.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let rank = (self.count() as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        (bucket + 1 < LATENCY_BUCKETS).then(|| Duration::from_micros(1 << bucket))
    }
}

impl PageServiceStats {
    /// Appends them in the text format of Prometheus.
    pub fn write_prometheus(&self, out: &mut String) {
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            let name = format!("zenith_pageservice_{name}");
            let _ = write!(
                out,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"
            );
        };
        one(
            "connections_open",
            "gauge",
            "Open connections.",
            self.connections_open,
        );
        one(
            "connections_total",
            "counter",
            "Connections accepted.",
            self.connections,
        );
        let help = "Connections turned away because there were too many.";
        one(
            "connections_refused_total",
            "counter",
            help,
            self.connections_refused,
        );
        one(
            "connections_panicked_total",
            "counter",
            "Connections that ended by a panic.",
            self.connections_panicked,
        );
        one(
            "errors_total",
            "counter",
            "Requests answered with an error.",
            self.errors,
        );
        let help = "Requests that waited for their LSN.";
        one("waits_total", "counter", help, self.waits);
        one(
            "batches_total",
            "counter",
            "Runs of pages read together.",
            self.batches,
        );
        one(
            "received_bytes_total",
            "counter",
            "Bytes received.",
            self.bytes_in,
        );
        one("sent_bytes_total", "counter", "Bytes sent.", self.bytes_out);

        let name = "zenith_pageservice_requests_total";
        let _ = write!(
            out,
            "# HELP {name} Requests answered.\n# TYPE {name} counter\n"
        );
        for (kind, count) in REQUEST_KINDS.iter().zip(self.requests) {
            let _ = writeln!(out, "{name}{{kind=\"{kind}\"}} {count}");
        }
        self.getpage_latency
            .write_prometheus("zenith_pageservice_getpage_seconds", out);
    }
}

impl LatencyHistogram {
    fn write_prometheus(&self, name: &str, out: &mut String) {
        let help = "Time from a page request to its answer in the output buffer.";
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} histogram\n");
        let mut total = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            total += count;
            if bucket + 1 < LATENCY_BUCKETS {
                let bound = Duration::from_micros(1 << bucket).as_secs_f64();
                let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {total}");
            }
        }
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {total}");
        let sum = Duration::from_micros(self.sum_micros).as_secs_f64();
        let _ = write!(out, "{name}_sum {sum}\n{name}_count {total}\n");
    }
}

/// Reads the counters of a page service.
#[derive(Clone)]
pub struct StatsReader(Arc<Counters>);

impl StatsReader {
    pub(crate) fn new(counters: Arc<Counters>) -> StatsReader {
        StatsReader(counters)
    }

    /// What was counted up to now.
    pub fn read(&self) -> PageServiceStats {
        self.0.snapshot()
    }
}

/// The live counters. Relaxed throughout: each is right by itself, a snapshot is not one instant.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) connections_open: Counter,
    pub(crate) connections: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) connections_panicked: Counter,
    pub(crate) requests: [Counter; REQUEST_KINDS.len()],
    pub(crate) errors: Counter,
    pub(crate) waits: Counter,
    pub(crate) batches: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    latency: [Counter; LATENCY_BUCKETS],
    latency_sum: Counter,
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// `count` page requests took this long each.
    pub(crate) fn observe_pages(&self, count: u64, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency[bucket_of(micros)].add(count);
        self.latency_sum.add(micros.saturating_mul(count));
    }

    pub(crate) fn snapshot(&self) -> PageServiceStats {
        PageServiceStats {
            connections_open: self.connections_open.get(),
            connections: self.connections.get(),
            connections_refused: self.connections_refused.get(),
            connections_panicked: self.connections_panicked.get(),
            requests: self.requests.each_ref().map(Counter::get),
            errors: self.errors.get(),
            waits: self.waits.get(),
            batches: self.batches.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            getpage_latency: LatencyHistogram {
                buckets: self.latency.each_ref().map(Counter::get),
                sum_micros: self.latency_sum.get(),
            },
        }
    }
}

/// The first bucket whose bound is not below `micros`.
fn bucket_of(micros: u64) -> usize {
    let bucket = match micros {
        0 | 1 => 0,
        _ => (u64::BITS - (micros - 1).leading_zeros()) as usize,
    };
    bucket.min(LATENCY_BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_bounds_it() {
        for (micros, bucket) in [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 2),
            (4, 2),
            (5, 3),
            (1 << 23, 23),
            ((1 << 23) + 1, 24),
            (u64::MAX, 24),
        ] {
            assert_eq!(bucket_of(micros), bucket, "{micros}");
        }
    }

    #[test]
    fn quantiles_are_bucket_bounds() {
        let counters = Counters::default();
        counters.observe_pages(98, Duration::from_micros(3));
        counters.observe_pages(2, Duration::from_secs(60));
        let histogram = counters.snapshot().getpage_latency;
        assert_eq!(histogram.count(), 100);
        assert_eq!(histogram.quantile(0.5), Some(Duration::from_micros(4)));
        assert_eq!(histogram.quantile(0.98), Some(Duration::from_micros(4)));
        assert_eq!(histogram.quantile(0.99), None);
        assert_eq!(LatencyHistogram::default().quantile(0.5), None);
    }

    #[test]
    fn prometheus_buckets_are_cumulative() {
        let counters = Counters::default();
        counters.observe_pages(2, Duration::from_micros(1));
        counters.observe_pages(1, Duration::from_micros(2));
        counters.requests[2].add(3);
        let mut text = String::new();
        counters.snapshot().write_prometheus(&mut text);
        for line in [
            "zenith_pageservice_requests_total{kind=\"getpage\"} 3",
            "zenith_pageservice_getpage_seconds_bucket{le=\"0.000001\"} 2",
            "zenith_pageservice_getpage_seconds_bucket{le=\"0.000002\"} 3",
            "zenith_pageservice_getpage_seconds_bucket{le=\"+Inf\"} 3",
            "zenith_pageservice_getpage_seconds_sum 0.000004",
            "zenith_pageservice_getpage_seconds_count 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
