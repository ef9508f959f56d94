//! A bounded set of open segment files, for readers.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use walrecord::SegmentId;

use crate::storage::StorageFile;

/// Files kept open for readers of one store: reads cluster in the newest WAL, that is not in layers yet, and this
/// many segments hold two gigabytes of it at the usual size.
const LIMIT: usize = 128;

/// Open segment files, the one used last in front.
#[derive(Debug, Default)]
pub(super) struct Handles {
    open: Mutex<VecDeque<(SegmentId, Arc<dyn StorageFile>)>>,
}

impl Handles {
    /// The file of a segment, opened by `open` if it is not yet. That runs under the lock, so that
    /// [`Handles::clear`] cannot come between opening and keeping.
    pub(super) fn get(
        &self,
        segment: SegmentId,
        open: impl FnOnce() -> io::Result<Arc<dyn StorageFile>>,
    ) -> io::Result<Arc<dyn StorageFile>> {
        let mut files = super::store::locked(&self.open);
        let at = files.iter().position(|(there, _)| *there == segment);
        let entry = match at.and_then(|at| files.remove(at)) {
            Some(entry) => entry,
            None => (segment, open()?),
        };
        let file = Arc::clone(&entry.1);
        files.push_front(entry);
        files.truncate(LIMIT);
        Ok(file)
    }

    /// Forgets all files, because some are removed.
    pub(super) fn clear(&self) {
        super::store::locked(&self.open).clear();
    }
}
