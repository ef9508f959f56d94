//! Primaries, and WAL of a known sort from them. Serves the benchmarks of decoding and ingest.

use anyhow::Result;
use clap::ValueEnum;
use stockpg::{Cluster, InitOptions};
use walrecord::Lsn;

use crate::Bench;

/// What WAL is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// Inserts and updates of short rows with an index, no page images: about 80 bytes a record.
    Small,
    /// Updates that each come with the image of their page.
    Images,
}

/// A primary whose WAL is made by us alone.
///
/// # Errors
/// If it does not start.
pub(crate) fn primary(bench: &Bench, conf: &[&str]) -> Result<Cluster> {
    let quiet = [
        "autovacuum = off",
        "checkpoint_timeout = 1d",
        "max_wal_size = 100GB",
        "max_replication_slots = 64",
        "max_wal_senders = 20",
        "shared_buffers = 512MB",
        "synchronous_commit = off",
        "full_page_writes = off",
    ];
    let options = InitOptions {
        conf: quiet
            .iter()
            .chain(conf)
            .map(|line| (*line).to_owned())
            .collect(),
        parent: bench.dir.clone(),
        ..InitOptions::default()
    };
    Cluster::init(&bench.install, &options)
}

/// Makes the tables that [`write`] works on.
///
/// # Errors
/// If the server refuses.
pub(crate) fn prepare(cluster: &Cluster) -> Result<()> {
    // Half of each page is left free, so that updates stay in it.
    cluster.client("postgres")?.batch_execute(
        "CREATE TABLE small (i bigint PRIMARY KEY, v int, t text);
         CREATE SEQUENCE small_i;
         CREATE TABLE wide (i int PRIMARY KEY, v int, t text) WITH (fillfactor = 50);
         INSERT INTO wide SELECT i, 0, repeat('x', 400) FROM generate_series(1, 100000) i;
         CHECKPOINT;",
    )?;
    Ok(())
}

/// What [`fill`] made.
pub(crate) struct Filled {
    /// Rows of the table.
    pub(crate) rows: u64,
    /// Bytes of the whole cluster's databases.
    pub(crate) bytes: u64,
}

/// Fills the database as `pgbench -i` does: a table `accounts` of rows of about 128 bytes, with an index.
///
/// # Errors
/// If the server refuses.
pub(crate) fn fill(cluster: &Cluster, megabytes: u64) -> Result<Filled> {
    let mut client = cluster.client("postgres")?;
    client.batch_execute(
        "CREATE TABLE accounts (aid bigint, bid int, balance int, filler char(84))",
    )?;
    // Rows and index make about 7,000 rows a MiB.
    let rows = megabytes * 7_000;
    const STEP: u64 = 1_000_000;
    for from in (0..rows).step_by(STEP as usize) {
        let to = (from + STEP).min(rows);
        client.batch_execute(&format!(
            "INSERT INTO accounts SELECT i, i % 97, (i::bigint * 7919) % 100003, md5(i::text) FROM generate_series({from} + 1, {to}) i"
        ))?;
    }
    client.batch_execute("ALTER TABLE accounts ADD PRIMARY KEY (aid); CHECKPOINT")?;
    let size: i64 = client
        .query_one(
            "SELECT sum(pg_database_size(oid))::bigint FROM pg_database",
            &[],
        )?
        .get(0);
    Ok(Filled {
        rows,
        bytes: size.unsigned_abs(),
    })
}

/// Writes at least `bytes` of WAL; gives its end.
///
/// # Errors
/// If the server refuses.
pub(crate) fn write(cluster: &Cluster, sort: Sort, bytes: u64) -> Result<Lsn> {
    let mut client = cluster.client("postgres")?;
    let start = cluster.insert_lsn()?;
    // Nothing is analysed: without this each round would read the whole table, which grows.
    client.batch_execute("SET enable_seqscan = off")?;
    if sort == Sort::Images {
        client.batch_execute("ALTER SYSTEM SET full_page_writes = on")?;
        client.batch_execute("SELECT pg_reload_conf()")?;
    }
    let mut end = start;
    let mut round = 0;
    while end.saturating_sub(start) < bytes {
        match sort {
            Sort::Small => client.batch_execute(
                "INSERT INTO small SELECT nextval('small_i'), 0, 'a row of twenty-odd bytes' FROM generate_series(1, 100000);
                 UPDATE small SET v = v + 1 WHERE i > (SELECT last_value FROM small_i) - 50000;
                 DELETE FROM small WHERE i > (SELECT last_value FROM small_i) - 10000;",
            )?,
            // After a checkpoint the first change of a page carries its image.
            Sort::Images => client.batch_execute(&format!(
                "CHECKPOINT; UPDATE wide SET v = v + 1 WHERE i % 10 = {}",
                round % 10
            ))?,
        }
        round += 1;
        end = cluster.insert_lsn()?;
    }
    // Whoever waits for the end by receiving something beyond it gets that.
    client.batch_execute(
        "SELECT pg_switch_wal(); CREATE TABLE IF NOT EXISTS beyond (); SELECT pg_switch_wal()",
    )?;
    Ok(end)
}
