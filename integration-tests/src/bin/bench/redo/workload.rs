//! What the WAL is made of: a base backup, a workload behind it, and the segments of both.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use postgres::Client;
use stockpg::{BaseBackup, Cluster, StopMode};
use walrecord::{Lsn, SegmentId};

use super::wal::SEGMENT;
use crate::{Bench, wal};

/// The sorts of WAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Mix {
    /// `pgbench`'s transaction without page images.
    Oltp,
    /// The same, with a checkpoint before every few thousand: each page's first change then carries its image.
    Images,
    /// Tables filled by COPY and INSERT, then an index of each kind built on them.
    Bulk,
    /// Rows that come, change and go under one index of each kind, vacuumed, without page images.
    Indexes,
}

/// A base backup and all WAL from it to the shutdown of the cluster.
pub(super) struct History {
    pub(super) backup: BaseBackup,
    pub(super) files: Vec<PathBuf>,
    /// The stopped cluster, whose the files are.
    _cluster: Cluster,
}

impl History {
    /// Has a new cluster write about this many bytes of WAL.
    pub(super) fn new(bench: &Bench, mix: Mix, bytes: u64) -> Result<History> {
        let mut cluster = wal::primary(bench, &["wal_keep_size = 100GB", "work_mem = 64MB"])?;
        let mut client = cluster.client("postgres")?;
        prepare(&mut client, mix, bytes)?;
        let backup = cluster.base_backup()?;
        let start = cluster.insert_lsn()?;
        if mix == Mix::Images {
            client.batch_execute("ALTER SYSTEM SET full_page_writes = on")?;
            client.batch_execute("SELECT pg_reload_conf()")?;
        }
        let mut round = 0;
        while cluster.insert_lsn()?.saturating_sub(start) < bytes {
            step(&mut client, mix, round)?;
            round += 1;
        }
        drop(client);
        cluster.stop(StopMode::Fast)?;
        let files = segments(&cluster, backup.start_lsn())?;
        Ok(History {
            backup,
            files,
            _cluster: cluster,
        })
    }
}

/// The segments from the one that holds `start`.
fn segments(cluster: &Cluster, start: Lsn) -> Result<Vec<PathBuf>> {
    let dir = cluster.data_dir().join("pg_wal");
    let size = u32::try_from(SEGMENT)?;
    let mut files = Vec::new();
    for number in start.segment_number(size).. {
        let id = SegmentId::of(1, Lsn::new(number * SEGMENT), size);
        let path = dir.join(id.file_name(size));
        if !path.exists() {
            break;
        }
        files.push(path);
    }
    Ok(files)
}

const ACCOUNTS: u32 = 1_000_000;

fn prepare(client: &mut Client, mix: Mix, bytes: u64) -> Result<()> {
    match mix {
        Mix::Oltp | Mix::Images => client.batch_execute(&format!(
            "CREATE TABLE accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
             CREATE TABLE tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
             CREATE TABLE branches (bid int PRIMARY KEY, bbalance int, filler char(88));
             CREATE TABLE history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
             INSERT INTO accounts SELECT i, i / 100000, 0, '' FROM generate_series(1, {ACCOUNTS}) i;
             INSERT INTO tellers SELECT i, i / 10, 0, '' FROM generate_series(1, 1000) i;
             INSERT INTO branches SELECT i, 0, '' FROM generate_series(1, 100) i;
             CREATE PROCEDURE transactions(n int) LANGUAGE plpgsql AS $$
             DECLARE a int; t int; b int; d int;
             BEGIN
               FOR i IN 1..n LOOP
                 a := 1 + random() * ({ACCOUNTS} - 1); t := 1 + random() * 999; b := 1 + random() * 99;
                 d := random() * 10000 - 5000;
                 UPDATE accounts SET abalance = abalance + d WHERE aid = a;
                 UPDATE tellers SET tbalance = tbalance + d WHERE tid = t;
                 UPDATE branches SET bbalance = bbalance + d WHERE bid = b;
                 INSERT INTO history VALUES (t, b, a, d, now());
                 COMMIT;
               END LOOP;
             END $$;"
        ))?,
        Mix::Bulk => {}
        Mix::Indexes => {
            client.batch_execute(&indexed_table("rows"))?;
            client.batch_execute(INDEXES)?;
            let rows = bytes / 4096;
            client.batch_execute(&new_rows("rows", 1, rows))?;
        }
    }
    client.batch_execute("VACUUM ANALYZE")?;
    Ok(())
}

/// Writes a part of the WAL.
fn step(client: &mut Client, mix: Mix, round: u32) -> Result<()> {
    match mix {
        Mix::Oltp => client.batch_execute("CALL transactions(20000)")?,
        Mix::Images => {
            client.batch_execute("CHECKPOINT")?;
            client.batch_execute("CALL transactions(5000)")?;
        }
        Mix::Bulk => return bulk(client, round),
        Mix::Indexes => {
            client.batch_execute(&format!(
                "{};
                 UPDATE rows SET n = n + 1, ints = ARRAY[n % 50, n % 1009], words = words || ' more'
                 WHERE i % 7 = {round} % 7;
                 DELETE FROM rows WHERE i % 11 = {round} % 11;",
                new_rows("rows", 1 + 100_000 * (round + 1), 10_000)
            ))?;
            client.batch_execute("VACUUM rows")?;
        }
    }
    Ok(())
}

/// Half of the rows come by COPY, half by INSERT.
fn bulk(client: &mut Client, round: u32) -> Result<()> {
    const ROWS: u32 = 200_000;
    let table = format!("bulk_{round}");
    client.batch_execute(&indexed_table(&table))?;
    let copy = format!("COPY {table} (i, n, t, words) FROM STDIN");
    let mut writer = client.copy_in(&copy)?;
    let mut line = String::new();
    for i in 0..ROWS {
        line.clear();
        let mixed = i.wrapping_mul(0x9E37_79B9);
        writeln!(
            line,
            "{i}\t{}\t{mixed:08x}{i:08x}\tword{} word{}",
            mixed % 100_003,
            i % 97,
            i % 1013
        )?;
        writer.write_all(line.as_bytes())?;
    }
    writer.finish().context("ending COPY")?;
    client.batch_execute(&new_rows(&table, ROWS, ROWS.into()))?;
    client.batch_execute(&INDEXES.replace("rows", &table))?;
    Ok(())
}

fn indexed_table(name: &str) -> String {
    format!("CREATE TABLE {name} (i int, n int, t text, ints int[], p point, words text)")
}

fn new_rows(table: &str, first: u32, count: u64) -> String {
    format!(
        "INSERT INTO {table}
         SELECT i, i::bigint * 7919 % 100003, md5(i::text), ARRAY[i % 50, i % 1009],
                point(i::bigint * 7919 % 1009, i % 1013), 'word' || i % 97 || ' word' || i % 1013
         FROM generate_series({first}, {first} + {count} - 1) i"
    )
}

const INDEXES: &str = "
    CREATE INDEX ON rows USING btree (i);
    CREATE INDEX ON rows USING btree (n);
    CREATE INDEX ON rows USING btree (t);
    CREATE INDEX ON rows USING hash (n);
    CREATE INDEX ON rows USING gin (ints);
    CREATE INDEX ON rows USING gin (to_tsvector('simple', words));
    CREATE INDEX ON rows USING gist (p);
    CREATE INDEX ON rows USING spgist (t);
    CREATE INDEX ON rows USING brin (i) WITH (pages_per_range = 4);";
