//! Much data at once: loads, index builds, pages of B-trees that split and die, values out of line.

use std::io::Write as _;
use std::thread;

use anyhow::{Result, anyhow};

use super::{Workload, each};

/// `COPY` and `INSERT ... SELECT`, from several sessions into one table, so that they extend it together.
pub(super) fn load(workload: &mut Workload) -> Result<()> {
    let rows = workload.rows(2_000);
    let round = workload.round;
    let mut client = workload.client()?;
    client.batch_execute(
        "CREATE TABLE IF NOT EXISTS loaded (id bigint, part int, key text, body text)",
    )?;
    client.batch_execute("CREATE INDEX IF NOT EXISTS loaded_key ON loaded (key)")?;
    let workload = &*workload;
    thread::scope(|scope| {
        let sessions: Vec<_> = (0..workload.options.clients)
            .map(|part| {
                scope.spawn(move || -> Result<()> {
                    let mut client = workload.client()?;
                    let mut copy = client.copy_in("COPY loaded FROM STDIN")?;
                    for id in 0..rows {
                        writeln!(
                            copy,
                            "{id}\t{part}\tkey {round} {}\tbody of row {id}",
                            id * 7919 % rows
                        )?;
                    }
                    copy.finish()?;
                    Ok(())
                })
            })
            .collect();
        sessions
            .into_iter()
            .try_for_each(|s| s.join().map_err(|_| anyhow!("a session panicked"))?)
    })?;
    let insert = format!(
        "INSERT INTO loaded SELECT i, -1, md5((i * {round})::text), repeat(md5(i::text), i % 20)
         FROM generate_series(1, {rows}) i"
    );
    // A load into a table of the same transaction, and one that is taken back.
    each(
        &mut client,
        &[
            &insert,
            "DROP TABLE IF EXISTS loaded_new",
            "BEGIN; CREATE TABLE loaded_new AS SELECT * FROM loaded; CREATE INDEX ON loaded_new (id); COMMIT",
            "BEGIN; INSERT INTO loaded_new SELECT * FROM loaded LIMIT 1000; ROLLBACK",
            "ANALYZE loaded",
        ],
    )
}

/// Builds of every kind of B-tree.
pub(super) fn build_indexes(workload: &mut Workload) -> Result<()> {
    let rows = workload.rows(5_000);
    let fill = format!(
        "CREATE TABLE indexed AS SELECT i AS id, i % 50 AS few, md5(i::text) AS text,
            CASE WHEN i % 3 = 0 THEN NULL ELSE i END AS gaps, i::numeric / 7 AS number
         FROM generate_series(1, {rows}) i"
    );
    each(
        &mut workload.client()?,
        &[
            "DROP TABLE IF EXISTS indexed",
            &fill,
            "ALTER TABLE indexed ADD PRIMARY KEY (id)",
            "CREATE INDEX indexed_few ON indexed (few)",
            "CREATE UNIQUE INDEX indexed_text ON indexed (text) INCLUDE (number)",
            "CREATE INDEX indexed_gaps ON indexed (gaps DESC NULLS LAST, text) WITH (fillfactor = 50)",
            "CREATE INDEX indexed_expression ON indexed (lower(text), few)",
            "CREATE INDEX indexed_partial ON indexed (number) WHERE few < 10",
            "CREATE INDEX indexed_plain ON indexed (text, id) WITH (deduplicate_items = off)",
            "CREATE INDEX CONCURRENTLY indexed_later ON indexed (number, few)",
            "REINDEX TABLE indexed",
            "REINDEX INDEX CONCURRENTLY indexed_few",
            "DROP INDEX CONCURRENTLY indexed_later",
            "DROP INDEX indexed_plain",
        ],
    )
}

/// Splits at every level, duplicates in posting lists, page deletion and reuse.
pub(super) fn churn_btrees(workload: &mut Workload) -> Result<()> {
    let rows = workload.rows(4_000);
    let span = |from: u32, to: u32| {
        format!(
            "INSERT INTO churned SELECT md5(i::text) || repeat('x', i % 300), i % 7, i
             FROM generate_series({from}, {to}) i"
        )
    };
    let mut random = workload.random();
    let cut = random.below(u64::from(rows)) + 1;
    let scattered = format!("DELETE FROM churned WHERE id % 5 = 0 OR id = {cut}");
    each(
        &mut workload.client()?,
        &[
            "CREATE TABLE IF NOT EXISTS churned (key text, few int, id int)",
            "CREATE INDEX IF NOT EXISTS churned_key ON churned (key, id)",
            "CREATE INDEX IF NOT EXISTS churned_few ON churned (few)",
            "CREATE INDEX IF NOT EXISTS churned_id ON churned (id)",
            &span(1, rows),
            &scattered,
            "VACUUM churned",
            // Duplicates of what is there: posting lists split.
            &span(1, rows / 4),
            // A run of keys goes, and with it whole pages.
            "DELETE FROM churned WHERE key < 'a'",
            "VACUUM churned",
            &format!("DELETE FROM churned WHERE id > {}", rows / 10),
            "VACUUM (INDEX_CLEANUP on) churned",
            // Once no transaction can reach them, deleted pages are used again.
            &span(rows + 1, rows + rows / 2),
            "UPDATE churned SET few = few + 1 WHERE id % 3 = 0",
            "VACUUM churned",
        ],
    )
}

/// Values out of line, compressed and not.
pub(super) fn toast(workload: &mut Workload) -> Result<()> {
    let rows = workload.rows(60);
    let round = workload.round;
    let insert = format!(
        "INSERT INTO toasted (plain, packed, small)
         SELECT (SELECT string_agg(md5((i * j + {round})::text), '') FROM generate_series(1, 300) j),
                repeat('compressible ' || i, 4000), 'row ' || i
         FROM generate_series(1, {rows}) i"
    );
    each(
        &mut workload.client()?,
        &[
            "CREATE TABLE IF NOT EXISTS toasted (id serial PRIMARY KEY, plain text, packed text, small text)",
            "ALTER TABLE toasted ALTER plain SET STORAGE EXTERNAL",
            &insert,
            "UPDATE toasted SET plain = plain || 'longer' WHERE id % 3 = 0",
            "UPDATE toasted SET small = small || ' again' WHERE id % 2 = 0",
            "DELETE FROM toasted WHERE id % 5 = 0",
            "BEGIN; UPDATE toasted SET packed = repeat('lost', 5000); ROLLBACK",
            "VACUUM toasted",
        ],
    )
}

/// Large objects: made, written in the middle, cut, removed.
pub(super) fn large_objects(workload: &mut Workload) -> Result<()> {
    let count = workload.rows(10);
    let make = format!(
        "INSERT INTO objects SELECT lo_from_bytea(0, convert_to(repeat(md5(i::text), 600), 'UTF8'))
         FROM generate_series(1, {count}) i"
    );
    // 0x20000 | 0x40000: for reading and writing.
    each(
        &mut workload.client()?,
        &[
            "CREATE TABLE IF NOT EXISTS objects (id oid)",
            &make,
            "SELECT lo_put(id, 5000, 'in the middle') FROM objects",
            "SELECT lo_put(id, 40000, 'behind a gap') FROM (SELECT id FROM objects ORDER BY id LIMIT 3) o",
            "SELECT lo_truncate(lo_open(id, 393216), 3000) FROM (SELECT id FROM objects ORDER BY id DESC LIMIT 3) o",
            "WITH gone AS (DELETE FROM objects WHERE id IN (SELECT min(id) FROM objects) RETURNING id)
                SELECT lo_unlink(id) FROM gone",
            "VACUUM pg_largeobject",
        ],
    )
}
