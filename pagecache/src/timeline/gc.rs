//! How far back every LSN stays readable, and what goes that lies below: the cutoff, and WAL files. (What layers
//! hold below it goes when they are compacted.)
//!
//! A window by bytes of WAL and one by time may be set; an LSN stays if either wants it. That by time begins with
//! the last transaction that is known to have ended before the time: what came behind it may be younger. With
//! commits in the order of their times, each state since then stays readable; where times jump back, what counts is
//! where recovery to the time would stop. When no commits come the window by time begins with the last of them,
//! and the newest state stays readable whatever the clock says.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use slog::{info, warn};
use walrecord::{Lsn, PgTime, TimelineId};

use super::commit_times::ended_by;
use super::progress::News;
use super::shared::Shared;
use super::{Lease, Timeline};
use crate::clock::micros;
use crate::error::StoreError;

/// The window moves on when it would by this part of its length: each move replaces the manifest.
const STEP_PART: u32 = 64;

/// How often the clock is looked at, for a window by time.
const LOOKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What a collection of garbage came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcReport {
    /// The oldest LSN at which everything is readable, before and after.
    pub readable_from: (Lsn, Lsn),
    /// Bytes of WAL files that went.
    pub wal_bytes: u64,
    /// What kept the window from beginning later.
    pub held_by: CutoffHolder,
    /// Single LSNs below the window that stay readable, ascending.
    pub points: Vec<HeldPoint>,
}

/// How far back every LSN is to stay readable: where either reaches, everything if there is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Bytes of WAL below the last record.
    pub bytes: Option<u64>,
    /// Time before now.
    pub time: Option<Duration>,
}

/// What keeps the window from beginning later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutoffHolder {
    /// No window is set: everything is kept.
    NoWindow,
    /// The window by WAL, of so many bytes.
    Bytes(u64),
    /// The window by time.
    Time(Duration),
    /// Nobody asked for more to be given up.
    Asked,
    /// What is above is only in WAL files yet, not in layers.
    Layers,
    /// Somebody reads at this LSN.
    Reader(Lsn),
}

/// An LSN that stays readable alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldPoint {
    /// The LSN.
    pub lsn: Lsn,
    /// What holds it.
    pub by: PointHolder,
}

/// What holds a single LSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointHolder {
    /// A timeline branches there.
    Branch(TimelineId),
    /// A lease that lasts until then: microseconds since 2000-01-01 00:00:00 UTC.
    Lease(PgTime),
}

/// Where the window could begin, and why not later.
#[derive(Clone, Copy)]
struct Cutoff {
    lsn: Lsn,
    held_by: CutoffHolder,
}

impl Timeline {
    /// The windows that are set.
    pub fn windows(&self) -> Windows {
        Windows {
            bytes: self.shared.config.history_bytes,
            time: self.shared.config.history_time,
        }
    }

    /// Moves the window on to where the settings have it now, and removes the WAL files below it. Layers are
    /// freed of what nobody can ask for any more as they are compacted.
    ///
    /// # Errors
    /// If commit times cannot be read, the manifest cannot be written, or WAL files cannot be removed, or if damage
    /// hides what is to be kept.
    pub fn gc(&self) -> Result<GcReport, StoreError> {
        let mut collecting = self.shared.collecting();
        let now = self.shared.clock.now();
        let window = self.shared.window(now)?;
        *collecting = now;
        self.collect(window, &collecting)
    }

    /// As [`Timeline::gc`], but gives up everything below `cutoff`, as far as it is in layer files. The window
    /// never grows again.
    ///
    /// # Errors
    /// As [`Timeline::gc`].
    pub fn gc_below(&self, cutoff: Lsn) -> Result<GcReport, StoreError> {
        let asked = Cutoff {
            lsn: cutoff,
            held_by: CutoffHolder::Asked,
        };
        self.collect(asked, &self.shared.collecting())
    }

    fn collect(
        &self,
        cutoff: Cutoff,
        one_at_a_time: &MutexGuard<'_, PgTime>,
    ) -> Result<GcReport, StoreError> {
        self.check_history_free()?;
        let shared = &self.shared;
        let before = shared.tracker.get().readable_from;
        let held_by = shared.set_cutoff(cutoff, one_at_a_time)?;
        let wal_bytes = shared.remove_wal(one_at_a_time)?;
        let after = shared.tracker.get().readable_from;
        Ok(GcReport {
            readable_from: (before, after),
            wal_bytes,
            held_by,
            points: self.points_below(after),
        })
    }

    fn points_below(&self, cutoff: Lsn) -> Vec<HeldPoint> {
        let branches = self.shared.branch_points();
        let branches = branches.into_iter().map(|(timeline, lsn)| HeldPoint {
            lsn,
            by: PointHolder::Branch(timeline),
        });
        let leases = self.leases();
        let leases = leases.into_iter().map(|Lease { lsn, until }| HeldPoint {
            lsn,
            by: PointHolder::Lease(until),
        });
        let mut points: Vec<HeldPoint> = branches.chain(leases).collect();
        points.retain(|point| point.lsn < cutoff);
        points.sort_by_key(|point| point.lsn);
        points
    }
}

/// Looks at the clock, until the timeline stops: a window by time moves on also when no WAL comes.
pub(super) fn run(shared: &Arc<Shared>) {
    let Some(time) = shared.config.history_time else {
        return;
    };
    let period = (time / STEP_PART).clamp(LOOKS.0, LOOKS.1);
    while !shared.tracker.pause(period) {
        match shared.collect_if_due() {
            // The clock would have it, but what is to stay is only in memory, and no more WAL may come.
            Ok(Some(CutoffHolder::Layers)) => shared.request_freeze(),
            Ok(_) => {}
            Err(error) => {
                warn!(shared.log, "collecting garbage failed, will try again"; "error" => %error);
            }
        }
    }
}

impl Shared {
    /// Held by whoever collects garbage: one at a time. When the window by time was last looked at.
    fn collecting(&self) -> MutexGuard<'_, PgTime> {
        let collecting = &self.collecting;
        collecting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the window on if it is time to.
    pub(super) fn collect_due(&self) -> Result<(), StoreError> {
        self.collect_if_due().map(|_| ())
    }

    /// The same, and tells what the window is held by then, if it was looked at.
    fn collect_if_due(&self) -> Result<Option<CutoffHolder>, StoreError> {
        let mut collecting = self.collecting();
        let now = self.clock.now();
        // What another timeline has taken the place of is kept until a person gives it up.
        let is_kept = self.is_read_only() || self.history_held().is_some();
        if is_kept || !self.is_due(now, *collecting) {
            return Ok(None);
        }
        let window = self.window(now)?;
        *collecting = now;
        let held_by = self.set_cutoff(window, &collecting)?;
        self.remove_wal(&collecting)?;
        Ok(Some(held_by))
    }

    /// Whether the window is to move by a step.
    fn is_due(&self, now: PgTime, looked: PgTime) -> bool {
        let config = &self.config;
        let progress = self.tracker.get();
        let bytes_are_due = config.history_bytes.is_none_or(|bytes| {
            let begin = back(progress.last_record, bytes);
            begin.saturating_sub(progress.readable_from) > bytes / u64::from(STEP_PART)
        });
        let time_is_due = config.history_time.is_none_or(|time| {
            now < looked || now.saturating_sub(looked) >= micros(time / STEP_PART)
        });
        let has_window = config.history_bytes.is_some() || config.history_time.is_some();
        has_window && bytes_are_due && time_is_due
    }

    /// Where the window begins by the settings: the earlier of where each has it.
    fn window(&self, now: PgTime) -> Result<Cutoff, StoreError> {
        let by_bytes = self.config.history_bytes.map(|bytes| Cutoff {
            lsn: back(self.tracker.get().last_record, bytes),
            held_by: CutoffHolder::Bytes(bytes),
        });
        let by_time = match self.config.history_time {
            None => None,
            Some(time) => {
                let since = now.saturating_sub(micros(time));
                let begin = ended_by(&self.layers(), &self.tracker.get(), since)?;
                Some(Cutoff {
                    // Of what nothing is known may all be younger.
                    lsn: begin.unwrap_or(Lsn::INVALID),
                    held_by: CutoffHolder::Time(time),
                })
            }
        };
        let windows = by_bytes.into_iter().chain(by_time);
        Ok(windows.min_by_key(|cutoff| cutoff.lsn).unwrap_or(Cutoff {
            lsn: Lsn::INVALID,
            held_by: CutoffHolder::NoWindow,
        }))
    }

    /// Gives up what lies below the cutoff, as far as it is in layers. Reads that have begun go on. Tells what the
    /// window is held by then.
    fn set_cutoff(
        &self,
        wanted: Cutoff,
        _one_at_a_time: &MutexGuard<'_, PgTime>,
    ) -> Result<CutoffHolder, StoreError> {
        let progress = self.tracker.get();
        let layers = Cutoff {
            lsn: progress.disk_consistent,
            held_by: CutoffHolder::Layers,
        };
        // Nobody begins to read in between: a reader is seen here, or sees what is decided.
        let cutoff = self
            .pins
            .with_lowest_from(progress.readable_from, |lowest| {
                let reader = lowest.map(|lsn| Cutoff {
                    lsn,
                    held_by: CutoffHolder::Reader(lsn),
                });
                let cutoff = [wanted, layers].into_iter().chain(reader);
                // The first of those that are as low: what was asked for before what stands in its way.
                let cutoff = cutoff.min_by_key(|cutoff| cutoff.lsn);
                let cutoff = cutoff.unwrap_or(wanted);
                let moves = cutoff.lsn > progress.readable_from && self.is_complete();
                if moves {
                    // Told before it is so: nobody reads, branches or asks for a lease where things are about to go.
                    self.tracker.update(&[News::Records], |progress| {
                        progress.readable_from = cutoff.lsn;
                    });
                }
                (cutoff, moves)
            });
        let (Cutoff { lsn, held_by }, moves) = cutoff;
        if moves {
            self.change_manifest(|manifest| manifest.gc_cutoff = manifest.gc_cutoff.max(lsn))?;
            info!(self.log, "history begins later now"; "readable_from" => %lsn);
            self.wake_compaction();
        }
        Ok(held_by)
    }

    /// Where the WAL begins that is all that is left of what damaged layers held.
    fn damaged_from(&self) -> Option<Lsn> {
        let (layers, start) = (self.layers(), self.wal.start());
        let damaged = layers.files().filter(|(_, layer)| layer.damage().is_some());
        let summaries = damaged.map(|(_, layer)| *layer.summary());
        let within = summaries.filter(|summary| summary.max_lsn > start);
        within.map(|summary| summary.min_lsn).min()
    }

    /// Removes WAL files that nobody needs: all of what is in them is in layers, and below the window. Returns
    /// how many bytes went.
    fn remove_wal(&self, _one_at_a_time: &MutexGuard<'_, PgTime>) -> Result<u64, StoreError> {
        let progress = self.tracker.get();
        let segment_size = self.wal.segment_size();
        let needed = progress
            .readable_from
            .min(progress.disk_consistent)
            .min(self.pins.lowest_wal().unwrap_or(Lsn::MAX))
            .min(self.damaged_from().unwrap_or(Lsn::MAX));
        // A checkout at the beginning of a segment looks for the record before it, which ends there.
        let start = back(needed.segment_start(segment_size), segment_size.into());
        if start <= self.wal.start() || start > self.wal.synced() || !self.is_complete() {
            return Ok(0);
        }
        self.change_manifest(|manifest| manifest.wal_start = start)?;
        Ok(self.wal.remove_below(start)?)
    }
}

fn back(lsn: Lsn, bytes: u64) -> Lsn {
    Lsn::new(lsn.get().saturating_sub(bytes))
}
