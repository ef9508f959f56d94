//! Steps that are durable as a whole: the order of writes, syncs and renames is here and nowhere else.

use std::io;
use std::path::{Path, PathBuf};

use super::{Access, Storage, StorageFile};

/// What the name of a file that is being written ends with. Such files are strays after a crash.
pub const TEMP_SUFFIX: &str = ".tmp";

/// Makes a directory and its missing ancestors, all durable.
///
/// Those that exist are synced too: a process that was killed may have made them and no more.
///
/// # Errors
/// If a step fails; ancestors made before it stay.
pub fn create_dirs_durably(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    let mut dirs: Vec<&Path> = path.ancestors().collect();
    // The root is there, and comes last.
    dirs.pop();
    // From the root down, so that a parent is always durable before its child.
    for dir in dirs.into_iter().rev() {
        storage.create_dir_all(dir)?;
        storage.sync_dir(parent_of(dir))?;
    }
    Ok(())
}

/// Puts `bytes` in place of the file `path`, or makes it: after a crash at any point the old
/// content is there whole (or no file, if there was none), or the new; once this returns, the new.
///
/// # Errors
/// If a step fails. Old content is then still in place, or the new one is and may not be durable.
pub fn replace_file(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_file_with(storage, path, |file| file.write_all_at(bytes, 0))
}

/// As [`replace_file`], with what `fill` writes.
///
/// # Errors
/// As [`replace_file`], and if `fill` fails.
pub fn replace_file_with(
    storage: &dyn Storage,
    path: &Path,
    fill: impl FnOnce(&dyn StorageFile) -> io::Result<()>,
) -> io::Result<()> {
    let temp = temp_path(path);
    // Left over from an attempt that did not get to its rename.
    remove_if_there(storage, &temp)?;
    let file = storage.create(&temp)?;
    fill(&*file)?;
    // Content before name: otherwise the new name could come out of a crash empty.
    file.sync()?;
    storage.rename(&temp, path)?;
    storage.sync_dir(parent_of(path))
}

/// Removes a file, if there is one. Durable with the next sync of its directory.
///
/// # Errors
/// If the file system refuses.
pub fn remove_if_there(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    match storage.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads a file of at most `limit` bytes. A longer one gives its length instead of its content.
///
/// # Errors
/// If it cannot be opened or read.
pub fn read_whole(
    storage: &dyn Storage,
    path: &Path,
    limit: u64,
) -> io::Result<Result<Vec<u8>, u64>> {
    let file = storage.open(path, Access::Read)?;
    let len = file.len()?;
    match usize::try_from(len) {
        Ok(size) if len <= limit => {
            let mut bytes = vec![0; size];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(Ok(bytes))
        }
        _ => Ok(Err(len)),
    }
}

fn temp_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMP_SUFFIX);
    PathBuf::from(name)
}

fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}
