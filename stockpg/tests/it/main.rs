//! What stockpg promises, against a real PostgreSQL: servers that come and go, a workload that runs, and
//! an oracle that tells equal from different.

mod cluster;
mod oracle;
mod workload;

use stockpg::PgInstall;

/// The version that all of these run on.
fn postgres() -> PgInstall {
    PgInstall::tested().expect("PostgreSQL on this machine or from a package registry")
}
