//! Branches of branches: what it takes to make one, and to read a page through all of them.

use std::time::Instant;

use anyhow::Result;
use clap::Args;
use pagecache::{NewBranch, StoreConfig, Timeline};
use walrecord::TimelineId;

use crate::fed::Fed;
use crate::measure::median;
use crate::reads::{Sampler, Shuffled, block, relation};
use crate::{Bench, wal};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Ancestors that a branch has, ascending.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100])]
    depths: Vec<u32>,
    /// Reads of each.
    #[arg(long, default_value_t = 5_000)]
    requests: usize,
}

/// Blocks of the table that is read.
const BLOCKS: u64 = 1_000;

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<()> {
    let cluster = wal::primary(bench, &[])?;
    let mut client = cluster.client("postgres")?;
    client.batch_execute(
        "CREATE TABLE wide WITH (fillfactor = 50) AS SELECT i, 0 v, repeat('x', 380) t FROM generate_series(1, 10000) i",
    )?;
    let rel = relation(&cluster, "wide")?;
    let fed = Fed::new(bench, &cluster, StoreConfig::default())?;
    for _ in 0..10 {
        client.batch_execute("UPDATE wide SET v = v + 1 WHERE i % 10 < 3")?;
    }
    let lsn = fed.settle(&cluster)?;
    let lsn = fed.timeline.boundary(lsn)?.end;
    let read = |timeline: &Timeline| -> Result<_> {
        let mut sampler = Sampler::default();
        let mut order = Shuffled::new();
        for _ in 0..options.requests {
            let number = order.below(BLOCKS) as u32;
            sampler.read(timeline, block(rel, number), lsn)?;
        }
        Ok(sampler.figures())
    };
    println!("branches: depth 0: read {}", read(&fed.timeline)?);
    let mut newest = fed.timeline.clone();
    let mut depth = 0;
    for wanted in &options.depths {
        let mut times = Vec::new();
        while depth < *wanted {
            depth += 1;
            let branch = NewBranch {
                timeline: TimelineId::from_bytes(u128::from(depth).to_be_bytes()),
                name: format!("branch_{depth}"),
                lsn,
            };
            let began = Instant::now();
            newest = fed.store.branch(&newest, &branch)?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        println!(
            "branches: depth {depth}: made in {:.1} ms; read {}",
            median(times),
            read(&newest)?
        );
    }
    fed.close();
    Ok(())
}
