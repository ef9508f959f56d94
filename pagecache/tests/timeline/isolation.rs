//! Damage stays where it is: a layer file, a manifest or a directory that is damaged costs what it held, and nothing
//! else fails, goes wrong, or is changed for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pagecache::storage::{Access, Rng, SimulatedDisk, Storage};
use pagecache::{
    NewBranch, ReadError, Store, StoreConfig, StoreError, TenantPaths, Timeline, TimelinePaths,
};
use walrecord::{Lsn, PageKey, TenantId, TimelineId};
use walredo::clear_checksum;

use crate::faults::{CONFIG, Scene, scene, whole_message};
use crate::history::History;
use crate::verify::findings;
use crate::world::{LIMIT, TENANT, TIMELINE, World, open, paths};

const OTHER: (TenantId, TimelineId) = (
    TenantId::from_bytes([7; 16]),
    TimelineId::from_bytes([8; 16]),
);

/// What is done to a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Harm {
    /// In the last bytes: where everything is found from.
    Footer,
    /// Before them: the top index.
    TopIndex,
    /// At the end of the data blocks: keys in layers of changes that are not pages.
    LateData,
    /// In the first data block.
    EarlyData,
    Cut,
    Gone,
}

const HARMS: [Harm; 6] = [
    Harm::Footer,
    Harm::TopIndex,
    Harm::LateData,
    Harm::EarlyData,
    Harm::Cut,
    Harm::Gone,
];

fn harm(disk: &SimulatedDisk, path: &Path, harm: Harm) {
    let length = || disk.open(path, Access::Read).unwrap().len().unwrap();
    match harm {
        Harm::Footer => disk.flip_bit(path, length() - 60, 1).unwrap(),
        Harm::TopIndex => {
            let file = disk.open(path, Access::Read).unwrap();
            let mut end = [0; 8];
            file.read_exact_at(&mut end, length() - 116).unwrap();
            disk.flip_bit(path, u64::from_le_bytes(end) + 20, 0)
                .unwrap();
        }
        Harm::LateData => {
            let file = disk.open(path, Access::Read).unwrap();
            let mut end = [0; 8];
            file.read_exact_at(&mut end, length() - 124).unwrap();
            disk.flip_bit(path, u64::from_le_bytes(end) - 3, 0).unwrap();
        }
        Harm::EarlyData => disk.flip_bit(path, 40, 2).unwrap(),
        Harm::Cut => {
            let file = disk.open(path, Access::ReadWrite).unwrap();
            file.set_len(length() - 1).unwrap();
        }
        Harm::Gone => disk.remove_file(path).unwrap(),
    }
}

fn layer_files(disk: &SimulatedDisk) -> Vec<PathBuf> {
    let dir = paths().layers();
    let entries = disk.list(&dir).unwrap();
    entries.iter().map(|entry| dir.join(&entry.name)).collect()
}

/// A timeline whose history is in several layers of changes above those of the import. Gives where each ends.
fn in_layers(seed: u64, config: StoreConfig) -> (Scene, Vec<Lsn>) {
    let scene = scene(seed);
    scene.store.close();
    let disk = scene.disk.kill();
    drop(scene.store);
    let store = open(&disk, config).unwrap();
    let timeline = store.timeline(None, "main").unwrap();
    let scene = Scene {
        disk,
        store,
        timeline,
        world: scene.world,
    };
    scene.world.settle(&scene.timeline).unwrap();
    let lsns: Vec<Lsn> = scene.world.history.states.lsns().collect();
    let mut ends = Vec::new();
    for part in 5..9 {
        let end = lsns[lsns.len() * part / 10];
        if end > scene.timeline.progress().written {
            scene.send(end).unwrap();
            scene.timeline.wait_for(end, LIMIT).unwrap();
            scene.timeline.checkpoint(LIMIT).unwrap();
            ends.push(end);
        }
    }
    (scene, ends)
}

/// Another tenant with a history of its own.
fn add_other(store: &Store) -> World {
    let mut rng = Rng::new(77);
    let history = Arc::new(History::new(77, 120));
    let mut world = World::new(&history, &mut rng);
    world.ids = OTHER;
    let timeline = world.import(store, &mut rng, LIMIT).unwrap();
    let at = timeline.progress().written;
    timeline.append(at, history.wal(at, history.end())).unwrap();
    timeline.wait_for(history.end(), LIMIT).unwrap();
    world
}

fn other_is_whole(store: &Store, world: &World) {
    let timeline = store.timeline(Some(OTHER.0), "main").unwrap();
    timeline.wait_examined(LIMIT).unwrap();
    for lsn in [world.import.1, world.history.end()] {
        world.check_at(&timeline, lsn).unwrap();
    }
}

/// Pages at an LSN that are right, and that cannot be read. None may be wrong, and damage has to name the file.
fn judge(world: &World, timeline: &Timeline, lsn: Lsn, file: &Path) -> (usize, usize) {
    let snapshot = timeline.snapshot(lsn).unwrap();
    let files = world.history.states.at(lsn);
    let (mut right, mut lost) = (0, 0);
    for ((rel, fork), pages) in &files.forks {
        for (block, expected) in (0..).zip(pages) {
            let (rel, fork) = (*rel, *fork);
            let key = PageKey::Block(walrecord::BlockTag { rel, fork, block });
            match snapshot.page(key) {
                Ok((mut page, _)) => {
                    let mut expected = **expected;
                    clear_checksum(&mut page);
                    clear_checksum(&mut expected);
                    assert!(page == expected, "{key} at {lsn} is wrong");
                    right += 1;
                }
                Err(error) => {
                    must_be_damage(&error, file);
                    lost += 1;
                }
            }
        }
    }
    match snapshot.forks() {
        Ok(forks) => assert_eq!(forks.len(), files.forks.len(), "forks at {lsn}"),
        Err(error) => must_be_damage(&error, file),
    }
    (right, lost)
}

fn must_be_damage(error: &ReadError, file: &Path) {
    let ReadError::Store(cause) = error else {
        panic!("{}", whole_message(error));
    };
    assert!(cause.is_damage(), "{}", whole_message(error));
    let text = error.to_string();
    let is_named = text.contains(&file.display().to_string());
    assert!(is_named || text.contains("is lost"), "{text}");
}

#[test]
fn a_damaged_layer_costs_the_reads_that_need_it_and_nothing_else() {
    let (scene, ends) = in_layers(31, CONFIG);
    let other = add_other(&scene.store);
    let import_stop = scene.world.import.1;
    let layers = layer_files(&scene.disk);
    assert!(layers.len() >= ends.len() + 2);
    let (mut all_right, mut all_lost) = (0, 0);
    for (number, path) in layers.iter().enumerate() {
        for kind in HARMS {
            let disk = scene.disk.kill();
            harm(&disk, path, kind);
            // Again, to see that the first time has changed nothing that matters.
            for _ in 0..2 {
                let store = open(&disk, CONFIG).unwrap();
                other_is_whole(&store, &other);
                let timeline = store.timeline(None, TIMELINE.to_string().as_str()).unwrap();
                timeline.wait_examined(LIMIT).unwrap();
                let delta = number.checked_sub(layers.len() - ends.len());
                for (at, lsn) in [import_stop].iter().chain(&ends).enumerate() {
                    let (right, lost) = judge(&scene.world, &timeline, *lsn, path);
                    // A layer of changes holds nothing of what was before; the first, what the import needs.
                    if delta.is_some_and(|delta| delta > 0 && at <= delta) {
                        assert_eq!(lost, 0, "{kind:?} in {path:?}, at {lsn}");
                    }
                    all_right += right;
                    all_lost += lost;
                }
                let named: Vec<_> = findings(&timeline).into_iter().map(|it| it.file).collect();
                assert!(named.contains(&Some(path.clone())), "{kind:?}: {named:?}");
                store.close();
            }
        }
    }
    assert!(
        all_lost > 100 && all_right > all_lost,
        "{all_right} right, {all_lost} lost"
    );
}

#[test]
fn wal_is_taken_acknowledged_and_written_to_layers_whatever_layer_is_damaged() {
    let config = StoreConfig {
        max_deltas: 2,
        ..CONFIG
    };
    let (scene, ends) = in_layers(32, config);
    let history = &scene.world.history;
    let mut indexed = 0;
    for path in &layer_files(&scene.disk) {
        for kind in HARMS {
            let disk = scene.disk.kill();
            harm(&disk, path, kind);
            let store = open(&disk, config).unwrap();
            let timeline = store.timeline(None, "main").unwrap();
            timeline.wait_examined(LIMIT).unwrap();
            let at = timeline.progress().written;
            timeline.rewind(at).unwrap();
            timeline.append(at, history.wal(at, history.end())).unwrap();
            wait_synced(&timeline, history.end());
            match timeline.wait_for(history.end(), LIMIT) {
                Ok(_) => {
                    timeline.checkpoint(LIMIT).unwrap();
                    judge(&scene.world, &timeline, history.end(), path);
                    indexed += 1;
                }
                // What goes on from what was last is in the damaged layer.
                Err(error) => {
                    assert!(timeline.failure().unwrap().is_damage(), "{error}");
                    judge(
                        &scene.world,
                        &timeline,
                        timeline.progress().last_record,
                        path,
                    );
                }
            }
            // Once the file is there again, everything is that was not overtaken.
            store.close();
            drop(store);
            let store = open(&disk, config).unwrap();
            let timeline = store.timeline(None, "main").unwrap();
            timeline.wait_examined(LIMIT).unwrap();
            judge(&scene.world, &timeline, ends[0], path);
        }
    }
    assert!(indexed > 10, "{indexed}");
}

/// What is still only in WAL is read from the WAL of the timeline that it belongs to, near the branch point too.
#[test]
fn a_branch_reads_its_own_wal_where_its_ancestor_has_other_records() {
    let same = 60;
    for seed in 1..20 {
        let mut rng = Rng::new(seed);
        let history = Arc::new(History::new(seed, 120));
        let other = Arc::new(History::turning(seed, 120, same));
        let fork = history.starts[same];
        assert_eq!(other.starts[same], fork);
        let mut world = World::new(&history, &mut rng);
        let (disk, config) = (SimulatedDisk::new(), StoreConfig::default());
        let store = open(&disk, config).unwrap();
        let timeline = world.import(&store, &mut rng, LIMIT).unwrap();
        world.feed(&timeline, history.end(), &mut rng).unwrap();
        timeline.wait_for(history.end(), LIMIT).unwrap();
        let lsns = history.states.lsns();
        let Some(lsn) = lsns.filter(|lsn| *lsn <= fork).last() else {
            panic!("no record before the turn");
        };
        if lsn < world.import.1 {
            continue;
        }
        let branch = NewBranch {
            timeline: TimelineId::from_bytes([100; 16]),
            name: "turned".to_owned(),
            lsn,
        };
        let branch = store.branch(&timeline, &branch).unwrap();
        let mut turned = world.clone();
        turned.history = Arc::clone(&other);
        turned.settle(&branch).unwrap();
        turned.feed(&branch, other.end(), &mut rng).unwrap();
        branch.wait_for(other.end(), LIMIT).unwrap();
        for lsn in other.states.lsns().filter(|it| *it >= lsn) {
            turned.check_at(&branch, lsn).unwrap();
        }
        world.check_at(&timeline, history.end()).unwrap();
    }
}

fn wait_synced(timeline: &Timeline, lsn: Lsn) {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    timeline.on_progress(Box::new(move |_| {
        let _ = tell.lock().map(|tell| tell.send(()));
    }));
    while timeline.progress().synced < lsn {
        told.recv_timeout(LIMIT).unwrap();
    }
}

#[test]
fn a_layer_that_was_damaged_while_wal_came_in_and_is_mended_shows_nothing_wrong() {
    let (scene, _) = in_layers(33, CONFIG);
    let history = &scene.world.history;
    let path = layer_files(&scene.disk).remove(0);
    for path in layer_files(&scene.disk).into_iter().chain([path]) {
        let disk = scene.disk.kill();
        disk.flip_bit(&path, 40, 2).unwrap();
        let store = open(&disk, CONFIG).unwrap();
        let timeline = store.timeline(None, "main").unwrap();
        scene.world.settle(&timeline).unwrap();
        let at = timeline.progress().written;
        timeline.append(at, history.wal(at, history.end())).unwrap();
        let _ = timeline.wait_for(history.end(), LIMIT);
        let _ = timeline.checkpoint(Duration::from_millis(200));
        store.close();
        drop(store);
        disk.flip_bit(&path, 40, 2).unwrap();
        let store = open(&disk, CONFIG).unwrap();
        let timeline = store.timeline(None, "main").unwrap();
        timeline.wait_examined(LIMIT).unwrap();
        let last = timeline.progress().last_record;
        assert_eq!(last, history.end());
        judge(&scene.world, &timeline, last, &path);
    }
}

#[test]
fn compaction_leaves_a_damaged_layer_alone_and_merges_around_it() {
    let (scene, ends) = in_layers(34, CONFIG);
    let layers = layer_files(&scene.disk);
    let deltas = &layers[layers.len() - ends.len()..];
    for (number, path) in deltas.iter().enumerate() {
        for (kind, before) in HARMS
            .map(|kind| [(kind, true), (kind, false)])
            .into_iter()
            .flatten()
        {
            let disk = scene.disk.kill();
            if before {
                harm(&disk, path, kind);
            }
            let store = open(&disk, CONFIG).unwrap();
            let timeline = store.timeline(None, "main").unwrap();
            timeline.wait_examined(LIMIT).unwrap();
            if !before {
                // What is open already does not miss its name.
                harm(&disk, path, kind);
            }
            let report = timeline.compact(true).unwrap();
            if report.damaged > 0 {
                assert!(disk.exists(path).unwrap() || kind == Harm::Gone);
                let above = usize::from(number + 1 < deltas.len());
                assert!(report.runs.1 as usize <= 2 + above, "{report:?}");
            }
            for lsn in [scene.world.import.1].iter().chain(&ends) {
                judge(&scene.world, &timeline, *lsn, path);
            }
            // It ends, too, when it has nothing to do but to leave it.
            timeline.compact(true).unwrap();
            timeline.compact(false).unwrap();
        }
    }
}

#[test]
fn a_compaction_that_was_begun_and_finds_damage_is_given_up_and_merges_around_it() {
    let (scene, ends) = in_layers(37, CONFIG);
    let layers = layer_files(&scene.disk);
    let path = &layers[layers.len() - ends.len()];
    let mut begun = 0;
    for change in 1.. {
        // It is cut off somewhere between its beginning and its end.
        let disk = scene.disk.kill();
        let store = open(&disk, CONFIG).unwrap();
        let timeline = store.timeline(None, "main").unwrap();
        timeline.wait_examined(LIMIT).unwrap();
        disk.stop_at(disk.changes() + change);
        let result = timeline.compact(true);
        store.close();
        drop((timeline, store));
        let disk = disk.kill();
        if result.is_ok() || !disk.exists(path).unwrap() {
            break;
        }
        harm(&disk, path, Harm::Footer);
        let store = open(&disk, CONFIG).unwrap();
        let timeline = store.timeline(None, "main").unwrap();
        timeline.wait_examined(LIMIT).unwrap();
        let report = timeline.compact(true).unwrap();
        if report.damaged > 0 {
            begun += 1;
            assert!(report.merges > 0 && report.runs.1 == 3, "{report:?}");
        }
        for lsn in [scene.world.import.1].iter().chain(&ends) {
            judge(&scene.world, &timeline, *lsn, path);
        }
    }
    assert!(begun > 5, "{begun}");
}

#[test]
fn garbage_is_not_collected_where_damage_hides_what_has_to_stay() {
    let (scene, ends) = in_layers(35, CONFIG);
    let layers = layer_files(&scene.disk);
    let disk = scene.disk.kill();
    harm(&disk, &layers[layers.len() - ends.len()], Harm::Footer);
    let store = open(&disk, CONFIG).unwrap();
    let timeline = store.timeline(None, "main").unwrap();
    let from = timeline.progress().readable_from;
    let refused = timeline.gc_below(ends[2]);
    assert!(
        matches!(refused, Err(StoreError::HistoryHeld { .. })),
        "{refused:?}"
    );
    assert_eq!(timeline.progress().readable_from, from);
    assert!(timeline.history_held().is_some());
}

fn branch(store: &Store, from: &str, name: &str, number: u8, lsn: Lsn) -> Timeline {
    let from = store.timeline(Some(TENANT), from).unwrap();
    let branch = NewBranch {
        timeline: TimelineId::from_bytes([number; 16]),
        name: name.to_owned(),
        lsn,
    };
    store.branch(&from, &branch).unwrap()
}

/// Every file with its length and the bits of it, below a directory.
fn content(disk: &SimulatedDisk, dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in disk.list(dir).unwrap() {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            files.extend(content(disk, &path));
        } else {
            let mut bytes = vec![0; entry.len as usize];
            let file = disk.open(&path, Access::Read).unwrap();
            file.read_exact_at(&mut bytes, 0).unwrap();
            files.insert(path, bytes);
        }
    }
    files
}

fn reason(store: &Store, name: &str) -> String {
    match store.timeline(Some(TENANT), name) {
        Err(error @ StoreError::Refused { .. }) => error.to_string(),
        other => panic!("{name}: {:?}", other.map(|timeline| timeline.info())),
    }
}

#[test]
fn a_timeline_with_a_damaged_manifest_is_refused_with_its_branches_and_the_others_serve() {
    let (scene, ends) = in_layers(36, CONFIG);
    let other = add_other(&scene.store);
    branch(&scene.store, "main", "child", 50, ends[0]);
    branch(&scene.store, "child", "grandchild", 51, ends[0]);
    let disk = scene.disk.kill();
    let path = paths().manifest();
    disk.flip_bit(&path, 40, 1).unwrap();
    let before = content(&disk, &paths().dir());
    for _ in 0..2 {
        let store = open(&disk, CONFIG).unwrap();
        other_is_whole(&store, &other);
        for name in ["main", "child", "grandchild"] {
            let text = reason(&store, name);
            assert!(text.contains(&path.display().to_string()), "{text}");
        }
        assert_eq!(store.refused().len(), 3);
        assert_eq!(store.timelines().len(), 1);
        let taken = store.begin_import(scene.world.params());
        assert!(matches!(taken.err(), Some(StoreError::TimelineExists(_))));
        store.close();
    }
    assert_eq!(content(&disk, &paths().dir()), before);
    // With the manifest everything is there again.
    disk.flip_bit(&path, 40, 1).unwrap();
    let store = open(&disk, CONFIG).unwrap();
    for timeline in store.timelines() {
        timeline.wait_examined(LIMIT).unwrap();
    }
    let grandchild = store.timeline(None, "grandchild").unwrap();
    scene.world.check_at(&grandchild, ends[0]).unwrap();
}

#[test]
fn what_a_refused_branch_may_rest_on_is_kept() {
    let (scene, ends) = in_layers(37, CONFIG);
    branch(&scene.store, "main", "child", 50, ends[0]);
    let disk = scene.disk.kill();
    let child = TimelinePaths::new(TENANT, TimelineId::from_bytes([50; 16]));
    disk.flip_bit(&child.manifest(), 40, 1).unwrap();
    let store = open(&disk, CONFIG).unwrap();
    reason(&store, "child");
    let main = store.timeline(None, "main").unwrap();
    main.wait_examined(LIMIT).unwrap();
    for lsn in [scene.world.import.1, ends[3]] {
        scene.world.check_at(&main, lsn).unwrap();
    }
    assert!(matches!(
        main.gc_below(ends[2]),
        Err(StoreError::HistoryHeld { .. })
    ));
    assert!(matches!(
        store.delete(&main),
        Err(StoreError::HistoryHeld { .. })
    ));
    main.compact(true).unwrap();
    // A sibling can be made all the same, but not of that name.
    branch(&store, "main", "sibling", 52, ends[1]);
    let again = NewBranch {
        timeline: TimelineId::from_bytes([53; 16]),
        name: "child".to_owned(),
        lsn: ends[1],
    };
    let taken = store.branch(&main, &again);
    assert!(matches!(taken.err(), Some(StoreError::TimelineExists(_))));
    store.close();
    drop(store);
    disk.flip_bit(&child.manifest(), 40, 1).unwrap();
    let store = open(&disk, CONFIG).unwrap();
    let child = store.timeline(None, "child").unwrap();
    store
        .timeline(None, "main")
        .unwrap()
        .wait_examined(LIMIT)
        .unwrap();
    scene.world.check_at(&child, ends[0]).unwrap();
}

#[test]
fn a_name_that_cannot_be_read_is_given_to_nobody() {
    let (scene, ends) = in_layers(38, CONFIG);
    branch(&scene.store, "main", "child", 50, ends[0]);
    let disk = scene.disk.kill();
    let child = TimelinePaths::new(TENANT, TimelineId::from_bytes([50; 16]));
    let file = disk.open(&child.manifest(), Access::ReadWrite).unwrap();
    file.set_len(30).unwrap();
    let store = open(&disk, CONFIG).unwrap();
    let main = store.timeline(None, "main").unwrap();
    let new = NewBranch {
        timeline: TimelineId::from_bytes([53; 16]),
        name: "new".to_owned(),
        lsn: ends[1],
    };
    let refused = store.branch(&main, &new);
    assert!(matches!(
        refused.err(),
        Some(StoreError::NameUncertain { .. })
    ));
    // By its id it is refused by reason.
    reason(&store, &TimelineId::from_bytes([50; 16]).to_string());
}

#[test]
fn a_tenant_with_a_damaged_manifest_is_refused_whole_and_the_others_serve() {
    let (scene, ends) = in_layers(39, CONFIG);
    let other = add_other(&scene.store);
    branch(&scene.store, "main", "child", 50, ends[0]);
    let tenant = TenantPaths::new(TENANT);
    for is_gone in [false, true] {
        let disk = scene.disk.kill();
        match is_gone {
            true => disk.remove_file(&tenant.manifest()).unwrap(),
            false => disk.flip_bit(&tenant.manifest(), 40, 0).unwrap(),
        }
        let before = content(&disk, &tenant.dir());
        let store = open(&disk, CONFIG).unwrap();
        other_is_whole(&store, &other);
        for name in ["main", "child"] {
            let text = reason(&store, name);
            assert!(
                text.contains(&tenant.manifest().display().to_string()),
                "{text}"
            );
        }
        let refused = store.refused();
        assert!(
            refused
                .iter()
                .any(|it| it.tenant == TENANT && it.timeline.is_none())
        );
        let taken = store.begin_import(scene.world.params());
        assert!(matches!(taken.err(), Some(StoreError::Refused { .. })));
        store.close();
        assert_eq!(content(&disk, &tenant.dir()), before);
    }
}
