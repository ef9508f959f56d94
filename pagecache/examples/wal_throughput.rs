//! How fast WAL becomes durable: the store against a bare file, on the disk of a given directory.
//!
//! `cargo run --release -p pagecache --example wal_throughput -- DIR`
//!
//! Three writers take the same bytes in turns, five times; medians are printed in MB/s. `padded` does
//! what `pg_receivewal --synchronous` does: segments filled with zeros first, every chunk synced.
//! `store` appends and syncs every chunk. `store, two threads` syncs in a thread of its own while
//! appends go on, as the page server does.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use pagecache::storage::LocalStorage;
use pagecache::{HistoryEntry, WalStore};
use walrecord::Lsn;

const SEGMENT: u64 = 16 << 20;
const START: Lsn = Lsn::new(SEGMENT);
const ROUNDS: usize = 5;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Writer = fn(&Path, &[u8], u64) -> Result<()>;

fn main() -> Result<()> {
    let dir = std::env::args().nth(1).ok_or("usage: wal_throughput DIR")?;
    let writers: [(&str, Writer); 3] = [
        ("padded", padded),
        ("store", store),
        ("store, two threads", store_two_threads),
    ];
    for (chunk, total) in [
        (8 << 10, 4 << 20),
        (128 << 10, 64 << 20),
        (1 << 20, 256 << 20),
    ] {
        let bytes: Vec<u8> = (0..chunk).map(|i| (i * 7 + i / 251) as u8).collect();
        let mut rates = vec![Vec::new(); writers.len()];
        for _ in 0..ROUNDS {
            for (index, (_, write)) in writers.iter().enumerate() {
                let place = Path::new(&dir).join("wal_throughput");
                fs::create_dir_all(&place)?;
                let begin = Instant::now();
                write(&place, &bytes, total)?;
                rates[index].push(total as f64 / 1e6 / begin.elapsed().as_secs_f64());
                fs::remove_dir_all(&place)?;
            }
        }
        for ((name, _), rates) in writers.iter().zip(&mut rates) {
            rates.sort_by(f64::total_cmp);
            println!(
                "{:>5} KiB  {name:<20} {:>7.1} MB/s",
                chunk >> 10,
                rates[ROUNDS / 2]
            );
        }
    }
    Ok(())
}

fn padded(dir: &Path, chunk: &[u8], total: u64) -> Result<()> {
    let mut file = None;
    for at in (0..total).step_by(chunk.len()) {
        if at % SEGMENT == 0 {
            let new = File::create_new(dir.join(format!("{:08X}", at / SEGMENT)))?;
            let zeros = vec![0; 1 << 20];
            for offset in (0..SEGMENT).step_by(zeros.len()) {
                new.write_all_at(&zeros, offset)?;
            }
            new.sync_all()?;
            File::open(dir)?.sync_all()?;
            file = Some(new);
        }
        let file = file.as_ref().ok_or("no file")?;
        file.write_all_at(chunk, at % SEGMENT)?;
        file.sync_data()?;
    }
    Ok(())
}

fn open(dir: &Path) -> Result<WalStore> {
    let storage = Arc::new(LocalStorage::new(dir)?);
    Ok(WalStore::open(
        storage,
        Path::new("wal"),
        SEGMENT as u32,
        &[HistoryEntry {
            timeline: 1,
            start: START,
        }],
        START,
    )?)
}

fn store(dir: &Path, chunk: &[u8], total: u64) -> Result<()> {
    let wal = open(dir)?;
    while wal.end() < START + total {
        wal.append(wal.end(), chunk)?;
        wal.sync()?;
    }
    Ok(())
}

fn store_two_threads(dir: &Path, chunk: &[u8], total: u64) -> Result<()> {
    let wal = open(dir)?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let syncing = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                wal.sync()?;
            }
            wal.sync()
        });
        while wal.end() < START + total {
            wal.append(wal.end(), chunk)?;
        }
        done.store(true, Ordering::Release);
        syncing
            .join()
            .map_err(|_| "the syncing thread panicked")??;
        Ok(())
    })
}
