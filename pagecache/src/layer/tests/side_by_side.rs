//! Versions of a key that go from one file into another together.

use super::model::random_model;
use super::*;

/// Copies a layer in random pieces of what lies side by side. Gives the most versions that went at once, and the file.
fn copy(layer: &Layer, options: LayerOptions, random: &mut Random) -> (usize, Vec<u8>) {
    let file = Arc::new(MemoryFile::default());
    let mut writer = LayerWriter::create(file.clone(), options).unwrap();
    let mut most = 0;
    let mut scan = layer.scan(Key::all(), Lsn::MAX);
    while let Some((key, lsn)) = scan.step().unwrap() {
        let versions = scan.side_by_side().unwrap();
        assert_eq!(versions.lsn(0), Some(lsn));
        assert!(versions.iter().all(|version| version.key == key));
        let some = versions.first(1 + random.below(versions.len() as u64) as usize);
        let below = versions.below(versions.lsn(some.len()).unwrap_or(Lsn::MAX));
        assert_eq!(below.len(), some.len());
        let stored: usize = some.iter().map(|version| version.stored_len).sum();
        assert_eq!(stored as u64, some.stored_bytes());
        writer.add_versions(&some).unwrap();
        most = most.max(some.len());
        let count = some.len();
        scan.leave(count);
    }
    writer.finish().unwrap();
    (most, file.take())
}

#[test]
fn a_layer_that_is_copied_in_pieces_holds_the_same() {
    let mut most = 0;
    for seed in 0..60 {
        let mut random = Random(seed);
        let kind = [LayerKind::Delta, LayerKind::Image][random.below(2) as usize];
        let model = random_model(&mut random, kind);
        let mut block_size = || [1, 150, 1000, 5000][random.below(4) as usize];
        let (from, to) = (block_size(), block_size());
        let (bytes, summary) = write(&model, options(kind, Compression::Lz4, from));
        let layer = open(bytes).unwrap();
        let to = options(kind, Compression::Zstd, to);
        let (most_here, bytes) = copy(&layer, to, &mut random);
        most = most.max(most_here);
        let copied = open(bytes).unwrap();
        copied.verify().unwrap();
        let found = scan(&copied, Key::all(), Lsn::MAX).unwrap();
        assert!(
            found == expected(&model, &Key::all(), Lsn::MAX),
            "seed {seed}"
        );
        assert_eq!(sizeless(copied.summary()), sizeless(&summary));
    }
    assert!(most > 5, "{most}");
}

#[test]
fn blocks_of_versions_added_together_are_no_larger_than_of_versions_added_one_by_one() {
    let key = Key::file(1);
    let model: Model = (1..=2000)
        .map(|lsn| ((key, Lsn::new(8 * lsn)), (EntryKind::Value, vec![7; 10])))
        .collect();
    let (bytes, summary) = write(&model, options(LayerKind::Delta, Compression::None, 10_000));
    let layer = open(bytes).unwrap();
    let small = options(LayerKind::Delta, Compression::None, 500);
    let (_, one_by_one) = write(&model, small);
    let (_, bytes) = copy(&layer, small, &mut Random(1));
    let copied = open(bytes).unwrap();
    assert_eq!(copied.summary().file_size, one_by_one.file_size);
    assert_eq!(copied.summary().entries, summary.entries);
}

#[test]
#[should_panic(expected = "is added behind")]
fn versions_below_those_that_are_there_are_refused() {
    let mut random = Random(1);
    let model = random_model(&mut random, LayerKind::Delta);
    let options = options(LayerKind::Delta, Compression::Lz4, 1000);
    let (bytes, _) = write(&model, options);
    let layer = open(bytes).unwrap();
    let mut scan = layer.scan(Key::all(), Lsn::MAX);
    scan.step().unwrap();
    let versions = scan.side_by_side().unwrap();
    let file = Arc::new(MemoryFile::default());
    let mut writer = LayerWriter::create(file, options).unwrap();
    writer.add_versions(&versions).unwrap();
    writer.add_versions(&versions).unwrap();
}
