//! The store alone: whether reads and work stay as cheap when history, relations, branches or the database
//! grow, what compaction costs, and the space that history takes.

mod branches;
mod compact;
mod depth;
mod ingest;
mod relations;
mod size;
mod space;

use anyhow::Result;
use clap::Subcommand;

use crate::Bench;

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// A page with more and more past versions, read at the newest, a middle and the oldest.
    Depth(depth::Options),
    /// More and more relations: creating, listing and dropping them, and reading a page.
    Relations(relations::Options),
    /// Branches of branches: making one and reading through all of them.
    Branches(branches::Options),
    /// Larger and larger databases with the same memory: taking in WAL, and reading pages.
    Size(size::Options),
    /// A long backlog with compaction and page reads at the same time, against `pg_receivewal --synchronous`.
    Ingest(ingest::Options),
    /// Full compaction of the WAL of small changes over a database of 400 MB.
    Compact(compact::Options),
    /// Space and writing of an update-heavy run, against `zstd -3` of the WAL and of the data directory.
    Space(space::Options),
}

pub(crate) fn run(bench: &Bench, what: &What) -> Result<()> {
    match what {
        What::Depth(options) => depth::run(bench, options),
        What::Relations(options) => relations::run(bench, options),
        What::Branches(options) => branches::run(bench, options),
        What::Size(options) => size::run(bench, options),
        What::Ingest(options) => ingest::run(bench, options),
        What::Compact(options) => compact::run(bench, options),
        What::Space(options) => space::run(bench, options),
    }
}
