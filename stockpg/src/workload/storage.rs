//! Where relations live: unlogged ones, tablespaces, whole databases.

use anyhow::Result;
use walrecord::PgVersion;

use super::{Workload, each};

/// The tablespace, which exists before the backup.
pub(super) const TABLESPACE: &str = "workload_space";

/// Unlogged tables with indexes and sequences: made, filled, switched, dropped.
pub(super) fn unlogged(workload: &mut Workload) -> Result<()> {
    let rows = workload.rows(1_000);
    let fill = |table: &str| {
        format!("INSERT INTO {table} (t) SELECT md5(i::text) FROM generate_series(1, {rows}) i")
    };
    each(
        &mut workload.client()?,
        &[
            "DROP TABLE IF EXISTS volatile, switched",
            "CREATE UNLOGGED TABLE volatile (id serial PRIMARY KEY, t text, big text)",
            &fill("volatile"),
            "UPDATE volatile SET big = repeat(t, 200) WHERE id % 10 = 0",
            "CREATE UNLOGGED TABLE switched (id serial PRIMARY KEY, t text)",
            &fill("switched"),
            "ALTER TABLE switched SET LOGGED",
            &fill("switched"),
            "ALTER TABLE switched SET UNLOGGED",
            "ALTER TABLE switched SET LOGGED",
            "DROP TABLE IF EXISTS volatile_gone",
            "CREATE UNLOGGED TABLE volatile_gone AS SELECT * FROM switched",
            "TRUNCATE volatile",
            &fill("volatile"),
        ],
    )
}

/// Relations in a tablespace, moved in and out; and a tablespace in place (no link), which may come and go
/// while a backup is replayed elsewhere.
pub(super) fn tablespaces(workload: &mut Workload) -> Result<()> {
    let rows = workload.rows(1_000);
    let fill =
        format!("INSERT INTO spaced SELECT i, md5(i::text) FROM generate_series(1, {rows}) i");
    let mut client = workload.client()?;
    let moves = |to: &str| {
        [
            format!("ALTER TABLE spaced SET TABLESPACE {to}"),
            format!("ALTER INDEX spaced_t SET TABLESPACE {to}"),
        ]
    };
    each(
        &mut client,
        &[
            "DROP TABLE IF EXISTS spaced",
            &format!("CREATE TABLE spaced (id int PRIMARY KEY, t text) TABLESPACE {TABLESPACE}"),
            &format!("CREATE INDEX spaced_t ON spaced (t) TABLESPACE {TABLESPACE}"),
            &fill,
            "UPDATE spaced SET t = t || 'u' WHERE id % 4 = 0",
        ],
    )?;
    for to in ["pg_default", TABLESPACE] {
        for statement in &moves(to) {
            client.batch_execute(statement)?;
        }
    }
    if !workload.in_place_tablespaces {
        return Ok(());
    }
    each(
        &mut client,
        &[
            "SET allow_in_place_tablespaces = on",
            "DROP TABLE IF EXISTS placed",
            "DROP TABLESPACE IF EXISTS workload_in_place",
            "CREATE TABLESPACE workload_in_place LOCATION ''",
            "CREATE TABLE placed (id int PRIMARY KEY) TABLESPACE workload_in_place",
            "INSERT INTO placed SELECT generate_series(1, 500)",
            "CREATE TABLESPACE workload_short LOCATION ''",
            "CREATE TABLE placed_short TABLESPACE workload_short AS SELECT * FROM placed",
            "DROP TABLE placed_short",
            "DROP TABLESPACE workload_short",
        ],
    )
}

/// Databases copied with both strategies, used, moved to another tablespace, and dropped.
pub(super) fn databases(workload: &mut Workload) -> Result<()> {
    let mut admin = workload.session("postgres")?;
    // 14 only knows the copy of files, and no word for it.
    let strategies: &[&str] = match workload.version {
        PgVersion::V14 => &[""],
        _ => &[" STRATEGY file_copy", " STRATEGY wal_log"],
    };
    let template = "workload_template";
    each(
        &mut admin,
        &[
            &format!("DROP DATABASE IF EXISTS {template}"),
            &format!("CREATE DATABASE {template}"),
        ],
    )?;
    fill_database(workload, template)?;
    for (number, strategy) in strategies.iter().enumerate() {
        let (kept, dropped) = (
            format!("workload_kept_{number}"),
            format!("workload_gone_{number}"),
        );
        for name in [&kept, &dropped] {
            each(
                &mut admin,
                &[
                    &format!("DROP DATABASE IF EXISTS {name}"),
                    &format!("CREATE DATABASE {name} TEMPLATE {template}{strategy}"),
                ],
            )?;
            fill_database(workload, name)?;
        }
        each(
            &mut admin,
            &[
                &format!("DROP DATABASE {dropped}"),
                &format!("ALTER DATABASE {kept} SET TABLESPACE {TABLESPACE}"),
            ],
        )?;
        fill_database(workload, &kept)?;
    }
    each(
        &mut admin,
        &[&format!(
            "ALTER DATABASE {template} RENAME TO {template}_old"
        )],
    )?;
    each(&mut admin, &[&format!("DROP DATABASE {template}_old")])
}

fn fill_database(workload: &Workload, database: &str) -> Result<()> {
    let rows = workload.rows(300);
    each(
        &mut workload.session(database)?,
        &[
            "CREATE TABLE IF NOT EXISTS inner_table (id serial PRIMARY KEY, t text)",
            &format!(
                "INSERT INTO inner_table (t) SELECT md5(i::text) FROM generate_series(1, {rows}) i"
            ),
            "UPDATE inner_table SET t = t || 'u' WHERE id % 5 = 0",
            "VACUUM inner_table",
        ],
    )
}
