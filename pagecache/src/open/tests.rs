use std::collections::BTreeMap;

use walrecord::{BlockTag, ForkNumber, RelFileLocator};

use super::*;

fn page(rel: u32, block: u32) -> Key {
    Key::block(BlockTag {
        rel: RelFileLocator {
            spc: 1663,
            db: 5,
            rel,
        },
        fork: ForkNumber::Main,
        block,
    })
}

const START: Lsn = Lsn::new(0x7_FFFF_0000);

/// A version as a model would hold it.
#[derive(Clone, PartialEq, Debug)]
struct Version {
    lsn: Lsn,
    kind: EntryKind,
    body: Result<Lsn, Vec<u8>>,
}

impl From<OpenEntry<'_>> for Version {
    fn from(entry: OpenEntry<'_>) -> Version {
        Version {
            lsn: entry.lsn,
            kind: entry.kind,
            body: match entry.body {
                OpenBody::Record { start } => Ok(start),
                OpenBody::Value(value) => Err(value.to_vec()),
            },
        }
    }
}

fn visited(layer: &OpenLayer, key: &Key, above: Lsn, upto: Lsn) -> Vec<Version> {
    let mut versions = Vec::new();
    layer.visit(key, above, upto, &mut |entry| {
        versions.push(entry.into());
        ControlFlow::Continue(())
    });
    versions
}

/// A layer and the model of it: some keys hot enough for milestones, some touched once.
fn random_layer(seed: u64) -> (OpenLayer, BTreeMap<Key, Vec<Version>>) {
    let mut random = seed;
    let mut next = move |bound: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let mut layer = OpenLayer::new(START);
    let mut model: BTreeMap<Key, Vec<Version>> = BTreeMap::new();
    let mut lsn = START;
    for _ in 0..4000 {
        let start = lsn;
        lsn = lsn + 8 * (1 + next(50));
        let hot = next(3) > 0;
        let block = next(if hot { 3 } else { 2000 }) as u32;
        if next(10) == 0 {
            let key = Key::relation(
                RelFileLocator {
                    spc: 1663,
                    db: 5,
                    rel: block,
                },
                ForkNumber::Main,
            );
            let value = vec![block as u8; next(40) as usize];
            layer.insert_value(key, lsn, b"replaced in the same record");
            layer.insert_value(key, lsn, &value);
            model.entry(key).or_default().push(Version {
                lsn,
                kind: EntryKind::Value,
                body: Err(value),
            });
        } else {
            let kind = [
                EntryKind::Image,
                EntryKind::Delta,
                EntryKind::Init,
                EntryKind::Implicit,
            ][next(4) as usize];
            let key = page(1, block);
            layer.insert_record(key, start, lsn, kind);
            model.entry(key).or_default().push(Version {
                lsn,
                kind,
                body: Ok(start),
            });
        }
    }
    (layer, model)
}

#[test]
fn visit_agrees_with_a_model_for_every_bound() {
    let (layer, model) = random_layer(1);
    for (key, versions) in &model {
        let mut bounds: Vec<Lsn> = versions.iter().map(|version| version.lsn).collect();
        bounds.extend([START, Lsn::MAX]);
        let step = bounds.len().div_ceil(40);
        for &above in bounds.iter().step_by(step) {
            for &upto in bounds.iter().step_by(step) {
                for upto in [upto, Lsn::new(upto.get() - 1)] {
                    let expected: Vec<Version> = versions
                        .iter()
                        .rev()
                        .filter(|version| version.lsn > above && version.lsn <= upto)
                        .cloned()
                        .collect();
                    assert_eq!(visited(&layer, key, above, upto), expected);
                }
            }
        }
    }
    assert!(visited(&layer, &page(9, 9), START, Lsn::MAX).is_empty());
}

#[test]
fn sorted_gives_everything_in_order() {
    let (layer, model) = random_layer(2);
    let mut sorted: Vec<(Key, Vec<Version>)> = Vec::new();
    let mut rest = layer.sorted();
    let mut group = rest.group();
    let mut groups = 0;
    while rest.next_group(&mut group) {
        let all: Vec<Version> = group.entries().map(Version::from).collect();
        let versions = |entries: OpenEntries<'_>| entries.map(Version::from).collect::<Vec<_>>();
        let keys: Vec<_> = group
            .keys()
            .map(|(key, entries)| (key, versions(entries)))
            .collect();
        assert_eq!(
            all,
            keys.iter()
                .flat_map(|(_, versions)| versions.clone())
                .collect::<Vec<_>>()
        );
        sorted.extend(keys);
        groups += 1;
    }
    assert!(groups > 3, "{groups}");
    assert_eq!(layer.keys(), model.len());
    assert_eq!(layer.len(), model.values().map(Vec::len).sum::<usize>());
    assert_eq!(sorted, model.into_iter().collect::<Vec<_>>());
}

#[test]
fn keys_in_a_range_are_those_with_entries() {
    let (layer, model) = random_layer(3);
    let rel = RelFileLocator {
        spc: 1663,
        db: 5,
        rel: 1,
    };
    for range in [
        Key::all(),
        Key::all_metadata(),
        Key::relation_blocks(rel, ForkNumber::Main),
        Key::relations_of_database(1663, 5),
        page(1, 100)..page(1, 200),
        page(1, 200)..page(1, 100),
        Key::all_two_phase(),
    ] {
        let expected: Vec<Key> = model
            .keys()
            .filter(|key| range.contains(key))
            .copied()
            .collect();
        assert_eq!(layer.keys_in(&range), expected, "{range:?}");
    }
}

#[test]
fn visit_stops_when_told_to() {
    let (layer, _) = random_layer(4);
    let mut seen = 0;
    layer.visit(&page(1, 0), START, Lsn::MAX, &mut |_| {
        seen += 1;
        if seen == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!(seen, 3);
}

#[test]
fn a_read_far_below_the_newest_entry_skips_few_entries() {
    let mut layer = OpenLayer::new(START);
    let key = page(1, 0);
    for i in 0..10_000 {
        layer.insert_record(key, START + i * 8, START + (i + 1) * 8, EntryKind::Delta);
    }
    for upto in [1, 63, 64, 65, 5_000, 9_999, 10_000] {
        let upto = START + upto * 8;
        let mut skipped = 0;
        let mut next = layer.first_candidate(&key, upto);
        while let Some(handle) = next.filter(|&handle| layer.arena.lsn(handle) > upto) {
            skipped += 1;
            next = layer.arena.below(handle);
        }
        assert!(skipped <= MILESTONE, "{skipped} skipped");
    }
}

#[test]
fn memory_counts_what_is_added() {
    let mut layer = OpenLayer::new(START);
    let empty = layer.memory();
    for i in 0..1000 {
        layer.insert_record(page(1, 0), START, START + (i + 1) * 8, EntryKind::Delta);
    }
    let entries = layer.memory();
    assert!(entries - empty >= 12_000 && entries - empty < 30_000);
    layer.insert_value(Key::control(), START + 8, &[7; 10_000]);
    assert!(layer.memory() - entries >= 10_000);
}

#[test]
#[should_panic(expected = "is inserted after")]
fn a_version_below_an_older_one_is_a_bug() {
    let mut layer = OpenLayer::new(START);
    layer.insert_record(page(1, 0), START, START + 16, EntryKind::Delta);
    layer.insert_record(page(1, 0), START, START + 16, EntryKind::Delta);
}

#[test]
#[should_panic(expected = "is not in the 4 GiB behind")]
fn an_entry_out_of_the_span_is_a_bug() {
    let mut layer = OpenLayer::new(START);
    let end = START + OpenLayer::MAX_SPAN + 1;
    layer.insert_record(page(1, 0), START, end, EntryKind::Delta);
}
