//! What is done to timelines besides reading, as `/v1` and the command line ask for it: branches, deletion,
//! whom to follow, compaction, garbage collection.

use std::time::Duration;

use pagecache::{
    CutoffHolder, Lease, LeaseError, NewBranch, PointHolder, ReadError, Store, StoreError, Timeline,
};
use pageservice::http::{CompactDone, DeleteDone, FollowRequest, GcDone, HeldPoint, LeaseDone};
use pageservice::{ErrorKind, SourceError};
use slog::Logger;
use walreceiver::ProbeError;
use walrecord::Lsn;

use crate::import::new_timeline;
use crate::moment::Moment;
use crate::receivers::{self, Feed, TellError};
use crate::serve::read_error;

/// Makes a branch of `ancestor` at `lsn`, or at its newest.
///
/// # Errors
/// If the name is taken or none, or the LSN is not readable.
pub fn branch(
    store: &Store,
    ancestor: &Timeline,
    name: &str,
    lsn: Option<Lsn>,
) -> Result<Timeline, SourceError> {
    let timeline = new_timeline();
    let branch = NewBranch {
        timeline: timeline
            .map_err(|error| SourceError::new(ErrorKind::Internal, error.to_string()))?,
        name: name.to_owned(),
        lsn: lsn.unwrap_or(ancestor.progress().last_record),
    };
    store.branch(ancestor, &branch).map_err(refusal)
}

/// Checks a timeline's server and notes that it is to be followed whenever the daemon starts.
///
/// # Errors
/// If it is no server for it, or cannot be asked now.
pub fn tell(
    timeline: &Timeline,
    request: &FollowRequest,
    log: &Logger,
) -> Result<Feed, SourceError> {
    let told = receivers::tell(timeline, &request.conninfo, request.slot.as_deref(), log);
    told.map_err(|error| {
        let kind = match &error {
            TellError::Feed(_)
            | TellError::Server {
                source: ProbeError::Unfit(_),
                ..
            } => ErrorKind::Invalid,
            TellError::Server {
                source: ProbeError::Unready(_),
                ..
            } => ErrorKind::Timeout,
            TellError::Store(_) => ErrorKind::Internal,
        };
        match error {
            TellError::Store(error) => refusal(error),
            error => SourceError::new(kind, error),
        }
    })
}

/// Notes that a timeline follows no server any more.
///
/// # Errors
/// If the disk refuses.
pub fn untell(timeline: &Timeline) -> Result<(), SourceError> {
    timeline.set_upstream(None).map_err(refusal)
}

/// Whether a timeline could be removed now.
///
/// # Errors
/// If others branch from it.
pub fn check_deletable(timeline: &Timeline) -> Result<(), SourceError> {
    let branches = timeline.branches();
    if branches.is_empty() {
        return Ok(());
    }
    Err(refusal(StoreError::HasBranches {
        timeline: timeline.info().name,
        branches,
    }))
}

/// Removes a timeline.
///
/// # Errors
/// If others branch from it, or the disk refuses.
pub fn delete(store: &Store, timeline: &Timeline) -> Result<DeleteDone, SourceError> {
    let deleted = timeline.info().name;
    store.delete(timeline).map_err(refusal)?;
    Ok(DeleteDone { deleted })
}

/// Merges the layers of a timeline.
///
/// # Errors
/// If a layer cannot be read or written.
pub fn compact(timeline: &Timeline, full: bool) -> Result<CompactDone, SourceError> {
    let done = timeline.compact(full).map_err(refusal)?;
    Ok(CompactDone {
        merges: done.merges,
        runs_before: done.runs.0,
        runs_after: done.runs.1,
        layers_before: done.layers.0,
        layers_after: done.layers.1,
        bytes_before: done.bytes.0,
        bytes_after: done.bytes.1,
        damaged_layers: done.damaged,
    })
}

/// Holds an LSN of a timeline for a time.
///
/// # Errors
/// If it is not readable, the time too long, or too many are held.
pub fn lease(timeline: &Timeline, lsn: Lsn, length: Duration) -> Result<Lease, SourceError> {
    timeline.lease(lsn, length).map_err(|error| match error {
        LeaseError::NotReadable { .. } => SourceError::new(ErrorKind::NotReadable, error),
        LeaseError::Length { .. } | LeaseError::TooMany => {
            SourceError::new(ErrorKind::Invalid, error)
        }
        LeaseError::Store(error) => refusal(error),
    })
}

/// A lease as it is shown.
pub fn lease_done(lease: Lease) -> LeaseDone {
    LeaseDone {
        lsn: lease.lsn,
        valid_until: Moment::new(lease.until).rfc3339(),
    }
}

/// Moves the window of a timeline on.
///
/// # Errors
/// If the disk refuses.
pub fn gc(store: &Store, timeline: &Timeline, cutoff: Option<Lsn>) -> Result<GcDone, SourceError> {
    let done = match cutoff {
        Some(cutoff) => timeline.gc_below(cutoff),
        None => timeline.gc(),
    };
    let done = done.map_err(refusal)?;
    let timelines = store.timelines();
    let points = done.points.into_iter().map(|point| HeldPoint {
        lsn: point.lsn,
        held_by: match point.by {
            PointHolder::Branch(id) => {
                let branch = timelines.iter().map(Timeline::info);
                let mut branch = branch.filter(|info| info.timeline == id);
                let name = branch
                    .next()
                    .map_or_else(|| id.to_string(), |info| info.name);
                format!("branch {name}")
            }
            PointHolder::Lease(until) => format!("lease until {}", Moment::new(until).rfc3339()),
        },
    });
    Ok(GcDone {
        oldest_lsn_before: done.readable_from.0,
        oldest_lsn: done.readable_from.1,
        wal_bytes_removed: done.wal_bytes,
        held_by: holder(done.held_by),
        points: points.collect(),
    })
}

/// What keeps a window from beginning later, for a person.
fn holder(by: CutoffHolder) -> String {
    match by {
        CutoffHolder::NoWindow => {
            "the settings: neither history_mb nor history_time_s is set".to_owned()
        }
        CutoffHolder::Bytes(bytes) => format!("the window of {} MiB of WAL", bytes >> 20),
        CutoffHolder::Time(time) => format!("the window of {}", period(time)),
        CutoffHolder::Asked => "what was asked for".to_owned(),
        CutoffHolder::Layers => "what is not in layer files yet, see `checkpoint`".to_owned(),
        CutoffHolder::Reader(lsn) => format!("a reader at {lsn}"),
    }
}

/// A length of time in the largest unit that it is a whole number of.
pub fn period(length: Duration) -> String {
    let seconds = length.as_secs();
    let units = [(86_400, "day"), (3600, "hour"), (60, "minute")];
    let unit = units
        .into_iter()
        .find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "second"));
    let count = seconds / unit;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

fn refusal(error: StoreError) -> SourceError {
    match error {
        StoreError::Read(_) | StoreError::Layer { .. } | StoreError::BadRecord { .. } => {
            read_error(ReadError::from(error))
        }
        StoreError::Refused { .. }
        | StoreError::NameUncertain { .. }
        | StoreError::HistoryHeld { .. } => SourceError::new(ErrorKind::Corrupt, error),
        StoreError::TimelineExists(_)
        | StoreError::HasBranches { .. }
        | StoreError::ReadOnly(_)
        | StoreError::Manifest(_) => SourceError::new(ErrorKind::Invalid, error),
        StoreError::Stopping => SourceError::new(ErrorKind::ShuttingDown, error),
        _ => SourceError::new(ErrorKind::Internal, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_told_in_their_largest_whole_unit() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (90, "90 seconds"),
            (120, "2 minutes"),
            (3600, "1 hour"),
            (7 * 86_400, "7 days"),
        ] {
            assert_eq!(period(Duration::from_secs(seconds)), text);
        }
    }
}
