//! The commands that are asked and answered: import, status, page get and history, lsn, time, checkpoint,
//! compact, gc, timeline, verify, checkout, walverify.

mod checkout;
mod client;
mod import;
mod maintain;
mod page;
mod past;
mod status;
mod walverify;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use pagecache::storage::LocalStorage;
use pagecache::{Store, StoreConfig, Timeline};
use slog::Logger;

use crate::follow::EXAMINE_LIMIT;

pub use checkout::checkout;
pub use import::import;
pub use maintain::{
    compact, gc, timeline_branch, timeline_delete, timeline_follow, timeline_lease, timeline_list,
    timeline_unfollow,
};
pub use page::page_get;
pub use past::{checkpoint, lsn, page_history, time, verify};
pub use status::status;
pub use walverify::walverify;

/// Opens the store in a directory that no server uses.
fn open_offline(dir: &Path, log: &Logger) -> Result<Store> {
    let storage = LocalStorage::new(dir).with_context(|| format!("opening {}", dir.display()))?;
    Ok(Store::open(
        Arc::new(storage),
        StoreConfig::default(),
        log.clone(),
    )?)
}

/// A timeline of a store that was just opened, once everything on disk is indexed.
fn settled(store: &Store, name: &str) -> Result<Timeline> {
    let timeline = store.timeline(None, name)?;
    timeline.wait_examined(EXAMINE_LIMIT)?;
    Ok(timeline)
}

/// A line of a command's answer.
#[expect(clippy::print_stdout, reason = "this is the command's output")]
fn answer(line: &str) {
    println!("{line}");
}
