//! LSNs that readers asked to be held for a time: each a single point that stays readable when the window has
//! moved past it, and nothing else of what is around it. They are in the manifest, so that a restart keeps them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slog::info;
use walrecord::{LONG_PAGE_HEADER_SIZE, Lsn, PgTime, SHORT_PAGE_HEADER_SIZE};

use super::Timeline;
use super::shared::Shared;
use crate::clock::micros;
use crate::error::StoreError;
use crate::manifest::{LeaseRecord, MAX_LEASES};

/// The longest lease. One that nobody renews is not to hold its LSN for ever; a branch does.
pub const MAX_LEASE_TIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// An LSN that is held, and until when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The LSN. In or just behind a page header of the WAL it is the page's beginning, which means the same.
    pub lsn: Lsn,
    /// Until when, by this machine's clock: microseconds since 2000-01-01 00:00:00 UTC.
    pub until: PgTime,
}

/// Why an LSN is not held.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// It is not readable: given up, or not there yet. A lease that has run out cannot be renewed either, once
    /// the window has moved past its LSN.
    #[error("{lsn} cannot be held: this timeline is readable from {from} to {to}")]
    NotReadable {
        /// The LSN asked for.
        lsn: Lsn,
        /// The oldest LSN at which everything is readable.
        from: Lsn,
        /// The newest readable LSN.
        to: Lsn,
    },
    /// Nothing is held for no time at all, or for too long.
    #[error(
        "nothing is held for {asked:?}: a lease lasts up to {MAX_LEASE_TIME:?}, and can be renewed; a branch holds \
         an LSN as long as it exists"
    )]
    Length {
        /// The time asked for.
        asked: Duration,
    },
    /// As many LSNs are held as can be.
    #[error("{MAX_LEASES} LSNs are held already; let some run out, or make a branch")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The leases of a timeline. One that has been seen to run out is gone for good, even if the clock is set back.
pub(crate) struct Leases {
    held: Mutex<BTreeMap<Lsn, PgTime>>,
    /// Held while a lease is given: one at a time.
    giving: Mutex<()>,
}

impl Leases {
    /// Those of a manifest.
    pub(crate) fn new(records: &[LeaseRecord]) -> Leases {
        let held = records.iter().map(|lease| (lease.lsn, lease.until));
        Leases {
            held: Mutex::new(held.collect()),
            giving: Mutex::default(),
        }
    }

    /// As the manifest has them.
    pub(crate) fn records(&self) -> Vec<LeaseRecord> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let records = held.iter();
        records
            .map(|(&lsn, &until)| LeaseRecord { lsn, until })
            .collect()
    }

    /// Those that have not run out by `now`.
    pub(crate) fn live(&self, now: PgTime) -> MutexGuard<'_, BTreeMap<Lsn, PgTime>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, until| *until > now);
        held
    }

    /// Changes the end of a lease, or ends it. Gives what it was.
    fn set(&self, lsn: Lsn, until: Option<PgTime>) -> Option<PgTime> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match until {
            Some(until) => held.insert(lsn, until),
            None => held.remove(&lsn),
        }
    }
}

impl Timeline {
    /// Holds `lsn` for `length` from now on: it stays readable so long, also when everything around it is given
    /// up. Asked for again it is renewed; it never ends earlier than was said before. The lease is durable when
    /// this returns.
    ///
    /// What is held are pages and metadata. The WAL around the LSN goes with the window: for a data directory at
    /// it, or a branch, it has to be in the window.
    ///
    /// # Errors
    /// [`LeaseError::NotReadable`] unless the LSN is in the window or held now; the others of [`LeaseError`].
    pub fn lease(&self, lsn: Lsn, length: Duration) -> Result<Lease, LeaseError> {
        self.check_running()?;
        self.shared.holding(lsn).lease(lsn, length)
    }

    /// Where to read what `lsn` means: the end of the last record at or below. An LSN that a lease holds is read as it
    /// is, the WAL around it may be gone; that gives the same.
    ///
    /// # Errors
    /// As [`Timeline::boundary`].
    pub fn read_position(&self, lsn: Lsn) -> Result<Lsn, StoreError> {
        match self.is_leased(lsn) {
            true => Ok(lsn),
            false => Ok(self.boundary(lsn)?.end),
        }
    }

    /// Whether `lsn` is held by a lease.
    pub fn is_leased(&self, lsn: Lsn) -> bool {
        self.shared.holding(lsn).is_leased(lsn)
    }

    /// The LSNs of this timeline that are held, ascending.
    pub fn leases(&self) -> Vec<Lease> {
        let live = self.shared.leases.live(self.shared.clock.now());
        let leases = live.iter();
        leases.map(|(&lsn, &until)| Lease { lsn, until }).collect()
    }
}

impl Shared {
    fn lease(&self, lsn: Lsn, length: Duration) -> Result<Lease, LeaseError> {
        if length.is_zero() || length > MAX_LEASE_TIME {
            return Err(LeaseError::Length { asked: length });
        }
        let lsn = page_start(lsn, self.wal.segment_size());
        let leases = &self.leases;
        let _one = leases.giving.lock().unwrap_or_else(PoisonError::into_inner);
        // What is readable now stays so until the lease holds it.
        let _pin = self.pins.hold(lsn);
        let now = self.clock.now();
        let until = now.saturating_add(micros(length));
        let (held, count) = {
            let live = leases.live(now);
            (live.get(&lsn).copied(), live.len())
        };
        if let Some(held) = held.filter(|held| *held >= until) {
            return Ok(Lease { lsn, until: held });
        }
        let progress = self.tracker.get();
        let (from, to) = (progress.readable_from, progress.last_record);
        if lsn > to || (lsn < from && held.is_none()) {
            return Err(LeaseError::NotReadable { lsn, from, to });
        }
        if held.is_none() && count >= MAX_LEASES {
            return Err(LeaseError::TooMany);
        }
        // What the lease holds must not be lost in a crash.
        if self.wal.synced() < lsn {
            self.wal.sync().map_err(StoreError::from)?;
        }
        let before = leases.set(lsn, Some(until));
        if let Err(error) = self.change_manifest(|_| {}) {
            leases.set(lsn, before);
            return Err(error.into());
        }
        info!(self.log, "LSN is held"; "lsn" => %lsn, "seconds" => length.as_secs());
        Ok(Lease { lsn, until })
    }

    /// Whether a lease holds `lsn`.
    pub(crate) fn is_leased(&self, lsn: Lsn) -> bool {
        let lsn = page_start(lsn, self.wal.segment_size());
        self.leases.live(self.clock.now()).contains_key(&lsn)
    }
}

/// No record ends in a page header: a position there, or just behind it, means the page's beginning.
fn page_start(lsn: Lsn, segment_size: u32) -> Lsn {
    let page = lsn.page_start();
    let header = match page.segment_offset(segment_size) {
        0 => LONG_PAGE_HEADER_SIZE,
        _ => SHORT_PAGE_HEADER_SIZE,
    };
    if lsn.page_offset() <= header as u64 {
        page
    } else {
        lsn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_in_or_behind_a_page_header_is_the_beginning_of_the_page() {
        let size = 1 << 20;
        let segment = Lsn::new(5 << 20);
        for (lsn, expected) in [
            (segment, segment),
            (segment + 40, segment),
            (segment + 48, segment + 48),
            (segment + 8192 + 24, segment + 8192),
            (segment + 8192 + 32, segment + 8192 + 32),
            (Lsn::new(segment.get() - 8), Lsn::new(segment.get() - 8)),
        ] {
            assert_eq!(page_start(lsn, size), expected);
        }
    }

    #[test]
    fn a_lease_that_was_seen_to_run_out_does_not_come_back_with_the_clock() {
        let lsn = Lsn::new(8);
        let leases = Leases::new(&[LeaseRecord { lsn, until: 10 }]);
        assert_eq!(leases.live(9).len(), 1);
        assert_eq!(leases.live(10).len(), 0);
        assert_eq!(leases.live(9).len(), 0);
        assert!(leases.records().is_empty());
    }
}
