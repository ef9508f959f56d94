//! Time to show WAL as text, `pageserver waldump` against `pg_waldump`, on the same files; the output is
//! thrown away.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use crate::Bench;
use crate::decode::Written;
use crate::measure::{Round, cpu_time_of, report};
use crate::wal::Sort;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// MiB of WAL to write and show, of each sort.
    #[arg(long, default_value_t = 256)]
    megabytes: u64,
}

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<()> {
    for sort in [Sort::Small, Sort::Images] {
        let written = Written::new(bench, sort, options.megabytes << 20)?;
        let rounds = (0..bench.rounds)
            .map(|_| round(bench, &written))
            .collect::<Result<Vec<_>>>()?;
        let (cpu, wall): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
        let bytes = written.bytes();
        report(&format!("waldump, {sort:?}, CPU time"), &cpu, bytes);
        report(&format!("waldump, {sort:?}, elapsed time"), &wall, bytes);
    }
    Ok(())
}

/// CPU time and elapsed time of both.
fn round(bench: &Bench, written: &Written) -> Result<(Round, Round)> {
    let (first, last) = written.ends()?;
    let mut theirs = bench.install.command("pg_waldump");
    theirs.arg(first).arg(last);
    let mut ours = Command::new(std::env::current_exe()?);
    ours.arg("show").arg(first).arg(last);
    let (ours, stock) = (times(&mut ours)?, times(&mut theirs)?);
    let pair = |ours, stock| Round { ours, stock };
    Ok((pair(ours.0, stock.0), pair(ours.1, stock.1)))
}

/// CPU time and elapsed time of a command, seconds.
fn times(command: &mut Command) -> Result<(f64, f64)> {
    let began = Instant::now();
    let cpu = cpu_time_of(command)?;
    Ok((cpu, began.elapsed().as_secs_f64()))
}
