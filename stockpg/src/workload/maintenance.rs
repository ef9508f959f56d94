//! What maintenance does to tables: vacuum in all its forms, truncation, rewriting, of catalogs too.

use anyhow::Result;

use super::{Workload, each};

/// Pruning, freezing, visibility maps set and cleared, the empty end of a table cut off.
pub(super) fn vacuum(workload: &mut Workload) -> Result<()> {
    let rows = workload.rows(4_000);
    let fill = format!(
        "INSERT INTO vacuumed SELECT i, i, repeat('v', 40 + i % 60) FROM generate_series(1, {rows}) i
         ON CONFLICT (id) DO NOTHING"
    );
    let mut client = workload.client()?;
    each(
        &mut client,
        &[
            "CREATE TABLE IF NOT EXISTS vacuumed (id int PRIMARY KEY, n int, body text)
                WITH (fillfactor = 70, autovacuum_enabled = off)",
            &fill,
            "VACUUM vacuumed",
            // Bits of the visibility map are cleared by every kind of change to a row.
            "UPDATE vacuumed SET n = n + 1 WHERE id % 11 = 0",
            "UPDATE vacuumed SET n = n + 1 WHERE id % 22 = 0",
            "DELETE FROM vacuumed WHERE id % 13 = 0",
            "VACUUM vacuumed",
            "SET vacuum_freeze_min_age = 0",
            "VACUUM (FREEZE, ANALYZE) vacuumed",
            "BEGIN; SELECT * FROM vacuumed WHERE id % 50 = 1 FOR SHARE; COMMIT",
            "BEGIN; SELECT * FROM vacuumed WHERE id % 50 = 2 FOR UPDATE; ROLLBACK",
            // Reading prunes what earlier updates left.
            "UPDATE vacuumed SET n = n + 1 WHERE id < 500",
            "SELECT sum(n) FROM vacuumed WHERE id < 500",
            "UPDATE vacuumed SET n = n + 1 WHERE id < 500",
            "SELECT sum(n) FROM vacuumed",
            &format!("DELETE FROM vacuumed WHERE id > {}", rows / 3),
            "VACUUM (TRUNCATE on) vacuumed",
            &fill,
            "VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) accounts",
            "VACUUM branches",
        ],
    )
}

/// Whole tables written anew.
pub(super) fn rewrite(workload: &mut Workload) -> Result<()> {
    let rows = workload.rows(2_000);
    let fill = format!(
        "INSERT INTO rewritten SELECT i * 37 % {rows}, repeat(i::text, 10) FROM generate_series(1, {rows}) i"
    );
    each(
        &mut workload.client()?,
        &[
            "CREATE TABLE IF NOT EXISTS rewritten (id int, body text)",
            "CREATE INDEX IF NOT EXISTS rewritten_id ON rewritten (id)",
            &fill,
            "DELETE FROM rewritten WHERE id % 2 = 0",
            "VACUUM FULL rewritten",
            "UPDATE rewritten SET body = body || 'u' WHERE id % 3 = 0",
            "CLUSTER rewritten USING rewritten_id",
            "BEGIN; CLUSTER rewritten; ROLLBACK",
            "VACUUM (FULL, FREEZE) rewritten",
            "VACUUM rewritten",
        ],
    )
}

/// Tables emptied, by new files and in place, kept and taken back, and filled again.
pub(super) fn truncate(workload: &mut Workload) -> Result<()> {
    let rows = workload.rows(1_500);
    let fill =
        format!("INSERT INTO emptied SELECT i, md5(i::text) FROM generate_series(1, {rows}) i");
    let in_place = format!(
        "BEGIN; DROP TABLE IF EXISTS emptied_new;
         CREATE TABLE emptied_new (id int PRIMARY KEY, body text);
         INSERT INTO emptied_new SELECT i, '' FROM generate_series(1, {rows}) i;
         TRUNCATE emptied_new;
         INSERT INTO emptied_new SELECT i, 'refilled' FROM generate_series(1, {rows}, 3) i;
         COMMIT"
    );
    each(
        &mut workload.client()?,
        &[
            "CREATE TABLE IF NOT EXISTS emptied (id serial, body text)",
            "CREATE INDEX IF NOT EXISTS emptied_body ON emptied (body)",
            &fill,
            "TRUNCATE emptied RESTART IDENTITY",
            &fill,
            "VACUUM emptied",
            "BEGIN; TRUNCATE emptied; INSERT INTO emptied VALUES (1, 'lost'); ROLLBACK",
            "DELETE FROM emptied",
            // Nothing is left, so the file shrinks to nothing.
            "VACUUM emptied",
            &fill,
            &in_place,
        ],
    )
}

/// Mapped catalogs move to new files, so relation maps change; shared ones too.
pub(super) fn rewrite_catalogs(workload: &mut Workload) -> Result<()> {
    each(
        &mut workload.client()?,
        &[
            "VACUUM FULL pg_class",
            "VACUUM FULL pg_type",
            "REINDEX TABLE pg_attribute",
            "VACUUM FULL pg_statistic",
            "VACUUM FULL pg_shdescription",
            "REINDEX INDEX pg_database_datname_index",
            "VACUUM FREEZE pg_attribute",
            "VACUUM pg_depend",
            "SELECT pg_logical_emit_message(true, 'workload', 'in a transaction')",
            "SELECT pg_logical_emit_message(false, 'workload', repeat('between pages ', 3000))",
            "SELECT pg_create_restore_point('workload')",
            "CHECKPOINT",
        ],
    )
}
