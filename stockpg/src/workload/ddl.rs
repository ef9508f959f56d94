//! Changes of the schema: objects made, altered, dropped, and made again under the same name.

use anyhow::Result;

use super::{Workload, each};

/// A schema full of objects, kept until the next run; another one taken back.
pub(super) fn schema(workload: &mut Workload) -> Result<()> {
    let mut tables = String::from("BEGIN;");
    for n in 0..workload.rows(10) {
        tables += &format!(
            "CREATE TABLE area.t{n} (id int PRIMARY KEY, a text, b numeric CHECK (b > 0), UNIQUE (a, b));
             INSERT INTO area.t{n} VALUES ({n}, 'one', 1), ({n} + 1, 'two', 2);"
        );
    }
    each(
        &mut workload.client()?,
        &[
            "DROP SCHEMA IF EXISTS area CASCADE",
            "CREATE SCHEMA area",
            &format!("{tables} COMMIT"),
            "CREATE TYPE area.mood AS ENUM ('good', 'bad')",
            "ALTER TYPE area.mood ADD VALUE 'neither'",
            "CREATE FUNCTION area.twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2'",
            "CREATE VIEW area.seen AS SELECT id, area.twice(id) FROM area.t1",
            "CREATE TABLE area.parted (id int, at date) PARTITION BY RANGE (at)",
            "CREATE TABLE area.parted_a PARTITION OF area.parted FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')",
            "CREATE TABLE area.parted_b PARTITION OF area.parted FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')",
            "INSERT INTO area.parted SELECT i, '2020-06-01'::date + i FROM generate_series(1, 500) i",
            "ALTER TABLE area.parted DETACH PARTITION area.parted_a",
            "COMMENT ON TABLE area.t1 IS 'a comment'",
            "ALTER TABLE area.t1 RENAME TO t1_renamed",
            "ALTER TABLE area.t2 ADD COLUMN later int DEFAULT 7",
            "ALTER TABLE area.t2 DROP COLUMN a",
            "DROP TABLE area.t3",
            "BEGIN; DROP SCHEMA area CASCADE; ROLLBACK",
            "BEGIN; CREATE TABLE area.never (id serial PRIMARY KEY, t text);
                INSERT INTO area.never (t) SELECT md5(i::text) FROM generate_series(1, 500) i; ROLLBACK",
            "DO $$ BEGIN CREATE ROLE workload_role; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            "GRANT SELECT ON area.t2 TO workload_role",
            "CREATE TEMP TABLE session_only AS SELECT * FROM area.parted",
        ],
    )
}

/// One name, several tables one after another: nothing of an earlier one may show.
pub(super) fn recreate(workload: &mut Workload) -> Result<()> {
    let rows = workload.rows(800);
    let mut client = workload.client()?;
    for generation in 0..3 {
        let fill = format!(
            "INSERT INTO again SELECT i, repeat('generation {generation} ', 5) FROM generate_series(1, {}) i",
            rows / (generation + 1)
        );
        each(
            &mut client,
            &[
                "DROP TABLE IF EXISTS again",
                "CREATE TABLE again (id int PRIMARY KEY, body text)",
                &fill,
                "BEGIN; DROP TABLE again; ROLLBACK",
                "BEGIN; DROP TABLE again; CREATE TABLE again (x int); INSERT INTO again VALUES (1); ROLLBACK",
                "VACUUM again",
            ],
        )?;
    }
    Ok(())
}

/// Changes that write the table anew, and such that do not.
pub(super) fn alter(workload: &mut Workload) -> Result<()> {
    let rows = workload.rows(1_500);
    let make = format!(
        "CREATE TABLE altered AS SELECT i AS id, i % 9 AS n, md5(i::text) AS t FROM generate_series(1, {rows}) i"
    );
    each(
        &mut workload.client()?,
        &[
            "DROP TABLE IF EXISTS altered",
            &make,
            "CREATE INDEX ON altered (n, t)",
            "ALTER TABLE altered ADD COLUMN stamp timestamptz DEFAULT clock_timestamp()",
            "ALTER TABLE altered ALTER id TYPE bigint",
            "ALTER TABLE altered ADD COLUMN fast int DEFAULT 5",
            "UPDATE altered SET fast = 6 WHERE n = 1",
            "ALTER TABLE altered ALTER n TYPE text USING 'n' || n",
            "BEGIN; ALTER TABLE altered ALTER id TYPE numeric; ROLLBACK",
            "ALTER TABLE altered DROP COLUMN t",
            "ALTER TABLE altered ADD CONSTRAINT positive CHECK (id > 0)",
            "ALTER TABLE altered SET (fillfactor = 60)",
            "UPDATE altered SET fast = fast + 1",
        ],
    )
}

/// Sequences in all their moves, and views that hold rows.
pub(super) fn sequences_and_views(workload: &mut Workload) -> Result<()> {
    let rows = workload.rows(500);
    each(
        &mut workload.client()?,
        &[
            "CREATE SEQUENCE IF NOT EXISTS counted",
            &format!("SELECT nextval('counted') FROM generate_series(1, {rows})"),
            "SELECT setval('counted', 5000, false)",
            "SELECT nextval('counted')",
            "ALTER SEQUENCE counted INCREMENT 5 CACHE 20",
            "SELECT nextval('counted') FROM generate_series(1, 30)",
            "BEGIN; ALTER SEQUENCE counted RESTART; SELECT nextval('counted'); ROLLBACK",
            "BEGIN; SELECT nextval('counted') FROM generate_series(1, 40); ROLLBACK",
            "DROP TABLE IF EXISTS identified",
            "CREATE TABLE identified (id int GENERATED ALWAYS AS IDENTITY, t text)",
            &format!(
                "INSERT INTO identified (t) SELECT md5(i::text) FROM generate_series(1, {rows}) i"
            ),
            "DROP MATERIALIZED VIEW IF EXISTS summed",
            "CREATE MATERIALIZED VIEW summed AS SELECT bid, sum(balance) AS total FROM accounts GROUP BY bid",
            "CREATE UNIQUE INDEX ON summed (bid)",
            "UPDATE accounts SET balance = balance + 1 WHERE aid < 100",
            "REFRESH MATERIALIZED VIEW CONCURRENTLY summed",
            "REFRESH MATERIALIZED VIEW summed",
        ],
    )
}
