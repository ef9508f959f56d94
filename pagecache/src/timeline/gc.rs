//! How far back every LSN stays readable, and what goes that lies below: the cutoff, and WAL files. (What layers
//! hold below it goes when they are compacted.)

use slog::info;
use walrecord::Lsn;

use super::Timeline;
use super::shared::Shared;
use crate::error::StoreError;

/// The window moves on when it would by this part of its length: each move replaces the manifest.
const STEP_PART: u64 = 64;

/// What a collection of garbage came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct GcReport {
    /// The oldest LSN at which everything is readable, before and after.
    pub readable_from: (Lsn, Lsn),
    /// Bytes of WAL files that went.
    pub wal_bytes: u64,
}

impl Timeline {
    /// Moves the window on to where the settings have it now, and removes the WAL files below it. Layers are
    /// freed of what nobody can ask for any more as they are compacted.
    ///
    /// # Errors
    /// If the manifest cannot be written or WAL files cannot be removed.
    pub fn gc(&self) -> Result<GcReport, StoreError> {
        let shared = &self.shared;
        match shared.config.history_bytes {
            Some(bytes) => self.gc_below(back(shared.tracker.get().last_record, bytes)),
            None => self.gc_below(Lsn::INVALID),
        }
    }

    /// As [`Timeline::gc`], but gives up everything below `cutoff`, as far as it is in layer files. The window
    /// never grows again.
    ///
    /// # Errors
    /// As [`Timeline::gc`].
    pub fn gc_below(&self, cutoff: Lsn) -> Result<GcReport, StoreError> {
        let shared = &self.shared;
        let before = shared.tracker.get().readable_from;
        shared.set_cutoff(cutoff)?;
        let wal_bytes = shared.remove_wal()?;
        Ok(GcReport {
            readable_from: (before, shared.tracker.get().readable_from),
            wal_bytes,
        })
    }
}

impl Shared {
    /// Moves the window on if it is time to.
    pub(super) fn collect_due(&self) -> Result<(), StoreError> {
        let Some(bytes) = self.config.history_bytes else {
            return Ok(());
        };
        // What another timeline has taken the place of is kept until a person gives it up.
        if self.is_read_only() {
            return Ok(());
        }
        let progress = self.tracker.get();
        let cutoff = back(progress.last_record, bytes);
        if cutoff.saturating_sub(progress.readable_from) <= bytes / STEP_PART {
            return Ok(());
        }
        self.set_cutoff(cutoff)?;
        self.remove_wal().map(|_| ())
    }

    /// Gives up what lies below `cutoff`, as far as it is in layers. Reads that have begun go on.
    fn set_cutoff(&self, cutoff: Lsn) -> Result<(), StoreError> {
        let progress = self.tracker.get();
        let cutoff = cutoff
            .min(progress.disk_consistent)
            .min(self.pins.lowest().unwrap_or(Lsn::MAX));
        if cutoff <= progress.readable_from || !self.is_complete() {
            return Ok(());
        }
        // Told before it is so: nobody begins to read, or to branch, where things are about to go.
        self.tracker
            .update(|progress| progress.readable_from = progress.readable_from.max(cutoff));
        self.change_manifest(|manifest| manifest.gc_cutoff = manifest.gc_cutoff.max(cutoff))?;
        info!(self.log, "history begins later now"; "readable_from" => %cutoff);
        Ok(())
    }

    /// Removes WAL files that nobody needs: all of what is in them is in layers, and below the window. Returns
    /// how many bytes went.
    fn remove_wal(&self) -> Result<u64, StoreError> {
        let progress = self.tracker.get();
        let segment_size = self.wal.segment_size();
        let needed = progress
            .readable_from
            .min(progress.disk_consistent)
            .min(self.pins.lowest_wal().unwrap_or(Lsn::MAX));
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
