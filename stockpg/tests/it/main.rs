//! What stockpg promises, against a real PostgreSQL 15: servers that come and go, a workload that runs, and
//! an oracle that tells equal from different.

mod cluster;
mod oracle;
mod workload;

use stockpg::PgInstall;
use walrecord::PgVersion;

/// The version that all of these run on.
fn postgres() -> PgInstall {
    PgInstall::find(PgVersion::V15)
        .expect("PostgreSQL 15 on this machine or from a package registry")
}
