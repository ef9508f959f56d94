//! More and more relations: what it costs to create some, to list them, to read a page and to drop some.

use std::time::Instant;

use anyhow::Result;
use clap::Args;
use pagecache::StoreConfig;
use postgres::Client;

use crate::fed::{Cost, Fed};
use crate::reads::{Sampler, Shuffled, block, relation};
use crate::{Bench, wal};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Numbers of relations, ascending.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 1_000, 100_000])]
    relations: Vec<u32>,
    /// Reads of each.
    #[arg(long, default_value_t = 5_000)]
    requests: usize,
}

/// So many are created and dropped at each number, to see what that costs there.
const PROBE: u32 = 1_000;

/// So many in one transaction: the server holds a lock for each until its end.
const BATCH: u32 = 500;

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<()> {
    let cluster = wal::primary(bench, &["max_locks_per_transaction = 1000"])?;
    let mut client = cluster.client("postgres")?;
    client.batch_execute("CREATE TABLE first AS SELECT 1 i")?;
    let rel = relation(&cluster, "first")?;
    let fed = Fed::new(bench, &cluster, StoreConfig::default())?;
    let mut present = 1;
    for number in &options.relations {
        create(&mut client, "r", present, *number)?;
        present = present.max(*number);
        let created = fed.cost_of(&cluster, || create(&mut client, "probe", 0, PROBE))?;
        let dropped = fed.cost_of(&cluster, || drop_all(&mut client, "probe", PROBE))?;
        let last = fed.settle(&cluster)?;
        let began = Instant::now();
        let forks = fed.timeline.snapshot(last)?.forks()?.len();
        let listing = began.elapsed().as_secs_f64() * 1e6 / forks as f64;
        let mut sampler = Sampler::default();
        let mut order = Shuffled::new();
        let rels: Vec<_> = client
            .query(
                "SELECT relfilenode FROM pg_class WHERE relname ~ '^r_' LIMIT 5000",
                &[],
            )?
            .iter()
            .map(|row| walrecord::RelFileLocator {
                rel: row.get(0),
                ..rel
            })
            .chain([rel])
            .collect();
        for _ in 0..options.requests {
            let rel = rels[order.below(rels.len() as u64) as usize];
            sampler.read(&fed.timeline, block(rel, 0), last)?;
        }
        println!(
            "relations: {number} ({forks} forks): create {}; drop {}; list {listing:.2} us a fork; read {}",
            each(created),
            each(dropped),
            sampler.figures()
        );
    }
    fed.close();
    Ok(())
}

/// The cost for one relation.
fn each(cost: Cost) -> String {
    let number = f64::from(PROBE);
    format!(
        "{:.0} us of CPU time and {:.0} bytes of WAL each, {:.1} ms a MiB",
        cost.cpu * 1e6 / number,
        cost.wal as f64 / number,
        cost.per_mib() * 1e3
    )
}

fn create(client: &mut Client, prefix: &str, from: u32, to: u32) -> Result<()> {
    for from in (from..to).step_by(BATCH as usize) {
        let upto = (from + BATCH).min(to);
        client.batch_execute(&format!(
            "DO $$ BEGIN FOR i IN {from} + 1..{upto} LOOP
                EXECUTE 'CREATE TABLE {prefix}_' || i || ' AS SELECT ' || i || ' i'; END LOOP; END $$"
        ))?;
    }
    Ok(())
}

fn drop_all(client: &mut Client, prefix: &str, number: u32) -> Result<()> {
    for from in (0..number).step_by(BATCH as usize) {
        let upto = (from + BATCH).min(number);
        client.batch_execute(&format!(
            "DO $$ BEGIN FOR i IN {from} + 1..{upto} LOOP
                EXECUTE 'DROP TABLE {prefix}_' || i; END LOOP; END $$"
        ))?;
    }
    Ok(())
}
