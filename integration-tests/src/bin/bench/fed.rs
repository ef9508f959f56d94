//! A store that has imported a primary and follows it. Serves the benchmarks of the store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use pagecache::storage::LocalStorage;
use pagecache::{Store, StoreConfig, Timeline};
use pageserver_bin::import::{LiveImport, import_live};
use pageserver_bin::receivers::Following;
use pageserver_bin::stop::Stop;
use stockpg::Cluster;
use walrecord::Lsn;

use crate::Bench;
use crate::ingest::follow;
use crate::measure::own_cpu;

/// How long one step may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// What a primary writes goes into its store at once.
pub(crate) struct Fed {
    pub(crate) store: Store,
    pub(crate) timeline: Timeline,
    following: Option<Following>,
    _home: tempfile::TempDir,
}

impl Fed {
    /// Imports the primary and follows it from then on.
    ///
    /// # Errors
    /// If that cannot be.
    pub(crate) fn new(bench: &Bench, cluster: &Cluster, config: StoreConfig) -> Result<Fed> {
        let home = bench.home()?;
        let storage = Arc::new(LocalStorage::new(home.path())?);
        let store = Store::open(storage, config, bench.log.clone())?;
        let import = LiveImport {
            conninfo: cluster.address().conninfo("postgres").parse()?,
            name: "main".to_owned(),
            slot: "fed".parse()?,
            tee: None,
        };
        let timeline = import_live(&store, &import, &Stop::default(), |_| {}, &bench.log)?;
        let following = follow(bench, cluster, &timeline, &import.slot)?;
        Ok(Fed {
            store,
            timeline,
            following: Some(following),
            _home: home,
        })
    }

    /// Waits until all that the primary has written is readable; gives its end.
    ///
    /// # Errors
    /// If it does not arrive.
    pub(crate) fn catch_up(&self, cluster: &Cluster) -> Result<Lsn> {
        let end = cluster.insert_lsn()?;
        self.timeline.wait_for(end, LIMIT)?;
        Ok(end)
    }

    /// All that the primary has written, in layer files that are compacted as far as the background would.
    /// Gives its end.
    ///
    /// # Errors
    /// If it does not arrive, or a layer cannot be written.
    pub(crate) fn settle(&self, cluster: &Cluster) -> Result<Lsn> {
        let end = self.catch_up(cluster)?;
        self.timeline.checkpoint(LIMIT)?;
        self.timeline.compact(false)?;
        Ok(end)
    }

    /// Stops following, closes the store and removes it.
    pub(crate) fn close(mut self) {
        if let Some(following) = self.following.take() {
            following.stop();
        }
        self.store.close();
    }
}

/// What some work took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// CPU time of this process, in seconds.
    pub(crate) cpu: f64,
    /// Bytes of WAL.
    pub(crate) wal: u64,
}

impl Cost {
    /// Seconds of CPU time for a MiB of WAL.
    pub(crate) fn per_mib(&self) -> f64 {
        self.cpu / (self.wal as f64 / f64::from(1 << 20))
    }
}

impl Fed {
    /// What it costs to take in what `write` makes the primary write, until it is readable and in layer files.
    ///
    /// # Errors
    /// If `write` fails, or what it wrote does not arrive.
    pub(crate) fn cost_of(
        &self,
        cluster: &Cluster,
        write: impl FnOnce() -> Result<()>,
    ) -> Result<Cost> {
        let start = self.settle(cluster)?;
        let before = own_cpu();
        write()?;
        let end = self.settle(cluster)?;
        Ok(Cost {
            cpu: (own_cpu() - before).as_secs_f64(),
            wal: end.saturating_sub(start),
        })
    }
}
