//! Disks that are full or rotten, and streams that are damaged: what fails says so, and nothing else
//! fails.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pagecache::storage::{Access, Rng, SimulatedDisk, Storage};
use pagecache::{Store, StoreConfig, StoreError, Timeline, WaitError};
use walrecord::{BlockTag, Lsn, PageKey, PgTimelineId, SegmentId};

use crate::history::History;
use crate::wal::SEGMENT_SIZE;
use crate::world::{LIMIT, Outcome, TENANT, World, open, paths};

/// A store with small layers and an imported timeline, whose history is behind the import yet to come.
pub(crate) struct Scene {
    pub(crate) disk: SimulatedDisk,
    pub(crate) store: Store,
    pub(crate) timeline: Timeline,
    pub(crate) world: World,
}

pub(crate) const CONFIG: StoreConfig = StoreConfig {
    open_layer_memory: 1 << 30,
    open_layer_wal: 1 << 30,
    frozen_memory: 1 << 30,
    block_cache: 0,
    hot_pages: 0,
    hot_changes: 64,
    import_batch: 4 * 8192,
    max_deltas: 256,
    compacted_deltas: 64,
    layer_block: 32 << 10,
    compacted_layer: 1 << 30,
    merge_runs: 1 << 20,
    hurried_runs: 1 << 20,
    history_bytes: None,
    history_time: None,
};

pub(crate) fn scene(seed: u64) -> Scene {
    scene_with(seed, 250, CONFIG)
}

/// A scene whose history has so many records.
pub(crate) fn scene_with(seed: u64, records: usize, config: StoreConfig) -> Scene {
    scene_of(History::new(seed, records), seed, config)
}

fn scene_of(history: History, seed: u64, config: StoreConfig) -> Scene {
    let mut rng = Rng::new(seed);
    let history = Arc::new(history);
    let mut world = World::new(&history, &mut rng);
    let disk = SimulatedDisk::new();
    let store = open(&disk, config).unwrap();
    let timeline = world.import(&store, &mut rng, LIMIT).unwrap();
    Scene {
        disk,
        store,
        timeline,
        world,
    }
}

impl Scene {
    /// Sends the history up to `to`.
    pub(crate) fn send(&self, to: Lsn) -> Result<(), StoreError> {
        let at = self.timeline.progress().written;
        self.timeline.append(at, self.world.history.wal(at, to))
    }

    pub(crate) fn send_all(&self) {
        self.send(self.end()).unwrap();
        self.timeline.wait_for(self.end(), LIMIT).unwrap();
    }

    /// The same store, opened anew with other settings.
    pub(crate) fn reopened(self, config: StoreConfig) -> Scene {
        let Scene {
            disk,
            store,
            timeline,
            world,
        } = self;
        store.close();
        drop((store, timeline));
        let store = open(&disk, config).unwrap();
        let timeline = store.timeline(None, "main").unwrap();
        Scene {
            disk,
            store,
            timeline,
            world,
        }
    }

    pub(crate) fn end(&self) -> Lsn {
        self.world.history.end()
    }

    pub(crate) fn check(&self) -> Outcome<()> {
        for lsn in [self.world.import.1, self.end()] {
            self.world.check_at(&self.timeline, lsn)?;
        }
        Ok(())
    }

    /// Where the only or last file of a directory is.
    pub(crate) fn last_file(&self, dir: &Path) -> PathBuf {
        let entries = self.disk.list(dir).unwrap();
        dir.join(&entries.last().unwrap().name)
    }

    /// The blocks that the history has at its end.
    fn pages(&self) -> Vec<PageKey> {
        self.pages_at(self.end())
    }

    pub(crate) fn pages_at(&self, lsn: Lsn) -> Vec<PageKey> {
        let forks = &self.world.history.states.at(lsn).forks;
        let blocks = forks.iter().flat_map(|((rel, fork), pages)| {
            (0..pages.len() as u32).map(|block| {
                let (rel, fork) = (*rel, *fork);
                PageKey::Block(BlockTag { rel, fork, block })
            })
        });
        blocks.collect()
    }
}

/// Why the timeline is refused when the store is opened.
fn refusal(disk: &SimulatedDisk) -> Arc<StoreError> {
    let store = open(disk, CONFIG).unwrap();
    match store.timeline(None, "main") {
        Err(StoreError::Refused { reason, .. }) => reason,
        other => panic!("{:?}", other.map(|timeline| timeline.info())),
    }
}

/// All messages of an error and of what is behind it.
pub(crate) fn whole_message(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

#[test]
fn a_full_disk_refuses_wal_and_takes_it_when_there_is_room_again() {
    let scene = scene(11);
    scene.disk.set_capacity(Some(scene.disk.used() + 100));
    let before = scene.timeline.progress();
    let error = scene.send(scene.end()).unwrap_err();
    assert!(whole_message(&error).contains("No space left"), "{error}");
    assert_eq!(scene.timeline.progress().written, before.written);
    scene.disk.set_capacity(None);
    scene.send_all();
    scene.check().unwrap();
}

#[test]
fn a_full_disk_delays_layers_leaves_nothing_lying_about_and_loses_nothing() {
    let scene = scene(12);
    scene.send_all();
    let before = scene.timeline.progress();
    let used = scene.disk.used();
    scene.disk.set_capacity(Some(used + 5000));
    let moment = std::time::Duration::from_millis(50);
    let refused = scene.timeline.checkpoint(moment);
    assert!(matches!(refused, Err(WaitError::Timeout { .. })));
    let failure = loop {
        // It is being written; the failure follows.
        if let Some(failure) = scene.timeline.flush_failure() {
            break failure;
        }
        std::thread::yield_now();
    };
    assert!(
        whole_message(&*failure).contains("No space left"),
        "{failure}"
    );
    assert_eq!(
        scene.timeline.progress().disk_consistent,
        before.disk_consistent
    );
    scene.check().unwrap();
    scene.disk.set_capacity(None);
    scene.timeline.checkpoint(LIMIT).unwrap();
    assert!(scene.timeline.flush_failure().is_none());
    scene.check().unwrap();
    let layers = scene.disk.list(&paths().layers()).unwrap().len() as u64;
    assert_eq!(layers, scene.timeline.sizes().layers);
}

#[test]
fn an_import_that_finds_no_room_leaves_no_trace_even_of_a_new_tenant() {
    for room in [0, 100, 5000, 20_000, 100_000, 200_000] {
        let mut rng = Rng::new(room);
        let history = Arc::new(History::new(13, 250));
        let mut world = World::new(&history, &mut rng);
        let disk = SimulatedDisk::new();
        let store = open(&disk, CONFIG).unwrap();
        disk.set_capacity(Some(disk.used() + room));
        if world.import(&store, &mut rng, LIMIT).is_ok() {
            assert!(room >= 100_000);
            continue;
        }
        let left = disk.crash(1);
        for disk in [&disk, &left] {
            let dir = pagecache::TenantPaths::new(TENANT).dir();
            assert!(!disk.exists(&dir).unwrap(), "with room for {room}");
        }
        disk.set_capacity(None);
        let timeline = world.import(&store, &mut rng, LIMIT).unwrap();
        world.check_at(&timeline, world.import.1).unwrap();
    }
}

#[test]
fn a_rotten_layer_fails_the_reads_that_need_it_and_names_the_place() {
    let mut scenes = (100..).map(scene);
    let scene = scenes
        .find(|scene| scene.pages_at(scene.world.import.1).len() > 8)
        .unwrap();
    scene.send_all();
    scene.timeline.checkpoint(LIMIT).unwrap();
    let path = paths().layer(pagecache::LayerId::new(1));
    scene.disk.flip_bit(&path, 200, 3).unwrap();
    let snapshot = scene.timeline.snapshot(scene.world.import.1).unwrap();
    let (mut failed, mut read) = (0, 0);
    for key in scene.pages_at(scene.world.import.1) {
        match snapshot.page(key) {
            Ok(_) => read += 1,
            Err(error) => {
                failed += 1;
                let text = whole_message(&error);
                assert!(
                    text.contains("layer 0000000000000001 is damaged at "),
                    "{text}"
                );
            }
        }
    }
    assert!(failed > 0 && read > 0, "{failed} failed, {read} read");
}

#[test]
fn a_rotten_wal_segment_fails_the_reads_that_need_it_and_names_the_place() {
    let scene = scene(15);
    scene.send_all();
    let history = &scene.world.history;
    let middle = history.starts[history.starts.len() * 4 / 5] + 20;
    let path = scene.last_file(&paths().wal());
    scene
        .disk
        .flip_bit(&path, middle - scene.timeline.wal_start(), 0)
        .unwrap();
    let snapshot = scene.timeline.snapshot(scene.end()).unwrap();
    let results: Vec<_> = scene
        .pages()
        .into_iter()
        .map(|key| snapshot.page(key))
        .collect();
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert!(whole_message(error).contains("record at"), "{error}");
    }
    assert!(results.iter().any(Result::is_ok));
}

#[test]
fn damage_in_the_stream_names_the_good_end_and_heals_when_sent_again() {
    for (seed, zeros) in [(17, false), (18, true)] {
        let scene = scene(seed);
        let history = Arc::clone(&scene.world.history);
        let at = scene.timeline.progress().written;
        let bad = history.starts[history.starts.len() * 3 / 4];
        let mut bytes = history.wal(at, scene.end()).to_vec();
        let from = (bad - at) as usize;
        if zeros {
            bytes[from..].fill(0);
        } else {
            bytes[from + 21] ^= 4;
        }
        scene.timeline.append(at, &bytes).unwrap();
        let Err(WaitError::Failed { reason, .. }) = scene.timeline.wait_for(scene.end(), LIMIT)
        else {
            panic!("indexed");
        };
        let valid_end = match &*reason {
            StoreError::BadWal { valid_end, .. } | StoreError::ZeroWal { valid_end } => *valid_end,
            other => panic!("{other}"),
        };
        // What precedes the damage is there.
        assert!(valid_end <= bad && scene.timeline.progress().last_record == valid_end);
        scene.world.check_at(&scene.timeline, valid_end).unwrap();
        assert!(matches!(
            scene.timeline.append(scene.end(), &[0; 8]),
            Err(StoreError::Failed(_))
        ));
        scene.timeline.rewind(valid_end).unwrap();
        scene.send_all();
        scene.check().unwrap();
    }
}

#[test]
fn wal_that_layers_were_written_from_may_not_be_cut_off() {
    let scene = scene(19);
    scene.send_all();
    scene.timeline.checkpoint(LIMIT).unwrap();
    scene.store.close();
    let disk = scene.disk.kill();
    let path = scene.last_file(&paths().wal());
    let file = disk.open(&path, Access::ReadWrite).unwrap();
    file.set_len(file.len().unwrap() / 2).unwrap();
    assert!(matches!(*refusal(&disk), StoreError::WalMissing { .. }));
}

#[test]
fn a_checkpoint_ends_although_nothing_changed_a_page() {
    let scene = scene(20);
    scene.send_all();
    for _ in 0..2 {
        let end = scene.timeline.checkpoint(LIMIT).unwrap();
        assert_eq!(end, scene.end());
        assert_eq!(scene.timeline.progress().disk_consistent, end);
    }
}

#[test]
fn a_timeline_that_is_closed_takes_nothing_more() {
    let scene = scene(21);
    scene.store.close();
    assert!(matches!(scene.send(scene.end()), Err(StoreError::Stopping)));
    let written = scene.timeline.progress().written;
    assert!(matches!(
        scene.timeline.rewind(written),
        Err(StoreError::Stopping)
    ));
}

#[test]
fn nothing_is_readable_beyond_the_end_of_the_wal_or_below_the_import() {
    let scene = scene(22);
    scene.send_all();
    let (from, to) = (scene.world.import.1, scene.end());
    for lsn in [Lsn::INVALID, Lsn::new(from.get() - 1), to + 1, Lsn::MAX] {
        assert!(scene.timeline.snapshot(lsn).is_err(), "{lsn}");
    }
}

#[test]
fn a_record_is_not_readable_before_its_padding_is_there() {
    let scene = scene(23);
    let history = Arc::clone(&scene.world.history);
    // The end of a record whose last bytes are padding.
    let cut = |end: &Lsn| {
        *end > scene.world.import.1 && history.wal(Lsn::new(end.get() - 1), *end) == [0]
    };
    let end = history.states.lsns().find(cut).unwrap();
    scene.send(Lsn::new(end.get() - 1)).unwrap();
    let progress = scene.timeline.wait_examined(LIMIT).unwrap();
    assert!(progress.last_record <= progress.written);
    scene.timeline.rewind(progress.written).unwrap();
    scene.send_all();
    scene.check().unwrap();
}

/// A timeline that has the WAL of a history with promotions up to the first of them.
fn before_a_promotion(seed: u64) -> (Scene, PgTimelineId, Lsn) {
    let scene = scene_of(History::promoted(seed, 250), seed, CONFIG);
    let (next, at) = scene.world.history.switches[0];
    scene.send(at).unwrap();
    scene.timeline.wait_examined(LIMIT).unwrap();
    (scene, next, at)
}

#[test]
fn a_promotion_elsewhere_than_at_our_end_is_refused_with_both_places() {
    let (scene, next, at) = before_a_promotion(24);
    for elsewhere in [Lsn::new(at.get() - 8192), at + 8192] {
        match scene.timeline.switch_pg_timeline(next, elsewhere, b"") {
            Err(StoreError::SwitchElsewhere { to, at: there, end }) => {
                assert_eq!((to, there, end), (next, elsewhere, at));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(
        scene.timeline.switch_pg_timeline(1, at, b""),
        Err(StoreError::SwitchBack { from: 1, to: 1 })
    ));
    assert_eq!(scene.timeline.info().pg_timeline, 1);
}

#[test]
fn a_promotion_inside_a_record_is_refused_unless_a_page_begins_there() {
    let (scene, next, at) = before_a_promotion(25);
    let torn = at + 4;
    scene.timeline.append(at, &[0x10, 0x27, 0, 0]).unwrap();
    scene.timeline.wait_examined(LIMIT).unwrap();
    match scene.timeline.switch_pg_timeline(next, torn, b"") {
        Err(StoreError::SwitchInRecord { at, .. }) => assert_eq!(at, torn),
        other => panic!("{other:?}"),
    }
    scene.timeline.rewind(at).unwrap();
    scene.timeline.switch_pg_timeline(next, at, b"1").unwrap();
    let file = scene.timeline.pg_history_file(next).unwrap();
    assert_eq!(file.as_deref(), Some(&b"1"[..]));
}

#[test]
fn wal_of_another_postgres_timeline_is_refused_before_it_is_kept() {
    let (scene, next, at) = before_a_promotion(26);
    let end = scene.end();
    match scene.send(end) {
        Err(StoreError::OtherPgTimeline {
            found, expected, ..
        }) => assert_eq!((found, expected), (next, 1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(scene.timeline.progress().written, at);
}

#[test]
fn the_timeline_of_a_record_is_that_which_wrote_it() {
    let (scene, next, at) = before_a_promotion(27);
    scene.timeline.switch_pg_timeline(next, at, b"").unwrap();
    assert_eq!(scene.timeline.pg_timeline_at(at), 1);
    assert_eq!(scene.timeline.pg_timeline_at(at + 1), next);
    assert_eq!(scene.timeline.rewind_floor(), at);
}

#[test]
fn wal_that_a_timeline_was_begun_behind_may_not_be_cut_off() {
    let (scene, next, at) = before_a_promotion(28);
    scene.timeline.switch_pg_timeline(next, at, b"").unwrap();
    scene.store.close();
    let disk = scene.disk.kill();
    let segment = SegmentId::of(1, Lsn::new(at.get() - 1), SEGMENT_SIZE);
    let path = paths().wal().join(segment.file_name(SEGMENT_SIZE));
    let file = disk.open(&path, Access::ReadWrite).unwrap();
    file.set_len(file.len().unwrap() - 1).unwrap();
    assert!(matches!(
        *refusal(&disk),
        StoreError::WalMissingBelowSwitch { switch, .. } if switch == at
    ));
}
