//! A disk in memory that keeps nothing it was not told to keep, and fails when it is told to.
//!
//! It serves tests: a program runs on it up to any operation, the power goes
//! ([`SimulatedDisk::crash`]) or the process dies ([`SimulatedDisk::kill`]), and the test looks at
//! what a restart finds. The model is stricter than most file systems, see `tree`.

mod faults;
mod rng;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::faults::{Faults, Verdict};
use self::tree::{NodeId, Tree};
use super::{
    Access, Entry, FatalHandler, LOCK_FILE, LockError, Storage, StorageFile, StoreLock,
    check_relative,
};

pub use rng::Rng;

/// A disk in memory. Clones are handles of the same disk.
///
/// Operations that change something (creations, writes, syncs, renames, removals) are numbered from
/// 1 in the order they come; [`SimulatedDisk::changes`] says how many there were. Faults are set by
/// those numbers.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    disk: Arc<Mutex<Disk>>,
    fatal: Option<Arc<dyn FatalHandler>>,
    locked: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Disk {
    tree: Tree,
    faults: Faults,
}

impl Default for SimulatedDisk {
    fn default() -> SimulatedDisk {
        SimulatedDisk::new()
    }
}

impl SimulatedDisk {
    /// An empty disk without faults. A failed sync is returned to its caller.
    pub fn new() -> SimulatedDisk {
        SimulatedDisk::of(Tree::default())
    }

    /// This disk, with a handler that is told of failed syncs.
    #[must_use]
    pub fn with_fatal_handler(mut self, fatal: Arc<dyn FatalHandler>) -> SimulatedDisk {
        self.fatal = Some(fatal);
        self
    }

    /// What the disk holds after the power went now: what was synced, and of what was not, a choice
    /// that `seed` makes. The result is another disk, without faults, on which all of it is durable;
    /// this one stays as it is, so that many seeds can be tried on one state.
    #[must_use]
    pub fn crash(&self, seed: u64) -> SimulatedDisk {
        SimulatedDisk::of(self.state().tree.crash(&mut Rng::new(seed)))
    }

    /// What a new process finds after this one was killed now: everything that was written, synced
    /// or not. The result is another disk, without faults; what was not synced still is not.
    #[must_use]
    pub fn kill(&self) -> SimulatedDisk {
        SimulatedDisk::of(self.state().tree.clone())
    }

    /// Operations so far that changed something, or tried to.
    pub fn changes(&self) -> u64 {
        self.state().faults.changes()
    }

    /// Reads so far (of files, directories and lengths).
    pub fn reads(&self) -> u64 {
        self.state().faults.reads()
    }

    /// From change number `change` on every operation fails, reads too: the process is dead and only
    /// does not know. If that change is a write, a part of it still happens.
    pub fn stop_at(&self, change: u64) {
        self.state().faults.stop_at(change);
    }

    /// Change number `change` fails with this error of the operating system, and has no effect. A
    /// sync that fails so has lost the writes that it was for.
    pub fn fail_change(&self, change: u64, os_error: i32) {
        self.state().faults.fail_change(change, os_error);
    }

    /// Read number `read` fails with this error of the operating system.
    pub fn fail_read(&self, read: u64, os_error: i32) {
        self.state().faults.fail_read(read, os_error);
    }

    /// Files may hold this many bytes in all; what would exceed it fails with ENOSPC after as much as
    /// fits was written. None lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().faults.set_capacity(bytes);
    }

    /// Bytes in all files that have a name.
    pub fn used(&self) -> u64 {
        self.state().tree.used()
    }

    /// Syncs of files do nothing from now on, and say that they succeeded.
    pub fn ignore_file_syncs(&self) {
        self.state().faults.ignore_file_syncs();
    }

    /// Syncs of directories do nothing from now on, and say that they succeeded.
    pub fn ignore_dir_syncs(&self) {
        self.state().faults.ignore_dir_syncs();
    }

    /// Inverts one bit of a file, behind the back of whoever has it open; durably.
    ///
    /// # Errors
    /// If there is no such file, or it is too short.
    pub fn flip_bit(&self, path: &Path, byte: u64, bit: u8) -> io::Result<()> {
        check_relative(path)?;
        let tree = &mut self.state().tree;
        let node = tree.find(path)?;
        tree.flip_bit(node, byte, bit)
    }

    fn of(tree: Tree) -> SimulatedDisk {
        SimulatedDisk {
            disk: Arc::new(Mutex::new(Disk {
                tree,
                faults: Faults::default(),
            })),
            fatal: None,
            locked: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, Disk> {
        // A test that panicked in another thread has its own report; the state stays usable.
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a change that is not a write and is not a sync, then makes it.
    fn change<T>(
        &self,
        path: &Path,
        make: impl FnOnce(&mut Tree) -> io::Result<T>,
    ) -> io::Result<T> {
        check_relative(path)?;
        let disk = &mut *self.state();
        match disk.faults.change() {
            Verdict::Go => make(&mut disk.tree),
            Verdict::Stop | Verdict::Dead => Err(faults::stopped()),
            Verdict::Fail(error) => Err(error),
        }
    }

    fn read<T>(&self, path: &Path, read: impl FnOnce(&Tree) -> io::Result<T>) -> io::Result<T> {
        check_relative(path)?;
        let disk = &mut *self.state();
        disk.faults.read()?;
        read(&disk.tree)
    }

    /// Syncs a file or directory, and tells the handler if that fails while the process lives.
    fn sync(&self, path: &Path, node: impl FnOnce(&Tree) -> io::Result<NodeId>) -> io::Result<()> {
        let error = {
            let disk = &mut *self.state();
            let verdict = disk.faults.change();
            let node = node(&disk.tree)?;
            match verdict {
                Verdict::Go if disk.faults.ignores_sync(disk.tree.is_dir(node)) => return Ok(()),
                Verdict::Go => {
                    disk.tree.sync(node);
                    return Ok(());
                }
                Verdict::Stop | Verdict::Dead => return Err(faults::stopped()),
                Verdict::Fail(error) => {
                    disk.tree.lose_unsynced(node);
                    error
                }
            }
        };
        if let Some(fatal) = &self.fatal {
            fatal.sync_failed(path, &error);
        }
        Err(error)
    }

    fn file(&self, path: &Path, node: NodeId, access: Access) -> Arc<dyn StorageFile> {
        Arc::new(SimulatedFile {
            disk: self.clone(),
            path: path.to_owned(),
            node,
            access,
        })
    }
}

impl Storage for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let full = self.state().is_full();
        let node = self.change(path, |tree| {
            if full {
                return Err(faults::no_space());
            }
            tree.create_file(path)
        })?;
        Ok(self.file(path, node, Access::ReadWrite))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let node = self.read(path, |tree| tree.find_file(path))?;
        Ok(self.file(path, node, access))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        check_relative(to)?;
        self.change(from, |tree| tree.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change(path, |tree| tree.remove_file(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.change(path, |tree| tree.remove_dir_all(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.change(path, |tree| tree.create_dir_all(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        check_relative(path)?;
        self.sync(path, |tree| tree.find_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.read(path, |tree| tree.list(path))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.read(path, |tree| Ok(tree.find(path).is_ok()))
    }

    fn lock(&self) -> Result<StoreLock, LockError> {
        let path = PathBuf::from(LOCK_FILE);
        if self.locked.swap(true, Ordering::AcqRel) {
            return Err(LockError::Held { path, holder: None });
        }
        Ok(StoreLock::new(Unlock(Arc::clone(&self.locked))))
    }
}

impl Disk {
    fn is_full(&self) -> bool {
        self.room() == Some(0)
    }

    /// Bytes that still fit, if there is a limit.
    fn room(&self) -> Option<u64> {
        let capacity = self.faults.capacity()?;
        Some(capacity.saturating_sub(self.tree.used()))
    }

    /// Writes what the faults let through.
    fn write(&mut self, node: NodeId, buf: &[u8], offset: u64) -> io::Result<()> {
        let (part, error) = match self.faults.change() {
            Verdict::Go => (buf.len(), None),
            // How much of it happens is as good as random, and the same in every run.
            Verdict::Stop => {
                let kept = Rng::new(offset ^ buf.len() as u64).between(0, buf.len() as u64);
                (kept as usize, Some(faults::stopped()))
            }
            Verdict::Dead => return Err(faults::stopped()),
            Verdict::Fail(error) => return Err(error),
        };
        let end = offset + part as u64;
        let growth = end.saturating_sub(self.tree.file_len(node));
        let excess = self.room().map_or(0, |room| growth.saturating_sub(room));
        let fits = part.saturating_sub(excess as usize);
        if fits > 0 {
            self.tree.write(node, &buf[..fits], offset);
        }
        match error {
            Some(error) => Err(error),
            None if fits < buf.len() => Err(faults::no_space()),
            None => Ok(()),
        }
    }
}

/// Releases the lock of a simulated store when dropped.
struct Unlock(Arc<AtomicBool>);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    path: PathBuf,
    node: NodeId,
    access: Access,
}

impl SimulatedFile {
    fn check_writable(&self) -> io::Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::Read => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }
}

impl fmt::Debug for SimulatedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimulatedFile").field(&self.path).finish()
    }
}

impl StorageFile for SimulatedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk
            .read(&self.path, |tree| Ok(tree.read(self.node, buf, offset)))
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        self.disk.state().write(self.node, buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.disk
            .read(&self.path, |tree| Ok(tree.file_len(self.node)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let growth = len.saturating_sub(self.len()?);
        let room = self.disk.state().room();
        self.disk.change(&self.path, |tree| {
            if room.is_some_and(|room| growth > room) {
                return Err(faults::no_space());
            }
            tree.set_len(self.node, len);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync(&self.path, |_| Ok(self.node))
    }
}
