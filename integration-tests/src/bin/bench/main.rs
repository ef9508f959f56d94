//! Benchmarks of the page server against what stock PostgreSQL needs for the same work.
//!
//! Every figure is a ratio of two measurements taken in turn in one run, because the machine's speed
//! changes from minute to minute. `docs/benchmarks.md` tells how to repeat them and what came out.

#![expect(clippy::print_stdout, reason = "the figures are the program's purpose")]

mod decode;
mod fed;
mod import;
mod ingest;
mod latency;
mod measure;
mod reads;
mod redo;
mod store;
mod wal;
mod waldump;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use pageserver_bin::waldump::Waldump;
use slog::{Drain, Level, LevelFilter, Logger, o};
use stockpg::PgInstall;
use walrecord::PgVersion;

/// Measures the page server against stock PostgreSQL 15.
#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    what: What,
}

/// What all benchmarks take.
#[derive(Debug, Args)]
struct Common {
    /// How often both sides are measured. The median of the ratios counts.
    #[arg(long, global = true, default_value_t = 5)]
    rounds: usize,
    /// Where clusters, backups and stores are made; all on this one disk. Default: where the system keeps
    /// temporary files.
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Log what the page server does, too.
    #[arg(long, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// CPU time to decode and check WAL, against `pg_waldump --quiet`.
    Decode(decode::Options),
    /// Decodes segment files and is gone: the process whose CPU time `decode` measures.
    #[command(hide = true)]
    DecodeFiles {
        /// Files of consecutive segments.
        files: Vec<PathBuf>,
    },
    /// Time to import a running primary, against `pg_basebackup`.
    Import(import::Options),
    /// Time to take in a backlog of WAL, against `pg_receivewal --synchronous`.
    Ingest(ingest::Options),
    /// Time of a page over the page stream, against a bare exchange of the same bytes.
    Latency(latency::Options),
    /// CPU time to redo WAL on pages in memory, against the startup process of stock recovery.
    Redo(redo::Options),
    /// Redoes segment files and is gone: the process that `redo` measures.
    #[command(hide = true)]
    ReplayFiles(redo::ReplayOptions),
    /// The store alone: history, relations, branches, sizes, compaction, space.
    #[command(subcommand)]
    Store(store::What),
    /// Time to show WAL as text, against `pg_waldump`.
    Waldump(waldump::Options),
    /// `pageserver waldump`: the process whose time `waldump` measures.
    #[command(hide = true)]
    Show(Box<Waldump>),
}

/// What every benchmark is given.
struct Bench {
    install: PgInstall,
    rounds: usize,
    dir: Option<PathBuf>,
    log: Logger,
}

impl Bench {
    fn new(common: Common) -> Result<Bench> {
        anyhow::ensure!(common.rounds > 0, "at least one round");
        let level = if common.verbose {
            Level::Info
        } else {
            Level::Warning
        };
        let drain = LevelFilter::new(integration_tests::logger(), level);
        Ok(Bench {
            install: PgInstall::find(PgVersion::V15)?,
            rounds: common.rounds,
            dir: common.dir,
            log: Logger::root(drain.fuse(), o!()),
        })
    }

    /// A directory for a store, which goes with the value.
    fn home(&self) -> Result<tempfile::TempDir> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("zenith-bench-");
        Ok(match &self.dir {
            Some(dir) => builder.tempdir_in(dir)?,
            None => builder.tempdir()?,
        })
    }
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    pageserver_bin::allocator::return_large();
    match cli.what {
        What::DecodeFiles { files } => decode::decode_files(&files),
        What::Decode(options) => decode::run(&Bench::new(cli.common)?, &options),
        What::Import(options) => import::run(&Bench::new(cli.common)?, &options),
        What::Ingest(options) => ingest::run(&Bench::new(cli.common)?, &options),
        What::Latency(options) => latency::run(&Bench::new(cli.common)?, &options),
        What::Redo(options) => redo::run(&Bench::new(cli.common)?, &options),
        What::ReplayFiles(options) => redo::replay_files(&options),
        What::Store(what) => store::run(&Bench::new(cli.common)?, &what),
        What::Waldump(options) => waldump::run(&Bench::new(cli.common)?, &options),
        What::Show(args) => pageserver_bin::waldump::waldump(&args),
    }
}
