//! A process that is killed (SIGKILL) before or after any change that an import, a flush, a compaction, a collection
//! of garbage, or the making and deletion of a branch makes to its files, on a real file system.
//!
//! The process is this test binary, run anew. Its storage names every change by the job at hand, the operation and the
//! kind of file ("flush: sync layer"), and kills it at one of them. All names are listed here: a change that is
//! new has to be added. What a kill leaves is what was written, synced or not: syncs are counted here, not made.

mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use pagecache::storage::{LocalStorage, Rng};
use pagecache::{NewBranch, Store, StoreConfig, StoreError, Timeline};
use walrecord::{Lsn, TimelineId};

use crate::history::History;
use crate::world::{Fate, LIMIT, Outcome, World, open};
use steps::{Kill, SteppedStorage, Steps, When};

/// Where the process works; where it is killed, unless it is not to be; and where it lists its steps.
const DIR: &str = "PAGECACHE_KILL_DIR";
const AT: &str = "PAGECACHE_KILL_AT";

/// Steps that begin so are those to be killed at, unless all are: to look into a failure.
const ONLY: &str = "PAGECACHE_KILL_ONLY";

/// What the process prints before what it was told, and before the name of a step.
const TOLD: &str = "told: ";
const STEP: &str = "step: ";

/// Processes at a time.
const ABREAST: usize = 4;

const BRANCH: &str = "branch";

const CONFIG: StoreConfig = StoreConfig {
    open_layer_memory: 1 << 30,
    open_layer_wal: 1 << 30,
    frozen_memory: 1 << 30,
    block_cache: 1 << 20,
    import_batch: 8 * 8192,
    hot_pages: 0,
    hot_changes: 0,
    max_deltas: 8,
    compacted_deltas: 8,
    layer_block: 32 << 10,
    compacted_layer: 16 << 10,
    merge_runs: 1 << 10,
    hurried_runs: 1 << 10,
    history_bytes: None,
    history_time: None,
};

/// Every change that the jobs make.
const STEPS: &[&str] = &[
    "import: create WAL",
    "import: create directory of WAL",
    "import: create directory of layers",
    "import: create directory of tenants",
    "import: create directory of the tenant",
    "import: create directory of the timeline",
    "import: create directory of timelines",
    "import: create layer",
    "import: create new manifest",
    "import: create new manifest of the tenant",
    "import: rename new manifest",
    "import: rename new manifest of the tenant",
    "import: sync WAL",
    "import: sync directory of WAL",
    "import: sync directory of layers",
    "import: sync directory of tenants",
    "import: sync directory of the store",
    "import: sync directory of the tenant",
    "import: sync directory of the timeline",
    "import: sync directory of timelines",
    "import: sync layer",
    "import: sync new manifest",
    "import: sync new manifest of the tenant",
    "import: write WAL",
    "import: write layer",
    "import: write new manifest",
    "import: write new manifest of the tenant",
    "flush: create layer",
    "flush: create new manifest",
    "flush: rename new manifest",
    "flush: sync directory of layers",
    "flush: sync directory of the timeline",
    "flush: sync layer",
    "flush: sync new manifest",
    "flush: write layer",
    "flush: write new manifest",
    "compaction: create layer",
    "compaction: create new manifest",
    "compaction: remove layer",
    "compaction: rename new manifest",
    "compaction: sync directory of layers",
    "compaction: sync directory of the timeline",
    "compaction: sync layer",
    "compaction: sync new manifest",
    "compaction: write layer",
    "compaction: write new manifest",
    "branch: create WAL",
    "branch: create directory of WAL",
    "branch: create directory of layers",
    "branch: create directory of tenants",
    "branch: create directory of the tenant",
    "branch: create directory of the timeline",
    "branch: create directory of timelines",
    "branch: create new manifest",
    "branch: rename new manifest",
    "branch: sync WAL",
    "branch: sync directory of WAL",
    "branch: sync directory of tenants",
    "branch: sync directory of the store",
    "branch: sync directory of the tenant",
    "branch: sync directory of the timeline",
    "branch: sync directory of timelines",
    "branch: sync new manifest",
    "branch: write WAL",
    "branch: write new manifest",
    "gc: create new manifest",
    "gc: remove WAL",
    "gc: rename new manifest",
    "gc: sync directory of the timeline",
    "gc: sync new manifest",
    "gc: write new manifest",
    "compaction with gc: create layer",
    "compaction with gc: create new manifest",
    "compaction with gc: remove layer",
    "compaction with gc: rename new manifest",
    "compaction with gc: sync directory of layers",
    "compaction with gc: sync directory of the timeline",
    "compaction with gc: sync layer",
    "compaction with gc: sync new manifest",
    "compaction with gc: write layer",
    "compaction with gc: write new manifest",
    "deletion: remove directory of the timeline",
    "deletion: remove manifest",
    "deletion: sync directory of the timeline",
    "deletion: sync directory of timelines",
];

fn world() -> (World, Rng) {
    let mut rng = Rng::new(4);
    let history = Arc::new(History::long(4, 400));
    (World::new(&history, &mut rng), rng)
}

/// Does each job once, tells what it was promised, and dies on the way.
#[test]
#[ignore = "the process that the test below starts and kills"]
fn process() {
    let Ok(dir) = std::env::var(DIR) else {
        return;
    };
    let kill = std::env::var(AT).ok().map(|at| Kill::parse(&at));
    let steps = Arc::new(Steps::new(kill));
    let storage = SteppedStorage::new(LocalStorage::new(dir).unwrap(), &steps);
    work(&storage, &steps).unwrap();
    for step in steps.taken() {
        tell(STEP, &step);
    }
}

fn tell(what: &str, text: &str) {
    // Not `println`, which the test harness may keep: a killed process prints nothing later.
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{what}{text}").unwrap();
    out.flush().unwrap();
}

fn work(storage: &SteppedStorage, steps: &Steps) -> Outcome<()> {
    let (mut world, mut rng) = world();
    let store = open(storage, CONFIG)?;
    let timeline = steps.during("import", || world.import(&store, &mut rng, LIMIT))?;
    tell(TOLD, "imported");
    let lsns: Vec<Lsn> = world.history.states.lsns().collect();
    let part = |tenths: usize| lsns[lsns.len() * tenths / 10];
    for tenths in 5..8 {
        send(&world, &timeline, part(tenths))?;
        steps.during("flush", || timeline.checkpoint(LIMIT))?;
    }
    steps.during("compaction", || timeline.compact(true))?;
    send(&world, &timeline, part(9))?;
    timeline.checkpoint(LIMIT)?;
    let branch = NewBranch {
        timeline: TimelineId::from_bytes([100; 16]),
        name: BRANCH.to_owned(),
        lsn: part(9),
    };
    tell(TOLD, "branching");
    let branch = steps.during("branch", || store.branch(&timeline, &branch))?;
    tell(TOLD, "branched");
    tell(TOLD, "collecting");
    steps.during("gc", || timeline.gc_below(part(9)))?;
    steps.during("compaction with gc", || timeline.compact(true))?;
    tell(TOLD, "deleting");
    steps.during("deletion", || store.delete(&branch))?;
    tell(TOLD, "deleted");
    send(&world, &timeline, world.history.end())?;
    store.close();
    Ok(())
}

/// Sends WAL and waits until it is durable and indexed: then nothing is done in the background.
fn send(world: &World, timeline: &Timeline, to: Lsn) -> Outcome<()> {
    let at = timeline.progress().written;
    timeline.append(at, world.history.wal(at, to))?;
    timeline.wait_for(to, LIMIT)?;
    while timeline.progress().synced < to {
        std::thread::yield_now();
    }
    tell(TOLD, &format!("synced {to}"));
    Ok(())
}

/// What a process did before it ended.
struct Ended {
    was_killed: bool,
    told: Vec<String>,
    steps: Vec<String>,
}

fn run_process(dir: &Path, kill: Option<&Kill>) -> Ended {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "kill::process", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(kill) = kill {
        command.env(AT, kill.to_string());
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = |what: &str| {
        let found = text.lines().filter_map(|line| line.strip_prefix(what));
        found.map(str::to_owned).collect()
    };
    // No code: a signal.
    let was_killed = output.status.code().is_none();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        was_killed || output.status.success(),
        "{kill:?}: {text}{errors}"
    );
    Ended {
        was_killed,
        told: lines(TOLD),
        steps: lines(STEP),
    }
}

/// What was promised to a process that was told this.
fn promised(told: &[String]) -> World {
    let (mut world, _) = world();
    let lsns: Vec<Lsn> = world.history.states.lsns().collect();
    let at = lsns[lsns.len() * 9 / 10];
    for told in told {
        match told.split_once(' ').unwrap_or((told, "")) {
            ("imported", _) => {
                world.imported = true;
                world.synced = world.import.1;
            }
            ("synced", lsn) => world.synced = lsn.parse().unwrap(),
            ("collecting", _) => world.collected = at,
            (what, _) => {
                let fate = match what {
                    "branched" => Fate::Made,
                    "branching" | "deleting" => Fate::MaybeGone,
                    "deleted" => Fate::Gone,
                    other => panic!("{other:?}"),
                };
                world.branches.insert(BRANCH.to_owned(), (at, fate));
            }
        }
    }
    world
}

/// Everything promised is there, and every job can be done, again or at last.
fn check(dir: &Path, told: &[String]) -> Outcome<()> {
    let world = promised(told);
    let steps = Arc::new(Steps::new(None));
    let storage = SteppedStorage::new(LocalStorage::new(dir)?, &steps);
    world.check_after_crash(&storage, &mut Rng::new(1))?;
    let store = open_again(&storage)?;
    let timeline = store.timeline(None, "main")?;
    world.settle(&timeline)?;
    jobs_again(&world, &store, &timeline)
}

/// Opens a store that was just closed here. A process that is being started has our lock until it is itself.
fn open_again(storage: &SteppedStorage) -> Result<Store, StoreError> {
    loop {
        match open(storage, CONFIG) {
            Err(StoreError::Lock(_)) => std::thread::yield_now(),
            opened => return opened,
        }
    }
}

fn jobs_again(world: &World, store: &Store, timeline: &Timeline) -> Outcome<()> {
    let end = world.history.end();
    timeline.wait_for(end, LIMIT)?;
    timeline.checkpoint(LIMIT)?;
    if let Ok(left) = store.timeline(None, BRANCH) {
        store.delete(&left)?;
    }
    let branch = NewBranch {
        timeline: TimelineId::from_bytes([101; 16]),
        name: BRANCH.to_owned(),
        lsn: end,
    };
    let branch = store.branch(timeline, &branch)?;
    timeline.gc_below(end)?;
    timeline.compact(true)?;
    world.check_at(&branch, end)?;
    store.delete(&branch)?;
    world.check_at(timeline, end)?;
    crate::verify::must_be_sound(timeline)
}

#[test]
fn a_process_may_be_killed_at_every_step_of_every_job() {
    let dir = tempfile::tempdir().unwrap();
    let whole = run_process(dir.path(), None);
    assert!(!whole.was_killed);
    check(dir.path(), &whole.told).unwrap();
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for step in &whole.steps {
        *counts.entry(step).or_default() += 1;
    }
    let listed: BTreeSet<&str> = STEPS.iter().copied().collect();
    let found: BTreeSet<&str> = counts.keys().copied().collect();
    assert_eq!(
        found, listed,
        "all steps are listed, and all listed are taken"
    );

    // The first time of each, and the last. How often WAL is synced, say, depends on how threads run: the last
    // time need not come again.
    let mut kills = Vec::new();
    let only = std::env::var(ONLY).unwrap_or_default();
    // Of an import, nothing counts before its manifest.
    let counts = counts.iter().filter(|(step, _)| {
        let is_early = step.starts_with("import") && !step.contains("manifest");
        step.starts_with(&only) && !is_early
    });
    for (step, count) in counts {
        let mut add = |number, when| {
            let step = (*step).to_owned();
            kills.push(Kill { step, number, when });
        };
        add(1, When::Before);
        add(1, When::After);
        if *count > 1 {
            add(*count, When::After);
        }
    }
    let left = Mutex::new(kills);
    std::thread::scope(|scope| {
        for _ in 0..ABREAST {
            scope.spawn(|| {
                loop {
                    let Some(kill) = left.lock().unwrap().pop() else {
                        return;
                    };
                    let dir = tempfile::tempdir().unwrap();
                    let ended = run_process(dir.path(), Some(&kill));
                    assert!(ended.was_killed || kill.number > 1, "{kill} did not come");
                    if let Err(problem) = check(dir.path(), &ended.told) {
                        panic!("killed at {kill}: {problem}: {problem:?}");
                    }
                }
            });
        }
    });
}
