//! A store in a directory of this machine.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, fadvise};

use super::{
    AbortProcess, Access, Entry, FatalHandler, LOCK_FILE, LockError, Storage, StorageFile,
    StoreLock, check_relative,
};

/// Longest text of a process id that is looked for in a lock file.
const PID_TEXT_LIMIT: usize = 16;

/// Files of the operating system, with positioned reads and writes.
#[derive(Clone, Debug)]
pub struct LocalStorage {
    root: PathBuf,
    fatal: Arc<dyn FatalHandler>,
}

impl LocalStorage {
    /// The store in the directory `root`, which is made (durably) if it does not exist. A failed sync
    /// aborts the process.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<LocalStorage> {
        LocalStorage::with_fatal_handler(root, Arc::new(AbortProcess))
    }

    /// As [`LocalStorage::new`], with another reaction to a failed sync.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn with_fatal_handler(
        root: impl Into<PathBuf>,
        fatal: Arc<dyn FatalHandler>,
    ) -> io::Result<LocalStorage> {
        let root = root.into();
        let mut missing = Vec::new();
        for dir in root.ancestors().filter(|dir| !dir.as_os_str().is_empty()) {
            if dir.try_exists()? {
                break;
            }
            missing.push(dir);
        }
        fs::create_dir_all(&root)?;
        for made in missing {
            let parent = made.parent().filter(|dir| !dir.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(LocalStorage { root, fatal })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        check_relative(path)?;
        Ok(self.root.join(path))
    }

    fn file(&self, file: File, path: PathBuf) -> Arc<dyn StorageFile> {
        Arc::new(LocalFile {
            file,
            path,
            fatal: Arc::clone(&self.fatal),
        })
    }
}

impl Storage for LocalStorage {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let path = self.resolve(path)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(self.file(file, path))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let path = self.resolve(path)?;
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::ReadWrite)
            .open(&path)?;
        Ok(self.file(file, path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.resolve(from)?, self.resolve(to)?)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.resolve(path)?)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(self.resolve(path)?)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(self.resolve(path)?)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = self.resolve(path)?;
        let dir = File::open(&path)?;
        dir.sync_all()
            .inspect_err(|error| self.fatal.sync_failed(&path, error))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.resolve(path)?)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let is_dir = metadata.is_dir();
            entries.push(Entry {
                name: entry.file_name(),
                is_dir,
                len: if is_dir { 0 } else { metadata.len() },
            });
        }
        entries.sort();
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.resolve(path)?.try_exists()
    }

    fn lock(&self) -> Result<StoreLock, LockError> {
        let path = self.root.join(LOCK_FILE);
        let io_error = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error)?;
        if !flock_exclusive(&file).map_err(io_error)? {
            return Err(LockError::Held {
                holder: read_pid(&file),
                path,
            });
        }
        // The lock is the flock, not the text: the text only tells a person whom to look for.
        file.set_len(0).map_err(io_error)?;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)
            .map_err(io_error)?;
        Ok(StoreLock::new(file))
    }
}

/// Takes an exclusive `flock`, which ends with the file handle; false if somebody has it.
fn flock_exclusive(file: &File) -> io::Result<bool> {
    // SAFETY: flock takes a descriptor and flags and touches no memory; `file` keeps the
    // descriptor open during the call.
    let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if result == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::WouldBlock {
        Ok(false)
    } else {
        Err(error)
    }
}

fn read_pid(file: &File) -> Option<u32> {
    let mut text = [0; PID_TEXT_LIMIT];
    let length = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length])
        .ok()?
        .trim()
        .parse()
        .ok()
}

#[derive(Debug)]
struct LocalFile {
    file: File,
    path: PathBuf,
    fatal: Arc<dyn FatalHandler>,
}

impl StorageFile for LocalFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self
                .file
                .read_at(&mut buf[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file
            .sync_data()
            .inspect_err(|error| self.fatal.sync_failed(&self.path, error))
    }

    fn uncache(&self) {
        // A file system that does not take hints keeps it.
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
    }
}
