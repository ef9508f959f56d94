//! Provisions and runs stock PostgreSQL, and asks it for the truth.
//!
//! Serves the demo and the integration tests; the page server itself never runs a Postgres. Errors are
//! `anyhow` here, because every one of them ends a test or a demo with its message.
//!
//! - [`PgInstall::find`] finds the programs of one major version, or fetches them.
//! - [`Cluster`] is a running server on a free port that goes away with the value, also on panic.
//! - [`Workload`] makes the WAL that a rebuild must get right, phase by phase.
//! - [`Recovery`] lets stock recovery replay the same backup bytes to an LSN; [`RecoveredDir`] reads the
//!   pages it left, and [`compare`] holds them against a [`TruthSubject`].
//! - [`Contents`] and [`amcheck`] judge a running server from SQL.
//!
//! ```no_run
//! use stockpg::{Cluster, InitOptions, PgInstall};
//! use walrecord::PgVersion;
//!
//! # fn main() -> anyhow::Result<()> {
//! let install = PgInstall::find(PgVersion::V15)?;
//! let cluster = Cluster::init(&install, &InitOptions::default())?;
//! let row = cluster.client("postgres")?.query_one("SELECT version()", &[])?;
//! assert!(row.get::<_, String>(0).starts_with("PostgreSQL 15"));
//! # Ok(())
//! # }
//! ```

mod cluster;
mod content;
mod oracle;
mod provision;
mod random;
mod scratch;
mod user;
mod workload;

pub use cluster::{
    Archive, BaseBackup, Cluster, HbaRule, InitOptions, ServerAddress, StopMode, spawn_bound_to_us,
};
pub use content::{Contents, TableContents, amcheck};
pub use oracle::{
    BackupSource, ChecksumField, CompareOptions, Comparison, Difference, ForkSize, RecoveredDir,
    Recovery, SlruSegment, StateFile, TruthSubject, compare,
};
pub use provision::PgInstall;
pub use random::Random;
pub use scratch::Scratch;
pub use user::ServerUser;
pub use workload::{Phase, Workload, WorkloadOptions};

/// The driver whose clients [`Cluster::client`] hands out; a caller needs its types in the same version.
pub use postgres;
