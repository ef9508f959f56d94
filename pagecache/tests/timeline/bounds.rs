//! How much a read has to do, whatever a page has been through.

use walrecord::Lsn;

use crate::faults::{CONFIG, Scene, scene_with};
use crate::world::LIMIT;

/// Changes after which a compaction stores a page whole.
const MOST: usize = 6;

/// The most changes that a read at any LSN from `from` on applies.
fn most_changes(scene: &Scene, from: Lsn) -> u32 {
    let lsns = scene.world.history.states.lsns();
    let lsns: Vec<Lsn> = lsns.filter(|lsn| *lsn >= from).step_by(5).collect();
    let reads = lsns.iter().flat_map(|lsn| {
        let snapshot = scene.timeline.snapshot(*lsn).unwrap();
        let pages = scene.pages_at(*lsn).into_iter();
        pages.map(move |page| snapshot.page(page).unwrap().1.records)
    });
    reads.max().unwrap()
}

#[test]
fn after_compaction_no_read_applies_more_changes_than_the_bound() {
    let config = pagecache::StoreConfig {
        compacted_deltas: MOST,
        ..CONFIG
    };
    for seed in 1..4 {
        let scene = scene_with(seed, 2_000, config);
        scene.send_all();
        let stop = scene.world.import.1;
        // A page of a copied database may rest on one of its source.
        let bound = 2 * MOST as u32;
        let before = most_changes(&scene, stop);
        assert!(before > bound, "seed {seed}: no page changes often");
        scene.timeline.checkpoint(LIMIT).unwrap();
        scene.timeline.compact(true).unwrap();
        let most = most_changes(&scene, stop);
        assert!(most <= bound, "seed {seed}: {most}");
        scene.check().unwrap();
    }
}

/// Blocks that no other layer has the keys of are taken over as they are. Layers are not always written under the bound
/// (settings change, and a page whose past ends within a layer gets no images there), so it is looked at again.
#[test]
fn a_merge_in_a_hurry_does_not_take_over_more_changes_than_the_bound() {
    let small_blocks = pagecache::StoreConfig {
        layer_block: 256,
        ..CONFIG
    };
    for seed in 1..4 {
        let scene = scene_with(seed, 2_000, small_blocks);
        scene.send_all();
        scene.timeline.checkpoint(LIMIT).unwrap();
        let stop = scene.world.import.1;
        let bound = 2 * MOST as u32;
        let before = most_changes(&scene, stop);
        assert!(before > bound, "seed {seed}: no page changes often");
        let config = pagecache::StoreConfig {
            max_deltas: MOST,
            hurried_runs: 0,
            ..small_blocks
        };
        let scene = scene.reopened(config);
        scene.timeline.compact(true).unwrap();
        let most = most_changes(&scene, stop);
        assert!(most <= bound, "seed {seed}: {most}");
        scene.check().unwrap();
    }
}

#[test]
fn a_page_that_took_many_changes_in_memory_is_not_built_from_them_again() {
    let config = pagecache::StoreConfig {
        hot_pages: 1 << 20,
        hot_changes: 4,
        ..CONFIG
    };
    let scene = scene_with(1, 2_000, config);
    scene.send_all();
    let end = scene.end();
    let snapshot = scene.timeline.snapshot(end).unwrap();
    let mut hot = 0;
    for page in scene.pages_at(end) {
        let (first, before) = snapshot.page(page).unwrap();
        let (second, after) = snapshot.page(page).unwrap();
        assert!(first == second, "{page}");
        if before.records > 4 {
            hot += 1;
            assert_eq!(after.records, 0, "{page}");
        } else {
            assert_eq!(after, before, "{page}");
        }
    }
    assert!(hot > 0, "some pages have more changes");
    scene.check().unwrap();
}
