//! What a power loss leaves of WAL, layers and manifests, at thousands of points and in every operation.
//!
//! A run is a random sequence of what a timeline does to its files, on a simulated disk that stops at
//! a given change. The power goes, the store is opened as a restart opens it, and everything that was
//! acknowledged must be there: see `world::World::check`. Runs go on after the crash, so that
//! recovery itself is interrupted too. A run is its seed; a failure prints it.
//!
//! `PAGECACHE_CRASH_RUNS` sets the number of runs, `PAGECACHE_CRASH_SEED` the first seed.

mod world;

use pagecache::storage::{Rng, SimulatedDisk};
use world::{Ending, Violation, World};

/// Crashes in a row on one disk.
const CRASHES: u32 = 3;

/// Steps of a session before the power goes, if no operation stops it.
const STEPS: u32 = 30;

/// Which syncs of the disk are real.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Syncs {
    Honest,
    FilesIgnored,
    DirsIgnored,
}

#[test]
fn what_was_acknowledged_survives_a_crash_anywhere() {
    let first = setting("PAGECACHE_CRASH_SEED", 1);
    let runs = setting("PAGECACHE_CRASH_RUNS", 1500);
    let mut crashes = 0;
    for seed in first..first + runs {
        match random_run(seed, Syncs::Honest) {
            Ok(count) => crashes += count,
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }
    assert!(crashes >= runs, "only {crashes} crashes in {runs} runs");
}

#[test]
fn what_was_acknowledged_survives_a_crash_at_every_single_change() {
    for seed in 1..=3 {
        let changes = session(seed, None, Syncs::Honest)
            .map(|(disk, _)| disk.changes())
            .expect("a run without a crash");
        for stop in 1..=changes {
            let (disk, mut world) = session(seed, Some(stop), Syncs::Honest)
                .unwrap_or_else(|violation| panic!("seed {seed}, change {stop}: {violation}"));
            for crash in 0..4 {
                let mut world = world.clone();
                world
                    .recover(&disk.crash(crash))
                    .unwrap_or_else(|violation| {
                        panic!("seed {seed}, change {stop}, crash {crash}: {violation}")
                    });
            }
            // A process that dies alone loses nothing that was written.
            world
                .recover(&disk.kill())
                .unwrap_or_else(|violation| panic!("seed {seed}, killed at {stop}: {violation}"));
        }
    }
}

#[test]
fn the_check_sees_a_file_sync_left_out() {
    assert!(some_run_fails(Syncs::FilesIgnored));
}

#[test]
fn the_check_sees_a_directory_sync_left_out() {
    assert!(some_run_fails(Syncs::DirsIgnored));
}

fn some_run_fails(syncs: Syncs) -> bool {
    (1..100).any(|seed| random_run(seed, syncs).is_err())
}

/// A run with several crashes; gives their number.
fn random_run(seed: u64, syncs: Syncs) -> Result<u64, Violation> {
    let mut rng = Rng::new(seed);
    let mut world = World::new(&mut rng);
    let mut disk = new_disk(syncs);
    let mut crashes = 0;
    for _ in 0..CRASHES {
        // Most stops fall into the session, some behind its end.
        disk.stop_at(rng.between(1, 250));
        match world.session(&disk, &mut rng, STEPS) {
            Ok(()) | Err(Ending::Stopped) => {}
            Err(Ending::Violation(violation)) => return Err(violation),
        }
        let next = if rng.one_in(8) {
            disk.kill()
        } else {
            disk.crash(rng.next_u64())
        };
        crashes += 1;
        // Looks without changing anything first: recovery may be cut short.
        world.clone().recover(&next.kill())?;
        if rng.one_in(3) {
            let stop = rng.between(1, 20);
            next.stop_at(stop);
            match world.try_recover(&next) {
                Ok(()) | Err(Ending::Stopped) => {}
                Err(Ending::Violation(violation)) => return Err(violation),
            }
            disk = next.crash(rng.next_u64());
        } else {
            disk = next;
        }
        obey(&disk, syncs);
        world.recover(&disk)?;
    }
    Ok(crashes)
}

/// One session from an empty disk, stopped at a change.
fn session(
    seed: u64,
    stop: Option<u64>,
    syncs: Syncs,
) -> Result<(SimulatedDisk, World), Violation> {
    let mut rng = Rng::new(seed);
    let mut world = World::new(&mut rng);
    let disk = new_disk(syncs);
    if let Some(stop) = stop {
        disk.stop_at(stop);
    }
    match world.session(&disk, &mut rng, STEPS) {
        Ok(()) | Err(Ending::Stopped) => Ok((disk, world)),
        Err(Ending::Violation(violation)) => Err(violation),
    }
}

fn new_disk(syncs: Syncs) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    obey(&disk, syncs);
    disk
}

fn obey(disk: &SimulatedDisk, syncs: Syncs) {
    match syncs {
        Syncs::Honest => {}
        Syncs::FilesIgnored => disk.ignore_file_syncs(),
        Syncs::DirsIgnored => disk.ignore_dir_syncs(),
    }
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is {value:?}, not a number")),
        Err(_) => default,
    }
}
