//! Whole-system tests of the page server against real PostgreSQL.
//!
//! The tests are in `tests/all`, one module for each guarantee. Here is what they share:
//!
//! - [`Scene`] is a primary with its archive, a workload, and the comparison with stock recovery;
//! - [`Daemon`] starts the real `pageserver` process, which [`PageServer`] then kills, stops and listens to;
//! - [`Proxy`] stands between a page server and its primary and does harm;
//! - [`Load`] is a stream of commits that goes on through restarts.

mod load;
mod log;
mod process;
mod proxy;
mod scene;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use pagecache::storage::LocalStorage;
use pagecache::{Store, StoreConfig};

pub use load::Load;
pub use log::{LogLine, LogLines, logger};
pub use process::{Daemon, PageServer};
pub use proxy::{Fault, Harm, Proxy, Traffic};
pub use scene::{Busy, Figures, Floors, Scene, Truths, must_equal, random_seed};

/// The slot that a page server makes for the timeline `main`.
pub const SLOT: &str = "zenith_main";

/// How long anything may take that a test waits for. Only a hang is an error.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Opens a store in a directory.
///
/// # Errors
/// If it cannot be opened.
pub fn open_store(dir: &Path, config: StoreConfig) -> Result<Store> {
    let storage = Arc::new(LocalStorage::new(dir)?);
    Ok(Store::open(storage, config, logger())?)
}

/// Looks at `condition` until it gives a value.
///
/// # Errors
/// After [`PATIENCE`], or when the condition fails.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if begin.elapsed() > PATIENCE {
            bail!("waited {} s for {what}", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
