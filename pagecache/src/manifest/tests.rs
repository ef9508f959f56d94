//! The format stays as documented, damage is told apart, and a sweep removes strays and nothing else.

use std::path::Path;

use walrecord::{Lsn, PgVersion, TenantId, TimelineId};

use super::envelope::{HEADER_SIZE, PAYLOAD_LIMIT};
use super::*;
use crate::key::Key;
use crate::layer::{LayerId, LayerKind, LayerSummary, RunId};
use crate::storage::{SimulatedDisk, Storage, create_dirs_durably};

/// The document that the format is specified in; its examples are the golden bytes.
const DOCUMENT: &str = include_str!("../../../docs/format-manifest.md");

const TENANT: TenantId = TenantId::from_bytes([0xAA; 16]);
const TIMELINE: TimelineId = TimelineId::from_bytes([0xBB; 16]);
const OTHER: TimelineId = TimelineId::from_bytes([0xCC; 16]);

fn layer(id: u64, size: u64) -> LayerRecord {
    LayerRecord {
        id: LayerId::new(id),
        run: RunId::new(0),
        summary: LayerSummary {
            kind: LayerKind::Image,
            first_key: Key::tablespace(1663),
            last_key: Key::control(),
            min_lsn: Lsn::new(0x0100_0028),
            max_lsn: Lsn::new(0x0100_0028),
            entries: 2,
            keys: 2,
            file_size: size,
            checksum: 0xDEAD_BEEF,
        },
    }
}

fn timeline() -> Manifest {
    Manifest {
        tenant: TENANT,
        timeline: TIMELINE,
        name: "main".to_owned(),
        system_identifier: 7_300_000_000_000_000_000,
        version: PgVersion::V15,
        segment_size: 16 << 20,
        history: vec![HistoryEntry {
            timeline: 1,
            start: Lsn::new(0x0100_0028),
        }],
        import_start: Lsn::new(0x0100_0028),
        import_stop: Lsn::new(0x0100_0100),
        disk_consistent_lsn: Lsn::new(0x0100_0028),
        next_layer: LayerId::new(2),
        layers: vec![layer(1, 4096)],
        rewrite: Some(Rewrite {
            from: vec![RunId::new(0)],
            into: RunId::new(5),
            done: Key::control(),
            cutoff: Lsn::new(0x0100_0100),
            points: vec![Lsn::new(0x0100_0080)],
        }),
        wal_start: Lsn::INVALID,
        gc_cutoff: Lsn::new(0x0100_0100),
        leases: vec![LeaseRecord {
            lsn: Lsn::new(0x0100_0080),
            until: 848_714_400_000_000,
        }],
        ancestor: Some(Ancestor {
            timeline: OTHER,
            lsn: Lsn::new(0x0100_0100),
        }),
        upstream: Some(Upstream {
            conninfo: "host=db2 user=zenith".to_owned(),
            slot: "zenith_main".to_owned(),
        }),
        replaces: Some(Replaced {
            timeline: OTHER,
            name: "main.before-0-1000100".to_owned(),
        }),
        superseded: Some(Superseded {
            by: TimelineId::from_bytes([0xDD; 16]),
            fork: Lsn::new(0x0100_0100),
        }),
        settings: Settings {
            data_checksums: true,
            rules: vec![RulesRecord {
                from: Lsn::INVALID,
                minor: 18,
                hint_bits_logged: true,
            }],
        },
    }
}

fn tenant() -> TenantManifest {
    let mut tenant = TenantManifest::new(TENANT, 7_300_000_000_000_000_000);
    tenant
        .clone_timeline(TIMELINE, Lsn::new(0x0100_0100))
        .unwrap();
    tenant
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}

#[test]
fn the_documented_examples_are_what_is_written() {
    for bytes in [timeline().encode().unwrap(), tenant().encode().unwrap()] {
        let (header, payload) = bytes.split_at(HEADER_SIZE);
        let (header, payload) = (hex(header), String::from_utf8_lossy(payload));
        assert!(DOCUMENT.contains(&header), "{header}");
        assert!(DOCUMENT.contains(&*payload), "{payload}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let manifest = timeline();
    assert_eq!(
        Manifest::decode(&manifest.encode().unwrap()).unwrap(),
        manifest
    );
    let tenant = tenant();
    assert_eq!(
        TenantManifest::decode(&tenant.encode().unwrap()).unwrap(),
        tenant
    );
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let bytes = timeline().encode().unwrap();
    for at in 0..bytes.len() {
        assert!(Manifest::decode(&bytes[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(Manifest::decode(&damaged).is_err(), "byte {at} bit {bit}");
        }
    }
    let mut longer = bytes;
    longer.push(b' ');
    assert!(matches!(
        Manifest::decode(&longer),
        Err(ManifestDamage::Length { .. })
    ));
}

#[test]
fn damage_is_told_apart() {
    let bytes = timeline().encode().unwrap();
    let damage = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        Manifest::decode(&bytes).unwrap_err()
    };
    assert!(matches!(
        damage(&|bytes| bytes.truncate(10)),
        ManifestDamage::TooShort { found: 10 }
    ));
    assert!(matches!(
        damage(&|bytes| bytes[0] ^= 1),
        ManifestDamage::Magic { .. }
    ));
    assert!(matches!(
        damage(&|bytes| bytes[8] ^= 1),
        ManifestDamage::HeaderChecksum { .. }
    ));
    assert!(matches!(
        damage(&|bytes| bytes[HEADER_SIZE] ^= 1),
        ManifestDamage::PayloadChecksum { .. }
    ));
    // A tenant's manifest in the place of a timeline's.
    assert!(matches!(
        Manifest::decode(&tenant().encode().unwrap()),
        Err(ManifestDamage::Magic { .. })
    ));
    let newer = ManifestFormat {
        version: 4,
        ..Manifest::FORMAT
    };
    assert!(matches!(
        Manifest::decode(&newer.seal(b"{}").unwrap()),
        Err(ManifestDamage::Version {
            found: 4,
            oldest: 1,
            newest: 3
        })
    ));
    let sealed = |payload: &str| Manifest::FORMAT.seal(payload.as_bytes()).unwrap();
    assert!(matches!(
        Manifest::decode(&sealed("{}")),
        Err(ManifestDamage::Payload(_))
    ));
    let too_long = vec![b' '; PAYLOAD_LIMIT as usize + 1];
    assert!(matches!(
        Manifest::FORMAT.seal(&too_long),
        Err(ManifestDamage::TooLong { .. })
    ));
}

#[test]
fn what_earlier_versions_lack_gets_its_meaning() {
    let manifest = timeline();
    let payload = serde_json::to_string(&manifest).unwrap();
    let without = |first: &str| {
        let begin = payload.find(&format!(",\"{first}\"")).unwrap();
        let end = payload.find(",\"settings\"").unwrap();
        [&payload[..begin], &payload[end..]].concat()
    };
    let read = |version, payload: &str| {
        let format = ManifestFormat {
            version,
            ..Manifest::FORMAT
        };
        Manifest::decode(&format.seal(payload.as_bytes()).unwrap()).unwrap()
    };
    let second = Manifest {
        leases: Vec::new(),
        upstream: None,
        replaces: None,
        superseded: None,
        ..manifest.clone()
    };
    let leases = serde_json::to_string(&manifest.leases).unwrap();
    let unleased = without("upstream").replace(&format!(",\"leases\":{leases}"), "");
    assert_eq!(read(2, &unleased), second);
    let first = Manifest {
        rewrite: None,
        gc_cutoff: Lsn::INVALID,
        ancestor: None,
        ..second
    };
    let payload = without("rewrite");
    let without_runs = payload.replace("\"run\":0,", "");
    assert_ne!(without_runs, payload);
    assert_eq!(read(1, &without_runs), first);
}

#[test]
fn a_timeline_does_not_take_its_own_place() {
    let contradicts = |change: fn(&mut Manifest)| {
        let mut manifest = timeline();
        change(&mut manifest);
        manifest.check().unwrap_err()
    };
    let own = Contradiction::Succession(TIMELINE);
    assert_eq!(
        contradicts(|it| it.replaces.as_mut().unwrap().timeline = TIMELINE),
        own
    );
    assert_eq!(
        contradicts(|it| it.superseded.as_mut().unwrap().by = TIMELINE),
        own
    );
    let name = contradicts(|it| it.replaces.as_mut().unwrap().name = it.name.clone());
    assert_eq!(name, Contradiction::Name("main".to_owned()));
}

#[test]
fn fields_are_read_strictly() {
    let bytes = timeline().encode().unwrap();
    let payload = std::str::from_utf8(&bytes[HEADER_SIZE..]).unwrap();
    let refused = |from: &str, to: &str| {
        assert!(payload.contains(from), "{from}");
        let changed = payload.replace(from, to);
        let sealed = Manifest::FORMAT.seal(changed.as_bytes()).unwrap();
        let result = Manifest::decode(&sealed);
        assert!(
            matches!(result, Err(ManifestDamage::Payload(_))),
            "{from} {to}"
        );
    };
    refused("\"name\"", "\"extra\":1,\"name\"");
    refused("\"version\":15", "\"version\":13");
    refused("0/1000028", "0/1000028 ");
    refused("\"image\"", "\"other\"");
    refused("\"0000000000000001\"", "\"1\"");
    refused("\"09", "\"ff");
    refused("\"minor\":18", "\"minor\":70000");
}

#[test]
fn contradictions_are_neither_written_nor_read() {
    let check = |change: &dyn Fn(&mut Manifest), expected: Contradiction| {
        let mut manifest = timeline();
        change(&mut manifest);
        let written = manifest.encode();
        assert!(
            matches!(&written, Err(ManifestDamage::Contradiction(found)) if *found == expected),
            "{written:?}"
        );
        let payload = serde_json::to_vec(&manifest).unwrap();
        let read = Manifest::decode(&Manifest::FORMAT.seal(&payload).unwrap());
        assert!(
            matches!(&read, Err(ManifestDamage::Contradiction(found)) if *found == expected),
            "{read:?}"
        );
    };
    let (low, start) = (Lsn::new(1), timeline().import_start);
    for name in ["", "a/b", "Ä"] {
        let expected = Contradiction::Name(name.to_owned());
        check(&|manifest| name.clone_into(&mut manifest.name), expected);
    }
    check(
        &|manifest| manifest.segment_size = 3 << 20,
        Contradiction::SegmentSize(3 << 20),
    );
    check(
        &|manifest| manifest.history.clear(),
        Contradiction::History(None),
    );
    check(
        &|manifest| manifest.history.push(manifest.history[0]),
        Contradiction::History(Some(1)),
    );
    check(
        &|manifest| manifest.settings.rules.clear(),
        Contradiction::Rules(None),
    );
    check(
        &|manifest| {
            let first = manifest.settings.rules[0];
            manifest.settings.rules.push(first);
        },
        Contradiction::Rules(Some(Lsn::INVALID)),
    );
    check(
        &|manifest| manifest.import_stop = low,
        Contradiction::Import { start, stop: low },
    );
    check(
        &|manifest| manifest.disk_consistent_lsn = low,
        Contradiction::DiskConsistent { lsn: low, start },
    );
    check(
        &|manifest| {
            if let Some(rewrite) = &mut manifest.rewrite {
                rewrite.from.push(rewrite.into);
            }
        },
        Contradiction::Rewrite(RunId::new(5)),
    );
    let held = timeline().leases[0];
    check(
        &|manifest| manifest.leases.push(held),
        Contradiction::Lease(held.lsn),
    );
    check(
        &|manifest| {
            let lsns = (1..=MAX_LEASES as u64 + 1).map(Lsn::new);
            let leases = lsns.map(|lsn| LeaseRecord { lsn, ..held });
            manifest.leases = leases.collect();
        },
        Contradiction::Leases(MAX_LEASES + 1),
    );
    check(
        &|manifest| manifest.layers.push(layer(1, 1)),
        Contradiction::LayerOrder(LayerId::new(1)),
    );
    check(
        &|manifest| manifest.layers.push(layer(2, 1)),
        Contradiction::LayerId {
            id: LayerId::new(2),
            next: LayerId::new(2),
        },
    );
    check(
        &|manifest| manifest.layers[0].summary.max_lsn = low,
        Contradiction::LayerRange(LayerId::new(1)),
    );
}

#[test]
fn a_point_of_history_gets_one_postgres_timeline_for_ever() {
    let mut manifest = TenantManifest::new(TENANT, 1);
    let (a, b) = (Lsn::new(1), Lsn::new(2));
    let first = manifest.clone_timeline(TIMELINE, a).unwrap();
    assert_eq!(first, FIRST_CLONE_TIMELINE);
    let second = manifest.clone_timeline(TIMELINE, b).unwrap();
    assert_eq!(second, FIRST_CLONE_TIMELINE + CLONE_TIMELINE_STEP);
    assert_eq!(manifest.clone_timeline(TIMELINE, a), Ok(first));
    manifest.next_clone_timeline = u32::MAX - 1;
    let before = manifest.clone();
    assert_eq!(
        manifest.clone_timeline(TIMELINE, Lsn::new(3)),
        Err(ClonesExhausted)
    );
    assert_eq!(manifest, before);
    // The counter never goes back behind a number that was given out.
    manifest.next_clone_timeline = second;
    assert_eq!(manifest.check(), Err(Contradiction::Clone(second)));
}

fn paths() -> TimelinePaths {
    TimelinePaths::new(TENANT, TIMELINE)
}

fn touch(disk: &SimulatedDisk, path: &Path, size: usize) {
    create_dirs_durably(disk, path.parent().unwrap()).unwrap();
    let file = disk.create(path).unwrap();
    file.write_all_at(&vec![1; size], 0).unwrap();
}

/// A store with one timeline, which has one layer.
fn store() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    touch(&disk, &paths().layer(LayerId::new(1)), 4096);
    touch(&disk, &paths().wal().join("000000010000000000000001"), 10);
    let tenant_path = TenantPaths::new(TENANT).manifest();
    tenant().write(&disk, &tenant_path).unwrap();
    timeline().write(&disk, &paths().manifest()).unwrap();
    disk
}

#[test]
fn strays_are_removed_and_nothing_else() {
    let disk = store();
    let kept = ["notes.txt", "0000000000000003.layer.bak"].map(|name| paths().layers().join(name));
    for path in &kept {
        touch(&disk, path, 1);
    }
    let mut strays = vec![
        paths().layer(LayerId::new(2)),
        paths().layers().join("0000000000000003.layer.tmp"),
        paths().dir().join("manifest.tmp"),
        TenantPaths::new(TENANT).dir().join("manifest.tmp"),
    ];
    for path in &strays {
        touch(&disk, path, 1);
    }
    let half_imported = TimelinePaths::new(TENANT, TimelineId::from_bytes([0xCC; 16]));
    touch(&disk, &half_imported.layer(LayerId::new(1)), 1);
    touch(&disk, &half_imported.dir().join("manifest.tmp"), 1);
    strays.push(half_imported.dir());
    let empty_tenant = TenantPaths::new(TenantId::from_bytes([0xDD; 16]));
    touch(&disk, &empty_tenant.dir().join("manifest.tmp"), 1);
    strays.push(empty_tenant.dir());

    let mut removed = take_inventory(&disk).unwrap().removed;
    removed.sort();
    strays.sort();
    assert_eq!(removed, strays);
    assert!(strays.iter().all(|path| !disk.exists(path).unwrap()));
    assert!(kept.iter().all(|path| disk.exists(path).unwrap()));
    assert_eq!(list_tenants(&disk).unwrap(), [TENANT]);
    assert_eq!(list_timelines(&disk, TENANT).unwrap(), [TIMELINE]);
    assert_eq!(
        Manifest::read(&disk, &paths().manifest()).unwrap(),
        timeline()
    );
    let inventory = take_inventory(&disk).unwrap();
    assert!(inventory.removed.is_empty());
    let [found] = &inventory.tenants[..] else {
        panic!("{inventory:?}");
    };
    assert!(found.tenant == TENANT && found.damage.is_none());
    assert_eq!(found.timelines[0].manifest.as_ref().unwrap(), &timeline());
}

#[test]
fn an_empty_store_has_no_strays() {
    let inventory = take_inventory(&SimulatedDisk::new()).unwrap();
    assert!(inventory.removed.is_empty() && inventory.tenants.is_empty());
}

/// What is found of the tenant, with a stray layer beside those of the timeline; nothing of it may be removed.
fn found_damaged(disk: &SimulatedDisk) -> FoundTenant {
    let stray = paths().layer(LayerId::new(2));
    touch(disk, &stray, 1);
    let mut inventory = take_inventory(disk).unwrap();
    assert!(inventory.removed.is_empty(), "{:?}", inventory.removed);
    assert!(disk.exists(&stray).unwrap());
    assert!(disk.exists(&paths().layer(LayerId::new(1))).unwrap());
    inventory.tenants.remove(0)
}

#[test]
fn of_a_timeline_with_a_damaged_manifest_nothing_is_removed_and_its_name_is_told() {
    let disk = store();
    // In the tenant's id, the name stands behind it.
    disk.flip_bit(&paths().manifest(), 40, 0).unwrap();
    let found = found_damaged(&disk);
    assert!(found.damage.is_none());
    let [timeline] = &found.timelines[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (timeline.timeline, timeline.name.as_deref()),
        (TIMELINE, Some("main"))
    );
    assert!(matches!(
        &timeline.manifest,
        Err(ManifestError::Damaged { path, damage: ManifestDamage::PayloadChecksum { .. } })
            if *path == paths().manifest()
    ));
}

#[test]
fn a_lost_or_damaged_tenant_manifest_does_not_cost_the_timelines() {
    let path = TenantPaths::new(TENANT).manifest();
    let lost = store();
    lost.remove_file(&path).unwrap();
    let damaged = store();
    damaged.flip_bit(&path, 40, 0).unwrap();
    for disk in [lost, damaged] {
        let found = found_damaged(&disk);
        assert!(matches!(
            found.damage,
            Some(ManifestError::TenantManifestMissing { .. } | ManifestError::Damaged { .. })
        ));
        assert_eq!(found.timelines[0].name.as_deref(), Some("main"));
    }
}

#[test]
fn a_manifest_in_another_place_is_refused_there() {
    let disk = store();
    let other = TimelinePaths::new(TENANT, TimelineId::from_bytes([1; 16]));
    disk.rename(&paths().dir(), &other.dir()).unwrap();
    let found = take_inventory(&disk).unwrap().tenants.remove(0);
    assert!(matches!(
        &found.timelines[0].manifest,
        Err(ManifestError::Misplaced { path, .. }) if *path == other.manifest()
    ));
}

#[test]
fn a_full_disk_leaves_the_old_manifest() {
    let disk = store();
    disk.set_capacity(Some(disk.used() + 50));
    let mut manifest = timeline();
    manifest.settings.rules[0].minor = 19;
    let error = manifest.write(&disk, &paths().manifest()).unwrap_err();
    assert!(
        matches!(&error, ManifestError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
    );
    assert_eq!(
        Manifest::read(&disk, &paths().manifest()).unwrap(),
        timeline()
    );
    disk.set_capacity(None);
    manifest.write(&disk, &paths().manifest()).unwrap();
    assert_eq!(
        Manifest::read(&disk, &paths().manifest()).unwrap(),
        manifest
    );
}
