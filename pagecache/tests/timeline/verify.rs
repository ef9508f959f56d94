//! Verification names each damaged place, and nothing else.

use std::path::PathBuf;

use pagecache::storage::{Access, SimulatedDisk, Storage};
use pagecache::{Finding, Store, Timeline, Verified, VerifyStage, VerifyWatch};
use walrecord::{Lsn, SegmentId};

use crate::faults::{CONFIG, Scene, scene};
use crate::wal::SEGMENT_SIZE;
use crate::world::{LIMIT, Outcome, open, paths};

#[derive(Default)]
struct Findings(Vec<Finding>);

impl VerifyWatch for Findings {
    fn finding(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    fn progress(&mut self, _: VerifyStage, done: u64, total: u64) {
        assert!(done <= total, "{done} of {total}");
    }
}

fn verify(timeline: &Timeline) -> Outcome<(Verified, Vec<Finding>)> {
    let mut findings = Findings::default();
    let verified = timeline.verify(None, &mut findings)?;
    assert_eq!(verified.findings, findings.0.len() as u64);
    Ok((verified, findings.0))
}

/// What a verification finds.
pub(crate) fn findings(timeline: &Timeline) -> Vec<Finding> {
    verify(timeline).unwrap().1
}

pub(crate) fn must_be_sound(timeline: &Timeline) -> Outcome<()> {
    let (_, findings) = verify(timeline)?;
    match findings.first() {
        None => Ok(()),
        Some(first) => Err(format!("{} findings, first {first:?}", findings.len()).into()),
    }
}

/// The files that were named, with the place of each in its file.
fn places(findings: &[Finding]) -> Vec<(PathBuf, u64)> {
    let place = |finding: &Finding| Some((finding.file.clone()?, finding.offset?));
    let places: Vec<_> = findings.iter().filter_map(place).collect();
    assert_eq!(places.len(), findings.len(), "{findings:?}");
    places
}

/// A timeline whose history is partly in layer files and partly in memory.
fn half_written() -> (Scene, PathBuf) {
    let scene = scene(3);
    // The import's own layer ends here.
    scene.timeline.checkpoint(LIMIT).unwrap();
    let lsns: Vec<Lsn> = scene.world.history.states.lsns().collect();
    let most = lsns[lsns.len() * 3 / 4];
    scene.send(most).unwrap();
    scene.timeline.wait_for(most, LIMIT).unwrap();
    scene.timeline.checkpoint(LIMIT).unwrap();
    scene.send_all();
    let layer = scene.last_file(&paths().layers());
    (scene, layer)
}

#[test]
fn a_sound_timeline_has_no_findings_and_everything_is_counted() {
    let (scene, _) = half_written();
    let (verified, findings) = verify(&scene.timeline).unwrap();
    assert_eq!(findings, []);
    let sizes = scene.timeline.sizes();
    assert_eq!(verified.layers, sizes.layers);
    assert_eq!(verified.layer_bytes, sizes.layer_bytes);
    assert_eq!(verified.wal_bytes, sizes.wal_bytes);
    let history = &scene.world.history;
    let known = history
        .starts
        .iter()
        .filter(|start| **start >= scene.timeline.wal_start());
    assert_eq!(verified.records, known.count() as u64);
    let files = history.states.at(scene.end());
    let blocks: usize = files.forks.values().map(Vec::len).sum();
    assert!(verified.pages >= (blocks + files.slrus.len()) as u64);
    assert_eq!(verified.pages_lost, 0);
}

#[test]
fn each_flipped_bit_of_a_layer_is_found_in_its_block_and_nothing_else_is_and_two_are_two() {
    let (scene, layer) = half_written();
    let length = scene
        .disk
        .open(&layer, Access::Read)
        .unwrap()
        .len()
        .unwrap();
    let mut lost = 0;
    for at in (0..length).step_by(97) {
        scene.disk.flip_bit(&layer, at, 3).unwrap();
        let (verified, findings) = verify(&scene.timeline).unwrap();
        scene.disk.flip_bit(&layer, at, 3).unwrap();
        let places = places(&findings);
        let [(file, offset)] = &places[..] else {
            panic!("byte {at}: {findings:?}");
        };
        assert_eq!(*file, layer);
        assert!(*offset <= at || *offset == 0, "byte {at}: {findings:?}");
        lost += verified.pages_lost;
    }
    assert!(lost > 0, "a page needs what was damaged");
    must_be_sound(&scene.timeline).unwrap();
    for at in [100, length * 2 / 3] {
        scene.disk.flip_bit(&layer, at, 0).unwrap();
    }
    let (_, findings) = verify(&scene.timeline).unwrap();
    assert_eq!(findings.len(), 2, "{findings:?}");
}

#[test]
fn a_flipped_bit_of_a_record_is_found_with_segment_and_offset_wherever_it_is() {
    let (scene, _) = half_written();
    let history = &scene.world.history;
    let start = scene.timeline.wal_start();
    let records = history.starts.iter().filter(|record| **record >= start);
    for record in records.step_by(7) {
        let segment = record.segment_start(SEGMENT_SIZE);
        // Its transaction.
        let (at, offset) = (*record + 4, *record - segment);
        let name = SegmentId::of(1, *record, SEGMENT_SIZE).file_name(SEGMENT_SIZE);
        let path = paths().wal().join(name);
        if at >= segment + u64::from(SEGMENT_SIZE) {
            continue;
        }
        scene.disk.flip_bit(&path, at - segment, 0).unwrap();
        let (_, findings) = verify(&scene.timeline).unwrap();
        scene.disk.flip_bit(&path, at - segment, 0).unwrap();
        assert_eq!(places(&findings), [(path, offset)], "{findings:?}");
    }
    must_be_sound(&scene.timeline).unwrap();
}

#[test]
fn a_torn_end_is_no_finding_but_damage_before_whole_records_is() {
    let scene = scene(5);
    let starts = &scene.world.history.starts;
    let last = *starts.last().unwrap();
    // The process ends while the last record arrives.
    scene.send(last + 20).unwrap();
    let torn = scene.disk.kill();
    let (_store, timeline) = reopened(&torn);
    assert!(timeline.progress().written > timeline.progress().last_record);
    must_be_sound(&timeline).unwrap();

    let broken = starts[starts.len() - 8];
    let name = SegmentId::of(1, broken, SEGMENT_SIZE).file_name(SEGMENT_SIZE);
    let path = paths().wal().join(name);
    let rotten = scene.disk.kill();
    let offset = u64::from(broken.segment_offset(SEGMENT_SIZE));
    rotten.flip_bit(&path, offset + 4, 0).unwrap();
    let (_store, timeline) = reopened(&rotten);
    assert!(timeline.progress().last_record <= broken);
    let (_, findings) = verify(&timeline).unwrap();
    assert_eq!(places(&findings), [(path, offset)], "{findings:?}");
}

fn reopened(disk: &SimulatedDisk) -> (Store, Timeline) {
    let store = open(disk, CONFIG).unwrap();
    let timeline = store.timelines().pop().unwrap();
    timeline.wait_examined(LIMIT).unwrap();
    (store, timeline)
}
