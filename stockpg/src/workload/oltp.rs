//! Many small transactions of concurrent clients, after the manner of `pgbench`, with conflicts, row locks,
//! savepoints and aborts among them.

use std::thread;

use anyhow::{Context, Result, anyhow};
use postgres::Client;
use postgres::error::SqlState;

use super::{Workload, each};
use crate::Random;

/// Accounts of one unit of scale.
const ACCOUNTS: u32 = 2_000;

/// Transactions of one client in one unit of scale.
const TRANSACTIONS: u32 = 150;

/// Makes and fills the tables that all runs share.
pub(super) fn schema(workload: &mut Workload) -> Result<()> {
    let accounts = workload.rows(ACCOUNTS);
    let fill = format!(
        "INSERT INTO accounts SELECT i, i % 10 + 1, 0, md5(i::text) FROM generate_series(1, {accounts}) i"
    );
    each(
        &mut workload.client()?,
        &[
            "CREATE TABLE branches (bid int PRIMARY KEY, balance bigint NOT NULL, filler text)
                WITH (fillfactor = 50)",
            "INSERT INTO branches SELECT i, 0, '' FROM generate_series(1, 10) i",
            // Room on each page, so that updates stay on it and pages are pruned.
            "CREATE TABLE accounts (aid int PRIMARY KEY, bid int NOT NULL, balance bigint NOT NULL,
                filler text) WITH (fillfactor = 80)",
            &fill,
            "CREATE TABLE history (id bigserial, aid int, delta int, at timestamptz DEFAULT now(), note text)",
            "CREATE INDEX ON history (aid, at)",
            "CREATE TABLE counters (name text PRIMARY KEY, hits int NOT NULL)",
            "CREATE TABLE orders (id bigserial PRIMARY KEY, aid int NOT NULL REFERENCES accounts,
                amount numeric, state text)",
        ],
    )
}

/// Runs the clients side by side.
pub(super) fn run(workload: &mut Workload) -> Result<()> {
    let random = workload.random();
    let workload = &*workload;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..workload.options.clients)
            .map(|number| {
                let mut random = random.fork(u64::from(number) + 1);
                scope.spawn(move || -> Result<()> {
                    let mut client = workload.client()?;
                    for _ in 0..workload.rows(TRANSACTIONS) {
                        transaction(&mut client, &mut random, workload.rows(ACCOUNTS))?;
                    }
                    Ok(())
                })
            })
            .collect();
        for client in clients {
            client.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        Ok(())
    })
}

/// One transaction. Clients may run into each other; one that Postgres sacrifices is simply over.
fn transaction(client: &mut Client, random: &mut Random, accounts: u32) -> Result<()> {
    let sql = statements(random, accounts);
    let Err(error) = client.batch_execute(&sql) else {
        return Ok(());
    };
    client.batch_execute("ROLLBACK")?;
    let lost = [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
    ];
    if error.code().is_some_and(|code| lost.contains(code)) {
        return Ok(());
    }
    Err(error).with_context(|| sql)
}

fn statements(random: &mut Random, accounts: u32) -> String {
    let aid = random.below(u64::from(accounts)) + 1;
    let other = random.below(u64::from(accounts)) + 1;
    let bid = random.below(10) + 1;
    let delta = random.below(10_000) as i64 - 5_000;
    match random.below(20) {
        0..=9 => format!(
            "BEGIN;
             UPDATE accounts SET balance = balance + {delta} WHERE aid = {aid};
             SELECT balance FROM accounts WHERE aid = {aid};
             UPDATE branches SET balance = balance + {delta} WHERE bid = {bid};
             INSERT INTO history (aid, delta, note) VALUES ({aid}, {delta}, 'transfer');
             COMMIT"
        ),
        10 | 11 => format!(
            "INSERT INTO counters VALUES ('c{}', 1) ON CONFLICT (name) DO UPDATE SET hits = counters.hits + 1",
            aid % 97
        ),
        12 => format!("INSERT INTO counters VALUES ('c{}', 1) ON CONFLICT DO NOTHING", aid % 193),
        13 => format!(
            "BEGIN;
             SELECT * FROM accounts WHERE aid IN ({aid}, {other}) ORDER BY aid FOR UPDATE;
             UPDATE accounts SET balance = balance + {delta} WHERE aid = {other};
             COMMIT"
        ),
        14 => format!(
            "BEGIN; SELECT * FROM accounts WHERE aid = {aid} FOR KEY SHARE;
             INSERT INTO orders (aid, amount, state) VALUES ({aid}, {delta}, 'new'); COMMIT"
        ),
        15 => format!(
            "UPDATE orders SET state = 'done', amount = amount + 1
             WHERE id = (SELECT id FROM orders WHERE aid >= {aid} ORDER BY aid LIMIT 1 FOR UPDATE SKIP LOCKED)"
        ),
        16 => format!(
            "BEGIN;
             UPDATE accounts SET filler = md5('{delta}') WHERE aid = {aid};
             SAVEPOINT a; UPDATE accounts SET balance = 0 WHERE aid = {aid}; ROLLBACK TO a;
             SAVEPOINT b; INSERT INTO history (aid, delta, note) VALUES ({aid}, 0, 'kept'); RELEASE b;
             COMMIT"
        ),
        17 => format!(
            "BEGIN; INSERT INTO history (aid, delta, note) VALUES ({aid}, {delta}, 'lost');
             UPDATE accounts SET balance = -1 WHERE aid = {aid}; ROLLBACK"
        ),
        18 => format!(
            "DELETE FROM history WHERE id IN (SELECT id FROM history WHERE aid = {aid} ORDER BY id LIMIT 3
             FOR UPDATE SKIP LOCKED)"
        ),
        _ => format!(
            // The key changes: not a HOT update.
            "UPDATE history SET aid = {other}, note = repeat('n', {}) WHERE id = {aid}",
            random.below(200)
        ),
    }
}
