//! Random layers, compared with a map in memory for every key, bound and range.

use super::*;

fn random_key(random: &mut Random) -> Key {
    match random.below(8) {
        0 => Key::relation(
            RelFileLocator {
                spc: 1663,
                db: 5,
                rel: random.below(10) as u32,
            },
            ForkNumber::Main,
        ),
        1 => Key::control(),
        rel => page_key(rel as u32, random.below(12) as u32),
    }
}

fn random_version(random: &mut Random, kind: LayerKind, key: Key) -> (EntryKind, Vec<u8>) {
    if !key.is_page() {
        let len = random.below(60);
        return (EntryKind::Value, random.bytes(len));
    }
    if kind == LayerKind::Image || random.below(6) == 0 {
        let image = match random.below(4) {
            0 => vec![0; PAGE_SIZE],
            1 => random.bytes(PAGE_SIZE as u64),
            _ => page(
                24 + random.below(4000) as u16,
                4100 + random.below(4093) as u16,
                9,
            ),
        };
        return (EntryKind::Image, image);
    }
    let kinds = [EntryKind::Delta, EntryKind::Init, EntryKind::Implicit];
    let len = match random.below(20) {
        0 => 3000,
        1 => 0,
        _ => random.below(90),
    };
    (kinds[random.below(3) as usize], random.bytes(len))
}

/// Keys with up to thirty versions, so that small blocks split them.
pub(super) fn random_model(random: &mut Random, kind: LayerKind) -> Model {
    let mut model = Model::new();
    for _ in 0..1 + random.below(40) {
        let key = random_key(random);
        for _ in 0..1 + random.below(30) {
            let lsn = Lsn::new(8 * (1 + random.below(64)));
            model.insert((key, lsn), random_version(random, kind, key));
        }
    }
    model
}

fn check_visits(layer: &Layer, model: &Model) {
    let mut keys: Vec<Key> = model.keys().map(|(key, _)| *key).collect();
    keys.dedup();
    keys.extend([page_key(1, 0), page_key(7, 99), Key::tablespace(1)]);
    let bounds = [0, 8, 100, 256, 264, 400, 512, u64::MAX].map(Lsn::new);
    for key in &keys {
        for above in bounds {
            for upto in bounds {
                let expected: Vec<Version> = model
                    .iter()
                    .rev()
                    .filter(|((k, lsn), _)| k == key && *lsn > above && *lsn <= upto)
                    .map(|((key, lsn), (kind, value))| (*key, *lsn, *kind, value.clone()))
                    .collect();
                let found = visit(layer, key, above, upto).unwrap();
                assert!(found == expected, "{key} in ({above}, {upto}]");
                assert!(expected.is_empty() || layer.may_contain(key));
            }
        }
    }
}

fn check_scans(layer: &Layer, model: &Model) {
    let rel = RelFileLocator {
        spc: 1663,
        db: 5,
        rel: 4,
    };
    for range in [
        Key::all(),
        Key::all_metadata(),
        Key::relation_blocks(rel, ForkNumber::Main),
        Key::relations_of_database(1663, 5),
        page_key(3, 7)..page_key(5, 2),
        page_key(5, 2)..page_key(3, 7),
        Key::all_two_phase(),
        page_key(1, 0)..page_key(2, 0),
    ] {
        for upto in [0, 100, 256, u64::MAX].map(Lsn::new) {
            let found = scan(layer, range.clone(), upto).unwrap();
            assert!(
                found == expected(model, &range, upto),
                "{range:?} up to {upto}"
            );
        }
    }
}

fn check_summary(layer: &Layer, model: &Model, bytes: &[u8], summary: &LayerSummary) {
    let lsns = model.keys().map(|(_, lsn)| *lsn);
    let mut keys: Vec<Key> = model.keys().map(|(key, _)| *key).collect();
    keys.dedup();
    assert_eq!(layer.summary(), summary);
    assert_eq!(summary.entries, model.len() as u64);
    assert_eq!(summary.keys, keys.len() as u64);
    assert_eq!(Some(&summary.first_key), keys.first());
    assert_eq!(Some(&summary.last_key), keys.last());
    assert_eq!(Some(summary.min_lsn), lsns.clone().min());
    assert_eq!(Some(summary.max_lsn), lsns.max());
    assert_eq!(summary.file_size, bytes.len() as u64);
    assert_eq!(summary.checksum, crc32c::crc32c(bytes));
}

#[test]
fn a_layer_agrees_with_a_model_whatever_the_block_size() {
    for seed in 0..10 {
        for kind in [LayerKind::Delta, LayerKind::Image] {
            let mut random = Random(seed);
            let model = random_model(&mut random, kind);
            for block_size in [1, 150, 1000, 32 * 1024] {
                let compression = match random.below(2) {
                    0 => Compression::None,
                    _ => Compression::Lz4,
                };
                let (bytes, summary) = write(&model, options(kind, compression, block_size));
                let layer = open(bytes.clone()).unwrap();
                layer
                    .verify()
                    .unwrap_or_else(|error| panic!("seed {seed}, blocks of {block_size}: {error}"));
                check_summary(&layer, &model, &bytes, &summary);
                check_visits(&layer, &model);
                check_scans(&layer, &model);
            }
        }
    }
}
