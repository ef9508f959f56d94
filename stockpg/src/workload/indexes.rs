//! Indexes that are not B-trees. Each access method grows, splits, loses entries to scans and to VACUUM, gives
//! pages back and takes them again.
//!
//! Tables stay from run to run, and a run deletes the rows of the one before. Transactions that the last run left
//! prepared hold VACUUM back from what was deleted since, so its work is seen a run later.

use anyhow::Result;

use super::{Workload, each};

/// What makes a query walk an index entry by entry. Only such scans mark entries whose rows are dead.
const INDEX_SCANS: &str =
    "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off";

/// Buckets that split, chains of overflow pages that are squeezed, dead entries removed by an insertion.
pub(super) fn hash(workload: &mut Workload) -> Result<()> {
    let (rows, run) = (workload.rows(3_000), workload.round);
    let fill = format!(
        "INSERT INTO hashed SELECT i * 7919 + {run}, i, {run} FROM generate_series(1, {rows}) i"
    );
    let marked = "SELECT count(run) FROM hashed WHERE n % 3 = 0";
    each(
        &mut workload.client()?,
        &[
            "CREATE TABLE IF NOT EXISTS hashed (k int, n int, run int) WITH (autovacuum_enabled = off)",
            "CREATE INDEX IF NOT EXISTS hashed_k ON hashed USING hash (k) WITH (fillfactor = 10)",
            "CREATE INDEX IF NOT EXISTS hashed_few ON hashed USING hash ((n % 3))",
            INDEX_SCANS,
            marked,
            marked,
            &fill,
            &format!("DELETE FROM hashed WHERE run < {run} OR n % 2 = 0"),
            "VACUUM hashed",
            "UPDATE hashed SET k = k + 1 WHERE n % 5 = 0",
            &format!("BEGIN; {fill}; ROLLBACK"),
            // The ends of the chains become empty.
            &format!("DELETE FROM hashed WHERE n > {}", rows / 2),
            "VACUUM hashed",
            "DROP INDEX IF EXISTS hashed_built",
            "CREATE INDEX hashed_built ON hashed USING hash (k)",
            &fill,
        ],
    )
}

/// Posting lists that become trees, which split and lose leaves; the pending list.
pub(super) fn gin(workload: &mut Workload) -> Result<()> {
    let (rows, run) = (workload.rows(4_000), workload.round);
    let fill = |first: u32, last: u32| {
        format!(
            "INSERT INTO listed
             SELECT array[1, 2 + i % 5, 100 + i % 400], to_tsvector('simple', 'w' || i % 300 || ' v' || i), i, {run}
             FROM generate_series({first}, {last}) i"
        )
    };
    let long = workload.rows(20_000);
    each(
        &mut workload.client()?,
        &[
            // One key with a long posting tree. What the last run deleted empties leaves, which go.
            "CREATE TABLE IF NOT EXISTS listed_once (a int[], n int) WITH (autovacuum_enabled = off)",
            "CREATE INDEX IF NOT EXISTS listed_tree ON listed_once USING gin (a) WITH (fastupdate = off)",
            "VACUUM listed_once",
            &format!(
                "INSERT INTO listed_once SELECT array[1], i FROM generate_series(1, {long}) i"
            ),
            &format!(
                "DELETE FROM listed_once WHERE n BETWEEN {} AND {}",
                long / 10,
                long - long / 10
            ),
            "CREATE TABLE IF NOT EXISTS listed (a int[], t tsvector, n int, run int)
                WITH (autovacuum_enabled = off)",
            "CREATE INDEX IF NOT EXISTS listed_direct ON listed USING gin (a) WITH (fastupdate = off)",
            "CREATE INDEX IF NOT EXISTS listed_pending ON listed USING gin (t, a)
                WITH (fastupdate = on, gin_pending_list_limit = 64)",
            "VACUUM listed",
            &fill(1, rows),
            &format!("DELETE FROM listed WHERE run < {run} OR n % 7 = 0"),
            "VACUUM listed",
            // Freed places in the heap put low row numbers into the middle of posting trees.
            &fill(rows + 1, rows + rows / 2),
            "SELECT gin_clean_pending_list('listed_pending')",
            "UPDATE listed SET a = a || 7 WHERE n % 50 = 0",
            &format!("BEGIN; {}; ROLLBACK", fill(1, 200)),
            "VACUUM listed",
            "DROP INDEX IF EXISTS listed_built",
            "CREATE INDEX listed_built ON listed USING gin (a)",
            &fill(1, 100),
        ],
    )
}

/// Leaves and inner pages that split, dead entries removed by an insertion, pages deleted and used again.
pub(super) fn gist(workload: &mut Workload) -> Result<()> {
    let (rows, run) = (workload.rows(3_000), workload.round);
    let fill = format!(
        "INSERT INTO located
         SELECT point(i % 100, {run} * 1000 + i / 100), box(point(i % 313, i % 777), point(i % 313 + i % 9, i % 777 + 3)),
                CASE WHEN i % 7 > 0 THEN int4range(i % 50, i % 50 + i % 5) END, point(i % 10, i % 10), i, {run}
         FROM generate_series(1, {rows}) i"
    );
    let marked = "SELECT count(run) FROM located WHERE same <@ box '((0,0),(10,10))'";
    each(
        &mut workload.client()?,
        &[
            "CREATE TABLE IF NOT EXISTS located (p point, b box, r int4range, same point, id int, run int)
                WITH (autovacuum_enabled = off)",
            "CREATE INDEX IF NOT EXISTS located_p ON located USING gist (p)",
            "CREATE INDEX IF NOT EXISTS located_b ON located USING gist (b)",
            "CREATE INDEX IF NOT EXISTS located_r ON located USING gist (r) INCLUDE (id)",
            "CREATE INDEX IF NOT EXISTS located_same ON located USING gist (same)",
            INDEX_SCANS,
            marked,
            marked,
            &fill,
            &format!("DELETE FROM located WHERE run < {run} OR id % 3 = 0"),
            "VACUUM located",
            "SELECT txid_current()",
            "VACUUM located",
            "UPDATE located SET p = p + point(0, 1) WHERE id % 9 = 0",
            &format!("BEGIN; {fill}; ROLLBACK"),
            "DROP INDEX IF EXISTS located_sorted, located_buffered",
            "CREATE INDEX located_sorted ON located USING gist (p)",
            "CREATE INDEX located_buffered ON located USING gist (b) WITH (buffering = on)",
            "INSERT INTO located SELECT p, b, r, same, id, run FROM located WHERE id % 4 = 1",
        ],
    )
}

/// Quadrants and radix trees: lists that grow, move and are split, inner tuples that get nodes and are split,
/// vacuum of lists, roots and redirections.
pub(super) fn spgist(workload: &mut Workload) -> Result<()> {
    let (rows, run) = (workload.rows(2_000), workload.round);
    let fill = |shift: u32| {
        format!(
            "INSERT INTO spaced_out
             SELECT point((i * 7919 + {run}) % 10007, i * 104729 % 10009),
                    CASE i % 4 WHEN 0 THEN repeat('long prefix ', 20 - i % 20) || chr(97 + i % 26) || i
                         WHEN 1 THEN chr(33 + (i + {shift}) % 90) || chr(33 + i * 7 % 90) || i % 50
                         WHEN 2 THEN repeat(md5((i % 100)::text), 3) || chr(300 + i % 2000) END,
                    ('10.' || i % 200 || '.' || i * 7 % 256 || '.' || i * 31 % 256 || '/' || 20 + i % 13)::inet, i, {run}
             FROM generate_series(1, {rows}) i"
        )
    };
    let small = format!(
        "INSERT INTO spaced_root SELECT point(i, i), {run} FROM generate_series(1, 10) i UNION ALL SELECT NULL, {run}"
    );
    each(
        &mut workload.client()?,
        &[
            "CREATE TABLE IF NOT EXISTS spaced_out (p point, w text, a inet, id int, run int)
                WITH (autovacuum_enabled = off)",
            "CREATE INDEX IF NOT EXISTS spaced_quad ON spaced_out USING spgist (p) INCLUDE (id)",
            "CREATE INDEX IF NOT EXISTS spaced_kd ON spaced_out USING spgist (p kd_point_ops)",
            "CREATE INDEX IF NOT EXISTS spaced_radix ON spaced_out USING spgist (w)",
            "CREATE INDEX IF NOT EXISTS spaced_inet ON spaced_out USING spgist (a)",
            "CREATE TABLE IF NOT EXISTS spaced_root (p point, run int) WITH (autovacuum_enabled = off)",
            "CREATE INDEX IF NOT EXISTS spaced_root_p ON spaced_root USING spgist (p)",
            &fill(0),
            &small,
            &format!("DELETE FROM spaced_out WHERE run < {run} OR id % 3 = 0"),
            &format!("DELETE FROM spaced_root WHERE run < {run} OR p[0] = 5"),
            "VACUUM spaced_out, spaced_root",
            "SELECT txid_current()",
            &fill(45),
            "UPDATE spaced_out SET w = w || 'u', p = p + point(1, 0) WHERE id % 10 = 0",
            &format!("BEGIN; {}; ROLLBACK", fill(7)),
            "VACUUM spaced_out",
            "DROP INDEX IF EXISTS spaced_built",
            "CREATE INDEX spaced_built ON spaced_out USING spgist (w)",
            &small,
        ],
    )
}

/// Summaries that are added, widened in place, moved to other pages and removed.
pub(super) fn brin(workload: &mut Workload) -> Result<()> {
    let (rows, run) = (workload.rows(1_500), workload.round);
    let fill = format!(
        "INSERT INTO summed_up
         SELECT i + {run}, repeat(chr(97 + i % 26), i % 300), CASE WHEN i % 5 > 0 THEN ('10.0.' || i % 256 || '.1')::inet END,
                md5(i::text)::uuid, {run}
         FROM generate_series(1, {rows}) i"
    );
    let summarize =
        "SELECT brin_summarize_new_values('summed_up_i'), brin_summarize_new_values('summed_up_t'),
                            brin_summarize_new_values('summed_up_all')";
    each(
        &mut workload.client()?,
        &[
            "CREATE TABLE IF NOT EXISTS summed_up (i int, t text, n inet, u uuid, run int)
                WITH (autovacuum_enabled = off, fillfactor = 60)",
            "CREATE INDEX IF NOT EXISTS summed_up_t ON summed_up USING brin (t) WITH (pages_per_range = 1)",
            "DROP INDEX IF EXISTS summed_up_i, summed_up_all",
            "CREATE INDEX summed_up_i ON summed_up USING brin (i) WITH (pages_per_range = 1)",
            "CREATE INDEX summed_up_all ON summed_up
                USING brin (i int4_minmax_multi_ops, n inet_inclusion_ops, u uuid_bloom_ops) WITH (pages_per_range = 2)",
            &fill,
            summarize,
            "UPDATE summed_up SET i = -i WHERE i % 5 = 0",
            // Summaries that outgrow their page.
            "UPDATE summed_up SET t = repeat('z', 600 + i % 700) WHERE i % 37 = 0",
            "UPDATE summed_up SET t = repeat('Z', 900) WHERE i % 41 = 0",
            "SELECT brin_desummarize_range('summed_up_i', b), brin_desummarize_range('summed_up_t', b)
                FROM generate_series(0, 60, 3) b",
            summarize,
            &format!("DELETE FROM summed_up WHERE run < {run} OR i % 3 = 0"),
            "VACUUM summed_up",
            &fill,
            summarize,
        ],
    )
}

/// An access method of an extension, whose WAL is generic: `bloom`, where it is installed.
pub(super) fn generic(workload: &mut Workload) -> Result<()> {
    let (rows, run) = (workload.rows(2_000), workload.round);
    let mut client = workload.client()?;
    let installed = client.query_opt(
        "SELECT name::text FROM pg_available_extensions WHERE name = 'bloom'",
        &[],
    )?;
    if installed.is_none() {
        return Ok(());
    }
    each(
        &mut client,
        &[
            "CREATE EXTENSION IF NOT EXISTS bloom",
            "CREATE TABLE IF NOT EXISTS bloomed (i int, t text, run int) WITH (autovacuum_enabled = off)",
            "CREATE INDEX IF NOT EXISTS bloomed_all ON bloomed USING bloom (i, t) WITH (length = 80)",
            &format!(
                "INSERT INTO bloomed SELECT i, md5(i::text), {run} FROM generate_series(1, {rows}) i"
            ),
            &format!("DELETE FROM bloomed WHERE run < {run} OR i % 3 = 0"),
            "VACUUM bloomed",
            &format!(
                "INSERT INTO bloomed SELECT i, 'again', {run} FROM generate_series(1, {}) i",
                rows / 4
            ),
        ],
    )
}

/// Unlogged tables with an index of every kind: their init forks are all that WAL tells of them.
pub(super) fn unlogged(workload: &mut Workload) -> Result<()> {
    let rows = workload.rows(200);
    let fill = format!(
        "INSERT INTO volatile_indexed SELECT i, array[i, 1], point(i, i), 'text ' || i FROM generate_series(1, {rows}) i"
    );
    each(
        &mut workload.client()?,
        &[
            "DROP TABLE IF EXISTS volatile_indexed",
            "CREATE UNLOGGED TABLE volatile_indexed (k int, a int[], p point, t text)",
            "CREATE INDEX ON volatile_indexed USING hash (k)",
            "CREATE INDEX ON volatile_indexed USING gin (a)",
            "CREATE INDEX ON volatile_indexed USING gist (p)",
            "CREATE INDEX ON volatile_indexed USING spgist (t)",
            &fill,
            "CREATE INDEX ON volatile_indexed USING brin (k)",
            "CREATE INDEX ON volatile_indexed (k)",
            "DELETE FROM volatile_indexed WHERE k % 3 = 0",
            "VACUUM volatile_indexed",
            "ALTER TABLE volatile_indexed SET LOGGED",
            &fill,
            "ALTER TABLE volatile_indexed SET UNLOGGED",
            &fill,
        ],
    )
}
