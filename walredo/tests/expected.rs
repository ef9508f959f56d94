//! WAL of real servers in which records carry the version of each page that is expected after them
//! (`fixtures/README.md`): redo must make just these, and every kind of record must be among what was
//! compared. The long form is `pageserver walverify`.

use std::path::PathBuf;

use walrecord::{DecoderOptions, PageHeader, PgVersion, RedoRules, StreamDecoder};
use walredo::{Base, Findings, Share, Verifier, VerifyOptions};

/// The segment files of a fixture in order, in one piece.
fn wal(version: PgVersion) -> Vec<u8> {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "tests/fixtures",
        &version.to_string(),
        "wal.zst",
    ]
    .iter()
    .collect();
    let packed = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    zstd::decode_all(&packed[..]).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn options(version: PgVersion, base: Base) -> VerifyOptions {
    let rules = RedoRules {
        version,
        minor: 99,
        hint_bits_logged: true,
    };
    VerifyOptions {
        base,
        ..VerifyOptions::new(rules)
    }
}

/// Replays a fixture with several verifiers alike.
fn replay(version: PgVersion, options: &[VerifyOptions]) -> Vec<Findings> {
    let bytes = wal(version);
    let start = PageHeader::parse(&bytes).expect("a page header").address;
    let mut decoder = StreamDecoder::new(start, DecoderOptions::default());
    let mut verifiers: Vec<Verifier> = options
        .iter()
        .map(|options| Verifier::with_options(*options))
        .collect();
    for (index, chunk) in bytes.chunks(1 << 20).enumerate() {
        decoder
            .push(start + ((index as u64) << 20), chunk)
            .expect("WAL in order");
        while let Some(raw) = decoder.next_record().expect("sound WAL") {
            let record = raw.decode().expect("a sound record");
            for verifier in &mut verifiers {
                verifier.replay(&record).expect("a sound body");
            }
        }
    }
    verifiers.into_iter().map(Verifier::into_findings).collect()
}

/// Pages found equal after records of a kind, printed `Heap/INSERT`.
fn equal(findings: &Findings, kind: &str) -> u64 {
    let found = findings.counts.iter().find(|it| it.0.to_string() == kind);
    found.map_or(0, |(_, counts)| counts.equal)
}

#[test]
fn redo_makes_the_pages_that_the_wal_expects_by_itself_and_from_expected_ones() {
    for version in PgVersion::ALL {
        let bases = [Base::Carried, Base::Expected].map(|base| options(version, base));
        for findings in replay(version, &bases) {
            assert!(
                findings.differences.is_empty(),
                "{version}: {:#?}",
                findings.differences
            );
            let refused = findings.counts.iter().find(|it| it.1.refused > 0);
            assert!(refused.is_none(), "{version}: {refused:?}");
            // One session made it, and no database was copied.
            assert_eq!(findings.maps_with_other_bits, 0, "{version}");
            for (kind, floor) in floors(version) {
                let equal = equal(&findings, kind);
                assert!(
                    equal >= *floor,
                    "{version}: {equal} pages equal after {kind}"
                );
            }
        }
    }
}

#[test]
fn two_shares_find_what_one_verifier_finds() {
    let version = PgVersion::V17;
    let of = |index, count| VerifyOptions {
        share: Share { index, count },
        ..options(version, Base::Carried)
    };
    let mut findings = replay(version, &[of(0, 1), of(0, 2), of(1, 2)]).into_iter();
    let alone = findings.next().expect("three");
    let mut together = Findings::default();
    for part in findings {
        let (equal, _) = part.totals();
        assert!(equal * 3 > alone.totals().0, "an uneven share: {equal}");
        together.merge(part);
    }
    assert_eq!(together.counts, alone.counts);
}

/// At least so many pages must be compared after each kind of record. What this WAL does not have, or only with
/// images in place of changes, is left to unit tests and to the regression suites' WAL: hash splits, moves and
/// squeezes, GIN's posting trees, splits and vacuum, `Gist/DELETE`, `BRIN/UPDATE`.
fn floors(version: PgVersion) -> impl Iterator<Item = &'static (&'static str, u64)> {
    let pruning = if version >= PgVersion::V17 {
        FLOORS_PRUNE_FROM_17
    } else {
        FLOORS_PRUNE_TO_16
    };
    FLOORS.iter().chain(pruning)
}

const FLOORS_PRUNE_TO_16: &[(&str, u64)] = &[
    ("Heap2/PRUNE", 150),
    ("Heap2/VACUUM", 100),
    ("Heap2/FREEZE_PAGE", 15),
];

const FLOORS_PRUNE_FROM_17: &[(&str, u64)] = &[
    ("Heap2/PRUNE_ON_ACCESS", 30),
    ("Heap2/PRUNE_VACUUM_SCAN", 100),
    ("Heap2/PRUNE_VACUUM_CLEANUP", 100),
];

const FLOORS: &[(&str, u64)] = &[
    ("Heap2/VISIBLE", 300),
    ("Heap2/MULTI_INSERT", 100),
    ("Heap2/MULTI_INSERT+INIT", 7),
    ("Heap2/LOCK_UPDATED", 1),
    ("Heap/INSERT", 2500),
    ("Heap/INSERT+INIT", 50),
    ("Heap/DELETE", 2000),
    ("Heap/UPDATE", 300),
    ("Heap/UPDATE+INIT", 2),
    ("Heap/HOT_UPDATE", 250),
    ("Heap/HEAP_CONFIRM", 15),
    ("Heap/LOCK", 150),
    ("Heap/INPLACE", 60),
    ("Btree/INSERT_LEAF", 2500),
    ("Btree/INSERT_UPPER", 80),
    ("Btree/SPLIT_L", 120),
    ("Btree/SPLIT_R", 35),
    ("Btree/INSERT_POST", 150),
    ("Btree/DEDUP", 3),
    ("Btree/DELETE", 1),
    ("Btree/VACUUM", 130),
    ("Btree/NEWROOT", 20),
    ("Btree/MARK_PAGE_HALFDEAD", 80),
    ("Btree/UNLINK_PAGE", 140),
    ("Btree/UNLINK_PAGE_META", 5),
    ("Btree/META_CLEANUP", 2),
    ("Sequence/LOG", 3),
    ("Generic/Generic", 50),
    ("Hash/INIT_META_PAGE", 2),
    ("Hash/INIT_BITMAP_PAGE", 4),
    ("Hash/INSERT", 2000),
    ("Hash/ADD_OVFL_PAGE", 3),
    ("Hash/DELETE", 3),
    ("Hash/UPDATE_META_PAGE", 2),
    ("Hash/VACUUM_ONE_PAGE", 2),
    ("Gin/INSERT", 550),
    ("Gin/UPDATE_META_PAGE", 280),
    ("Gin/INSERT_LISTPAGE", 2),
    ("Gin/DELETE_LISTPAGE", 3),
    ("Gist/PAGE_UPDATE", 1100),
    ("Gist/PAGE_SPLIT", 15),
    ("SPGist/ADD_LEAF", 550),
    ("SPGist/MOVE_LEAFS", 20),
    ("SPGist/ADD_NODE", 3),
    ("SPGist/SPLIT_TUPLE", 3),
    ("SPGist/PICKSPLIT", 8),
    ("SPGist/VACUUM_LEAF", 10),
    ("SPGist/VACUUM_REDIRECT", 6),
    ("BRIN/CREATE_INDEX", 1),
    ("BRIN/INSERT", 15),
    ("BRIN/INSERT+INIT", 2),
    ("BRIN/SAMEPAGE_UPDATE", 45),
    ("BRIN/REVMAP_EXTEND", 2),
    ("BRIN/DESUMMARIZE", 2),
];
