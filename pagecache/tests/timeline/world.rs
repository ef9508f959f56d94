//! A store that takes one history in, on a simulated disk, and what must be left of it after a crash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pagecache::storage::{Access, Rng, SimulatedDisk, Storage};
use pagecache::{
    Clock, ControlState, ImportParams, ManualClock, NewBranch, Progress, ReadError, Store,
    StoreConfig, StoreError, Timeline, TimelinePaths, take_inventory,
};
use slog::{Discard, Logger, o};
use walrecord::rmgr::xlog::{CheckPoint, ParameterChange};
use walrecord::{
    BlockTag, Lsn, PAGE_SIZE, PageKey, PgTimelineId, SegmentId, SlruKind, TenantId, TimelineId,
};
use walredo::clear_checksum;

use crate::history::History;
use crate::model::{Files, Fork, RULES};
use crate::retention::Retained;
use crate::wal::{SEGMENT_SIZE, SYSTEM_IDENTIFIER};

pub(crate) const TENANT: TenantId = TenantId::from_bytes([1; 16]);
pub(crate) const TIMELINE: TimelineId = TimelineId::from_bytes([2; 16]);
/// Nothing here takes long; whoever waits so long waits for ever.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// How long a checkpoint is waited for at a time.
pub(crate) const MOMENT: Duration = Duration::from_millis(20);

/// How long an import on a disk that may have stopped waits for WAL to be indexed.
const SESSION_PATIENCE: Duration = Duration::from_secs(1);

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What was promised, and by which history it is judged.
#[derive(Clone)]
pub(crate) struct World {
    /// Where the history goes.
    pub(crate) ids: (TenantId, TimelineId),
    pub(crate) history: Arc<History>,
    /// Where the import starts and stops: ends of records.
    pub(crate) import: (Lsn, Lsn),
    /// The import was said to be complete.
    pub(crate) imported: bool,
    /// The highest position that was said to be durable.
    pub(crate) synced: Lsn,
    /// The newest Postgres timeline that was said to be followed.
    pub(crate) followed: PgTimelineId,
    /// Up to here history was allowed to go.
    pub(crate) collected: Lsn,
    /// What windows and leases may let go and have to keep.
    pub(crate) retained: Retained,
    /// The branches that were said to be made, and where; of those that are to be deleted it is not known whether
    /// they are.
    pub(crate) branches: BTreeMap<String, (Lsn, Fate)>,
}

/// What is known of a branch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Made,
    MaybeGone,
    Gone,
}

pub(crate) fn config(rng: &mut Rng) -> StoreConfig {
    StoreConfig {
        open_layer_memory: 1 << rng.between(10, 22),
        open_layer_wal: 1 << rng.between(10, 20),
        frozen_memory: 1 << rng.between(10, 22),
        block_cache: 1 << 20,
        hot_pages: rng.below(4) as usize * 8192,
        hot_changes: rng.below(10) as usize,
        import_batch: PAGE_SIZE * rng.between(1, 20) as usize,
        max_deltas: rng.between(1, 40) as usize,
        compacted_deltas: rng.between(1, 40) as usize,
        layer_block: 1 << rng.between(7, 15),
        compacted_layer: 1 << rng.between(10, 18),
        merge_runs: rng.between(2, 6) as usize,
        hurried_runs: rng.below(3) as usize * 4,
        history_bytes: None,
        history_time: None,
    }
}

pub(crate) fn open<S: Storage + Clone + 'static>(
    disk: &S,
    config: StoreConfig,
) -> Result<Store, StoreError> {
    Store::open(Arc::new(disk.clone()), config, Logger::root(Discard, o!()))
}

pub(crate) fn open_at<S: Storage + Clone + 'static>(
    disk: &S,
    config: StoreConfig,
    clock: &Arc<ManualClock>,
) -> Result<Store, StoreError> {
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
    let log = Logger::root(Discard, o!());
    Store::open_with_clock(Arc::new(disk.clone()), config, clock, log)
}

pub(crate) fn paths() -> TimelinePaths {
    TimelinePaths::new(TENANT, TIMELINE)
}

impl World {
    pub(crate) fn new(history: &Arc<History>, rng: &mut Rng) -> World {
        let lsns: Vec<Lsn> = history.states.lsns().collect();
        let start = rng.between(0, lsns.len() as u64 / 5);
        let stop = rng.between(start + 1, lsns.len() as u64 * 2 / 5);
        World {
            ids: (TENANT, TIMELINE),
            history: Arc::clone(history),
            // A redo position is where a record starts.
            import: (history.starts[start as usize], lsns[stop as usize]),
            imported: false,
            synced: Lsn::INVALID,
            followed: 1,
            collected: Lsn::INVALID,
            retained: Retained::default(),
            branches: BTreeMap::new(),
        }
    }

    pub(crate) fn params(&self) -> ImportParams {
        ImportParams {
            tenant: self.ids.0,
            timeline: self.ids.1,
            name: "main".to_owned(),
            system_identifier: SYSTEM_IDENTIFIER,
            rules: RULES,
            segment_size: SEGMENT_SIZE,
            pg_timeline: 1,
            start: self.import.0,
            data_checksums: false,
        }
    }

    /// Imports a backup whose files were read at different times between start and stop.
    pub(crate) fn import(
        &mut self,
        store: &Store,
        rng: &mut Rng,
        patience: Duration,
    ) -> Result<Timeline, StoreError> {
        let (start, stop) = self.import;
        let history = Arc::clone(&self.history);
        let mut writer = store.begin_import(self.params())?;
        writer.database_directory(1663, 5);
        let checkpoint = CheckPoint {
            next_full_xid: 700,
            ..CheckPoint::default()
        };
        let parameters = ParameterChange {
            wal_level: 1,
            ..ParameterChange::default()
        };
        writer.control(&ControlState::new(&checkpoint, parameters));
        let within: Vec<Lsn> = history
            .states
            .lsns()
            .filter(|lsn| (start..=stop).contains(lsn))
            .collect();
        let mut some_time = || match rng.below(within.len() as u64 + 1) {
            0 => start,
            number => within[number as usize - 1],
        };
        let mut forks: Vec<Fork> = history.states.at(start).forks.keys().copied().collect();
        forks.extend(history.states.at(stop).forks.keys());
        forks.sort_unstable();
        forks.dedup();
        for (rel, fork) in forks {
            let (first, second) = (some_time(), some_time());
            let (early, late) = (first.min(second), first.max(second));
            let Some(pages) = history.states.at(late).forks.get(&(rel, fork)) else {
                continue;
            };
            writer.relation_blocks(rel, fork, 0);
            for (block, page) in (0..).zip(pages) {
                let older = self.still_the_same_file((rel, fork), block, early, late);
                let page = older.unwrap_or_else(|| Arc::clone(page));
                writer.relation_pages(rel, fork, block, &page[..])?;
            }
        }
        let files = history.states.at(some_time());
        for (segment, pages) in slru_segments(files) {
            let mut bytes = Vec::new();
            for page in pages {
                bytes.extend_from_slice(&page[..]);
            }
            writer.slru_segment(SlruKind::Clog, segment, &bytes)?;
        }
        let timeline = writer.timeline().clone();
        let mut at = timeline.progress().written;
        while at < stop {
            let to = (at + rng.between(1, 20_000)).min(stop);
            timeline.append(at, history.wal(at, to))?;
            at = to;
        }
        let timeline = writer.finish(stop, patience)?;
        self.imported = true;
        self.note_synced(&timeline);
        store.add(timeline.clone());
        Ok(timeline)
    }

    /// The page as it was at `early`, if no truncation or removal came between.
    fn still_the_same_file(
        &self,
        fork: Fork,
        block: u32,
        early: Lsn,
        late: Lsn,
    ) -> Option<Arc<walrecord::Page>> {
        let states = &self.history.states;
        let page = |lsn: Lsn| {
            states
                .at(lsn)
                .forks
                .get(&fork)?
                .get(block as usize)
                .cloned()
        };
        let mut between = states.lsns().filter(|lsn| (early..=late).contains(lsn));
        let there = between.all(|lsn| page(lsn).is_some());
        if there { page(early) } else { None }
    }

    pub(crate) fn note_synced(&mut self, timeline: &Timeline) {
        self.synced = self.synced.max(timeline.progress().synced);
    }

    /// What a receiver does at each connect: settles where the WAL ends, and gives that place.
    pub(crate) fn settle(&self, timeline: &Timeline) -> Result<Lsn, StoreError> {
        let progress = examined(timeline)?;
        let to = progress.last_record.max(progress.written.min(self.synced));
        let to = to.max(timeline.rewind_floor());
        timeline.rewind(to)?;
        Ok(to)
    }

    /// Sends the history up to `to`, over to other Postgres timelines where it does.
    pub(crate) fn feed(
        &mut self,
        timeline: &Timeline,
        to: Lsn,
        rng: &mut Rng,
    ) -> Result<(), StoreError> {
        let history = Arc::clone(&self.history);
        loop {
            let at = timeline.progress().written;
            let next = history.after(timeline.info().pg_timeline);
            if let Some((next, switch)) = next.filter(|(_, switch)| *switch == at) {
                if at.page_offset() > 0 && rng.one_in(2) {
                    // What the old server wrote of a record that the new one never had.
                    let torn = [&[0x10, 0x27, 0, 0], &[9; 15][..rng.below(15) as usize]].concat();
                    timeline.append(at, &torn)?;
                    examined(timeline)?;
                    timeline.rewind(switch)?;
                }
                examined(timeline)?;
                timeline.switch_pg_timeline(next, switch, &history.file(next))?;
                self.followed = next;
                continue;
            }
            let end = next.map_or(to, |(_, switch)| switch.min(to));
            if at >= end {
                return Ok(());
            }
            timeline.append(at, history.wal(at, end))?;
        }
    }

    /// Works until `steps` are done or the disk stops.
    pub(crate) fn session(
        &mut self,
        disk: &SimulatedDisk,
        rng: &mut Rng,
        steps: u32,
    ) -> Outcome<()> {
        let config = self.with_windows(config(rng), rng);
        let store = open_at(disk, config, &self.retained.clock)?;
        let timeline = match store.timeline(None, "main") {
            Ok(timeline) => {
                self.settle(&timeline)?;
                timeline
            }
            Err(_) => self.import(&store, rng, SESSION_PATIENCE)?,
        };
        self.note_window(timeline.progress().written);
        for _ in 0..steps {
            let at = timeline.progress().written;
            match rng.below(36) {
                0..13 => {
                    let to = (at + rng.between(1, 4000)).min(self.history.end());
                    self.note_window(to);
                    self.feed(&timeline, to, rng)?;
                }
                13..16 => self.note_synced(&timeline),
                16..18 => {
                    // On a disk that stopped it never ends.
                    while timeline.checkpoint(MOMENT).is_err() && disk.exists("".as_ref()).is_ok() {
                    }
                }
                18 => {
                    self.note_synced(&timeline);
                    self.settle(&timeline)?;
                }
                19..21 => {
                    let last = timeline.progress().last_record;
                    self.check_at(&timeline, last)?;
                    self.check_at(&timeline, self.some_lsn(&timeline, rng, last))?;
                }
                21..23 => {
                    let last = timeline.progress().last_record;
                    let cutoff = self.some_lsn(&timeline, rng, last);
                    self.collected = self.collected.max(cutoff);
                    timeline.gc_below(cutoff)?;
                }
                23..26 => {
                    timeline.compact(rng.one_in(2))?;
                }
                26..28 => self.make_branch(&store, rng)?,
                28 => self.delete_branch(&store, rng)?,
                29..31 => self.move_clock(at, rng),
                31..33 => {
                    while timeline.checkpoint(MOMENT).is_err() && disk.exists("".as_ref()).is_ok() {
                    }
                    self.collect(&timeline)?;
                }
                _ => self.lease(&timeline, rng)?,
            }
            self.check_window(&timeline)?;
            if disk.exists("".as_ref()).is_err() {
                break;
            }
        }
        self.note_synced(&timeline);
        Ok(())
    }

    /// Makes a branch of any timeline at an LSN that is readable there.
    fn make_branch(&mut self, store: &Store, rng: &mut Rng) -> Outcome<()> {
        let timelines = store.timelines();
        let from = &timelines[rng.below(timelines.len() as u64) as usize];
        let lsn = self.some_lsn(from, rng, from.progress().last_record);
        let name = format!("b{}", self.branches.len());
        let branch = NewBranch {
            timeline: TimelineId::from_bytes([100 + self.branches.len() as u8; 16]),
            name: name.clone(),
            lsn,
        };
        self.branches.insert(name.clone(), (lsn, Fate::MaybeGone));
        let made = match store.branch(from, &branch) {
            Err(StoreError::Read(error))
                // A lease holds pages, not what a branch would go on from.
                if matches!(*error, ReadError::NotReadable { .. }) && lsn < self.passed() =>
            {
                self.branches.insert(name, (lsn, Fate::Gone));
                return Ok(());
            }
            made => made?,
        };
        self.branches.insert(name, (lsn, Fate::Made));
        self.check_at(&made, lsn)
    }

    fn delete_branch(&mut self, store: &Store, rng: &mut Rng) -> Outcome<()> {
        let there = self.branches.iter_mut().filter(|it| it.1.1 == Fate::Made);
        let mut there: Vec<_> = there.collect();
        if there.is_empty() {
            return Ok(());
        }
        let number = rng.below(there.len() as u64) as usize;
        let (name, (_, fate)) = &mut there[number];
        let timeline = store.timeline(None, name)?;
        if timeline.branches().is_empty() {
            *fate = Fate::MaybeGone;
            store.delete(&timeline)?;
            *fate = Fate::Gone;
        } else if !matches!(store.delete(&timeline), Err(StoreError::HasBranches { .. })) {
            return Err(format!("{name} was removed from below its branches").into());
        }
        Ok(())
    }

    /// Branches are there, with what was there when they were made, and history can go on in each.
    fn check_branches(&self, store: &Store, rng: &mut Rng) -> Outcome<()> {
        for (name, (lsn, fate)) in &self.branches {
            let branch = match (store.timeline(None, name), fate) {
                (Err(_), Fate::Made) => return Err(format!("branch {name} is gone").into()),
                (Ok(_), Fate::Gone) => return Err(format!("branch {name} is back").into()),
                (Ok(branch), _) => branch,
                (Err(_), _) => continue,
            };
            for ancestor in store.timelines() {
                ancestor.wait_examined(LIMIT)?;
            }
            self.check_at(&branch, *lsn)?;
            if rng.one_in(3) {
                let mut world = self.clone();
                world.settle(&branch)?;
                world.feed(&branch, self.history.end(), rng)?;
                branch.wait_for(self.history.end(), LIMIT)?;
                branch.compact(rng.one_in(2))?;
                let some = self.some_lsn(&branch, rng, self.history.end());
                for at in [*lsn, some, self.history.end()] {
                    self.check_at(&branch, at)?;
                }
            }
        }
        Ok(())
    }

    /// An LSN of the history that is readable, at or below `last` where one is.
    fn some_lsn(&self, timeline: &Timeline, rng: &mut Rng, last: Lsn) -> Lsn {
        let from = timeline.progress().readable_from.max(self.import.1);
        let lsns = self.history.states.lsns();
        let lsns: Vec<Lsn> = lsns.filter(|lsn| (from..=last).contains(lsn)).collect();
        match lsns.len() {
            0 => from,
            len => lsns[rng.below(len as u64) as usize],
        }
    }

    /// Opens what a crash left, checks it, and lets the history go on to its end there.
    pub(crate) fn check_after_crash<S: Storage + Clone + 'static>(
        &self,
        disk: &S,
        rng: &mut Rng,
    ) -> Outcome<()> {
        let mut world = self.clone();
        let store = open_at(disk, config(rng), &self.retained.clock)?;
        let timeline = match store.timeline(None, "main") {
            Ok(timeline) => timeline,
            Err(_) if self.imported => return Err("the timeline is gone".into()),
            Err(_) => world.import(&store, rng, LIMIT)?,
        };
        let to = world.settle(&timeline)?;
        if to < self.synced {
            return Err(format!("WAL ends at {to}, {} was acknowledged", self.synced).into());
        }
        self.check_wal(&timeline, to)?;
        self.check_timelines(&timeline)?;
        world.feed(&timeline, self.history.end(), rng)?;
        timeline.wait_for(self.history.end(), LIMIT)?;
        let from = timeline.progress().readable_from;
        self.check_window(&timeline)?;
        self.check_at(&timeline, from)?;
        for _ in 0..3 {
            let lsn = self.some_lsn(&timeline, rng, self.history.end());
            self.check_at(&timeline, lsn)?;
        }
        self.check_at(&timeline, self.history.end())?;
        self.check_times(&timeline, rng)?;
        self.check_page_history(&timeline, rng)?;
        crate::verify::must_be_sound(&timeline)?;
        self.check_segments(disk, timeline.wal_start())?;
        self.check_leases(&timeline)?;
        if rng.one_in(2) {
            timeline.gc_below(self.history.end())?;
            timeline.compact(true)?;
            self.check_leases(&timeline)?;
        }
        self.check_branches(&store, rng)?;
        store.close();
        drop(store);
        let strays = take_inventory(disk)?.removed;
        if strays.is_empty() {
            Ok(())
        } else {
            Err(format!("strays: {strays:?}").into())
        }
    }

    pub(crate) fn check_wal(&self, timeline: &Timeline, to: Lsn) -> Outcome<()> {
        let start = timeline.wal_start();
        let mut found = vec![0; (to - start) as usize];
        let read = timeline.read_wal(start, &mut found)?;
        if read != found.len() || found != self.history.wal(start, to) {
            return Err(format!("WAL below {to} is not what was sent").into());
        }
        Ok(())
    }

    /// The Postgres timelines that are followed are those of the history, and all that were said to be.
    fn check_timelines(&self, timeline: &Timeline) -> Outcome<()> {
        let found = timeline.pg_history();
        let expected = [(1, self.import.0.segment_start(SEGMENT_SIZE))];
        let expected = expected.iter().chain(&self.history.switches);
        let fits = found
            .iter()
            .zip(expected)
            .all(|(found, expected)| (found.timeline, found.start) == *expected);
        let last = found.last().map_or(0, |entry| entry.timeline);
        if !fits || last < self.followed {
            let followed = self.followed;
            return Err(format!("timelines {found:?}, {followed} was followed").into());
        }
        for entry in &found[1..] {
            let file = timeline.pg_history_file(entry.timeline)?;
            if file != Some(self.history.file(entry.timeline)) {
                return Err(format!("history file of {}: {file:?}", entry.timeline).into());
            }
        }
        Ok(())
    }

    /// The files are those that `pg_wal` would have: each timeline's hold its WAL whole, the first of one that
    /// begins in a segment begins with what the timelines before have there.
    fn check_segments(&self, disk: &dyn Storage, wal_start: Lsn) -> Outcome<()> {
        let start = self.import.0.segment_start(SEGMENT_SIZE);
        let mut timelines = vec![(1, start)];
        timelines.extend(&self.history.switches);
        timelines.push((0, self.history.end()));
        for pair in timelines.windows(2) {
            let ((timeline, begin), (_, end)) = (pair[0], pair[1]);
            let mut at = begin.segment_start(SEGMENT_SIZE);
            while at < end {
                let name = SegmentId::of(timeline, at, SEGMENT_SIZE).file_name(SEGMENT_SIZE);
                let to = (at + u64::from(SEGMENT_SIZE)).min(end);
                if at < wal_start {
                    at = to;
                    continue;
                }
                let file = disk.open(&paths().wal().join(&name), Access::Read)?;
                let mut found = vec![0; file.len()? as usize];
                file.read_exact_at(&mut found, 0)?;
                if found != self.history.wal(at, to) {
                    let length = found.len();
                    return Err(format!("{name}: {length} bytes, not those up to {to}").into());
                }
                at = to;
            }
        }
        Ok(())
    }

    /// Compares everything at an LSN with the model.
    pub(crate) fn check_at(&self, timeline: &Timeline, lsn: Lsn) -> Outcome<()> {
        let snapshot = match timeline.snapshot(lsn) {
            // The import may only just have reached its end.
            // The import may only just have reached its end; windows move on while we ask.
            Err(ReadError::NotReadable { .. }) if self.may_be_gone(lsn) => return Ok(()),
            result => result?,
        };
        let files = self.history.states.at(lsn);
        let found: BTreeMap<Fork, u32> = snapshot
            .forks()?
            .into_iter()
            .map(|fork| ((fork.rel, fork.fork), fork.blocks))
            .collect();
        let sizes = |(fork, pages): (&Fork, &Vec<_>)| (*fork, pages.len() as u32);
        let expected: BTreeMap<Fork, u32> = files.forks.iter().map(sizes).collect();
        if found != expected {
            return Err(format!("at {lsn}: forks {found:?}, expected {expected:?}").into());
        }
        let blocks = files.forks.iter().flat_map(|((rel, fork), pages)| {
            (0..).zip(pages).map(|(block, page)| {
                let (rel, fork) = (*rel, *fork);
                (PageKey::Block(BlockTag { rel, fork, block }), page)
            })
        });
        let slrus = files
            .slrus
            .iter()
            .map(|(key, page)| (PageKey::Slru(*key), page));
        for (key, expected) in blocks.chain(slrus) {
            let (mut found, mut expected) = (snapshot.page(key)?.0, **expected);
            if matches!(key, PageKey::Block(_)) {
                clear_checksum(&mut found);
                clear_checksum(&mut expected);
            }
            if found != expected {
                let at = (0..PAGE_SIZE).find(|at| found[*at] != expected[*at]);
                return Err(format!("{key} at {lsn} differs from byte {at:?} on").into());
            }
        }
        Ok(())
    }
}

/// Waits until all WAL was looked at.
fn examined(timeline: &Timeline) -> Result<Progress, StoreError> {
    timeline
        .wait_examined(LIMIT)
        .map_err(|error| StoreError::BadRecord {
            start: Lsn::INVALID,
            end: Lsn::INVALID,
            source: Box::new(error),
        })
}

fn slru_segments(files: &Files) -> BTreeMap<u32, Vec<Arc<walrecord::Page>>> {
    let mut segments: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    for (key, page) in &files.slrus {
        let pages = segments.entry(key.segment()).or_default();
        while pages.len() < (key.page % 32) as usize {
            pages.push(Arc::new(walrecord::ZERO_PAGE));
        }
        pages.push(Arc::clone(page));
    }
    segments
}
