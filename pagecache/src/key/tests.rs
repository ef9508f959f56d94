use super::*;

const REL: RelFileLocator = RelFileLocator {
    spc: 1663,
    db: 5,
    rel: 16384,
};

fn block(rel: RelFileLocator, fork: ForkNumber, block: u32) -> Key {
    Key::block(BlockTag { rel, fork, block })
}

/// In the order that keys must have.
fn samples() -> Vec<Key> {
    let mut keys = Vec::new();
    for spc in [1663, u32::MAX] {
        for db in [0, 5, u32::MAX] {
            for rel in [0, 16384, u32::MAX] {
                let rel = RelFileLocator { spc, db, rel };
                for fork in ForkNumber::ALL {
                    keys.extend([0, 255, 256, u32::MAX].map(|b| block(rel, fork, b)));
                }
            }
        }
    }
    for kind in SlruKind::ALL {
        keys.extend([0, 31, 32, u32::MAX].map(|page| Key::slru(SlruPage { kind, page })));
    }
    for fork in ForkNumber::ALL {
        keys.push(Key::relation(REL, fork));
    }
    for kind in SlruKind::ALL {
        keys.extend([0, 1, u32::MAX].map(|segment| Key::slru_segment(kind, segment)));
    }
    keys.extend([Key::database(1663, 1), Key::database(u32::MAX, u32::MAX)]);
    keys.extend([Key::relation_map(1663, 1), Key::relation_map(1664, 0)]);
    keys.extend([Key::tablespace(1663), Key::tablespace(u32::MAX)]);
    keys.extend([Key::two_phase(3), Key::two_phase(u32::MAX)]);
    keys.push(Key::control());
    keys.extend([Key::origin(1), Key::origin(u16::MAX)]);
    keys.extend([Key::file(0), Key::file(u32::MAX)]);
    keys.extend([Key::commit_times(Lsn::INVALID), Key::commit_times(Lsn::MAX)]);
    keys
}

#[test]
fn keys_and_their_bytes_have_the_stated_order() {
    for pair in samples().windows(2) {
        assert!(pair[0] < pair[1], "{pair:?}");
        assert!(pair[0].to_bytes() < pair[1].to_bytes(), "{pair:?}");
    }
}

#[test]
fn keys_survive_bytes_and_decoding() {
    for key in samples() {
        assert_eq!(Key::from_bytes(&key.to_bytes()), Ok(key));
        assert_eq!(Key::from(key.decode()), key);
    }
}

#[test]
fn bytes_that_no_constructor_makes_are_refused() {
    for key in samples() {
        let mut kind = key.to_bytes();
        kind[0] = BOUND;
        assert!(Key::from_bytes(&kind).is_err());
    }
    let mut bad_fork = block(REL, ForkNumber::Main, 0).to_bytes();
    bad_fork[13] = 4;
    let mut unused_part = Key::control().to_bytes();
    unused_part[17] = 1;
    let mut bad_slru = Key::slru_segment(SlruKind::Clog, 0).to_bytes();
    bad_slru[4] = 4;
    let mut bad_origin = Key::origin(0).to_bytes();
    bad_origin[15] = 1;
    for bytes in [[0; 18], bad_fork, unused_part, bad_slru, bad_origin] {
        assert_eq!(Key::from_bytes(&bytes), Err(KeyError { bytes }));
    }
}

#[test]
fn ranges_hold_what_they_name_and_nothing_else() {
    let max = RelFileLocator {
        spc: u32::MAX,
        db: u32::MAX,
        rel: u32::MAX,
    };
    type Claim = (Range<Key>, fn(KeyKind) -> bool);
    let claims: [Claim; 13] = [
        (
            Key::relation_blocks(REL, ForkNumber::Init),
            |k| matches!(k, KeyKind::Page(PageKey::Block(t)) if t.rel == REL && t.fork == ForkNumber::Init),
        ),
        (Key::relation_blocks(max, ForkNumber::Init), |k| {
            matches!(k, KeyKind::Page(PageKey::Block(t))
                if t.rel.spc & t.rel.db & t.rel.rel == u32::MAX && t.fork == ForkNumber::Init)
        }),
        (
            Key::blocks_of_database(1663, u32::MAX),
            |k| matches!(k, KeyKind::Page(PageKey::Block(t)) if t.rel.spc == 1663 && t.rel.db == u32::MAX),
        ),
        (
            Key::relations_of_database(1663, 5),
            |k| matches!(k, KeyKind::Relation(r, _) if r.spc == 1663 && r.db == 5),
        ),
        (Key::all_relations(), |k| matches!(k, KeyKind::Relation(..))),
        (Key::slru_segments(SlruKind::CommitTs), |k| {
            matches!(k, KeyKind::SlruSegment(SlruKind::CommitTs, _))
        }),
        (
            Key::slru_pages(SlruKind::Clog),
            |k| matches!(k, KeyKind::Page(PageKey::Slru(p)) if p.kind == SlruKind::Clog),
        ),
        (
            Key::slru_segment_pages(SlruKind::Clog, 0),
            |k| matches!(k, KeyKind::Page(PageKey::Slru(p)) if p.kind == SlruKind::Clog && p.segment() == 0),
        ),
        (
            Key::slru_segment_pages(SlruKind::CommitTs, u32::MAX / 32),
            |k| matches!(k, KeyKind::Page(PageKey::Slru(p)) if p.kind == SlruKind::CommitTs && p.page == u32::MAX),
        ),
        (Key::all_pages(), |k| matches!(k, KeyKind::Page(_))),
        (Key::all_files(), |k| matches!(k, KeyKind::File(_))),
        (Key::all_commit_times(), |k| {
            matches!(k, KeyKind::CommitTimes(_))
        }),
        (Key::all(), |_| true),
    ];
    for (number, (range, holds)) in claims.into_iter().enumerate() {
        for key in samples() {
            assert_eq!(
                range.contains(&key),
                holds(key.decode()),
                "{number}: {range:?} {key}"
            );
        }
    }
}

#[test]
fn stable_hash_never_changes() {
    assert_eq!(
        block(REL, ForkNumber::Vm, 7).stable_hash(),
        5_159_102_731_764_920_601
    );
}

#[test]
fn prints_what_it_names() {
    assert_eq!(
        block(REL, ForkNumber::Vm, 7).to_string(),
        "1663/5/16384.vm:7"
    );
    assert_eq!(
        Key::relation(REL, ForkNumber::Main).to_string(),
        "relation 1663/5/16384.main"
    );
    assert_eq!(Key::all().end.to_string(), "end of keys");
}
