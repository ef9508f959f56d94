//! Times and the histories of pages against the model, in the window that a timeline has.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use pagecache::storage::Rng;
use pagecache::{TimeError, Timeline};
use walrecord::{BlockTag, Lsn, PageKey, PgTime, Record, ZERO_PAGE};

use crate::faults::{Scene, scene};
use crate::history::Commit;
use crate::model::{Files, Fork};
use crate::world::{Outcome, World};

/// Times and LSNs that are asked for.
const QUESTIONS: u32 = 20;

/// An answer to "which LSN is this time?": the LSN and the commit that recovery stops before, or since when
/// times are known.
type Answer = Result<(Lsn, Option<Lsn>), Option<PgTime>>;

/// A history in which that happens; others are tried should histories be made otherwise one day.
const WITH_A_COMMIT_AT_A_PAGE_START: u64 = 55;

#[test]
fn recovery_that_stops_before_a_commit_at_a_page_start_stops_at_the_page_boundary() {
    let at_page_start = |scene: &Scene| {
        let mut before = 0;
        let mut known = scene.world.commits().iter().enumerate();
        known.find_map(|(number, commit)| {
            let time = before;
            before = before.max(commit.time);
            let wanted = commit.stop.page_offset() == 0 && commit.time > time;
            (wanted && number > 0 && commit.stop > scene.world.import.1).then_some((time, *commit))
        })
    };
    let mut scenes = (WITH_A_COMMIT_AT_A_PAGE_START..).map(scene);
    let (scene, (time, commit)) = scenes
        .find_map(|scene| at_page_start(&scene).map(|found| (scene, found)))
        .unwrap();
    scene.send_all();
    let target = scene.timeline.lsn_of_time(time).unwrap();
    assert_eq!(target.lsn, commit.stop);
    assert_eq!(target.stops_before.unwrap().lsn, commit.end);
}

impl World {
    /// The commits that the store has seen.
    pub(crate) fn commits(&self) -> &[Commit] {
        let commits = &self.history.commits;
        // A redo position is a record's start; the end before it is at most that.
        &commits[commits.partition_point(|commit| commit.end <= self.import.0)..]
    }

    /// What recovery with that target would do, by going through all commits.
    fn expected_stop(&self, time: PgTime, from: Lsn) -> Answer {
        let known = self.commits();
        let imported = known.iter().filter(|commit| commit.end <= from);
        let since = imported.map(|commit| commit.time).max();
        if since.is_some_and(|since| since > time) {
            return Err(since);
        }
        match known.iter().position(|commit| commit.time > time) {
            None if known.is_empty() => Err(None),
            None => Ok((self.history.end(), None)),
            Some(0) => Err(Some(known[0].time)),
            Some(at) => Ok((known[at].stop, Some(known[at].end))),
        }
    }

    pub(crate) fn check_times(&self, timeline: &Timeline, rng: &mut Rng) -> Outcome<()> {
        let commits = &self.history.commits;
        let from = timeline.progress().readable_from;
        for _ in 0..QUESTIONS {
            let near = commits[rng.below(commits.len() as u64) as usize];
            let time = near.time + rng.below(3) as PgTime - 1;
            let found = match timeline.lsn_of_time(time) {
                Ok(target) => Ok((target.lsn, target.stops_before.map(|end| end.lsn))),
                Err(TimeError::Before { since }) => Err(Some(since)),
                Err(TimeError::Unknown) => Err(None),
                Err(error) => return Err(error.into()),
            };
            let expected = self.expected_stop(time, from);
            if found != expected {
                let text = format!("time {time} is {found:?}, expected {expected:?}");
                return Err(text.into());
            }
            let lsn = Lsn::new(rng.between(from.get(), self.history.end().get()));
            let found = timeline.time_of_lsn(lsn)?;
            let mut known = self.commits().iter();
            let expected = known.rfind(|commit| commit.end <= lsn);
            let expected = expected.map(|commit| (commit.time, commit.end, commit.xid, true));
            let found = found.map(|end| (end.time, end.lsn, end.xid, end.committed));
            if found != expected {
                let text = format!("the time at {lsn} is {found:?}, expected {expected:?}");
                return Err(text.into());
            }
        }
        Ok(())
    }

    /// Whenever a page changed, its history has an entry; and they descend.
    pub(crate) fn check_page_history(&self, timeline: &Timeline, rng: &mut Rng) -> Outcome<()> {
        let states = &self.history.states;
        // The other database comes and goes, and begins as a copy.
        let pages = |lsn: Lsn| {
            let forks = states.at(lsn).forks.iter();
            let mine = forks.filter(|((rel, _), _)| rel.db == 5);
            mine.flat_map(|(fork, pages)| (0..pages.len()).map(|block| (*fork, block)))
        };
        let from = timeline.progress().readable_from;
        let lsns: Vec<Lsn> = states.lsns().filter(|lsn| *lsn >= from).collect();
        let all: Vec<(Fork, usize)> = pages(lsns[rng.below(lsns.len() as u64) as usize]).collect();
        let Some(&(fork, block)) = all.get(rng.below(all.len().max(1) as u64) as usize) else {
            return Ok(());
        };
        let tag = BlockTag {
            rel: fork.0,
            fork: fork.1,
            block: block as u32,
        };
        let mut found = Vec::new();
        timeline.page_history(PageKey::Block(tag), Lsn::MAX, &mut |version| {
            found.push(version);
            ControlFlow::Continue(())
        })?;
        if !found.is_sorted_by(|a, b| a.lsn >= b.lsn) {
            return Err(format!("the history of {tag} is not in order: {found:?}").into());
        }
        let there: BTreeSet<Lsn> = found.iter().map(|version| version.lsn).collect();
        for pair in lsns.windows(2) {
            let page = |files: &Files| files.forks.get(&fork)?.get(block).cloned();
            let changed = match (page(states.at(pair[0])), page(states.at(pair[1]))) {
                (None, Some(new)) => *new != ZERO_PAGE,
                (old, new) => old != new,
            };
            if changed && !there.contains(&pair[1]) {
                return Err(format!("{tag} changed at {}, not in {there:?}", pair[1]).into());
            }
        }
        // What is left of older ones may have outlived what is known of their transactions.
        let whole = found.iter().filter(|version| version.lsn > from);
        for version in whole.filter(|version| !version.record.is_empty()) {
            let (start, end) = (version.start(), version.lsn);
            let record = Record::parse(version.version, start, end, &version.record)?;
            let xid = record.header.xid;
            let mut later = self.commits().iter().filter(|commit| commit.end >= end);
            let commit = later.find(|commit| commit.xid == xid && xid != 0);
            let expected = commit.map(|commit| (commit.end, commit.time));
            if version.transaction.map(|end| (end.lsn, end.time)) != expected {
                return Err(format!("{version:?} was committed by {commit:?}").into());
            }
        }
        Ok(())
    }
}
