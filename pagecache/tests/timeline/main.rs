//! The whole store against a model: random histories, imported fuzzily and streamed in random pieces, on
//! a disk that loses power at random points, fills up, and rots. Servers are promoted on the way; layers are
//! compacted, history is given up, by hand and by windows, and leases hold single LSNs of it.
//!
//! The model is what recovery does: records applied to files in order. A run is its seed, which a failure
//! prints (threads make runs of one seed differ in detail). `PAGECACHE_TIMELINE_RUNS` sets the number
//! of runs, `PAGECACHE_TIMELINE_SEED` the first seed.

mod bounds;
mod faults;
mod history;
mod isolation;
mod kill;
mod model;
mod retention;
mod succession;
mod times;
mod verify;
mod wal;
mod world;

use std::sync::Arc;

use history::History;
use pagecache::storage::{Rng, SimulatedDisk};
use world::World;

/// Crashes in a row on one disk.
const CRASHES: u32 = 3;

/// Which syncs of the disk are real.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Syncs {
    Honest,
    FilesIgnored,
    DirsIgnored,
}

#[test]
fn what_was_acknowledged_survives_crashes_anywhere_and_pages_are_right_after() {
    let first = setting("PAGECACHE_TIMELINE_SEED", 1);
    let runs = setting("PAGECACHE_TIMELINE_RUNS", 200);
    let histories = histories();
    for seed in first..first + runs {
        if let Err(problem) = run(seed, &histories, Syncs::Honest) {
            panic!("seed {seed}: {problem}: {problem:?}");
        }
    }
}

#[test]
fn the_check_sees_file_syncs_left_out() {
    let histories = histories();
    assert!((1..50).any(|seed| run(seed, &histories, Syncs::FilesIgnored).is_err()));
}

#[test]
fn the_check_sees_directory_syncs_left_out() {
    let histories = histories();
    assert!((1..50).any(|seed| run(seed, &histories, Syncs::DirsIgnored).is_err()));
}

fn histories() -> Vec<Arc<History>> {
    (1..=6)
        .map(|seed| match seed % 3 {
            0 => Arc::new(History::new(seed, 250)),
            _ => Arc::new(History::promoted(seed, 250)),
        })
        .collect()
}

fn run(seed: u64, histories: &[Arc<History>], syncs: Syncs) -> world::Outcome<()> {
    let mut rng = Rng::new(seed);
    let history = &histories[(seed % histories.len() as u64) as usize];
    let mut world = World::new(history, &mut rng);
    let mut disk = new_disk(&SimulatedDisk::new(), syncs);
    for _ in 0..CRASHES {
        disk.stop_at(rng.between(1, 400));
        let steps = rng.between(1, 60) as u32;
        if let Err(problem) = world.session(&disk, &mut rng, steps) {
            // On a disk that stopped everything fails.
            if pagecache::storage::Storage::exists(&disk, "".as_ref()).is_ok() {
                return Err(problem);
            }
        }
        let left = match rng.below(5) {
            0 => disk.kill(),
            _ => disk.crash(rng.next_u64()),
        };
        world.check_after_crash(&left.kill(), &mut rng)?;
        world.check_after_crash(&left.crash(rng.next_u64()), &mut rng)?;
        disk = new_disk(&left, syncs);
    }
    Ok(())
}

fn new_disk(disk: &SimulatedDisk, syncs: Syncs) -> SimulatedDisk {
    match syncs {
        Syncs::Honest => {}
        Syncs::FilesIgnored => disk.ignore_file_syncs(),
        Syncs::DirsIgnored => disk.ignore_dir_syncs(),
    }
    disk.clone()
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is {value:?}, not a number")),
        Err(_) => default,
    }
}
