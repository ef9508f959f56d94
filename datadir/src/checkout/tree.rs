//! The directories that a checkout writes: claimed only if empty, private to their owner, durable at the
//! end, and removed again if the end is not reached.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::error::CheckoutError;
use super::sync::sync_tree;

/// What the server itself gives its directories and files (`PG_DIR_MODE_OWNER`, `PG_FILE_MODE_OWNER` in
/// common/file_perm.h); it refuses a data directory open to others.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A data directory being written, and the tablespaces outside of it. Paths given are below the former.
pub(crate) struct Tree<'a> {
    claimed: Vec<Claimed>,
    bytes: u64,
    files: u64,
    progress: &'a mut dyn FnMut(u64),
    /// Keeps what was written when the value goes.
    complete: bool,
}

/// A directory that was missing or empty.
struct Claimed {
    path: PathBuf,
    made: bool,
}

impl<'a> Tree<'a> {
    /// Claims the data directory, making it and those above it if need be.
    pub(crate) fn create(
        root: &Path,
        progress: &'a mut dyn FnMut(u64),
    ) -> Result<Tree<'a>, CheckoutError> {
        let mut tree = Tree {
            claimed: Vec::new(),
            bytes: 0,
            files: 0,
            progress,
            complete: false,
        };
        tree.claim(root)?;
        Ok(tree)
    }

    /// Claims a directory that must be missing or empty.
    pub(crate) fn claim(&mut self, path: &Path) -> Result<(), CheckoutError> {
        let write = || CheckoutError::write(path);
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(write())?;
        }
        let made = match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let empty = path.is_dir() && fs::read_dir(path).map_err(write())?.next().is_none();
                if !empty {
                    return Err(CheckoutError::NotEmpty(path.to_owned()));
                }
                let mode = fs::Permissions::from_mode(DIRECTORY_MODE);
                fs::set_permissions(path, mode).map_err(write())?;
                false
            }
            Err(error) => return Err(write()(error)),
        };
        self.claimed.push(Claimed {
            path: path.to_owned(),
            made,
        });
        Ok(())
    }

    /// The file or directory of this name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.claimed[0].path.join(name)
    }

    /// Makes a directory, and those above it, if it is not there yet.
    pub(crate) fn directory(&self, name: &str) -> Result<(), CheckoutError> {
        let path = self.path(name);
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(&path)
            .map_err(CheckoutError::write(&path))
    }

    /// Makes a symbolic link.
    pub(crate) fn link(&self, name: &str, target: &Path) -> Result<(), CheckoutError> {
        let path = self.path(name);
        symlink(target, &path).map_err(CheckoutError::write(&path))
    }

    /// Makes a file, empty as yet.
    pub(crate) fn create_file(&mut self, name: &str) -> Result<OutFile, CheckoutError> {
        let path = self.path(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(CheckoutError::write(&path))?;
        self.files += 1;
        Ok(OutFile { file, path })
    }

    /// Opens a file made before.
    pub(crate) fn reopen_file(&self, name: &str) -> Result<OutFile, CheckoutError> {
        let path = self.path(name);
        let file = OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(CheckoutError::write(&path))?;
        Ok(OutFile { file, path })
    }

    /// Writes a whole file.
    pub(crate) fn write_file(&mut self, name: &str, content: &[u8]) -> Result<(), CheckoutError> {
        let file = self.create_file(name)?;
        file.write_at(0, content).map_err(file.failed())?;
        self.wrote(content.len() as u64);
        Ok(())
    }

    /// Notes bytes written to a file.
    pub(crate) fn wrote(&mut self, bytes: u64) {
        self.bytes += bytes;
        (self.progress)(self.bytes);
    }

    /// Writes `name`, the file without which the server does not start; what was written stays from here
    /// on. Before that (and with it, at the end) all is made durable, if `sync` says so.
    pub(crate) fn finish(
        mut self,
        name: &str,
        content: &[u8],
        sync: bool,
    ) -> Result<(u64, u64), CheckoutError> {
        if sync {
            for claimed in &self.claimed {
                sync_tree(&claimed.path)?;
                sync_parent(&claimed.path)?;
            }
        }
        self.write_file(name, content)?;
        if sync {
            let path = self.path(name);
            sync_path(&path)?;
            sync_parent(&path)?;
        }
        self.complete = true;
        Ok((self.bytes, self.files))
    }
}

impl Drop for Tree<'_> {
    fn drop(&mut self) {
        if self.complete {
            return;
        }
        // The error that led here is the one to report; what cannot be removed stays without `pg_control`.
        for claimed in self.claimed.iter().rev() {
            _ = match claimed.made {
                true => fs::remove_dir_all(&claimed.path),
                false => remove_content(&claimed.path),
            };
        }
    }
}

/// A file being written.
pub(crate) struct OutFile {
    file: File,
    path: PathBuf,
}

impl OutFile {
    /// Writes at a place in it.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Makes it this long; what was not written is zero.
    pub(crate) fn set_length(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    /// The error of writing to it.
    pub(crate) fn failed(&self) -> impl FnOnce(io::Error) -> CheckoutError {
        CheckoutError::write(&self.path)
    }
}

/// Makes a file or directory durable.
pub(super) fn sync_path(path: &Path) -> Result<(), CheckoutError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(CheckoutError::write(path))
}

/// Makes the directory durable in which `path` lies.
fn sync_parent(path: &Path) -> Result<(), CheckoutError> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_path(Path::new(".")),
        Some(parent) => sync_path(parent),
        None => Ok(()),
    }
}

fn remove_content(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
