//! Which operation of a simulated disk fails, and how.

use std::collections::BTreeMap;
use std::io;

/// What becomes of a change.
pub(super) enum Verdict {
    /// It is made.
    Go,
    /// The process dies in the middle of it.
    Stop,
    /// The process died before.
    Dead,
    /// It fails.
    Fail(io::Error),
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    changes: u64,
    reads: u64,
    stop_at: Option<u64>,
    failing_changes: BTreeMap<u64, i32>,
    failing_reads: BTreeMap<u64, i32>,
    capacity: Option<u64>,
    file_syncs_ignored: bool,
    dir_syncs_ignored: bool,
}

impl Faults {
    /// Counts a change and decides about it.
    pub(super) fn change(&mut self) -> Verdict {
        self.changes += 1;
        match self.stop_at {
            Some(stop) if self.changes == stop => return Verdict::Stop,
            Some(stop) if self.changes > stop => return Verdict::Dead,
            _ => {}
        }
        match self.failing_changes.remove(&self.changes) {
            Some(os_error) => Verdict::Fail(io::Error::from_raw_os_error(os_error)),
            None => Verdict::Go,
        }
    }

    /// Counts a read and decides about it.
    pub(super) fn read(&mut self) -> io::Result<()> {
        self.reads += 1;
        if self.stop_at.is_some_and(|stop| self.changes >= stop) {
            return Err(stopped());
        }
        match self.failing_reads.remove(&self.reads) {
            Some(os_error) => Err(io::Error::from_raw_os_error(os_error)),
            None => Ok(()),
        }
    }

    pub(super) fn ignores_sync(&self, is_dir: bool) -> bool {
        if is_dir {
            self.dir_syncs_ignored
        } else {
            self.file_syncs_ignored
        }
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn reads(&self) -> u64 {
        self.reads
    }

    pub(super) fn capacity(&self) -> Option<u64> {
        self.capacity
    }

    pub(super) fn stop_at(&mut self, change: u64) {
        self.stop_at = Some(change);
    }

    pub(super) fn fail_change(&mut self, change: u64, os_error: i32) {
        self.failing_changes.insert(change, os_error);
    }

    pub(super) fn fail_read(&mut self, read: u64, os_error: i32) {
        self.failing_reads.insert(read, os_error);
    }

    pub(super) fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    pub(super) fn ignore_file_syncs(&mut self) {
        self.file_syncs_ignored = true;
    }

    pub(super) fn ignore_dir_syncs(&mut self) {
        self.dir_syncs_ignored = true;
    }
}

/// The error of every operation of a process that is dead.
pub(super) fn stopped() -> io::Error {
    io::Error::other("the simulated process was stopped here")
}

/// The error of a write that does not fit.
pub(super) fn no_space() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}
