//! How much is read, and what the writer refuses.

use super::super::format::MAX_BLOCK_SIZE;
use super::*;

fn images(count: u32) -> Model {
    (0..count)
        .map(|block| {
            let image = page(100, 200, block as u8);
            (
                (page_key(1, block), Lsn::new(64)),
                (EntryKind::Image, image),
            )
        })
        .collect()
}

#[test]
fn a_cold_page_costs_the_tail_an_index_block_and_a_data_block() {
    let model = images(2000);
    let (bytes, _) = write(
        &model,
        options(LayerKind::Image, Compression::None, 32 * 1024),
    );
    let file = MemoryFile::with(bytes);
    let cache = Arc::new(BlockCache::new(1 << 20));
    let layer = Layer::open(file.clone(), ID, cache).unwrap();
    let read = |block| {
        file.reads.lock().unwrap().clear();
        visit(&layer, &page_key(1, block), Lsn::INVALID, Lsn::MAX).unwrap();
        let reads = file.reads.lock().unwrap();
        (
            reads.len(),
            reads.iter().map(|r| r.end - r.start).sum::<u64>(),
        )
    };
    assert_eq!(file.reads.lock().unwrap().len(), 1, "one read opens it");
    let (reads, bytes) = read(1000);
    assert_eq!(reads, 2);
    assert!(bytes < 60_000, "{bytes} bytes");
    assert_eq!(read(1000), (0, 0), "then it is cached");
    assert_eq!(read(1001).0, 0, "and so are its neighbours");
}

#[test]
fn a_key_that_is_not_there_is_not_looked_for() {
    let mut model = images(100);
    model.retain(|(key, _), _| *key != page_key(1, 50));
    let (bytes, _) = write(
        &model,
        options(LayerKind::Delta, Compression::Lz4, 32 * 1024),
    );
    let file = MemoryFile::with(bytes);
    let layer = Layer::open(file.clone(), ID, Arc::new(BlockCache::new(0))).unwrap();
    file.reads.lock().unwrap().clear();
    for absent in [page_key(1, 50), page_key(0, 0), page_key(9, 0)] {
        assert!(!layer.may_contain(&absent));
        assert!(
            visit(&layer, &absent, Lsn::INVALID, Lsn::MAX)
                .unwrap()
                .is_empty()
        );
    }
    assert!(file.reads.lock().unwrap().is_empty());
}

#[test]
fn a_visit_goes_to_the_block_before_only_if_the_key_goes_on_there() {
    let mut model = Model::new();
    let mut add = |block, lsn| {
        let value = vec![1; 60];
        model.insert(
            (page_key(1, block), Lsn::new(lsn)),
            (EntryKind::Delta, value),
        );
    };
    // Two versions fill a block: 0 0 | 1 1 | 1 1 | 2 2.
    add(0, 8);
    add(0, 16);
    for lsn in [8, 16, 24, 32] {
        add(1, lsn);
    }
    add(2, 8);
    add(2, 16);
    let options = options(LayerKind::Delta, Compression::None, 150);
    let (bytes, _) = write(&model, options);
    let file = MemoryFile::with(bytes);
    // No cache, so that every block is read: an index block and one or two data blocks.
    let layer = Layer::open(file.clone(), ID, Arc::new(BlockCache::new(0))).unwrap();
    for (block, reads, versions) in [(0, 2, 2), (1, 3, 4), (2, 2, 2)] {
        file.reads.lock().unwrap().clear();
        let found = visit(&layer, &page_key(1, block), Lsn::INVALID, Lsn::MAX).unwrap();
        assert_eq!(found.len(), versions);
        assert_eq!(file.reads.lock().unwrap().len(), reads, "of {block}");
    }
}

#[test]
fn a_scan_leaves_the_cache_as_it_is() {
    let (bytes, _) = write(
        &images(200),
        options(LayerKind::Image, Compression::Lz4, 8192),
    );
    let cache = Arc::new(BlockCache::new(64 << 20));
    let layer = Layer::open(MemoryFile::with(bytes), ID, Arc::clone(&cache)).unwrap();
    assert_eq!(scan(&layer, Key::all(), Lsn::MAX).unwrap().len(), 200);
    assert_eq!(cache.stats().blocks, 0);
}

#[test]
fn a_visit_stops_when_told_to() {
    let (bytes, _) = write(
        &images(10),
        options(LayerKind::Image, Compression::Lz4, 8192),
    );
    let layer = open(bytes).unwrap();
    let mut seen = 0;
    layer
        .visit(&page_key(1, 5), Lsn::INVALID, Lsn::MAX, &mut |_| {
            seen += 1;
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn pages_without_their_holes_take_less_room() {
    let model: Model = (0..100)
        .map(|block| {
            let image = page(100, 8000, 7);
            ((page_key(1, block), Lsn::new(8)), (EntryKind::Image, image))
        })
        .collect();
    let (_, summary) = write(
        &model,
        options(LayerKind::Image, Compression::None, 32 * 1024),
    );
    assert!(summary.file_size < 100 * 400, "{} bytes", summary.file_size);
}

fn writer(kind: LayerKind) -> LayerWriter {
    LayerWriter::create(Arc::new(MemoryFile::default()), LayerOptions::new(kind)).unwrap()
}

#[test]
#[should_panic(expected = "is added behind")]
fn a_version_that_is_not_above_the_one_before_is_a_bug() {
    let mut writer = writer(LayerKind::Delta);
    let key = page_key(1, 0);
    writer
        .add(&key, Lsn::new(8), EntryKind::Delta, b"")
        .unwrap();
    writer
        .add(&key, Lsn::new(8), EntryKind::Delta, b"")
        .unwrap();
}

#[test]
#[should_panic(expected = "an image of 8191 bytes")]
fn an_image_of_another_size_is_a_bug() {
    let mut writer = writer(LayerKind::Delta);
    let _ = writer.add(&page_key(1, 0), Lsn::new(8), EntryKind::Image, &[0; 8191]);
}

#[test]
#[should_panic(expected = "in a layer of images")]
fn a_delta_in_a_layer_of_images_is_a_bug() {
    let mut writer = writer(LayerKind::Image);
    let _ = writer.add(&page_key(1, 0), Lsn::new(8), EntryKind::Delta, b"");
}

#[test]
#[should_panic(expected = "is not in 1..=")]
fn a_block_size_out_of_bounds_is_a_bug() {
    let options = options(LayerKind::Image, Compression::None, MAX_BLOCK_SIZE + 1);
    let _ = LayerWriter::create(Arc::new(MemoryFile::default()), options);
}

#[test]
fn layers_of_one_id_in_one_cache_do_not_see_each_others_blocks() {
    // Ids are unique in one timeline, and the timelines of a store share a cache.
    let cache = Arc::new(BlockCache::new(64 << 20));
    let write_one = |fill: u8| {
        let file = MemoryFile::with(Vec::new());
        let options = options(LayerKind::Delta, Compression::None, 8192);
        let mut writer = LayerWriter::create(file.clone(), options).unwrap();
        let lsn = Lsn::new(8);
        writer
            .add(&page_key(1, 1), lsn, EntryKind::Delta, &[fill; 100])
            .unwrap();
        writer.finish().unwrap();
        Layer::open(file, ID, Arc::clone(&cache)).unwrap()
    };
    let layers = [write_one(1), write_one(2)];
    for (layer, fill) in layers.iter().zip([1, 2]) {
        let found = visit(layer, &page_key(1, 1), Lsn::INVALID, Lsn::MAX).unwrap();
        assert_eq!(found[0].3, [fill; 100]);
    }
    assert!(cache.stats().blocks > 0);
    drop(layers);
    assert_eq!(cache.stats().blocks, 0, "a closed layer holds no room");
}
