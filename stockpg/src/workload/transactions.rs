//! What transactions leave in the status logs: subtransactions, shared row locks, prepared transactions.

use anyhow::Result;

use super::{Workload, each};

/// Savepoints beyond what a session caches (64), nested and taken back, one transaction whose
/// subtransactions fill more than a page of the commit log (32,768), and one that is taken back and leaves
/// pages of commit times (819 transactions each) without any.
pub(super) fn subtransactions(workload: &mut Workload) -> Result<()> {
    let mut client = workload.client()?;
    client.batch_execute("CREATE TABLE IF NOT EXISTS nested (id int, t text)")?;
    let mut many = String::from("BEGIN;");
    for n in 0..100 {
        many += &format!("SAVEPOINT s{n}; INSERT INTO nested VALUES ({n}, 'savepoint');");
        if n % 7 == 3 {
            many += &format!("ROLLBACK TO s{n};");
        }
    }
    let blocks = |count: u32, every: u32| {
        format!(
            "DO $$ BEGIN FOR i IN 1..{count} LOOP
                BEGIN
                    INSERT INTO nested VALUES (i, 'block');
                    IF i % {every} = 0 THEN RAISE EXCEPTION 'taken back'; END IF;
                EXCEPTION WHEN raise_exception THEN NULL;
                END;
             END LOOP; END $$"
        )
    };
    each(
        &mut client,
        &[
            &format!("{many} COMMIT"),
            &format!("{many} ROLLBACK"),
            &format!("{many} RELEASE s10; COMMIT"),
            &blocks(workload.rows(500), 3),
            &blocks(33_000, 1_000),
            &format!("BEGIN; {}; ROLLBACK", blocks(10_000, 1_000)),
            "TRUNCATE nested",
        ],
    )
}

/// Rows locked by several transactions at once, by hand and through foreign keys.
pub(super) fn multixacts(workload: &mut Workload) -> Result<()> {
    let rows = workload.rows(600);
    let mut first = workload.client()?;
    let mut second = workload.client()?;
    let mut third = workload.client()?;
    each(
        &mut first,
        &[
            "DROP TABLE IF EXISTS child, parent",
            "CREATE TABLE parent (id int PRIMARY KEY, n int)",
            "CREATE TABLE child (id serial PRIMARY KEY, parent int REFERENCES parent)",
            &format!("INSERT INTO parent SELECT i, 0 FROM generate_series(1, {rows}) i"),
        ],
    )?;
    let lock = "BEGIN; SELECT * FROM parent ORDER BY id FOR SHARE";
    each(&mut first, &[lock])?;
    each(&mut second, &[lock])?;
    each(
        &mut third,
        &["BEGIN; SELECT * FROM parent WHERE id % 2 = 0 ORDER BY id FOR KEY SHARE"],
    )?;
    each(&mut first, &["COMMIT"])?;
    each(
        &mut second,
        &["SAVEPOINT s; SELECT * FROM parent WHERE id % 3 = 0 FOR SHARE; ROLLBACK TO s; COMMIT"],
    )?;
    // An update of a row that others lock for its key: lockers and updater share a multixact.
    each(
        &mut first,
        &["BEGIN; UPDATE parent SET n = n + 1 WHERE id % 2 = 0"],
    )?;
    each(
        &mut second,
        &["BEGIN; INSERT INTO child (parent) SELECT id FROM parent WHERE id % 5 = 0"],
    )?;
    each(
        &mut third,
        &["INSERT INTO child (parent) SELECT id FROM parent WHERE id % 5 = 0; COMMIT"],
    )?;
    each(&mut first, &["COMMIT"])?;
    each(&mut second, &["ROLLBACK"])?;
    each(
        &mut first,
        &[
            "DELETE FROM child WHERE id % 2 = 0",
            "UPDATE parent SET n = n + 1 WHERE id % 7 = 0",
            "VACUUM parent",
            "SET vacuum_multixact_freeze_min_age = 0",
            "SET vacuum_freeze_min_age = 0",
            "VACUUM FREEZE parent",
        ],
    )
}

/// Prepared transactions that commit, roll back, make and drop relations, and two that stay open until the
/// next run of this phase.
pub(super) fn prepared(workload: &mut Workload) -> Result<()> {
    let mut client = workload.client()?;
    let open: Vec<String> = client
        .query(
            "SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'open %' ORDER BY gid",
            &[],
        )?
        .iter()
        .map(|row| row.get(0))
        .collect();
    for (number, gid) in open.iter().enumerate() {
        let verb = if number % 2 == 0 {
            "COMMIT"
        } else {
            "ROLLBACK"
        };
        client.batch_execute(&format!("{verb} PREPARED '{gid}'"))?;
    }
    let round = workload.round;
    let insert = |note: &str| {
        format!("INSERT INTO twophase SELECT i, '{note} {round}' FROM generate_series(1, 50) i;")
    };
    let nested = "SAVEPOINT a; INSERT INTO twophase VALUES (0, 'inner'); RELEASE a;
                  SAVEPOINT b; INSERT INTO twophase VALUES (0, 'lost'); ROLLBACK TO b;";
    each(
        &mut client,
        &[
            "CREATE TABLE IF NOT EXISTS twophase (id int, note text)",
            "DROP TABLE IF EXISTS twophase_dropped, twophase_made",
            "CREATE TABLE twophase_dropped AS SELECT generate_series(1, 500) AS id",
            &format!("BEGIN; {} {nested} PREPARE TRANSACTION 'committed'", insert("committed")),
            &format!("BEGIN; {} {nested} PREPARE TRANSACTION 'rolled back'", insert("rolled back")),
            "BEGIN; DROP TABLE twophase_dropped; PREPARE TRANSACTION 'drops'",
            "BEGIN; CREATE TABLE twophase_made AS SELECT generate_series(1, 500) AS id;
                PREPARE TRANSACTION 'makes'",
            "BEGIN; CREATE TABLE twophase_never AS SELECT generate_series(1, 500) AS id;
                PREPARE TRANSACTION 'makes in vain'",
            "CHECKPOINT",
            "COMMIT PREPARED 'committed'",
            "ROLLBACK PREPARED 'rolled back'",
            "COMMIT PREPARED 'drops'",
            "COMMIT PREPARED 'makes'",
            "ROLLBACK PREPARED 'makes in vain'",
            &format!("BEGIN; {} {nested} PREPARE TRANSACTION 'open {round} a'", insert("open")),
            &format!(
                "BEGIN; UPDATE twophase SET note = 'locked' WHERE id = 1 AND note LIKE 'committed {round}';
                 PREPARE TRANSACTION 'open {round} b'"
            ),
        ],
    )
}
