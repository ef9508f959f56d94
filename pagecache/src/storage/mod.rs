//! The file-system seam: every file access of the store goes through it.

use std::fmt;
use std::io;

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
    /// A failure has gone to the fatal handler first, which as a rule ends the process. If it
    /// did not, nothing written to this file since its last sync may be relied on, and a later
    /// sync that succeeds does not change that: the kernel reports a lost write once.
    fn sync(&self) -> io::Result<()>;
}
