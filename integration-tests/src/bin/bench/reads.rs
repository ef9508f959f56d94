//! Reading pages and what that takes: time, and records applied. Serves the benchmarks of the store.

use std::fmt;
use std::time::Instant;

use anyhow::Result;
use pagecache::Timeline;
use stockpg::Cluster;
use walrecord::{BlockTag, DEFAULT_TABLESPACE, ForkNumber, Lsn, PageKey, RelFileLocator};

/// What reads took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reads {
    /// Microseconds, the middle one.
    pub(crate) median: f64,
    /// Microseconds, of the slowest hundredth the fastest.
    pub(crate) p99: f64,
    /// Records applied, the same.
    pub(crate) records_p99: u32,
    /// Records applied, the most.
    pub(crate) records_most: u32,
    /// Layer files looked into, as the slow ones.
    pub(crate) files_p99: u32,
    /// Layer files looked into, the most.
    pub(crate) files_most: u32,
}

impl fmt::Display for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} us (p99 {:.1}; records p99 {}, most {}; files p99 {}, most {})",
            self.median,
            self.p99,
            self.records_p99,
            self.records_most,
            self.files_p99,
            self.files_most
        )
    }
}

/// Takes the figures of reads, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    micros: Vec<f64>,
    records: Vec<u32>,
    files: Vec<u32>,
}

impl Sampler {
    /// Reads one page and takes its figures.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn read(&mut self, timeline: &Timeline, tag: BlockTag, lsn: Lsn) -> Result<()> {
        let began = Instant::now();
        let (_, stats) = timeline.snapshot(lsn)?.page(PageKey::Block(tag))?;
        self.micros.push(began.elapsed().as_secs_f64() * 1e6);
        self.records.push(stats.records);
        self.files.push(stats.layers);
        Ok(())
    }

    /// The figures.
    ///
    /// # Panics
    /// If nothing was read.
    pub(crate) fn figures(mut self) -> Reads {
        self.micros.sort_unstable_by(f64::total_cmp);
        self.records.sort_unstable();
        self.files.sort_unstable();
        let slow = self.micros.len() * 99 / 100;
        Reads {
            median: self.micros[self.micros.len() / 2],
            p99: self.micros[slow],
            records_p99: self.records[slow],
            records_most: self.records[self.records.len() - 1],
            files_p99: self.files[slow],
            files_most: self.files[self.files.len() - 1],
        }
    }
}

/// Pages in an order that looks like none, the same in every run: a linear congruential generator.
pub(crate) struct Shuffled(u64);

impl Shuffled {
    /// From the beginning.
    pub(crate) fn new() -> Shuffled {
        Shuffled(1)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }
}

/// A relation of the database `postgres`.
///
/// # Errors
/// If there is none.
pub(crate) fn relation(cluster: &Cluster, table: &str) -> Result<RelFileLocator> {
    let row = cluster.client("postgres")?.query_one(
        "SELECT oid, pg_relation_filenode($1::text::regclass) FROM pg_database WHERE datname = 'postgres'",
        &[&table],
    )?;
    Ok(RelFileLocator {
        spc: DEFAULT_TABLESPACE,
        db: row.get(0),
        rel: row.get(1),
    })
}

/// A block of a relation's main fork.
pub(crate) fn block(rel: RelFileLocator, block: u32) -> BlockTag {
    BlockTag {
        rel,
        fork: ForkNumber::Main,
        block,
    }
}
