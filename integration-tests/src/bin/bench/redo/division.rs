//! How threads that replay the same WAL side by side divide the work: pages, and the checking of CRCs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustc_hash::FxHashMap;

use super::pages::Area;

/// So many pages at the start of each area are divided by number. In small tables each page takes a share of the
/// whole that is not small; who is ahead at the start would take them all before it is behind.
const BY_NUMBER: usize = 64;

/// What each thread has taken on, for good.
///
/// What is not divided by number goes to whoever comes to it first. All threads meet a page with the same record,
/// its first, so that its owner has seen all of its past. And who is ahead comes first, and takes on more until
/// it is ahead no longer, however unequal pages and records are.
#[derive(Debug)]
pub(super) struct Division {
    threads: u32,
    /// Of each area the owners of its pages, by number.
    owners: Mutex<FxHashMap<Area, Vec<u32>>>,
    /// The first stretch of WAL whose checking nobody has taken on.
    unchecked: AtomicU64,
}

const NOBODY: u32 = u32::MAX;

impl Division {
    /// Nothing is taken yet.
    pub(super) fn among(threads: u32) -> Division {
        Division {
            threads,
            owners: Mutex::default(),
            unchecked: AtomicU64::new(0),
        }
    }

    /// Whether there is anything to divide.
    #[inline]
    pub(super) fn is_shared(&self) -> bool {
        self.threads > 1
    }

    /// Whether the thread `by` owns this page of the area, now if nobody did before. A thread needs to ask only
    /// once.
    pub(super) fn owns(&self, by: u32, area: Area, number: usize) -> bool {
        if !self.is_shared() {
            return true;
        }
        if number < BY_NUMBER {
            return area.number().wrapping_add(number as u32) % self.threads == by;
        }
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let owners = owners.entry(area).or_default();
        if owners.len() <= number {
            owners.resize(number + 1, NOBODY);
        }
        let owner = &mut owners[number];
        if *owner == NOBODY {
            *owner = by;
        }
        *owner == by
    }

    /// Takes on the checking of all records that start in this stretch of WAL, if nobody did. Each thread asks
    /// for each stretch in which records start, in ascending order.
    pub(super) fn checks(&self, stretch: u64) -> bool {
        // Nothing but who does it hangs on this: what is checked is each thread's own copy.
        self.unchecked.fetch_max(stretch + 1, Ordering::Relaxed) <= stretch
    }
}
