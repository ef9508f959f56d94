//! A copy on disk of an archive that somebody else reads: the tar files that `pg_basebackup -Ft`
//! would write.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::{Archive, BackupError};

/// Reads an archive and writes what it reads to `DIRECTORY/base.tar`, `DIRECTORY/OID.tar` or
/// `DIRECTORY/backup_manifest`.
///
/// The file has its name only after [`Tee::finish`], which makes it durable; until then it ends in
/// `.partial`.
#[derive(Debug)]
pub struct Tee<'a> {
    archive: Archive<'a>,
    file: File,
    partial: PathBuf,
    path: PathBuf,
}

impl<'a> Tee<'a> {
    /// Creates the file, replacing what an earlier attempt left.
    ///
    /// # Errors
    /// If that fails.
    pub fn create(directory: &Path, archive: Archive<'a>) -> Result<Tee<'a>, BackupError> {
        let path = directory.join(archive.kind().file_name());
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).map_err(|source| BackupError::Write {
            path: partial.clone(),
            source,
        })?;
        Ok(Tee {
            archive,
            file,
            partial,
            path,
        })
    }

    /// Copies what the reader left, and makes the file durable under its name, which is returned.
    ///
    /// # Errors
    /// If the archive cannot be read to its end, or the file not be written.
    pub fn finish(mut self) -> Result<PathBuf, BackupError> {
        let written = io::copy(&mut self, &mut io::sink())
            .and_then(|_| self.file.sync_all())
            .and_then(|()| fs::rename(&self.partial, &self.path))
            .and_then(|()| match self.path.parent() {
                Some(directory) => File::open(directory)?.sync_all(),
                None => Ok(()),
            });
        match written {
            Ok(()) => Ok(self.path),
            Err(source) => Err(match source.downcast::<BackupError>() {
                Ok(error) => error,
                Err(source) => BackupError::Write {
                    path: self.path,
                    source,
                },
            }),
        }
    }
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.archive.read(buffer)?;
        self.file.write_all(&buffer[..count])?;
        Ok(count)
    }
}
