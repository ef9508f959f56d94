//! WAL of the newest minor releases with records of an extension's resource manager among the others
//! (`walrecord/tests/fixtures`, `17.11` and `18.6`: `test_custom_rmgrs`, number 128).

use std::path::PathBuf;

use walrecord::{
    DecoderOptions, ForkNumber, PageHeader, PageKey, PgVersion, Record, RedoRules, RelFileLocator,
    RmgrId, StreamDecoder, ZERO_PAGE,
};
use walredo::{RedoError, Verifier, redo};

const NEWEST: [(&str, PgVersion, u16); 2] =
    [("17.11", PgVersion::V17, 11), ("18.6", PgVersion::V18, 6)];

/// The segment files of a fixture in order, in one piece.
fn wal(directory: &str) -> Vec<u8> {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "../walrecord/tests/fixtures",
        directory,
        "wal.zst",
    ]
    .iter()
    .collect();
    let packed = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    zstd::decode_all(&packed[..]).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Calls `visit` for every record of a fixture.
fn each_record(directory: &str, mut visit: impl FnMut(&Record<'_>)) {
    let bytes = wal(directory);
    let start = PageHeader::parse(&bytes).expect("a page header").address;
    let mut decoder = StreamDecoder::new(start, DecoderOptions::default());
    decoder.push(start, &bytes).expect("WAL in order");
    while let Some(raw) = decoder.next_record().expect("sound WAL") {
        visit(&raw.decode().expect("a sound record"));
    }
}

#[test]
fn records_of_an_extension_leave_the_pages_of_others_alone() {
    for (directory, version, minor) in NEWEST {
        let rules = RedoRules {
            version,
            minor,
            hint_bits_logged: true,
        };
        let mut verifier = Verifier::new(rules);
        let mut custom = 0;
        each_record(directory, |record| {
            let before: Vec<_> = match record.header.rmgr {
                RmgrId::Custom(_) => verifier.pages().map(|(tag, page)| (*tag, *page)).collect(),
                RmgrId::BuiltIn(_) => Vec::new(),
            };
            verifier.replay(record).expect("a sound body");
            if let RmgrId::Custom(number) = record.header.rmgr {
                assert_eq!(number, 128);
                assert!(!before.is_empty(), "{directory}: no page known by then");
                let after: Vec<_> = verifier.pages().map(|(tag, page)| (*tag, *page)).collect();
                assert!(before == after, "{directory}: {}", record.start);
                custom += 1;
            }
        });
        assert!(custom >= 2, "{directory}: {custom}");
        let findings = verifier.into_findings();
        assert!(
            findings.differences.is_empty(),
            "{directory}: {:#?}",
            findings.differences
        );
    }
}

/// The module's records name no page. If one did, redo would have to refuse.
#[test]
fn a_page_that_an_extension_changes_is_refused_by_the_resource_managers_name() {
    let rel = RelFileLocator {
        spc: 1663,
        db: 5,
        rel: 16384,
    };
    let fork = ForkNumber::Main;
    let key = PageKey::Block(walrecord::BlockTag {
        rel,
        fork,
        block: 7,
    });
    for (directory, version, minor) in NEWEST {
        let rules = RedoRules {
            version,
            minor,
            hint_bits_logged: true,
        };
        each_record(directory, |record| {
            if !matches!(record.header.rmgr, RmgrId::Custom(_)) {
                return;
            }
            let mut page = ZERO_PAGE;
            let error = redo(&mut page, record, &key, &rules).expect_err("nobody knows how");
            assert!(matches!(error, RedoError::Unsupported { .. }), "{error}");
            let text = error.to_string();
            for part in [
                "custom128",
                "1663/5/16384.main:7",
                &record.start.to_string(),
            ] {
                assert!(text.contains(part), "{text}");
            }
            assert!(page == ZERO_PAGE);
        });
    }
}
