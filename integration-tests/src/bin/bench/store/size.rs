//! Larger and larger databases with the same memory: what it costs to take in WAL of changes all over the
//! database, and to read its pages, as they are and as they were half of that WAL ago.

use anyhow::Result;
use clap::Args;
use pagecache::StoreConfig;
use stockpg::Cluster;
use walrecord::Lsn;

use crate::fed::Fed;
use crate::measure::{peak_memory, reset_peak_memory};
use crate::reads::{Reads, Sampler, Shuffled, block, relation};
use crate::{Bench, wal};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// MiB of the databases.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 10_000])]
    megabytes: Vec<u64>,
    /// Rows that are changed, each in a page of its own as far as there are so many.
    #[arg(long, default_value_t = 1_000_000)]
    updates: u64,
    /// Reads of each.
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
}

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<()> {
    for megabytes in &options.megabytes {
        database(bench, options, *megabytes)?;
    }
    Ok(())
}

fn database(bench: &Bench, options: &Options, megabytes: u64) -> Result<()> {
    let cluster = wal::primary(bench, &[])?;
    let rows = wal::fill(&cluster, megabytes)?.rows;
    let rel = relation(&cluster, "accounts")?;
    reset_peak_memory();
    let fed = Fed::new(bench, &cluster, StoreConfig::default())?;
    let start = fed.settle(&cluster)?;
    let cost = fed.cost_of(&cluster, || update(&cluster, rows, options.updates))?;
    let end = fed.settle(&cluster)?;
    let blocks = fed
        .timeline
        .snapshot(start)?
        .fork_blocks(rel, walrecord::ForkNumber::Main)?
        .unwrap_or_default();
    let middle = fed.timeline.boundary(start + (end - start) / 2)?.end;
    let read = |lsn: Lsn| -> Result<Reads> {
        let mut sampler = Sampler::default();
        let mut order = Shuffled::new();
        for _ in 0..options.requests {
            let number = order.below(u64::from(blocks)) as u32;
            sampler.read(&fed.timeline, block(rel, number), lsn)?;
        }
        Ok(sampler.figures())
    };
    println!(
        "size: {megabytes} MiB: {:.1} ms of CPU time for a MiB of WAL ({} MiB); read at the end {}; in the middle {}; peak memory {} MiB",
        cost.per_mib() * 1e3,
        cost.wal >> 20,
        read(end)?,
        read(middle)?,
        peak_memory()?,
    );
    fed.close();
    Ok(())
}

/// Changes rows all over the table, in an order that looks like none.
fn update(cluster: &Cluster, rows: u64, updates: u64) -> Result<()> {
    const STEP: u64 = 20_000;
    let mut client = cluster.client("postgres")?;
    for from in (0..updates).step_by(STEP as usize) {
        client.batch_execute(&format!(
            "UPDATE accounts SET balance = balance + 1 FROM generate_series({from}, {from} + {STEP} - 1) i
             WHERE aid = i::bigint * 7368787 % {rows} + 1"
        ))?;
    }
    Ok(())
}
