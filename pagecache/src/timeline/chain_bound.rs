//! How many changes of a page may follow one another before it is stored whole. Serves whoever writes layers.

use crate::config::MAX_RUN_BYTES;

/// Changes of a page one upon the other, since it was last whole.
#[derive(Clone, Copy, Default)]
pub(super) struct ChainLength {
    changes: usize,
    /// Of the records, as far as they are stored.
    bytes: u64,
    /// The first one stands alone: readers need nothing older.
    is_based: bool,
}

impl ChainLength {
    /// Of none, upon a page that was just stored whole.
    pub(super) fn based() -> ChainLength {
        ChainLength {
            is_based: true,
            ..ChainLength::default()
        }
    }

    /// Counts one more version; `needs_older`: it is a change, rather than a beginning.
    pub(super) fn add(&mut self, needs_older: bool, bytes: u64) {
        if !needs_older {
            *self = ChainLength::based();
        }
        self.changes += 1;
        self.bytes += bytes;
    }

    /// Whether the page is to be stored whole in place of the last change.
    pub(super) fn is_due(&self, max_deltas: usize) -> bool {
        self.changes > max_deltas || (self.bytes > MAX_RUN_BYTES && self.changes > 1)
    }

    /// Whether so many changes are too many for a reader to meet them above those of older layers.
    pub(super) fn is_long(&self, max_deltas: usize) -> bool {
        !self.is_based && self.changes > max_deltas / 4
    }
}
