//! Makes a whole directory tree durable. A sync waits for the disk, and a data directory has a thousand
//! files and more: several threads wait at a time, and the file system commits their files together.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use super::error::CheckoutError;
use super::tree::sync_path;

/// Syncs under way at a time. They wait rather than compute.
const THREADS: usize = 16;

/// Syncs every file and directory from `root` on down. Symbolic links are not followed.
pub(super) fn sync_tree(root: &Path) -> Result<(), CheckoutError> {
    let walk = Mutex::new(Walk {
        pending: vec![root.to_owned()],
        listing: 0,
        failed: None,
    });
    let listed = std::sync::Condvar::new();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(path) = next(&walk, &listed) {
                    let found = children(&path).and_then(|found| {
                        sync_path(&path)?;
                        Ok(found)
                    });
                    let mut walk = lock(&walk);
                    walk.listing -= 1;
                    match found {
                        Ok(found) => walk.pending.extend(found),
                        Err(error) => walk.failed = Some(error),
                    }
                    listed.notify_all();
                }
            });
        }
    });
    let failed = lock(&walk).failed.take();
    failed.map_or(Ok(()), Err)
}

struct Walk {
    /// Found and not yet synced.
    pending: Vec<PathBuf>,
    /// Being synced: more may be found below them.
    listing: usize,
    failed: Option<CheckoutError>,
}

fn lock<'a>(walk: &'a Mutex<Walk>) -> std::sync::MutexGuard<'a, Walk> {
    walk.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The next file or directory; none if there are no more, or one failed.
fn next(walk: &Mutex<Walk>, listed: &std::sync::Condvar) -> Option<PathBuf> {
    let mut walk = lock(walk);
    loop {
        if walk.failed.is_some() {
            return None;
        }
        if let Some(path) = walk.pending.pop() {
            walk.listing += 1;
            return Some(path);
        }
        if walk.listing == 0 {
            return None;
        }
        walk = listed
            .wait(walk)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
    }
}

/// What is in a directory, links left out; nothing in a file.
fn children(path: &Path) -> Result<Vec<PathBuf>, CheckoutError> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        if !path.symlink_metadata()?.is_dir() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if !entry.file_type()?.is_symlink() {
                found.push(entry.path());
            }
        }
        Ok(found)
    };
    read().map_err(CheckoutError::write(path))
}
