//! Consecutive segment files as one stretch of WAL.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use walrecord::{LONG_PAGE_HEADER_SIZE, Lsn, PageHeader};

/// Bytes of a segment, as `initdb` chooses if not asked otherwise.
pub(super) const SEGMENT: u64 = 16 << 20;

/// Open segment files.
pub(super) struct WalFiles {
    start: Lsn,
    files: Vec<File>,
}

impl WalFiles {
    /// Opens files that follow one another.
    ///
    /// # Errors
    /// If there is none, or one cannot be read.
    pub(super) fn open(paths: &[PathBuf]) -> Result<WalFiles> {
        let files = paths
            .iter()
            .map(|path| File::open(path).with_context(|| format!("opening {}", path.display())))
            .collect::<Result<Vec<_>>>()?;
        let first = files.first().context("no segment files")?;
        let mut header = [0; LONG_PAGE_HEADER_SIZE];
        first.read_exact_at(&mut header, 0)?;
        let start = PageHeader::parse(&header)?.address;
        Ok(WalFiles { start, files })
    }

    /// Reads from one file what stands at `lsn`; nothing behind the last.
    ///
    /// # Errors
    /// If it lies before the first file, or reading fails.
    pub(super) fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> Result<usize> {
        ensure!(lsn >= self.start, "{lsn} lies before {}", self.start);
        let offset = lsn.saturating_sub(self.start);
        match self.files.get((offset / SEGMENT) as usize) {
            Some(file) => Ok(file.read_at(buf, offset % SEGMENT)?),
            None => Ok(0),
        }
    }
}
