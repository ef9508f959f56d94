//! A primary fails over to a server that lacks the end of what we have: a branch takes the timeline's place, and
//! nothing is lost. The power goes at every single change meanwhile.

use std::sync::Arc;

use pagecache::storage::{Rng, SimulatedDisk, Storage};
use pagecache::{NewSuccessor, ReadError, Store, StoreError, Superseded, Timeline, Upstream};
use walrecord::{Lsn, TimelineId};

use crate::history::History;
use crate::world::{LIMIT, MOMENT, Outcome, TIMELINE, World, config, open};

const SUCCESSOR: TimelineId = TimelineId::from_bytes([9; 16]);

/// A timeline that holds all of a history, and where its primary left it.
struct Case {
    world: World,
    disk: SimulatedDisk,
    fork: Lsn,
    end: Lsn,
}

impl Case {
    fn new(seed: u64) -> Outcome<Case> {
        let mut rng = Rng::new(seed);
        let history = Arc::new(History::new(seed, 60));
        let mut world = World::new(&history, &mut rng);
        let disk = SimulatedDisk::new();
        let store = open(&disk, config(&mut rng))?;
        let timeline = world.import(&store, &mut rng, LIMIT)?;
        let end = history.end();
        world.feed(&timeline, end, &mut rng)?;
        world.settle(&timeline)?;
        timeline.set_upstream(Some(upstream()))?;
        if rng.one_in(2) {
            timeline.checkpoint(LIMIT)?;
        }
        let lsns = history.states.lsns();
        let lsns: Vec<Lsn> = lsns
            .filter(|lsn| (world.import.1..end).contains(lsn))
            .collect();
        let fork = lsns[rng.below(lsns.len() as u64) as usize];
        store.close();
        Ok(Case {
            world,
            disk,
            fork,
            end,
        })
    }

    fn successor(&self) -> NewSuccessor {
        NewSuccessor {
            timeline: SUCCESSOR,
            fork: self.fork,
        }
    }

    fn kept_name(&self) -> String {
        format!("main.before-{}", self.fork.to_string().replace('/', "-"))
    }

    /// Opens the store and lets a branch take the place.
    fn succeed(&self, disk: &SimulatedDisk) -> Outcome<()> {
        let store = open(disk, config(&mut Rng::new(1)))?;
        let timeline = store.timeline(None, "main")?;
        while let Err(error) = timeline.wait_for(self.end, MOMENT) {
            // On a disk that stopped it never comes.
            if disk.exists("".as_ref()).is_err() {
                return Err(error.into());
            }
        }
        store.succeed(&timeline, &self.successor())?;
        Ok(())
    }

    /// All is as before or all as after, and what is not done can be done.
    fn check(&self, disk: &SimulatedDisk, done: bool) -> Outcome<()> {
        {
            let store = open(disk, config(&mut Rng::new(2)))?;
            let main = store.timeline(None, "main")?;
            if main.info().timeline == TIMELINE {
                if done || store.timelines().len() != 1 {
                    return Err("the branch is gone, or stands beside the timeline".into());
                }
                main.wait_for(self.end, LIMIT)?;
                store.succeed(&main, &self.successor())?;
            }
            self.check_done(&store)?;
        }
        self.check_done(&open(disk, config(&mut Rng::new(3)))?)
    }

    fn check_done(&self, store: &Store) -> Outcome<()> {
        let kept = store.timeline(None, &self.kept_name())?;
        let main = store.timeline(None, "main")?;
        for timeline in [&kept, &main] {
            timeline.wait_examined(LIMIT)?;
        }
        self.check_kept(&kept)?;
        let info = main.info();
        assert_eq!(info.timeline, SUCCESSOR);
        assert_eq!(info.ancestor, Some((TIMELINE, self.fork)));
        assert_eq!((info.replaces, info.superseded), (Some(TIMELINE), None));
        assert_eq!(main.upstream(), Some(upstream()));
        assert_eq!(store.timelines().len(), 2);
        let deleted = store.delete(&kept);
        assert!(matches!(deleted, Err(StoreError::HasBranches { .. })));
        // The new primary's WAL is taken from the fork on.
        let mut world = self.world.clone();
        let from = world.settle(&main)?;
        assert!(from >= self.fork, "{from}");
        self.check_at(&main, self.fork)?;
        world.feed(&main, self.end, &mut Rng::new(4))?;
        main.wait_for(self.end, LIMIT)?;
        self.check_at(&main, self.end)
    }

    fn check_at(&self, timeline: &Timeline, lsn: Lsn) -> Outcome<()> {
        let named = |problem| format!("{}: {problem}", timeline.info().name);
        Ok(self.world.check_at(timeline, lsn).map_err(named)?)
    }

    fn check_kept(&self, kept: &Timeline) -> Outcome<()> {
        let info = kept.info();
        assert_eq!(info.timeline, TIMELINE);
        let expected = Superseded {
            by: SUCCESSOR,
            fork: self.fork,
        };
        assert_eq!(info.superseded, Some(expected));
        assert_eq!(kept.upstream(), None);
        let end = kept.progress().last_record;
        assert_eq!(end, self.end, "what was acknowledged");
        self.world.check_wal(kept, self.end)?;
        for lsn in [self.fork, self.end] {
            self.check_at(kept, lsn)?;
        }
        let refused = [
            kept.append(self.end, &[0; 8]),
            kept.rewind(self.end),
            kept.set_upstream(None),
            kept.switch_pg_timeline(7, self.end, b""),
        ];
        for refusal in refused {
            assert!(
                matches!(refusal, Err(StoreError::ReadOnly(_))),
                "{refusal:?}"
            );
        }
        Ok(())
    }
}

fn upstream() -> Upstream {
    Upstream {
        conninfo: "host=db2".to_owned(),
        slot: "zenith_main".to_owned(),
    }
}

#[test]
fn a_branch_takes_the_place_of_a_timeline_at_once_or_not_at_all() {
    let runs = crate::setting("PAGECACHE_SUCCESSION_RUNS", 1);
    for seed in 2..2 + runs {
        let case = Case::new(seed).unwrap();
        let whole = case.disk.kill();
        case.succeed(&whole).unwrap();
        case.check(&whole, true).unwrap();
        // Background work makes runs differ a little.
        for stop in 1..=whole_changes(&case) + 3 {
            let disk = case.disk.kill();
            disk.stop_at(stop);
            let done = case.succeed(&disk).is_ok();
            for left in [disk.kill(), disk.crash(stop)] {
                if let Err(problem) = case.check(&left, done) {
                    panic!(
                        "seed {seed}, change {stop} of {}, fork {}, end {}: {problem}",
                        case.kept_name(),
                        case.fork,
                        case.end
                    );
                }
            }
        }
    }
}

/// How many changes it takes from opening the store to the end.
fn whole_changes(case: &Case) -> u64 {
    let disk = case.disk.kill();
    case.succeed(&disk).unwrap();
    disk.changes()
}

#[test]
fn nothing_changes_where_no_branch_can_begin() {
    let case = Case::new(4).unwrap();
    let store = open(&case.disk.kill(), config(&mut Rng::new(1))).unwrap();
    let timeline = store.timeline(None, "main").unwrap();
    timeline.wait_for(case.end, LIMIT).unwrap();
    let succeed = |fork| {
        let successor = NewSuccessor {
            fork,
            ..case.successor()
        };
        store.succeed(&timeline, &successor).map(|_| ())
    };
    let inside = Lsn::new(case.fork.get() + 8);
    assert!(matches!(
        succeed(inside),
        Err(StoreError::ForkInRecord { fork, boundary, .. }) if fork == inside && boundary == case.fork
    ));
    let before = Lsn::new(case.world.import.1.get() - 8);
    let Err(StoreError::Read(error)) = succeed(before) else {
        panic!("a branch from before the import's end");
    };
    assert!(matches!(*error, ReadError::NotReadable { .. }));
    assert_eq!(timeline.info().superseded, None);
    assert_eq!(store.timelines().len(), 1);
    timeline.rewind(case.end).unwrap();
}

/// A second failover finds the name of the first taken only if it is at the same place.
#[test]
fn one_timeline_after_another_is_kept_by_its_own_name() {
    let case = Case::new(5).unwrap();
    let store = open(&case.disk.kill(), config(&mut Rng::new(1))).unwrap();
    let timeline = store.timeline(None, "main").unwrap();
    timeline.wait_for(case.end, LIMIT).unwrap();
    let first = store.succeed(&timeline, &case.successor()).unwrap();
    assert!(matches!(
        store.succeed(&timeline, &case.successor()),
        Err(StoreError::ReadOnly(_))
    ));
    let again = NewSuccessor {
        timeline: TimelineId::from_bytes([10; 16]),
        ..case.successor()
    };
    let second = store.succeed(&first, &again).unwrap();
    assert_eq!(first.info().name, format!("{}-2", case.kept_name()));
    assert_eq!(second.info().name, "main");
    assert_eq!(store.timeline(None, "main").unwrap().info(), second.info());
    case.world.check_at(&second, case.fork).unwrap();
}
