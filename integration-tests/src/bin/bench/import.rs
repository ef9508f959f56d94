//! Time to import a running primary into a fresh store, against `pg_basebackup` of the same primary to
//! the same disk. Both end with everything synced.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use pagecache::storage::LocalStorage;
use pagecache::{Store, StoreConfig};
use pageserver_bin::import::{LiveImport, import_live};
use pageserver_bin::stop::Stop;
use stockpg::{Cluster, Scratch};

use crate::measure::{Round, peak_memory, report, reset_peak_memory, run as run_command};
use crate::{Bench, wal};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Size of the primary's database in MiB.
    #[arg(long, default_value_t = 4096)]
    megabytes: u64,
}

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<()> {
    let cluster = wal::primary(bench, &[])?;
    let bytes = wal::fill(&cluster, options.megabytes)?.bytes;
    let mut rounds = Vec::new();
    let mut peak = 0;
    for number in 0..bench.rounds {
        reset_peak_memory();
        let ours = import_once(bench, &cluster, number)?;
        peak = peak.max(peak_memory()?);
        let stock = basebackup(bench, &cluster)?;
        println!("round {number}: ours {ours:.1} s, pg_basebackup {stock:.1} s");
        rounds.push(Round { ours, stock });
    }
    report("import", &rounds, bytes);
    println!("peak memory of the import: {peak} MiB");
    Ok(())
}

fn import_once(bench: &Bench, cluster: &Cluster, number: usize) -> Result<f64> {
    let home = bench.home()?;
    let storage = Arc::new(LocalStorage::new(home.path())?);
    let store = Store::open(storage, StoreConfig::default(), bench.log.clone())?;
    let import = LiveImport {
        conninfo: cluster.address().conninfo("postgres").parse()?,
        name: "main".to_owned(),
        slot: format!("bench_{number}").parse()?,
        tee: None,
    };
    let began = Instant::now();
    import_live(&store, &import, &Stop::default(), |_| {}, &bench.log)?;
    let seconds = began.elapsed().as_secs_f64();
    store.close();
    cluster.client("postgres")?.execute(
        "SELECT pg_drop_replication_slot($1)",
        &[&import.slot.to_string()],
    )?;
    Ok(seconds)
}

fn basebackup(bench: &Bench, cluster: &Cluster) -> Result<f64> {
    let home = Scratch::new(&bench.install.user(), bench.dir.as_deref())?;
    let mut command = bench.install.command("pg_basebackup");
    command
        .args(["-X", "none", "-c", "fast", "-d"])
        .arg(cluster.address().conninfo("postgres"))
        .arg("-D")
        .arg(home.path().join("backup"));
    let began = Instant::now();
    run_command(&mut command)?;
    Ok(began.elapsed().as_secs_f64())
}
