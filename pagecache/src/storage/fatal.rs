//! What happens when a sync fails.

use std::fmt;
use std::io;
use std::path::Path;

/// Told of every failed sync before its caller is.
///
/// After a failed `fsync` the kernel may have dropped the writes and marked them clean: reading them
/// back or syncing again proves nothing. The only sound reaction is to end the process and recover
/// from what the disk really holds, so that is what [`AbortProcess`] does. A test hands in a
/// handler that takes a note.
pub trait FatalHandler: Send + Sync + fmt::Debug {
    /// A sync of the file or directory `path` failed. If this returns, the caller gets `error`.
    fn sync_failed(&self, path: &Path, error: &io::Error);
}

/// Ends the process with `abort`, after a line on standard error.
#[derive(Clone, Copy, Debug, Default)]
pub struct AbortProcess;

impl FatalHandler for AbortProcess {
    #[expect(
        clippy::print_stderr,
        reason = "the process is about to abort: no logger can be trusted to get the reason out"
    )]
    fn sync_failed(&self, path: &Path, error: &io::Error) {
        eprintln!(
            "sync of {} failed: {error}; what was written since its last sync may be lost: aborting, \
             so that a restart recovers from what the disk holds",
            path.display()
        );
        std::process::abort();
    }
}
