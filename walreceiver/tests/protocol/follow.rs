//! Reconnecting: how often, after what, and when to stop trying. No waits but counted ones.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use walreceiver::{
    Control, FollowError, FollowOptions, Origin, Peer as Kind, Phase, ReceiverStatus, Timing,
    follow,
};
use walrecord::{Lsn, PgVersion};

use crate::support::fake::{Peer, serve, serve_each};
use crate::support::no_log;
use crate::support::sink::Memory;

const SYSTEM: u64 = 42;
const START: u64 = 0x3000000;

/// Writes pauses down instead of waiting, and stops after so many.
struct Counted {
    pauses: Arc<Mutex<Vec<Duration>>>,
    stop_after: usize,
}

impl Timing for Counted {
    fn pause(&mut self, duration: Duration, control: &Control) {
        let mut pauses = self.pauses.lock().unwrap();
        pauses.push(duration);
        if pauses.len() == self.stop_after {
            control.stop();
        }
    }

    fn dice(&mut self) -> f64 {
        0.0
    }
}

/// Follows a server of `connections` scripted connections; returns the pauses in milliseconds.
fn run(
    connections: usize,
    kind: Kind,
    memory: &Memory,
    script: impl Fn(&mut Peer, usize) + Send + 'static,
) -> (Result<(), FollowError>, Vec<u128>, ReceiverStatus) {
    run_with(connections, kind, memory, |_| {}, script)
}

/// The same with other options.
fn run_with(
    connections: usize,
    kind: Kind,
    memory: &Memory,
    change: impl FnOnce(&mut FollowOptions),
    script: impl Fn(&mut Peer, usize) + Send + 'static,
) -> (Result<(), FollowError>, Vec<u128>, ReceiverStatus) {
    let (info, server) = serve_each(connections, move |()| {
        let count = std::cell::Cell::new(0);
        move |peer: &mut Peer| {
            script(peer, count.get());
            count.set(count.get() + 1);
        }
    });
    let mut options = FollowOptions::new(info, kind, SYSTEM);
    change(&mut options);
    let (control, status) = (Control::new(), ReceiverStatus::new());
    let pauses = Arc::new(Mutex::new(Vec::new()));
    let mut timing = Counted {
        pauses: pauses.clone(),
        stop_after: connections,
    };
    let mut sink = memory.sink();
    let outcome = follow(
        &options,
        &mut sink,
        &control,
        &status,
        &mut timing,
        &no_log(),
    );
    server.join().unwrap();
    let pauses = pauses
        .lock()
        .unwrap()
        .iter()
        .map(Duration::as_millis)
        .collect();
    (outcome, pauses, status)
}

fn postgres() -> Kind {
    Kind::Postgres(PgVersion::V15)
}

fn introduce(peer: &mut Peer, timeline: u32, end: &str) {
    peer.welcome();
    peer.answer_identify(SYSTEM, timeline, end);
    peer.answer_show("server_version_num", "150018");
    peer.answer_show("wal_level", "replica");
}

#[test]
fn failures_are_retried_with_growing_pauses_until_wal_flows_again() {
    let memory = Memory::at(Lsn::new(START));
    let (outcome, pauses, status) = run(6, postgres(), &memory, |peer, attempt| match attempt {
        0 => {
            peer.start_up();
            peer.error("57P03", "the database system is starting up");
        }
        1 => peer.raw(b"garbage that is no message"),
        2 => peer.welcome(),
        3 => {
            introduce(peer, 1, "0/4000000");
            let query = peer.expect_query("START_REPLICATION");
            assert_eq!(query, "START_REPLICATION PHYSICAL 0/3000000 TIMELINE 1");
            peer.send(b'W', &[0, 0, 0]);
            peer.wal(START, START + 100, &[1; 100]);
        }
        _ => {
            introduce(peer, 1, "0/4000000");
            // Exactly where the sink ended.
            let query = peer.expect_query("START_REPLICATION");
            assert_eq!(query, "START_REPLICATION PHYSICAL 0/3000064 TIMELINE 1");
            peer.error("55006", "replication slot is active");
        }
    });
    outcome.unwrap();
    assert_eq!(pauses, [100, 200, 400, 100, 200, 400]);
    let status = status.snapshot();
    assert_eq!(status.phase, Phase::Ended);
    assert_eq!(status.received, Lsn::new(START + 100));
    assert!(status.last_error.unwrap().contains("55006"));
}

#[test]
fn what_no_reconnect_cures_ends_it_at_once() {
    type Script = fn(&mut Peer);
    type Expected = fn(&FollowError) -> bool;
    let cases: [(Script, Expected); 6] = [
        (
            |peer| {
                peer.welcome();
                peer.answer_identify(SYSTEM + 1, 1, "0/4000000");
            },
            |error| {
                matches!(
                    error,
                    FollowError::SystemIdentifier {
                        expected: 42,
                        found: 43
                    }
                )
            },
        ),
        (
            |peer| {
                peer.welcome();
                peer.answer_identify(SYSTEM, 1, "0/4000000");
                peer.answer_show("server_version_num", "160004");
            },
            |error| matches!(error, FollowError::Version { .. }),
        ),
        (
            |peer| {
                peer.welcome();
                peer.answer_identify(SYSTEM, 1, "0/4000000");
                peer.answer_show("server_version_num", "150018");
                peer.answer_show("wal_level", "minimal");
            },
            |error| matches!(error, FollowError::WalLevel { .. }),
        ),
        (
            |peer| {
                introduce(peer, 3, "0/4000000");
                peer.expect_query("TIMELINE_HISTORY 3");
                let content = "1\t0/2000000\tx\n2\t0/2800000\tx\n";
                peer.row(&["filename", "content"], &[Some("x"), Some(content)]);
                peer.ready();
            },
            |error| matches!(error, FollowError::Forked { timeline: 1, .. }),
        ),
        (
            |peer| {
                introduce(peer, 3, "0/4000000");
                peer.expect_query("TIMELINE_HISTORY 3");
                let content = "2\t0/3800000\tx\n";
                peer.row(&["filename", "content"], &[Some("x"), Some(content)]);
                peer.ready();
            },
            |error| matches!(error, FollowError::NotInHistory { ours: 1, server: 3 }),
        ),
        (
            |peer| {
                introduce(peer, 1, "0/4000000");
                peer.start_copy();
                peer.error("58P01", "requested WAL segment has already been removed");
            },
            |error| matches!(error, FollowError::WalRemoved { .. }),
        ),
    ];
    for (n, (script, expected)) in cases.into_iter().enumerate() {
        let memory = Memory::at(Lsn::new(START));
        let (outcome, pauses, _) = run(1, postgres(), &memory, move |peer, _| script(peer));
        let error = outcome.unwrap_err();
        assert!(expected(&error), "case {n}: {error}");
        assert_eq!(pauses, [0; 0]);
    }
}

/// A branch begins at the origin: only a server that left the parent's timeline there has the WAL that comes next.
#[test]
fn only_a_clone_that_begins_at_the_origin_is_followed() {
    for (timeline, left) in [(1, None), (9, Some("0/2FFFFF0")), (9, Some("0/3000028"))] {
        let memory = Memory::at(Lsn::new(START));
        let (outcome, _, _) = run_with(1, postgres(), &memory, from_start, move |peer, _| {
            introduce(peer, timeline, "0/4000000");
            answer_history(peer, timeline, left);
        });
        let expected = left.map(|left| left.parse::<Lsn>().unwrap());
        match outcome.unwrap_err() {
            FollowError::NotOurClone {
                server,
                left,
                origin,
            } => {
                assert_eq!((server, left, origin), (timeline, expected, ORIGIN));
            }
            other => panic!("{other}"),
        }
    }
    let memory = Memory::at(Lsn::new(START));
    let (outcome, _, _) = run_with(1, postgres(), &memory, from_start, |peer, _| {
        introduce(peer, 9, "0/4000000");
        answer_history(peer, 9, Some("0/3000000"));
        let query = peer.expect_query("START_REPLICATION");
        assert_eq!(query, "START_REPLICATION PHYSICAL 0/3000000 TIMELINE 1");
        peer.send(b'W', &[0, 0, 0]);
    });
    outcome.unwrap();
}

const ORIGIN: Origin = Origin {
    timeline: 1,
    lsn: Lsn::new(START),
};

fn from_start(options: &mut FollowOptions) {
    options.origin = Some(ORIGIN);
}

/// `TIMELINE_HISTORY` of a timeline that left the first there; timeline 1 has none.
fn answer_history(peer: &mut Peer, timeline: u32, left: Option<&str>) {
    let Some(left) = left else {
        return;
    };
    peer.expect_query(&format!("TIMELINE_HISTORY {timeline}"));
    let content = format!("1\t{left}\tx\n");
    peer.row(&["filename", "content"], &[Some("x"), Some(&content)]);
    peer.ready();
}

/// A server whose timeline is new to us cannot have our slot; one that is on ours lost it.
#[test]
fn a_missing_slot_is_made_where_the_timeline_is_new() {
    let slot = |options: &mut FollowOptions| options.slot = Some("mine".parse().unwrap());
    let memory = Memory::at(Lsn::new(START));
    let (outcome, _, _) = run_with(1, postgres(), &memory, slot, |peer, _| {
        introduce(peer, 9, "0/4000000");
        answer_no_slot(peer);
        answer_history(peer, 9, Some("0/3000000"));
        let query = peer.expect_query("CREATE_REPLICATION_SLOT");
        assert!(query.contains("\"mine\" PHYSICAL"), "{query}");
        let columns = [
            "slot_name",
            "consistent_point",
            "snapshot_name",
            "output_plugin",
        ];
        peer.row(&columns, &[Some("mine"), Some("0/3000000"), None, None]);
        peer.ready();
        let query = peer.expect_query("START_REPLICATION");
        assert!(
            query.starts_with("START_REPLICATION SLOT \"mine\""),
            "{query}"
        );
        peer.send(b'W', &[0, 0, 0]);
    });
    outcome.unwrap();
    let memory = Memory::at(Lsn::new(START));
    let (outcome, _, _) = run_with(1, postgres(), &memory, slot, |peer, _| {
        introduce(peer, 1, "0/4000000");
        answer_no_slot(peer);
    });
    assert!(matches!(outcome, Err(FollowError::SlotMissing { .. })));
}

fn answer_no_slot(peer: &mut Peer) {
    peer.expect_query("READ_REPLICATION_SLOT");
    peer.row(
        &["slot_type", "restart_lsn", "restart_tli"],
        &[None, None, None],
    );
    peer.ready();
}

#[test]
fn a_server_behind_us_is_waited_for() {
    let memory = Memory::at(Lsn::new(START));
    memory.lock().timeline = 2;
    let (outcome, pauses, status) = run(2, postgres(), &memory, |peer, attempt| {
        let (timeline, end) = if attempt == 0 {
            (1, "0/4000000")
        } else {
            (2, "0/2000000")
        };
        introduce(peer, timeline, end);
    });
    outcome.unwrap();
    assert_eq!(pauses, [100, 200]);
    assert!(status.snapshot().last_error.unwrap().contains("0/2000000"));
}

#[test]
fn a_fork_inside_the_unverified_tail_cuts_it_off() {
    let memory = Memory::at(Lsn::new(START));
    {
        let mut state = memory.lock();
        state.bytes = vec![0; 100];
        state.valid_end = Some(Lsn::new(START + 40));
    }
    let (outcome, _, _) = run(1, postgres(), &memory, |peer, _| {
        introduce(peer, 2, "0/4000000");
        peer.expect_query("TIMELINE_HISTORY 2");
        let content = "1\t0/3000040\tx\n";
        peer.row(&["filename", "content"], &[Some("x"), Some(content)]);
        peer.ready();
        let query = peer.expect_query("START_REPLICATION");
        assert_eq!(query, "START_REPLICATION PHYSICAL 0/3000028 TIMELINE 1");
        peer.send(b'W', &[0, 0, 0]);
    });
    outcome.unwrap();
    assert_eq!(memory.lock().rewinds, [Lsn::new(START + 40)]);
}

/// 14 does not tell from where a slot keeps WAL; it is asked with SQL.
#[test]
fn a_slot_of_14_is_asked_for_with_sql() {
    let rewinds = follow_14(2, |peer, connection, main| {
        assert!(connection == 2);
        let start_up = peer.start_up();
        assert!(start_up.contains("database postgres replication database"));
        peer.authentication(0, b"");
        peer.ready();
        let query = peer.expect_query("SELECT restart_lsn");
        assert!(query.ends_with("slot_name = 'mine'"), "{query}");
        peer.row(&["restart_lsn"], &[Some("0/3000100")]);
        peer.ready();
        let query = main.expect_query("START_REPLICATION");
        assert!(query.ends_with("PHYSICAL 0/3000100 TIMELINE 1"), "{query}");
        main.send(b'W', &[0, 0, 0]);
    });
    assert_eq!(rewinds, [Lsn::new(START + 0x100)]);
}

/// A record that reaches over a segment's end was received in part and acknowledged; the segment in which it begins
/// is gone when we come back. Our copy of it is then the only one, and 14 lets us not ask where its slot stands.
#[test]
fn what_a_server_of_14_has_removed_is_kept() {
    let rewinds = follow_14(4, |peer, connection, main| match connection {
        2 => {
            peer.start_up();
            peer.error("28000", "no pg_hba.conf entry");
            main.answer_show("wal_segment_size", "1MB");
        }
        3 => {
            peer.welcome();
            let query = peer.expect_query("START_REPLICATION");
            assert_eq!(query, "START_REPLICATION PHYSICAL 0/3000028 TIMELINE 1");
            peer.send(b'W', &[0, 0, 0]);
            peer.error("58P01", "requested WAL segment has already been removed");
        }
        _ => {
            peer.welcome();
            let query = peer.expect_query("START_REPLICATION");
            assert_eq!(query, "START_REPLICATION PHYSICAL 0/3100000 TIMELINE 1");
            peer.send(b'W', &[0, 0, 0]);
            peer.wal(START + SEGMENT, START + SEGMENT + 9, &[7; 9]);
            let query = main.expect_query("START_REPLICATION");
            assert_eq!(
                query,
                "START_REPLICATION SLOT \"mine\" PHYSICAL 0/3100000 TIMELINE 1"
            );
            main.send(b'W', &[0, 0, 0]);
        }
    });
    assert_eq!(rewinds, [Lsn::new(START + SEGMENT)]);
}

const SEGMENT: u64 = 1 << 20;

/// Follows a server of 14 through so many connections, with 40 good bytes and a segment of others behind them.
/// The script gets each connection but the first, its number, and the first. Returns the rewinds of the sink.
fn follow_14(
    connections: usize,
    script: impl Fn(&mut Peer, usize, &mut Peer) + Send + 'static,
) -> Vec<Lsn> {
    let memory = Memory::at(Lsn::new(START));
    {
        let mut state = memory.lock();
        state.bytes = vec![7; SEGMENT as usize + 100];
        state.valid_end = Some(Lsn::new(START + 40));
    }
    let (info, server) = serve_each(connections, move |()| {
        let main = std::cell::RefCell::new(None);
        let count = std::cell::Cell::new(0);
        move |peer: &mut Peer| {
            count.set(count.get() + 1);
            if let Some(main) = &mut *main.borrow_mut() {
                return script(peer, count.get(), main);
            }
            peer.welcome();
            peer.answer_identify(SYSTEM, 1, "0/4000000");
            peer.answer_show("server_version_num", "140023");
            peer.answer_show("wal_level", "replica");
            *main.borrow_mut() = Some(peer.keep());
        }
    });
    let mut options = FollowOptions::new(info, Kind::Postgres(PgVersion::V14), SYSTEM);
    options.slot = Some("mine".parse().unwrap());
    let mut timing = Counted {
        pauses: Arc::default(),
        stop_after: 1,
    };
    let (control, status) = (Control::new(), ReceiverStatus::new());
    let mut sink = memory.sink();
    follow(
        &options,
        &mut sink,
        &control,
        &status,
        &mut timing,
        &no_log(),
    )
    .unwrap();
    server.join().unwrap();
    memory.lock().rewinds.clone()
}

/// What the server does not send again may be the only copy.
#[test]
fn nothing_is_cut_off_before_the_server_agrees_to_send_it_again() {
    let memory = Memory::at(Lsn::new(START));
    {
        let mut state = memory.lock();
        state.bytes = vec![0; 100];
        state.valid_end = Some(Lsn::new(START + 40));
    }
    let (outcome, _, _) = run(1, postgres(), &memory, |peer, _| {
        introduce(peer, 1, "0/4000000");
        peer.expect_query("START_REPLICATION");
        peer.error("58P01", "requested WAL segment has already been removed");
    });
    assert!(matches!(outcome, Err(FollowError::WalRemoved { .. })));
    let state = memory.lock();
    assert_eq!((state.rewinds.len(), state.bytes.len()), (0, 100));
}

#[test]
fn a_safekeeper_is_asked_for_wal_and_nothing_else() {
    let memory = Memory::at(Lsn::new(START));
    let (outcome, pauses, _) = run(1, Kind::Safekeeper, &memory, |peer, _| {
        peer.welcome();
        peer.answer_identify(SYSTEM, 1, "0/2000000");
        let query = peer.expect_query("START_REPLICATION");
        assert_eq!(query, "START_REPLICATION PHYSICAL 0/3000000");
        peer.send(b'W', &[0, 0, 0]);
        peer.error("00000", "ending streaming");
    });
    outcome.unwrap();
    assert_eq!(pauses, [100]);
}

#[test]
fn a_stop_ends_a_login_that_hangs() {
    let (mut info, server) = serve(|peer| {
        peer.start_up();
        peer.receive().is_none()
    });
    info.connect_timeout = None;
    let (control, status) = (Control::new(), ReceiverStatus::new());
    let stop = control.clone();
    let seen = status.clone();
    let stopper = std::thread::spawn(move || {
        while seen.snapshot().phase != Phase::Connecting {
            std::thread::yield_now();
        }
        stop.stop();
    });
    let memory = Memory::at(Lsn::new(START));
    let mut timing = walreceiver::SystemTiming::default();
    let options = FollowOptions::new(info, postgres(), SYSTEM);
    let mut sink = memory.sink();
    follow(
        &options,
        &mut sink,
        &control,
        &status,
        &mut timing,
        &no_log(),
    )
    .unwrap();
    stopper.join().unwrap();
    drop(server);
}
