//! The space that history takes, and what is written for it: many updates all over a database, with images,
//! against `zstd -3` of their WAL and of the data directory.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;
use pagecache::StoreConfig;
use stockpg::Cluster;

use crate::fed::Fed;
use crate::measure::written_bytes;
use crate::{Bench, wal};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// MiB of the database.
    #[arg(long, default_value_t = 1_000)]
    megabytes: u64,
    /// MiB of WAL, images included.
    #[arg(long, default_value_t = 2_048)]
    wal: u64,
}

/// The level that the bar names.
const LEVEL: i32 = 3;

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<()> {
    let cluster = wal::primary(bench, &["full_page_writes = on", "wal_keep_size = 100GB"])?;
    let rows = wal::fill(&cluster, options.megabytes)?.rows;
    let fed = Fed::new(bench, &cluster, StoreConfig::default())?;
    let imported = fed.timeline.sizes();
    let start = fed.settle(&cluster)?;
    let data = zstd_of(cluster.data_dir(), &["pg_wal"])?;
    let before = written_bytes()?;
    write(&cluster, rows, start, options.wal << 20)?;
    let end = fed.settle(&cluster)?;
    let written = written_bytes()? - before;
    let wal_bytes = end.saturating_sub(start);
    let steady = fed.timeline.sizes();
    let wal = zstd_of_wal(&cluster, start)?;
    fed.timeline.compact(true)?;
    let full = fed.timeline.sizes();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let bound = wal as f64 + 1.3 * data as f64;
    println!(
        "space: WAL {:.0} MiB, zstd -{LEVEL} {:.0}; data directory zstd -{LEVEL} {:.0}; layers after the import {:.0}, in steady state {:.0} ({} runs), fully compacted {:.0}",
        mib(wal_bytes),
        mib(wal),
        mib(data),
        mib(imported.layer_bytes),
        mib(steady.layer_bytes),
        steady.runs,
        mib(full.layer_bytes),
    );
    println!(
        "space: steady state {:.2} of the bound, fully compacted {:.2}; steady state {:.2} times fully compacted",
        steady.layer_bytes as f64 / bound,
        full.layer_bytes as f64 / bound,
        steady.layer_bytes as f64 / full.layer_bytes as f64,
    );
    println!(
        "space: {:.2} bytes written for each of WAL, its own among them",
        written as f64 / wal_bytes as f64
    );
    fed.close();
    Ok(())
}

/// Changes rows all over the table until there is so much WAL, with a checkpoint now and then.
fn write(cluster: &Cluster, rows: u64, start: walrecord::Lsn, bytes: u64) -> Result<()> {
    const STEP: u64 = 20_000;
    let mut client = cluster.client("postgres")?;
    let mut from = 0;
    while cluster.insert_lsn()?.saturating_sub(start) < bytes {
        client.batch_execute(&format!(
            "UPDATE accounts SET balance = balance + 1 FROM generate_series({from}, {from} + {STEP} - 1) i
             WHERE aid = i::bigint * 7368787 % {rows} + 1"
        ))?;
        from += STEP;
        if from.is_multiple_of(STEP * 20) {
            client.batch_execute("VACUUM accounts")?;
            client.batch_execute("CHECKPOINT")?;
        }
    }
    Ok(())
}

/// The size of all files below `dir`, each compressed alone, but what is in directories named in `without`.
fn zstd_of(dir: &Path, without: &[&str]) -> Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            let name = entry.file_name();
            if !without.iter().any(|skipped| name == *skipped) {
                size += zstd_of(&path, without)?;
            }
        } else {
            size += zstd_of_file(&path)?;
        }
    }
    Ok(size)
}

/// The size of the WAL files from the one that holds `start` on, each compressed alone.
fn zstd_of_wal(cluster: &Cluster, start: walrecord::Lsn) -> Result<u64> {
    let dir = cluster.data_dir().join("pg_wal");
    let name: String = cluster
        .client("postgres")?
        .query_one(
            "SELECT pg_walfile_name($1::text::pg_lsn)",
            &[&start.to_string()],
        )?
        .get(0);
    let last: String = cluster
        .client("postgres")?
        .query_one("SELECT pg_walfile_name(pg_current_wal_insert_lsn())", &[])?
        .get(0);
    let mut size = 0;
    for entry in fs::read_dir(&dir)? {
        let entry = entry?;
        let file = entry.file_name();
        let file = file.to_string_lossy();
        if *file >= *name && *file <= *last && file.len() == name.len() {
            size += zstd_of_file(&entry.path())?;
        }
    }
    Ok(size)
}

fn zstd_of_file(path: &Path) -> Result<u64> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut encoder = zstd::Encoder::new(Counter(0), LEVEL)?;
    io::copy(&mut io::BufReader::new(file), &mut encoder)?;
    Ok(encoder.finish()?.0)
}

/// Counts what is written to it.
struct Counter(u64);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
