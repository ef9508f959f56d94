//! The values stay as documented.

use walrecord::Lsn;

use super::*;

/// The document that the values are specified in; its examples are the golden bytes.
const DOCUMENT: &str = include_str!("../../../docs/format-metadata.md");

fn assert_documented(encode: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    for line in digits.chunks(32) {
        let line = line.join(" ");
        assert!(DOCUMENT.contains(&line), "{line}");
    }
}

#[test]
fn the_documented_examples_are_what_is_written() {
    let mut fork = ForkState::of_size(10);
    fork.truncate(Lsn::new(0x0100_0100), 5).unwrap();
    assert_documented(|out| fork.encode(out));
    let directory = DirectoryState {
        exists: true,
        barrier: Lsn::new(0x0100_0200),
        source: Some(CopySource { spc: 1663, db: 5 }),
    };
    assert_documented(|out| directory.encode(out));
    assert_documented(|out| Tombstoned(Some(b"/mnt/a")).encode(out));
    assert_documented(|out| Tombstoned(None).encode(out));
    let file = FileValue {
        path: "pg_hba.conf".to_owned(),
        content: b"# none".to_vec(),
    };
    assert_documented(|out| file.encode(out));
    let control = ControlState {
        next_full_xid: 0x1_0000_0300,
        next_oid: 16385,
        next_multi: 1,
        next_multi_offset: 2,
        oldest_xid: 717,
        oldest_xid_db: 1,
        oldest_multi: 3,
        oldest_multi_db: 4,
        oldest_commit_ts_xid: 5,
        newest_commit_ts_xid: 6,
        tli: 1,
        checkpoint_time: 1_700_000_000,
        redo: Lsn::new(0x0100_0028),
        last_end_time: 700_000_000_000_000,
        parameters: walrecord::rmgr::xlog::ParameterChange {
            max_connections: 100,
            max_worker_processes: 8,
            max_wal_senders: 10,
            max_prepared_xacts: 0,
            max_locks_per_xact: 64,
            wal_level: 1,
            wal_log_hints: true,
            track_commit_timestamp: false,
        },
        full_page_writes: true,
    };
    assert_documented(|out| control.encode(out));
    let first = TransactionEnd {
        stop: Lsn::new(0x1_0000_0100),
        end: Lsn::new(0x1_0000_0128),
        time: 700_000_000_000_000,
        xid: 717,
        committed: true,
    };
    let mut times = CommitTimesWriter::new(699_999_999_000_000, first);
    times.push(TransactionEnd {
        stop: Lsn::new(0x1_0000_0328),
        end: Lsn::new(0x1_0000_0350),
        time: first.time - 1500,
        xid: 716,
        committed: false,
    });
    assert_documented(|out| out.extend_from_slice(times.bytes()));
}

#[test]
fn no_damage_panics() {
    let mut state = 1_u64;
    for length in 0..200 {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 60) as u8 & 3
            })
            .collect();
        let _ = ForkState::decode(&bytes).map(|fork| fork.floor(7));
        let _ = DirectoryState::decode(&bytes);
        let _ = Tombstoned::decode(&bytes);
        let _ = FileValue::decode(&bytes);
        let _ = CommitTimes::decode(&bytes).map(|times| times.entries().count());
        let _ = ControlState::decode(&bytes).map(|mut control| control.xid_used(3));
    }
}
