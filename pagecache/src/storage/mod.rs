//! The file-system seam: every file access of the store goes through [`Storage`].
//!
//! [`LocalStorage`] is the real thing; [`SimulatedDisk`] stands in for it in tests and loses at a
//! crash what was not synced. The helpers here are the only places that know in which order to
//! sync so that a new directory or a replaced file survives.

mod durable;
mod fatal;
mod local;
mod simulated;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

pub use durable::{
    TEMP_SUFFIX, create_dirs_durably, read_whole, remove_if_there, replace_file, replace_file_with,
};
pub use fatal::{AbortProcess, FatalHandler};
pub use local::LocalStorage;
pub use simulated::{Rng, SimulatedDisk};

/// The name of the lock file in the root of a store.
pub const LOCK_FILE: &str = "lock";

/// A directory tree that holds a store.
///
/// All paths are relative to its root (the empty path) and have only plain components; any other
/// path is refused with [`io::ErrorKind::InvalidInput`].
///
/// What survives a crash: the content of a file up to its last [`StorageFile::sync`], and the names
/// in a directory up to its last [`Storage::sync_dir`]. Neither implies the other: a new file needs
/// both, and a new directory needs a sync of its parent.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Makes a new, empty file, open for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is an entry of that name.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;

    /// Opens a file that exists.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>>;

    /// Gives a file or directory another name; a file of that name is replaced in the same step.
    ///
    /// # Errors
    /// If `from` does not exist, or the file system refuses.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Handles that are open keep working.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with everything below it.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none. It may then be gone in part.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory and whichever of its ancestors are missing; none of them durable yet
    /// (see [`create_dirs_durably`]).
    ///
    /// # Errors
    /// If an entry on the way is a file, or the file system refuses.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable: creations, renames and removals so far.
    ///
    /// # Errors
    /// As [`StorageFile::sync`]: a failure has gone to the [`FatalHandler`] first.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// What is in a directory, sorted by name.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no such directory.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Whether a file or directory of that name exists.
    ///
    /// # Errors
    /// If the file system cannot tell.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Takes the store for this process, until the guard is dropped or the process ends.
    ///
    /// # Errors
    /// [`LockError::Held`] if another process (or another guard in this one) has it.
    fn lock(&self) -> Result<StoreLock, LockError>;
}

/// An open file. Reads and writes carry their position; any number of threads may use it at once.
pub trait StorageFile: Send + Sync + fmt::Debug {
    /// Reads at `offset`; fewer bytes than `buf` holds only at the end of the file.
    ///
    /// # Errors
    /// If the file system refuses.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Fills `buf` from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if the file is too short.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if self.read_at(buf, offset)? == buf.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Writes all of `buf` at `offset`; a gap before it reads as zeros.
    ///
    /// # Errors
    /// If the file system refuses (a full disk, say). A part of `buf` may then have been written.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// If the file system cannot tell.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    ///
    /// # Errors
    /// If the file system cannot tell.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// If the file system refuses.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes content and length durable (`fdatasync`), not the file's name.
    ///
    /// # Errors
    /// A failure has gone to the [`FatalHandler`] first, which as a rule ends the process. If it
    /// did not, nothing written to this file since its last sync may be relied on, and a later
    /// sync that succeeds does not change that: the kernel reports a lost write once.
    fn sync(&self) -> io::Result<()>;

    /// Tells the file system that nobody will read what is durable of the file soon: the memory that caches it may
    /// go to others. A hint, on which nothing but the time of reads depends.
    fn uncache(&self) {}
}

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// One entry of a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry {
    /// Its name, without the directory. The store's own names are ASCII; strays may be anything.
    pub name: OsString,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Bytes of the file; of a directory, zero.
    pub len: u64,
}

/// Holds the store for this process; released on drop.
pub struct StoreLock {
    _guard: Box<dyn Send + Sync>,
}

impl StoreLock {
    fn new(guard: impl Send + Sync + 'static) -> StoreLock {
        StoreLock {
            _guard: Box::new(guard),
        }
    }
}

impl fmt::Debug for StoreLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreLock")
    }
}

/// The store cannot be taken for this process.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is held by {}", .path.display(), Holder(*.holder))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The process that wrote its id into the lock file, if it is readable.
        holder: Option<u32>,
    },
    /// The lock file cannot be made, opened or written.
    #[error("cannot lock {}", .path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Prints who holds a lock.
struct Holder(Option<u32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

/// Checks that a path stays below the root: plain components only, or none.
fn check_relative(path: &Path) -> io::Result<()> {
    let plain = |component| matches!(component, Component::Normal(_));
    if path.components().all(plain) {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is not a path inside the store", path.display()),
        ))
    }
}
