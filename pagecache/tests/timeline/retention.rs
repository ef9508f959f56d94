//! Windows by bytes and by time, and leases, against the model: what has to stay is there and right, and what
//! nobody wants any more is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pagecache::storage::Rng;
use pagecache::{
    Clock, CutoffHolder, HeldPoint, LeaseError, MAX_LEASE_TIME, MAX_LEASES, ManualClock, NewBranch,
    PointHolder, ReadError, Store, StoreConfig, Timeline,
};
use walrecord::{Lsn, PgTime, TimelineId};

use crate::faults::CONFIG;
use crate::history::{Commit, History};
use crate::world::{LIMIT, Outcome, World, open_at};
use pagecache::storage::SimulatedDisk;

/// About when a history's commits begin.
const BEGIN: PgTime = 700_000_000;

/// What windows and leases may let go and have to keep.
#[derive(Clone)]
pub(crate) struct Retained {
    pub(crate) clock: Arc<ManualClock>,
    /// The latest that the clock showed.
    latest: PgTime,
    /// The windows that are set.
    windows: (Option<u64>, Option<Duration>),
    /// Up to here there was WAL.
    upto: Lsn,
    /// Up to here windows may have let history go.
    passed: Lsn,
    /// The leases that were given.
    leases: BTreeMap<Lsn, PgTime>,
    /// LSNs that leases were asked for.
    asked: BTreeSet<Lsn>,
}

impl Default for Retained {
    fn default() -> Retained {
        Retained {
            clock: Arc::new(ManualClock::new(BEGIN)),
            latest: BEGIN,
            windows: (None, None),
            upto: Lsn::INVALID,
            passed: Lsn::INVALID,
            leases: BTreeMap::new(),
            asked: BTreeSet::new(),
        }
    }
}

impl World {
    /// Sets windows by bytes or time, both or none.
    pub(crate) fn with_windows(&mut self, config: StoreConfig, rng: &mut Rng) -> StoreConfig {
        let history_bytes = rng.one_in(3).then(|| rng.between(0, 60_000));
        let history_time = rng
            .one_in(2)
            .then(|| Duration::from_micros(rng.between(0, 150)));
        self.retained.windows = (history_bytes, history_time);
        // They move as soon as the store is open, whether or not it stays so.
        self.note_window(self.import.1.max(self.retained.upto));
        StoreConfig {
            history_bytes,
            history_time,
            ..config
        }
    }

    /// Where the windows begin at `now` once there is WAL up to `upto`, by going through all commits.
    fn window_begin(&self, upto: Lsn, now: PgTime) -> Lsn {
        let (bytes, time) = self.retained.windows;
        let by_bytes = bytes.map(|bytes| Lsn::new(upto.get().saturating_sub(bytes)));
        let by_time = time.map(|time| {
            let since = now - time.as_micros() as PgTime;
            let commits = self.commits().iter();
            let there = commits.take_while(|commit| commit.end <= upto);
            let older = there.take_while(|commit| commit.time <= since);
            older.last().map_or(Lsn::INVALID, |commit| commit.end)
        });
        by_bytes
            .into_iter()
            .chain(by_time)
            .min()
            .unwrap_or(Lsn::INVALID)
    }

    /// There is WAL up to `upto` now, or soon.
    pub(crate) fn note_window(&mut self, upto: Lsn) {
        self.retained.upto = self.retained.upto.max(upto);
        // Whoever moves them may have looked at the clock before it was set back.
        let begin = self.window_begin(upto, self.retained.latest);
        self.retained.passed = self.retained.passed.max(begin);
    }

    pub(crate) fn move_clock(&mut self, upto: Lsn, rng: &mut Rng) {
        let retained = &mut self.retained;
        let now = retained.clock.now() + rng.between(0, 120) as PgTime - 20;
        retained.clock.set(now);
        retained.latest = retained.latest.max(now);
        self.note_window(upto);
    }

    /// Below, the windows hold nothing.
    pub(crate) fn passed(&self) -> Lsn {
        self.import.1.max(self.collected).max(self.retained.passed)
    }

    /// Nothing says that everything at `lsn` is readable.
    pub(crate) fn may_be_gone(&self, lsn: Lsn) -> bool {
        lsn < self.passed() && !self.is_held(lsn)
    }

    fn is_held(&self, lsn: Lsn) -> bool {
        let until = self.retained.leases.get(&lsn);
        until.is_some_and(|until| *until > self.retained.latest)
    }

    /// The window begins no later than it may.
    pub(crate) fn check_window(&self, timeline: &Timeline) -> Outcome<()> {
        let from = timeline.progress().readable_from;
        if from > self.passed() && from < Lsn::MAX {
            return Err(format!("readable from {from}, allowed was {}", self.passed()).into());
        }
        Ok(())
    }

    /// Collects garbage by the settings. All that was received up to now is in layers.
    pub(crate) fn collect(&self, timeline: &Timeline) -> Outcome<()> {
        let now = self.retained.clock.now();
        let expected = self.window_begin(timeline.progress().disk_consistent, now);
        timeline.gc()?;
        let from = timeline.progress().readable_from;
        if from < expected {
            let windows = self.retained.windows;
            return Err(format!("from {from}, not from {expected}, with {windows:?}").into());
        }
        Ok(())
    }

    /// Asks for a lease: of what is readable, of what is held already, or of what is gone.
    pub(crate) fn lease(&mut self, timeline: &Timeline, rng: &mut Rng) -> Outcome<()> {
        let retained = &self.retained;
        let from = timeline.progress().readable_from;
        let known: Vec<Lsn> = retained.leases.keys().copied().collect();
        let lsns: Vec<Lsn> = self.history.states.lsns().collect();
        let lsn = match rng.below(4) {
            0 if !known.is_empty() => known[rng.below(known.len() as u64) as usize],
            1 => lsns[rng.below(lsns.len() as u64) as usize],
            _ => {
                let last = timeline.progress().last_record;
                let there: Vec<Lsn> = lsns
                    .into_iter()
                    .filter(|lsn| (from..=last).contains(lsn))
                    .collect();
                let Some(number) = rng.next_u64().checked_rem(there.len() as u64) else {
                    return Ok(());
                };
                there[number as usize]
            }
        };
        let length = Duration::from_micros(rng.between(1, 300));
        let was_there = retained.asked.contains(&lsn) || timeline.is_leased(lsn);
        self.retained.asked.insert(lsn);
        match timeline.lease(lsn, length) {
            Ok(lease) => {
                if lsn < from && !was_there {
                    return Err(format!("a lease of {lsn}, readable is from {from}").into());
                }
                let until = self.retained.clock.now() + length.as_micros() as PgTime;
                let before = self.retained.leases.insert(lsn, lease.until);
                if lease.until < until || before.is_some_and(|it| it > lease.until) {
                    let text = format!("{lease:?}, asked for {until}, given before {before:?}");
                    return Err(text.into());
                }
                self.check_at(timeline, lsn)
            }
            Err(LeaseError::NotReadable { to, .. }) if lsn > to || self.may_be_gone(lsn) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Leases that last hold their LSNs; of others nothing is readable below the window.
    pub(crate) fn check_leases(&self, timeline: &Timeline) -> Outcome<()> {
        let held = self
            .retained
            .leases
            .keys()
            .filter(|lsn| self.is_held(**lsn));
        for lsn in held {
            if !timeline.is_leased(*lsn) {
                return Err(format!("the lease of {lsn} is gone").into());
            }
            self.check_at(timeline, *lsn)?;
        }
        let from = timeline.progress().readable_from;
        let below = self.history.states.lsns().take_while(|lsn| *lsn < from);
        for lsn in below.filter(|lsn| !self.retained.asked.contains(lsn)) {
            let refused = matches!(timeline.snapshot(lsn), Err(ReadError::NotReadable { .. }));
            if !refused && !timeline.is_leased(lsn) {
                return Err(format!("{lsn} is readable, though the window is from {from}").into());
            }
        }
        Ok(())
    }
}

/// A timeline that has all of a history, in layers, and a clock that is set by hand.
struct Kept {
    disk: SimulatedDisk,
    clock: Arc<ManualClock>,
    store: Store,
    timeline: Timeline,
    world: World,
}

fn kept(seed: u64, records: usize, config: StoreConfig) -> Kept {
    let mut rng = Rng::new(seed);
    let history = Arc::new(History::new(seed, records));
    let mut world = World::new(&history, &mut rng);
    let disk = SimulatedDisk::new();
    let clock = Arc::new(ManualClock::new(BEGIN));
    let store = open_at(&disk, config, &clock).unwrap();
    let timeline = world.import(&store, &mut rng, LIMIT).unwrap();
    world.feed(&timeline, history.end(), &mut rng).unwrap();
    timeline.wait_for(history.end(), LIMIT).unwrap();
    timeline.checkpoint(LIMIT).unwrap();
    Kept {
        disk,
        clock,
        store,
        timeline,
        world,
    }
}

impl Kept {
    fn end(&self) -> Lsn {
        self.world.history.end()
    }

    fn from(&self) -> Lsn {
        self.timeline.progress().readable_from
    }

    /// The ends of records behind the import, ascending.
    fn lsns(&self) -> Vec<Lsn> {
        let lsns = self.world.history.states.lsns();
        lsns.filter(|lsn| *lsn > self.world.import.1).collect()
    }

    /// A commit behind the import above all before it in time, with the commits up to it.
    fn commits_upto_a_later_one(&self) -> (Vec<Commit>, Commit) {
        let commits: Vec<Commit> = self.world.commits().to_vec();
        let is_later = |at: usize| {
            let before = commits[..at].iter().map(|commit| commit.time).max();
            let gap = before.is_some_and(|before| before + 1 < commits[at].time);
            gap && commits[at - 1].end > self.world.import.1
        };
        let at = (1..commits.len()).rfind(|at| is_later(*at)).unwrap();
        (commits[..at].to_vec(), commits[at])
    }

    fn reopen(self, config: StoreConfig) -> Kept {
        self.store.close();
        let disk = self.disk.kill();
        let store = open_at(&disk, config, &self.clock).unwrap();
        let timeline = store.timeline(None, "main").unwrap();
        timeline.wait_examined(LIMIT).unwrap();
        Kept {
            disk,
            store,
            timeline,
            ..self
        }
    }
}

fn by_time(time: Duration) -> StoreConfig {
    StoreConfig {
        history_time: Some(time),
        ..CONFIG
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const HOUR_MICROS: PgTime = 3_600_000_000;

#[test]
fn the_window_by_time_begins_with_the_last_transaction_that_is_older() {
    let kept = kept(31, 400, by_time(HOUR));
    let (before, later) = kept.commits_upto_a_later_one();
    // Just not old enough for the later one to go.
    kept.clock.set(later.time - 1 + HOUR_MICROS);
    let report = kept.timeline.gc().unwrap();
    assert_eq!(report.held_by, CutoffHolder::Time(HOUR));
    assert_eq!(report.readable_from.1, before.last().unwrap().end);
    let target = kept.timeline.lsn_of_time(later.time - 1).unwrap();
    assert_eq!(target.lsn, later.stop);
    kept.world.check_at(&kept.timeline, target.lsn).unwrap();
    kept.clock.set(later.time + HOUR_MICROS);
    kept.timeline.gc().unwrap();
    assert!(kept.from() >= later.end);
}

#[test]
fn an_idle_primary_keeps_its_newest_state_whatever_the_clock_says() {
    let kept = kept(32, 300, by_time(Duration::from_micros(1)));
    let last = kept.world.commits().last().unwrap().end;
    for years in [1, 10, 1000] {
        kept.clock.set(BEGIN + years * 365 * 24 * HOUR_MICROS);
        kept.timeline.gc().unwrap();
        // What came behind the last commit is of unknown age.
        assert_eq!(kept.from(), last);
        kept.world.check_at(&kept.timeline, kept.end()).unwrap();
    }
}

#[test]
fn the_window_never_begins_earlier_again() {
    let kept = kept(33, 300, by_time(HOUR));
    kept.clock.set(BEGIN + 2 * HOUR_MICROS);
    kept.timeline.gc().unwrap();
    let from = kept.from();
    assert!(from > kept.world.import.1);
    kept.clock.set(BEGIN);
    kept.timeline.gc().unwrap();
    assert_eq!(kept.from(), from);
    let kept = kept.reopen(by_time(3 * HOUR));
    kept.timeline.gc().unwrap();
    assert_eq!(kept.from(), from);
}

#[test]
fn times_before_all_that_is_known_give_nothing_up() {
    let kept = kept(34, 300, by_time(HOUR));
    let first = kept.world.commits()[0];
    kept.clock.set(first.time - 1 + HOUR_MICROS);
    let report = kept.timeline.gc().unwrap();
    assert_eq!(report.held_by, CutoffHolder::Time(HOUR));
    assert_eq!(kept.from(), kept.world.import.1);
}

#[test]
fn with_two_windows_an_lsn_stays_if_either_wants_it() {
    let bytes = 9000;
    let both = |time| StoreConfig {
        history_bytes: Some(bytes),
        ..by_time(time)
    };
    let kept = kept(35, 400, both(HOUR));
    let begin = Lsn::new(kept.end().get() - bytes);
    // Time alone would give up nothing.
    kept.clock.set(BEGIN);
    let report = kept.timeline.gc().unwrap();
    assert_eq!(report.held_by, CutoffHolder::Time(HOUR));
    assert!(kept.from() < begin);
    // Time alone would give up all but the newest.
    kept.clock.set(BEGIN + 2 * HOUR_MICROS);
    assert!(kept.world.commits().last().unwrap().end > begin);
    let report = kept.timeline.gc().unwrap();
    assert_eq!(report.held_by, CutoffHolder::Bytes(bytes));
    assert_eq!(report.readable_from.1, begin);
}

#[test]
fn what_holds_the_window_is_told() {
    let kept = kept(36, 400, CONFIG);
    let nothing = kept.timeline.gc().unwrap();
    assert_eq!(nothing.held_by, CutoffHolder::NoWindow);
    let lsns = kept.lsns();
    let (low, high) = (lsns[3], lsns[lsns.len() - 3]);
    let branch = NewBranch {
        timeline: TimelineId::from_bytes([9; 16]),
        name: "b".to_owned(),
        lsn: low,
    };
    kept.store.branch(&kept.timeline, &branch).unwrap();
    let lease = kept.timeline.lease(lsns[7], HOUR).unwrap();
    let reader = kept.timeline.snapshot(high).unwrap();
    let report = kept.timeline.gc_below(kept.end()).unwrap();
    assert_eq!(report.held_by, CutoffHolder::Reader(high));
    assert_eq!(report.readable_from.1, high);
    drop(reader);
    let report = kept.timeline.gc_below(Lsn::MAX).unwrap();
    assert_eq!(report.held_by, CutoffHolder::Layers);
    assert_eq!(report.readable_from, (high, kept.end()));
    let expected = [
        HeldPoint {
            lsn: low,
            by: PointHolder::Branch(branch.timeline),
        },
        HeldPoint {
            lsn: lease.lsn,
            by: PointHolder::Lease(lease.until),
        },
    ];
    assert_eq!(report.points, expected);
    let again = kept.timeline.gc_below(kept.end()).unwrap();
    assert_eq!(again.held_by, CutoffHolder::Asked);
}

#[test]
fn a_lease_keeps_one_lsn_right_its_neighbours_go_and_so_does_their_space() {
    let kept = kept(37, 1500, CONFIG);
    let lsns = kept.lsns();
    let at = lsns.len() / 2;
    let leased = lsns[at];
    kept.timeline.compact(true).unwrap();
    let all = kept.timeline.sizes();
    let lease = kept.timeline.lease(leased, HOUR).unwrap();
    assert_eq!(lease.until, BEGIN + HOUR_MICROS);
    let check = |kept: &Kept| {
        kept.world.check_at(&kept.timeline, leased).unwrap();
        kept.world.check_at(&kept.timeline, kept.end()).unwrap();
        for neighbour in [lsns[at - 1], lsns[at + 1]] {
            let refused = kept.timeline.snapshot(neighbour);
            assert!(matches!(refused, Err(ReadError::NotReadable { lsn, .. }) if lsn == neighbour));
        }
    };
    let collected = kept.timeline.gc_below(kept.end()).unwrap();
    assert!(collected.wal_bytes > 0 || all.wal_bytes < 3 << 20);
    kept.timeline.compact(true).unwrap();
    check(&kept);
    let both = kept.timeline.sizes().layer_bytes;
    assert!(both < all.layer_bytes / 2, "{both} of {}", all.layer_bytes);
    assert_eq!(kept.timeline.read_position(leased).unwrap(), leased);
    // A restart keeps it.
    let kept = kept.reopen(CONFIG);
    kept.timeline.compact(true).unwrap();
    check(&kept);
    // It can be renewed, though its LSN is below the window by now.
    kept.clock.set(lease.until - 1);
    let renewed = kept.timeline.lease(leased, HOUR).unwrap();
    assert_eq!(renewed.until, lease.until - 1 + HOUR_MICROS);
    kept.clock.set(lease.until);
    kept.timeline.compact(true).unwrap();
    check(&kept);
    // Once it has run out it is gone, and the clock does not bring it back.
    kept.clock.set(renewed.until);
    assert!(kept.timeline.leases().is_empty());
    kept.clock.set(BEGIN);
    let refused = kept.timeline.snapshot(leased);
    assert!(matches!(refused, Err(ReadError::NotReadable { .. })));
    let refused = kept.timeline.lease(leased, HOUR);
    assert!(matches!(refused, Err(LeaseError::NotReadable { lsn, .. }) if lsn == leased));
    kept.timeline.compact(true).unwrap();
    let newest = kept.timeline.sizes().layer_bytes;
    assert!(newest < both, "{newest} of {both}");
    kept.world.check_at(&kept.timeline, kept.end()).unwrap();
}

#[test]
fn what_was_compacted_before_leaves_no_more_behind_when_history_is_given_up() {
    let config = StoreConfig {
        layer_block: 256,
        ..CONFIG
    };
    let mut sizes = Vec::new();
    for was_compacted in [false, true] {
        let kept = kept(38, 1500, config);
        if was_compacted {
            kept.timeline.compact(true).unwrap();
        }
        kept.timeline.gc_below(kept.end()).unwrap();
        kept.timeline.compact(true).unwrap();
        kept.world.check_at(&kept.timeline, kept.end()).unwrap();
        sizes.push(kept.timeline.sizes().layer_bytes);
    }
    // Blocks end elsewhere.
    assert!(sizes[1] <= sizes[0] + sizes[0] / 20, "{sizes:?}");
}

#[test]
fn a_read_that_began_under_a_lease_ends_right_though_the_lease_runs_out() {
    let kept = kept(38, 400, CONFIG);
    let lsns = kept.lsns();
    let leased = lsns[lsns.len() / 2];
    let lease = kept.timeline.lease(leased, HOUR).unwrap();
    kept.timeline.gc_below(lsns[lsns.len() / 2 + 5]).unwrap();
    let reader = kept.timeline.snapshot(leased).unwrap();
    // It does not hold the window back.
    kept.timeline.gc_below(kept.end()).unwrap();
    assert_eq!(kept.from(), kept.end());
    kept.clock.set(lease.until);
    kept.timeline.compact(true).unwrap();
    // From the files as they are now.
    for fork in reader.forks().unwrap() {
        for block in 0..fork.blocks {
            let tag = walrecord::BlockTag {
                rel: fork.rel,
                fork: fork.fork,
                block,
            };
            let page = reader.page_uncached(tag.into()).unwrap().0;
            let expected = &kept.world.history.states.at(leased).forks[&(fork.rel, fork.fork)];
            assert_eq!(page[8..], expected[block as usize][8..]);
        }
    }
}

#[test]
fn leases_of_what_is_not_readable_for_no_time_for_ever_or_too_many_are_refused() {
    let kept = kept(39, 1500, CONFIG);
    let lsns = kept.lsns();
    for lsn in [lsns[0].min(kept.from()).page_start(), kept.end() + 1] {
        let refused = kept.timeline.lease(lsn, HOUR);
        assert!(matches!(refused, Err(LeaseError::NotReadable { .. })));
    }
    for length in [Duration::ZERO, MAX_LEASE_TIME + Duration::from_micros(1)] {
        let refused = kept.timeline.lease(kept.end(), length);
        assert!(matches!(refused, Err(LeaseError::Length { asked }) if asked == length));
    }
    let (from, to) = (kept.from().get(), kept.end().get());
    let apart: Vec<u64> = (from + 48..to)
        .step_by(8)
        .filter(|lsn| lsn % 8192 > 48)
        .collect();
    for lsn in &apart[..MAX_LEASES] {
        kept.timeline.lease(Lsn::new(*lsn), HOUR).unwrap();
    }
    let refused = kept.timeline.lease(kept.end(), HOUR);
    assert!(matches!(refused, Err(LeaseError::TooMany)));
    // One that is there is renewed, and all of them run out.
    kept.timeline.lease(Lsn::new(apart[5]), 2 * HOUR).unwrap();
    kept.clock.set(BEGIN + HOUR_MICROS);
    assert_eq!(kept.timeline.leases().len(), 1);
    kept.timeline.lease(kept.end(), HOUR).unwrap();
}

#[test]
fn a_lease_of_a_branch_below_its_branch_point_is_its_ancestors() {
    let kept = kept(40, 400, CONFIG);
    let lsns = kept.lsns();
    let branch = NewBranch {
        timeline: TimelineId::from_bytes([9; 16]),
        name: "b".to_owned(),
        lsn: lsns[20],
    };
    let branch = kept.store.branch(&kept.timeline, &branch).unwrap();
    let lease = branch.lease(lsns[10], HOUR).unwrap();
    assert_eq!(kept.timeline.leases(), [lease]);
    kept.timeline.gc_below(kept.end()).unwrap();
    kept.timeline.compact(true).unwrap();
    for lsn in [lsns[10], lsns[20]] {
        kept.world.check_at(&branch, lsn).unwrap();
    }
    assert!(branch.snapshot(lsns[11]).is_err());
}

#[test]
fn a_position_behind_a_page_header_is_held_as_the_beginning_of_the_page() {
    let kept = kept(41, 400, CONFIG);
    let page = kept.lsns()[5].page_start() + 8192;
    let lease = kept.timeline.lease(page + 24, HOUR).unwrap();
    assert_eq!(lease.lsn, page);
    kept.timeline.gc_below(kept.end()).unwrap();
    kept.timeline.compact(true).unwrap();
    for lsn in [page, page + 24] {
        kept.world.check_at(&kept.timeline, lsn).unwrap();
    }
    assert!(kept.timeline.snapshot(page + 32).is_err());
}
