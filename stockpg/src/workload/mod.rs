//! The workload of the demo and the oracle test: everything that a rebuild must get right, in phases that
//! can be run in any order, again and again, while something else attaches or reads.
//!
//! Contents follow from the seed as far as concurrent clients allow.

mod bulk;
mod ddl;
mod indexes;
mod maintenance;
mod oltp;
mod storage;
mod transactions;

use anyhow::{Context, Result};
use postgres::Client;
use walrecord::PgVersion;

use crate::{Cluster, Random, ServerAddress};

/// Sizes and the seed of a workload.
#[derive(Debug, Clone)]
pub struct WorkloadOptions {
    /// Where all random choices come from.
    pub seed: u64,
    /// How much a phase does. 1 makes a few megabytes of WAL in all and takes seconds; the rest is in
    /// proportion.
    pub scale: u32,
    /// Concurrent clients of the phases that have several.
    pub clients: u32,
}

impl Default for WorkloadOptions {
    fn default() -> WorkloadOptions {
        WorkloadOptions {
            seed: 1,
            scale: 1,
            clients: 4,
        }
    }
}

/// A part of the workload.
#[derive(Clone, Copy)]
pub struct Phase {
    name: &'static str,
    run: fn(&mut Workload) -> Result<()>,
}

/// The workload on one server, in a database of its own. It can be sent to another thread and run there.
#[derive(Debug)]
pub struct Workload {
    address: ServerAddress,
    options: WorkloadOptions,
    version: PgVersion,
    in_place_tablespaces: bool,
    random: Random,
    /// Counts the phases that were run, to give names and keys that were not used before.
    round: u32,
}

/// The phases in an order that suits a first run. Prepared transactions come last, because those left open
/// hold back what VACUUM may remove.
const PHASES: [Phase; 27] = [
    Phase {
        name: "bulk load",
        run: bulk::load,
    },
    Phase {
        name: "index builds",
        run: bulk::build_indexes,
    },
    Phase {
        name: "oltp",
        run: oltp::run,
    },
    Phase {
        name: "b-tree churn",
        run: bulk::churn_btrees,
    },
    Phase {
        name: "hash indexes",
        run: indexes::hash,
    },
    Phase {
        name: "gin indexes",
        run: indexes::gin,
    },
    Phase {
        name: "gist indexes",
        run: indexes::gist,
    },
    Phase {
        name: "sp-gist indexes",
        run: indexes::spgist,
    },
    Phase {
        name: "brin indexes",
        run: indexes::brin,
    },
    Phase {
        name: "generic wal",
        run: indexes::generic,
    },
    Phase {
        name: "unlogged indexes",
        run: indexes::unlogged,
    },
    Phase {
        name: "toast",
        run: bulk::toast,
    },
    Phase {
        name: "large objects",
        run: bulk::large_objects,
    },
    Phase {
        name: "vacuum",
        run: maintenance::vacuum,
    },
    Phase {
        name: "vacuum full and cluster",
        run: maintenance::rewrite,
    },
    Phase {
        name: "truncate and refill",
        run: maintenance::truncate,
    },
    Phase {
        name: "catalog rewrite",
        run: maintenance::rewrite_catalogs,
    },
    Phase {
        name: "ddl",
        run: ddl::schema,
    },
    Phase {
        name: "drop and re-create",
        run: ddl::recreate,
    },
    Phase {
        name: "alter with rewrite",
        run: ddl::alter,
    },
    Phase {
        name: "sequences and views",
        run: ddl::sequences_and_views,
    },
    Phase {
        name: "unlogged",
        run: storage::unlogged,
    },
    Phase {
        name: "tablespaces",
        run: storage::tablespaces,
    },
    Phase {
        name: "databases",
        run: storage::databases,
    },
    Phase {
        name: "subtransactions",
        run: transactions::subtransactions,
    },
    Phase {
        name: "multixacts",
        run: transactions::multixacts,
    },
    Phase {
        name: "prepared transactions",
        run: transactions::prepared,
    },
];

impl Workload {
    /// The database that most of it runs in.
    pub const DATABASE: &'static str = "workload";

    /// Settings of the server that it wants, for [`InitOptions::conf`](crate::InitOptions::conf).
    pub const CONF: [&'static str; 2] = [
        "track_commit_timestamp = on",
        "max_prepared_transactions = 64",
    ];

    /// Makes the database, its tables and a tablespace. Do this before the base backup: recovery of a
    /// tablespace's creation would touch the original (see [`Recovery`](crate::Recovery)).
    ///
    /// # Errors
    /// If the server refuses something, or was prepared before.
    pub fn prepare(cluster: &Cluster, options: &WorkloadOptions) -> Result<Workload> {
        let place = cluster.make_dir(storage::TABLESPACE)?;
        let mut client = cluster.client("postgres")?;
        each(
            &mut client,
            &[
                &format!(
                    "CREATE TABLESPACE {} LOCATION '{}'",
                    storage::TABLESPACE,
                    place.display()
                ),
                &format!("CREATE DATABASE {}", Workload::DATABASE),
            ],
        )?;
        let install = cluster.install();
        let mut workload = Workload {
            address: cluster.address().clone(),
            options: options.clone(),
            version: install.version(),
            in_place_tablespaces: install.version().major() > 14 || install.minor() >= 5,
            random: Random::new(options.seed),
            round: 0,
        };
        oltp::schema(&mut workload)?;
        Ok(workload)
    }

    /// The same workload, from now on on a server that took the place of the first.
    #[must_use]
    pub fn moved_to(mut self, cluster: &Cluster) -> Workload {
        self.address = cluster.address().clone();
        self
    }

    /// All phases, in the order of a first run.
    pub fn phases() -> &'static [Phase] {
        &PHASES
    }

    /// Runs one phase to its end.
    ///
    /// # Errors
    /// If the server refuses something that the phase does not expect.
    pub fn run(&mut self, phase: Phase) -> Result<()> {
        self.round += 1;
        (phase.run)(self).with_context(|| format!("workload phase {:?}", phase.name))
    }

    /// Runs every phase once.
    ///
    /// # Errors
    /// As [`run`](Workload::run).
    pub fn run_all(&mut self) -> Result<()> {
        PHASES.into_iter().try_for_each(|phase| self.run(phase))
    }

    /// A session in the workload's database.
    fn client(&self) -> Result<Client> {
        self.session(Workload::DATABASE)
    }

    fn session(&self, database: &str) -> Result<Client> {
        let mut client = self.address.client(database)?;
        // A lock that is never released should be an error that names its statement, not a hang.
        client.batch_execute("SET lock_timeout = '60s'; SET client_min_messages = error")?;
        Ok(client)
    }

    /// `base` rows, times the scale.
    fn rows(&self, base: u32) -> u32 {
        base * self.options.scale
    }

    /// Numbers for this run of a phase, apart from those of other runs.
    fn random(&self) -> Random {
        self.random.fork(u64::from(self.round))
    }
}

impl Phase {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The phase of this name.
    pub fn named(name: &str) -> Option<Phase> {
        PHASES.into_iter().find(|phase| phase.name == name)
    }
}

impl std::fmt::Debug for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Runs statements one by one, each in a transaction of its own unless one is open.
fn each(client: &mut Client, statements: &[&str]) -> Result<()> {
    for statement in statements {
        client
            .batch_execute(statement)
            .with_context(|| (*statement).to_owned())?;
    }
    Ok(())
}
