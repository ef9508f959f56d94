//! Blocks that go from one file into another as they are.

use super::model::random_model;
use super::*;

/// Few versions of most keys, so that some blocks end where a key does.
fn some_model(random: &mut Random) -> Model {
    let mut model = random_model(random, LayerKind::Delta);
    let mut last = None;
    model.retain(|(key, _), _| last.replace(*key) != Some(*key) || random.below(12) == 0);
    model
}

/// Copies a layer, whole blocks as they are and the rest by the version. Gives how many blocks there were, and the file.
fn copy(
    layer: &Layer,
    model: &Model,
    options: LayerOptions,
    before: Option<&Key>,
    edges: BlockEdges,
) -> (usize, Vec<u8>) {
    let file = Arc::new(MemoryFile::default());
    let mut writer = LayerWriter::create(file.clone(), options).unwrap();
    let mut blocks = 0;
    let mut scan = layer.scan(Key::all(), Lsn::MAX);
    while let Some((first, _)) = scan.step().unwrap() {
        let ahead = scan
            .block_ahead(before, edges, options.compression)
            .unwrap();
        let found = ahead.map(|block| (block.last_key(), block.versions().collect::<Vec<_>>()));
        let whole = scan.whole_block(options.compression).unwrap();
        let (Some((last, found)), Some(block)) = (found, whole) else {
            let entry = scan.entry().unwrap();
            writer
                .add(&entry.key, entry.lsn, entry.kind, entry.value)
                .unwrap();
            continue;
        };
        assert!(before.is_none_or(|before| last < *before));
        if edges == BlockEdges::Closed {
            let found: Vec<_> = found.iter().map(|it| (it.key, it.lsn, it.kind)).collect();
            let expected: Vec<_> = model
                .iter()
                .filter(|((key, _), _)| (first..=last).contains(key))
                .map(|((key, lsn), (kind, _))| (*key, *lsn, *kind))
                .collect();
            assert_eq!(found, expected, "all versions of its keys are in it");
        }
        writer.add_block(block).unwrap();
        scan.leave_block();
        blocks += 1;
    }
    writer.finish().unwrap();
    (blocks, file.take())
}

#[test]
fn a_layer_whose_blocks_are_taken_over_holds_the_same() {
    let (mut closed_blocks, mut open_blocks) = (0, 0);
    for seed in 0..60 {
        let mut random = Random(seed);
        let model = some_model(&mut random);
        let block_size = [1, 150, 1000, 5000][random.below(4) as usize];
        let options = options(LayerKind::Delta, Compression::Zstd, block_size);
        let (bytes, summary) = write(&model, options);
        let layer = open(bytes).unwrap();
        let keys: Vec<Key> = model.keys().map(|(key, _)| *key).collect();
        let some = keys[random.below(keys.len() as u64) as usize];
        let befores = [None, Some(&some)];
        let edges = [BlockEdges::Closed, BlockEdges::Open];
        for (before, edges) in befores
            .iter()
            .flat_map(|it| edges.map(|edges| (*it, edges)))
        {
            let (blocks, bytes) = copy(&layer, &model, options, before, edges);
            match edges {
                BlockEdges::Closed => closed_blocks += blocks,
                BlockEdges::Open => open_blocks += blocks,
            }
            let copied = open(bytes).unwrap();
            copied.verify().unwrap();
            let found = scan(&copied, Key::all(), Lsn::MAX).unwrap();
            assert!(
                found == expected(&model, &Key::all(), Lsn::MAX),
                "seed {seed}"
            );
            assert_eq!(sizeless(copied.summary()), sizeless(&summary));
        }
    }
    assert!(closed_blocks > 200, "{closed_blocks}");
    assert!(open_blocks > 2 * closed_blocks, "{open_blocks}");
}

#[test]
fn a_block_of_another_compression_is_not_taken_over() {
    let mut random = Random(1);
    let model = some_model(&mut random);
    let (bytes, _) = write(&model, options(LayerKind::Delta, Compression::Lz4, 150));
    let layer = open(bytes).unwrap();
    let zstd = options(LayerKind::Delta, Compression::Zstd, 150);
    assert_eq!(copy(&layer, &model, zstd, None, BlockEdges::Open).0, 0);
}

#[test]
fn damage_in_a_block_is_found_when_it_is_taken_over() {
    let mut random = Random(2);
    let model = some_model(&mut random);
    let (bytes, _) = write(&model, options(LayerKind::Delta, Compression::Zstd, 5000));
    let file = MemoryFile::with(bytes);
    let layer = Layer::open(file.clone(), ID, Arc::new(BlockCache::new(0))).unwrap();
    let mut scan = layer.scan(Key::all(), Lsn::MAX);
    scan.step().unwrap().unwrap();
    scan.whole_block(Compression::Zstd).unwrap().unwrap();
    // It was sound when it was decompressed, and is not when it is read again.
    file.bytes.lock().unwrap()[40] ^= 1;
    let error = scan.whole_block(Compression::Zstd).unwrap_err();
    assert!(
        matches!(
            error,
            LayerError::Damaged {
                damage: Damage::Checksum { .. },
                ..
            }
        ),
        "{error}"
    );
}
