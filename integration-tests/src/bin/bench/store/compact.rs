//! Full compaction of small-record WAL over a database.

use anyhow::Result;
use clap::Args;
use pagecache::StoreConfig;

use crate::Bench;
use crate::fed::Fed;
use crate::measure::{load_average, median, own_cpu, peak_memory, reset_peak_memory};
use crate::wal::{self, Sort};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// MiB of the database.
    #[arg(long, default_value_t = 400)]
    megabytes: u64,
    /// MiB of WAL.
    #[arg(long, default_value_t = 235)]
    wal: u64,
}

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<()> {
    let mut seconds = Vec::new();
    for round in 0..bench.rounds {
        let cluster = wal::primary(bench, &[])?;
        wal::prepare(&cluster)?;
        wal::fill(&cluster, options.megabytes)?;
        // Nothing is compacted before it is told to.
        let config = StoreConfig {
            merge_runs: 1 << 20,
            ..StoreConfig::default()
        };
        let fed = Fed::new(bench, &cluster, config)?;
        wal::write(&cluster, Sort::Small, options.wal << 20)?;
        fed.settle(&cluster)?;
        reset_peak_memory();
        let before = own_cpu();
        let report = fed.timeline.compact(true)?;
        let taken = (own_cpu() - before).as_secs_f64();
        println!(
            "compact, round {round}: {taken:.2} s of CPU time; layers {} to {}, {} to {} MiB; peak memory {} MiB",
            report.layers.0,
            report.layers.1,
            report.bytes.0 >> 20,
            report.bytes.1 >> 20,
            peak_memory()?
        );
        seconds.push(taken);
        fed.close();
    }
    println!(
        "compact: median {:.2} s of CPU time; load {}",
        median(seconds),
        load_average()
    );
    Ok(())
}
