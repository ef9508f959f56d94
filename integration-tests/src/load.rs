//! Small commits, one after the other, that go on through restarts of the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use postgres::Client;
use stockpg::ServerAddress;

/// Inserts the rows 1, 2, 3, ... into the table `load`, each in a transaction of its own, in order.
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicI64>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Makes the table, and starts.
    ///
    /// # Errors
    /// If the table cannot be made.
    pub fn start(server: &ServerAddress) -> Result<Load> {
        server.client("postgres")?.batch_execute(
            "CREATE TABLE load (id bigint PRIMARY KEY, filler text);
             CREATE TABLE load_state (id int PRIMARY KEY, last bigint);
             INSERT INTO load_state VALUES (1, 0)",
        )?;
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicI64::new(0));
        let (address, ended, last) = (server.clone(), Arc::clone(&stop), Arc::clone(&acknowledged));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                // A server that is down, or goes down: try again until it is back.
                if let Ok(mut client) = address.client("postgres") {
                    let _ = insert(&mut client, &ended, &last);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Ok(Load {
            stop,
            acknowledged,
            thread: Some(thread),
        })
    }

    /// The last row whose commit returned: all up to it did.
    pub fn acknowledged(&self) -> i64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Stops it. A commit that waits for a standby has to be released first.
    ///
    /// # Errors
    /// If it panicked.
    pub fn stop(mut self) -> Result<i64> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("stopped once")?;
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("the load panicked"))?;
        Ok(self.acknowledged())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Not joined: it may wait for a standby that does not come back. It ends with its server.
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn insert(client: &mut Client, ended: &AtomicBool, last: &AtomicI64) -> Result<()> {
    // A commit that was not acknowledged may be there all the same.
    let row = client.query_one("SELECT coalesce(max(id), 0) FROM load", &[])?;
    let mut id: i64 = row.get(0);
    while !ended.load(Ordering::Relaxed) {
        id += 1;
        client.execute(
            "WITH row AS (INSERT INTO load VALUES ($1, repeat(md5($1::text), 8)) RETURNING id)
             UPDATE load_state SET last = (SELECT id FROM row)",
            &[&id],
        )?;
        last.store(id, Ordering::SeqCst);
    }
    Ok(())
}
