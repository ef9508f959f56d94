//! The workload runs, all of it, and again.

use anyhow::{Context, Result};
use stockpg::{
    Cluster, Contents, InitOptions, PgInstall, Phase, Workload, WorkloadOptions, amcheck,
};
use walrecord::PgVersion;

use crate::postgres;

#[test]
fn every_phase_runs_and_runs_again() -> Result<()> {
    runs_twice(&postgres())
}

#[test]
#[ignore = "fetches four servers"]
fn every_phase_runs_on_every_other_version() -> Result<()> {
    for version in [
        PgVersion::V14,
        PgVersion::V16,
        PgVersion::V17,
        PgVersion::V18,
    ] {
        runs_twice(&PgInstall::find(version)?).with_context(|| format!("PostgreSQL {version}"))?;
    }
    Ok(())
}

fn runs_twice(install: &PgInstall) -> Result<()> {
    let options = InitOptions {
        checksums: true,
        conf: Workload::CONF.map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let cluster = Cluster::init(install, &options)?;
    let mut workload = Workload::prepare(&cluster, &WorkloadOptions::default())?;
    let before = cluster.insert_lsn()?;
    workload.run_all()?;
    workload.run_all()?;
    assert!(
        cluster.insert_lsn()? > before + (16 << 20),
        "it makes WAL worth a test"
    );

    let contents = Contents::read(cluster.address())?;
    assert!(contents.tables["workload.accounts"].rows > 0);
    assert!(contents.tables["workload.pg_largeobject"].rows > 0);
    assert!(contents.sequences["workload.counted"].0 > 0);
    assert_eq!(contents.prepared.len(), 2);
    contents.must_equal(&Contents::read(cluster.address())?)?;

    let mut client = cluster.client(Workload::DATABASE)?;
    client.batch_execute("UPDATE accounts SET balance = balance + 1 WHERE aid = 7")?;
    let error = contents
        .must_equal(&Contents::read(cluster.address())?)
        .unwrap_err()
        .to_string();
    assert!(error.contains("workload.accounts"), "{error}");

    if let Some(checked) = amcheck(cluster.address())? {
        assert!(checked > 100, "{checked} relations checked");
    }
    Ok(())
}

#[test]
fn phases_are_found_by_name_and_named_once() {
    let mut names: Vec<_> = Workload::phases().iter().map(Phase::name).collect();
    assert!(names.iter().all(|name| Phase::named(name).is_some()));
    assert!(Phase::named("nothing").is_none());
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Workload::phases().len());
}
