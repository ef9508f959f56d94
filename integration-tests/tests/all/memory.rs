//! Memory has a bound that follows from the settings, whatever is imported and ingested.

use anyhow::{Result, ensure};
use integration_tests::{Daemon, SLOT, wait_for};
use stockpg::{Cluster, InitOptions, PgInstall};

const MB: u64 = 1 << 20;

/// Each of the settings, small.
const SETTING_MB: u64 = 8;

/// Rows of a kilobyte: some 120 MB, and as much again of WAL with each insert. `ZENITH_MEMORY_ROWS` sets it: with a
/// million, a gigabyte is imported.
const ROWS: u64 = 100_000;

/// Inserts after the import.
const INSERTS: u64 = 3;

/// What a process takes that does nothing: the program, threads, buffers of connections and compressors, what the
/// allocator keeps.
const REST_MB: u64 = 48;

/// Three open layers and the WAL that one covers, three batches of an import, the cache of blocks.
const BOUND_MB: u64 = SETTING_MB * (3 + 1 + 3 + 1) + REST_MB;

#[test]
#[expect(
    clippy::print_stdout,
    reason = "the figures belong to the test's output"
)]
fn import_and_ingest_of_many_times_the_bound_stay_below_it() -> Result<()> {
    let install = PgInstall::tested()?;
    let options = InitOptions {
        conf: vec!["max_wal_size = 1GB".to_owned()],
        ..InitOptions::default()
    };
    let primary = Cluster::init(&install, &options)?;
    let given = std::env::var("ZENITH_MEMORY_ROWS").ok();
    let rows: u64 = given.map_or(Ok(ROWS), |text| text.parse())?;
    let mut client = primary.client("postgres")?;
    client.batch_execute("CREATE TABLE big (id bigint PRIMARY KEY, filler text)")?;
    let mut next = 0;
    let mut insert = |client: &mut postgres::Client| -> Result<()> {
        let text = format!(
            "INSERT INTO big SELECT n, repeat(md5(n::text), 32)
             FROM generate_series({next}::bigint, {}) n",
            next + rows - 1
        );
        next += rows;
        Ok(client.batch_execute(&text)?)
    };
    insert(&mut client)?;
    insert(&mut client)?;

    let home = tempfile::tempdir()?;
    let settings = [
        "open_layer_memory_mb",
        "open_layer_wal_mb",
        "block_cache_mb",
        "import_batch_mb",
    ];
    let daemon = Daemon {
        config: settings
            .map(|name| format!("{name} = {SETTING_MB}\n"))
            .into_iter()
            .chain([format!("frozen_memory_mb = {}\n", 2 * SETTING_MB)])
            .collect(),
        primary: Some(primary.address().conninfo("postgres")),
        ..Daemon::new(crate::PROGRAM, &home.path().join("pages"))
    };
    let server = daemon.start()?;
    server.log.wait_for("primary imported")?;
    let imported: i64 = client
        .query_one(
            "SELECT sum(pg_database_size(oid))::bigint FROM pg_database",
            &[],
        )?
        .get(0);
    let after_import = server.peak_memory()?;
    let begin = primary.insert_lsn()?;
    for _ in 0..INSERTS {
        insert(&mut client)?;
    }
    client.batch_execute("UPDATE big SET id = -id WHERE id % 7 = 0")?;
    let end = primary.insert_lsn()?;
    wait_for("the page server to have it all", || {
        let text = format!(
            "SELECT 1 FROM pg_replication_slots s JOIN pg_stat_replication r ON s.active_pid = r.pid
             WHERE s.slot_name = '{SLOT}' AND r.replay_lsn >= '{end}'"
        );
        Ok(client.query_opt(&text, &[])?.map(|_| ()))
    })?;
    let peak = server.peak_memory()?;
    let (imported, ingested) = (imported as u64, end - begin);
    println!(
        "imported {} MB with at most {} MB of memory; ingested {} MB of WAL with at most {} MB; bound {BOUND_MB} MB",
        imported / MB,
        after_import / MB,
        ingested / MB,
        peak / MB
    );
    ensure!(
        imported.min(ingested) > 2 * BOUND_MB * MB,
        "too little was done to say anything"
    );
    ensure!(
        peak < BOUND_MB * MB,
        "{} MB are above the bound of {BOUND_MB} MB",
        peak / MB
    );
    server.stop()?;
    Ok(())
}
