//! From a time to the LSN that recovery to that time would stop at, and back.
//!
//! Commit times do not ascend with LSNs, but their running maximum does, and that is all that recovery's
//! test depends on: it stops before the first commit or abort whose time is above the target
//! (`recoveryStopsBefore`, access/transam/xlogrecovery.c; before 15 in xlog.c). Runs of commits are stored
//! with the maximum of all before them, so that a bisection over LSNs finds the run.

use walrecord::{Lsn, PgTime, Xid};

use super::Timeline;
use super::ancestor::Ancestor;
use super::layers::LayerSet;
use super::progress::Progress;
use crate::error::{ReadError, StoreError};
use crate::key::Key;
use crate::meta::{CommitTimes, MetaError, NO_TIME, TransactionEnd};

/// Stretches of 4 GiB of WAL without a single commit that a search goes back over.
const MAX_QUIET: u64 = 1024;

/// WAL behind a change in which the end of its transaction is looked for: most are short.
const XID_HORIZONS: [u64; 3] = [64 << 10, 1 << 20, 16 << 20];

/// A commit or abort, prepared transactions' included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndedTransaction {
    /// When, by the primary's clock: microseconds since 2000-01-01 00:00:00 UTC.
    pub time: PgTime,
    /// The end of its record.
    pub lsn: Lsn,
    /// The transaction.
    pub xid: Xid,
    /// Whether it committed.
    pub committed: bool,
}

/// What a time means as an LSN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeTarget {
    /// The end of the last record that recovery to the time would apply.
    pub lsn: Lsn,
    /// The commit or abort that it would stop before. None: nothing that is known ended after the time, so
    /// that recovery would wait for more WAL, and the LSN is the last record's as of now.
    pub stops_before: Option<EndedTransaction>,
}

/// Why a time means no LSN.
#[derive(Debug, thiserror::Error)]
pub enum TimeError {
    /// It lies before all that is known.
    #[error(
        "no LSN is known for that time: times are known from {since} microseconds after 2000 on"
    )]
    Before {
        /// The earliest time that can be asked for.
        since: PgTime,
    },
    /// No transaction has ended since the import, or nothing is readable yet.
    #[error("no LSN is known for any time: no transaction has ended since the import")]
    Unknown,
    /// The store failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<StoreError> for TimeError {
    fn from(error: StoreError) -> TimeError {
        TimeError::Read(error.into())
    }
}

impl Timeline {
    /// The LSN at which recovery with `recovery_target_time` (inclusive) would stop; `time` is in
    /// microseconds since 2000-01-01 00:00:00 UTC.
    ///
    /// # Errors
    /// [`TimeError::Before`] if transactions that ended later are applied in all that is readable, or may be:
    /// nothing is known of times before the first commit behind the import.
    pub fn lsn_of_time(&self, time: PgTime) -> Result<TimeTarget, TimeError> {
        let layers = self.shared.layers();
        let progress = self.shared.tracker.get();
        let search = Search {
            layers: &layers,
            from: progress.readable_from,
            to: progress.last_record,
        };
        search.first_above(time)
    }

    /// The last commit or abort whose record ends at or below `lsn`; none if none is known.
    ///
    /// # Errors
    /// If `lsn` is not readable, or the store fails.
    pub fn time_of_lsn(&self, lsn: Lsn) -> Result<Option<EndedTransaction>, ReadError> {
        let progress = self.shared.tracker.get();
        let (from, to) = (progress.readable_from, progress.last_record);
        if lsn < from || lsn > to {
            return Err(ReadError::NotReadable { lsn, from, to });
        }
        let run = run_at(&self.shared.layers(), lsn, oldest_key(lsn))?;
        let last = run.and_then(|run| run.upto(lsn).last().copied());
        Ok(last.map(EndedTransaction::from))
    }
}

/// The largest time of a commit or abort up to `lsn`, for whoever adds to them.
pub(super) fn newest(layers: &LayerSet, lsn: Lsn) -> Result<PgTime, StoreError> {
    let run = run_at(layers, lsn, oldest_key(lsn))?;
    Ok(run.map_or(NO_TIME, |run| run.newest(lsn)))
}

/// The end of the last transaction that is known to have ended by `time`, of those before which none ended later:
/// what lies below is older than that. None if none is known.
pub(super) fn ended_by(
    layers: &LayerSet,
    progress: &Progress,
    time: PgTime,
) -> Result<Option<Lsn>, StoreError> {
    let search = Search {
        layers,
        from: progress.readable_from,
        to: progress.last_record,
    };
    let target = match search.first_above(time) {
        Ok(target) => target,
        Err(TimeError::Before { .. } | TimeError::Unknown) => return Ok(None),
        Err(TimeError::Read(error)) => return Err(error.into()),
    };
    let run = search.run_at(target.lsn)?;
    let last = run.and_then(|run| run.upto(target.lsn).last().copied());
    Ok(last.map(|end| end.end))
}

/// How the transaction ended that made a change with this LSN; none if it is not found near behind it, up
/// to `upto`.
pub(super) fn end_of(
    layers: &LayerSet,
    xid: Xid,
    lsn: Lsn,
    upto: Lsn,
) -> Result<Option<EndedTransaction>, StoreError> {
    for horizon in XID_HORIZONS {
        let near = upto.min(Lsn::new(lsn.get().saturating_add(horizon)));
        let found = end_within(layers, xid, lsn, near)?;
        if found.is_some() || near == upto {
            return Ok(found.map(EndedTransaction::from));
        }
    }
    Ok(None)
}

/// The first end of the transaction at or above `lsn`, up to `upto`.
fn end_within(
    layers: &LayerSet,
    xid: Xid,
    lsn: Lsn,
    upto: Lsn,
) -> Result<Option<TransactionEnd>, StoreError> {
    let mut at = upto;
    let mut found = None;
    // From the newest run down: an id comes again after 4 billion others, and the nearest counts.
    while at >= lsn {
        let Some(run) = run_at(layers, at, high(lsn))? else {
            break;
        };
        let here = run.upto(upto).iter();
        let here = here.filter(|end| end.end >= lsn && end.xid == xid).copied();
        found = here.min_by_key(|end| end.end).or(found);
        at = match run.label.get().checked_sub(1) {
            Some(below) => Lsn::new(below),
            None => break,
        };
    }
    Ok(found)
}

/// A bisection over the readable LSNs.
struct Search<'a> {
    layers: &'a LayerSet,
    from: Lsn,
    to: Lsn,
}

impl Search<'_> {
    fn first_above(&self, time: PgTime) -> Result<TimeTarget, TimeError> {
        if self.to < self.from {
            // Nothing is readable yet: an import, or a start that is still indexing.
            return Err(TimeError::Unknown);
        }
        let oldest = run_at(self.layers, self.from, oldest_key(self.from))?;
        let known = oldest.as_ref().map_or(NO_TIME, |run| run.newest(self.from));
        if known > time {
            return Err(TimeError::Before { since: known });
        }
        let Some(newest) = self.run_at(self.to)? else {
            return Err(TimeError::Unknown);
        };
        // Invariant: all before `run` ended at or before the time; at or above `above` one before ended later.
        let (mut run, mut low, mut above) = (oldest, self.from, self.to + 1);
        if newest.before <= time {
            (run, low) = (Some(newest), self.to);
        } else {
            above = newest.label;
        }
        loop {
            let ends = run.as_ref().map_or(&[][..], |run| run.upto(self.to));
            if let Some(at) = ends.iter().position(|end| end.time > time) {
                return self.stop_before(ends, at, run.as_ref().map_or(NO_TIME, |run| run.before));
            }
            if above - low <= 1 {
                break;
            }
            let middle = low + (above - low) / 2;
            match self.run_at(middle)? {
                Some(found) if found.before > time => above = found.label,
                found => (run, low) = (found, middle),
            }
        }
        if above <= self.to {
            // What would tell which commit is the first above the time is not kept.
            let gap = self.run_at(above)?.map_or(NO_TIME, |run| run.before);
            return Err(TimeError::Before { since: gap });
        }
        Ok(TimeTarget {
            lsn: self.to,
            stops_before: None,
        })
    }

    fn run_at(&self, lsn: Lsn) -> Result<Option<Run>, StoreError> {
        run_at(self.layers, lsn, oldest_key(self.from))
    }

    /// The answer, if any transaction ended before: else nothing is known of what came before the first.
    fn stop_before(
        &self,
        ends: &[TransactionEnd],
        at: usize,
        before: PgTime,
    ) -> Result<TimeTarget, TimeError> {
        let end = ends[at];
        if at == 0 && before == NO_TIME {
            return Err(TimeError::Before { since: end.time });
        }
        Ok(TimeTarget {
            lsn: end.stop.max(self.from),
            stops_before: Some(end.into()),
        })
    }
}

/// A run of commits and aborts.
struct Run {
    /// The version that it is stored as. At or below the first end, unless there are no ends.
    label: Lsn,
    before: PgTime,
    ends: Vec<TransactionEnd>,
}

impl Run {
    /// Those whose records end at or below `lsn`.
    fn upto(&self, lsn: Lsn) -> &[TransactionEnd] {
        let count = self.ends.partition_point(|end| end.end <= lsn);
        &self.ends[..count]
    }

    /// The largest time up to `lsn`.
    fn newest(&self, lsn: Lsn) -> PgTime {
        let times = self.upto(lsn).iter().map(|end| end.time);
        times.fold(self.before, PgTime::max)
    }

    fn decode(bytes: &[u8]) -> Result<(PgTime, Vec<TransactionEnd>), MetaError> {
        let times = CommitTimes::decode(bytes)?;
        Ok((times.before, times.entries().collect::<Result<_, _>>()?))
    }
}

/// The newest run that begins at or below `lsn`, in the key of that LSN or one before it, down to `oldest`. Of
/// what a branch branches from, as far as the branch has it.
fn run_at(layers: &LayerSet, lsn: Lsn, oldest: u64) -> Result<Option<Run>, StoreError> {
    let ancestor = layers.ancestor();
    let own = oldest.max(ancestor.map_or(0, |ancestor| high(ancestor.lsn)));
    for number in (own..=high(lsn)).rev() {
        let key = Key::commit_times(Lsn::new(number << 32));
        if let Some((label, (before, ends))) = layers.own_value(&key, lsn, Run::decode)? {
            return Ok(Some(Run {
                label,
                before,
                ends,
            }));
        }
    }
    let Some(Ancestor {
        shared,
        lsn: branch,
    }) = ancestor
    else {
        return Ok(None);
    };
    let mut run = run_at(&shared.layers(), lsn.min(*branch), oldest)?;
    if let Some(run) = &mut run {
        run.ends.retain(|end| end.end <= *branch);
    }
    Ok(run)
}

/// What the key of `lsn` is told from others by.
fn high(lsn: Lsn) -> u64 {
    lsn.get() >> 32
}

/// How far back a search from `lsn` goes.
fn oldest_key(lsn: Lsn) -> u64 {
    high(lsn).saturating_sub(MAX_QUIET)
}

impl From<TransactionEnd> for EndedTransaction {
    fn from(end: TransactionEnd) -> EndedTransaction {
        EndedTransaction {
            time: end.time,
            lsn: end.end,
            xid: end.xid,
            committed: end.committed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::Rng;
    use crate::timeline::layers::{Frozen, MemoryLayer};

    /// Many runs, in two layers and under two keys, with times that go back as often as they go on.
    struct Many {
        layers: LayerSet,
        ends: Vec<TransactionEnd>,
    }

    impl Many {
        fn new(seed: u64) -> Many {
            let mut rng = Rng::new(seed);
            let start = Lsn::new((1 << 32) - 500_000);
            let mut layers = LayerSet::new(start, None);
            let mut ends: Vec<TransactionEnd> = Vec::new();
            let (mut at, mut clock, mut before) = (start, 700_000_000_000_000, NO_TIME);
            for number in 0..20_000 {
                let stop = at + 8 * rng.between(1, 10);
                at = stop + 40;
                clock += rng.between(0, 200) as PgTime - 90;
                let end = TransactionEnd {
                    stop,
                    end: at,
                    time: clock,
                    xid: 1000 + number,
                    committed: rng.one_in(2),
                };
                layers.open.write().insert_end(before, end);
                before = before.max(clock);
                ends.push(end);
                if number == 12_000 {
                    layers.open.write().close_times();
                    let layer = std::mem::replace(&mut layers.open, Arc::new(MemoryLayer::new(at)));
                    layers.frozen.push(Frozen { layer, end: at });
                }
            }
            Many { layers, ends }
        }

        fn search(&self, from: Lsn) -> Search<'_> {
            Search {
                layers: &self.layers,
                from,
                to: self.ends[self.ends.len() - 100].end,
            }
        }
    }

    #[test]
    fn a_time_is_found_among_many_runs_whatever_the_order_of_times() {
        let many = Many::new(1);
        let mut rng = Rng::new(2);
        for _ in 0..2000 {
            let from = &many.ends[rng.below(10_000) as usize];
            let search = many.search(from.end);
            let near = many.ends[rng.below(many.ends.len() as u64) as usize];
            let time = near.time + rng.below(3) as PgTime - 1;
            let upto = |lsn: Lsn| many.ends.iter().filter(move |end| end.end <= lsn);
            let known = upto(search.from).map(|end| end.time).max().unwrap();
            let found = search.first_above(time);
            if known > time {
                assert!(matches!(found, Err(TimeError::Before { since }) if since == known));
                continue;
            }
            let expected = upto(search.to).find(|end| end.time > time);
            let target = found.unwrap();
            assert_eq!(
                target.stops_before,
                expected.copied().map(EndedTransaction::from)
            );
            assert_eq!(target.lsn, expected.map_or(search.to, |end| end.stop));
        }
    }

    #[test]
    fn times_before_the_first_commit_that_is_known_are_refused_with_its_time() {
        let many = Many::new(3);
        let start = Lsn::new(many.ends[0].stop.get() - 8);
        let first = many.ends[0].time;
        let search = many.search(start);
        let since = |time| match search.first_above(time) {
            Err(TimeError::Before { since }) => Some(since),
            _ => None,
        };
        assert_eq!(since(first - 1), Some(first));
        assert_eq!(since(PgTime::MIN + 1), Some(first));
        assert_eq!(since(first), None);
        let unreadable = Search {
            to: many.ends[100].end,
            ..many.search(many.ends[5000].end)
        };
        assert!(matches!(
            unreadable.first_above(first + 1000),
            Err(TimeError::Unknown)
        ));
        let nothing = Search {
            to: start,
            ..many.search(start)
        };
        assert!(matches!(
            nothing.first_above(first),
            Err(TimeError::Unknown)
        ));
    }

    #[test]
    fn the_end_of_a_transaction_is_the_next_of_its_id() {
        let many = Many::new(4);
        for end in many.ends.iter().step_by(371) {
            let of = |lsn| end_of(&many.layers, end.xid, lsn, Lsn::MAX).unwrap();
            assert_eq!(of(end.end), Some((*end).into()));
            assert_eq!(of(Lsn::new(end.end.get() - 3000)), Some((*end).into()));
            assert_eq!(of(end.end + 1), None);
        }
    }
}
