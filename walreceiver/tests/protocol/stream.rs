//! Streams that break the rules, end, or fall silent; and what leaves when.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use walreceiver::{
    Connection, ConnectionError, Control, NextTimeline, Positions, ProtocolError, ReceiverStatus,
    StreamEnd, StreamError, StreamOptions, stream,
};
use walrecord::Lsn;

use crate::support::fake::{Peer, serve};
use crate::support::no_log;
use crate::support::sink::Memory;

const START: u64 = 0x3000000;

fn options() -> StreamOptions {
    let mut options = StreamOptions::new(Lsn::new(START));
    options.timeline = Some(1);
    options
}

/// Streams from a server that, after letting us in, does what `script` says.
fn run(
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> (Result<StreamEnd, StreamError>, Memory) {
    let memory = Memory::at(Lsn::new(START));
    let outcome = run_with(&options(), &memory, &Control::new(), script);
    (outcome, memory)
}

fn run_with(
    options: &StreamOptions,
    memory: &Memory,
    control: &Control,
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> Result<StreamEnd, StreamError> {
    let (info, server) = serve(|peer| {
        peer.welcome();
        script(peer);
        peer.hang_up();
    });
    let mut connection = Connection::connect(&info, &no_log()).unwrap();
    let status = ReceiverStatus::new();
    let outcome = stream(
        &mut connection,
        &mut memory.sink(),
        options,
        control,
        &status,
    );
    drop(connection);
    server.join().unwrap();
    outcome
}

fn violation(script: impl FnOnce(&mut Peer) + Send + 'static) -> (ProtocolError, Memory) {
    match run(script) {
        (Err(StreamError::Connection(ConnectionError::Protocol(error))), memory) => (error, memory),
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn a_gap_is_refused_and_what_came_before_is_kept() {
    let (error, memory) = violation(|peer| {
        peer.start_copy();
        peer.wal(START, START + 300, &[1; 100]);
        // Not together with the first, which would be handed over with it.
        while peer.status().is_some_and(|(written, ..)| written == 0) {}
        peer.wal(START + 101, START + 300, &[2; 100]);
    });
    assert_eq!(
        error,
        ProtocolError::Gap {
            expected: Lsn::new(START + 100),
            found: Lsn::new(START + 101)
        }
    );
    assert_eq!(memory.lock().bytes, [1; 100]);
}

#[test]
fn wal_that_goes_back_is_refused() {
    let (error, _) = violation(|peer| {
        peer.start_copy();
        peer.wal(START - 1, START, &[1; 100]);
    });
    assert!(matches!(error, ProtocolError::Gap { .. }));
}

#[test]
fn more_wal_than_a_server_ever_sends_at_once_is_refused() {
    let (error, memory) = violation(|peer| {
        peer.start_copy();
        peer.wal(START, START, &vec![0; 131_073]);
    });
    assert!(matches!(
        error,
        ProtocolError::WalTooLong {
            length: 131_073,
            ..
        }
    ));
    assert!(memory.lock().bytes.is_empty());
}

#[test]
fn positions_at_the_end_of_the_range_do_not_overflow() {
    let mut options = options();
    options.start = Lsn::new(u64::MAX - 10);
    let memory = Memory::at(options.start);
    let outcome = run_with(&options, &memory, &Control::new(), |peer| {
        peer.start_copy();
        peer.wal(u64::MAX - 10, u64::MAX, &[0; 100]);
    });
    assert!(matches!(
        outcome,
        Err(StreamError::Connection(ConnectionError::Protocol(
            ProtocolError::BadValue { .. }
        )))
    ));
}

#[test]
fn messages_of_other_kinds_are_refused() {
    let (error, _) = violation(|peer| {
        peer.start_copy();
        peer.send(b'd', b"z");
    });
    assert!(matches!(error, ProtocolError::BadValue { .. }));
    let (error, _) = violation(|peer| {
        peer.start_copy();
        peer.send(b'D', b"\0\0");
    });
    assert!(matches!(error, ProtocolError::UnexpectedMessage { .. }));
    let (error, _) = violation(|peer| {
        peer.start_copy();
        peer.send(b'd', b"");
    });
    assert!(matches!(error, ProtocolError::Truncated { .. }));
}

#[test]
fn a_cut_inside_a_message_loses_only_that_message() {
    let (outcome, memory) = run(|peer| {
        peer.start_copy();
        peer.wal(START, START + 200, &[1; 100]);
        peer.raw(b"d\0\0\0\xffw\0\0\0");
    });
    assert!(matches!(
        outcome,
        Err(StreamError::Connection(
            ConnectionError::Closed { .. } | ConnectionError::Io { .. }
        ))
    ));
    assert_eq!(memory.lock().bytes, [1; 100]);
}

#[test]
fn messages_that_arrive_together_are_written_together() {
    let (_, memory) = run(|peer| {
        peer.expect_query("START_REPLICATION");
        let mut burst = b"W\0\0\0\x07\0\0\0".to_vec();
        for n in 0..50u64 {
            let mut body = b"w".to_vec();
            for value in [START + n * 1000, START + 50_000, 0] {
                body.extend(value.to_be_bytes());
            }
            body.extend([n as u8; 1000]);
            burst.push(b'd');
            burst.extend((body.len() as u32 + 4).to_be_bytes());
            burst.extend(body);
        }
        peer.raw(&burst);
    });
    let state = memory.lock();
    assert_eq!(state.bytes.len(), 50_000);
    assert!(
        state
            .bytes
            .chunks(1000)
            .enumerate()
            .all(|(n, c)| c == [n as u8; 1000])
    );
    assert!(state.writes < 50, "{}", state.writes);
}

#[test]
fn a_requested_reply_tells_the_truth_at_once() {
    let mut options = options();
    options.status_interval = Duration::from_secs(3600);
    let memory = Memory::at(Lsn::new(START));
    memory.lock().acknowledge = false;
    let (sender, replies) = mpsc::channel();
    let outcome = run_with(&options, &memory, &Control::new(), move |peer| {
        peer.start_copy();
        // The first reply comes unasked.
        sender.send(peer.status().unwrap()).unwrap();
        peer.wal(START, START + 100, &[1; 100]);
        peer.keepalive(START + 100, true);
        sender.send(peer.status().unwrap()).unwrap();
        peer.send(b'C', b"COPY 0\0");
    });
    assert_eq!(outcome.unwrap(), StreamEnd::ServerShutdown);
    assert_eq!(replies.recv().unwrap(), (0, 0, 0, false));
    assert_eq!(replies.recv().unwrap(), (START + 100, 0, 0, false));
}

#[test]
fn an_advance_leaves_without_being_asked_for() {
    let mut options = options();
    options.status_interval = Duration::from_secs(3600);
    let memory = Memory::at(Lsn::new(START));
    memory.lock().acknowledge = false;
    let control = Control::new();
    let (sender, replies) = mpsc::channel();
    let (theirs, seen) = (control.clone(), memory.clone());
    let flusher = thread::spawn(move || {
        seen.wait_for(Lsn::new(START + 100));
        seen.lock().positions = Positions {
            written: Lsn::new(START + 100),
            flushed: Lsn::new(START + 90),
            applied: Lsn::new(START + 80),
        };
        theirs.wake();
    });
    run_with(&options, &memory, &control, move |peer| {
        peer.start_copy();
        peer.status().unwrap();
        peer.wal(START, START + 100, &[1; 100]);
        sender.send(peer.status().unwrap()).unwrap();
        peer.send(b'C', b"COPY 0\0");
    })
    .unwrap();
    flusher.join().unwrap();
    let expected = (START + 100, START + 90, START + 80, false);
    assert_eq!(replies.recv().unwrap(), expected);
}

#[test]
fn a_silent_server_is_asked_for_a_sign_of_life_and_then_left() {
    let mut options = options();
    options.silence_timeout = Duration::from_millis(200);
    let memory = Memory::at(Lsn::new(START));
    let (sender, asked) = mpsc::channel();
    let outcome = run_with(&options, &memory, &Control::new(), move |peer| {
        peer.start_copy();
        while let Some((.., wanted)) = peer.status() {
            if wanted {
                sender.send(()).unwrap();
            }
        }
    });
    assert!(
        matches!(outcome, Err(StreamError::Silent(_))),
        "{outcome:?}"
    );
    assert_eq!(asked.iter().count(), 1);
}

#[test]
fn a_server_that_answers_is_not_silent() {
    let mut options = options();
    options.silence_timeout = Duration::from_millis(100);
    let memory = Memory::at(Lsn::new(START));
    let outcome = run_with(&options, &memory, &Control::new(), |peer| {
        peer.start_copy();
        let mut answers = 0;
        while answers < 5 {
            let (.., wanted) = peer.status().expect("the client stays");
            if wanted {
                peer.keepalive(START, false);
                answers += 1;
            }
        }
        peer.send(b'C', b"COPY 0\0");
    });
    assert_eq!(outcome.unwrap(), StreamEnd::ServerShutdown);
}

#[test]
fn a_stop_says_good_bye_with_the_last_positions() {
    let memory = Memory::at(Lsn::new(START));
    let control = Control::new();
    let (theirs, seen) = (control.clone(), memory.clone());
    let stopper = thread::spawn(move || {
        seen.wait_for(Lsn::new(START + 100));
        theirs.stop();
    });
    let (sender, last) = mpsc::channel();
    let outcome = run_with(&options(), &memory, &control, move |peer| {
        peer.start_copy();
        peer.wal(START, START + 100, &[1; 100]);
        let mut status = None;
        while let Some((tag, body)) = peer.receive() {
            match tag {
                b'd' => status = Some(body),
                b'X' => {
                    let body = status.take().unwrap();
                    sender
                        .send(u64::from_be_bytes(body[9..17].try_into().unwrap()))
                        .unwrap();
                }
                other => panic!("{other}"),
            }
        }
    });
    assert_eq!(outcome.unwrap(), StreamEnd::Stopped);
    assert_eq!(last.recv().unwrap(), START + 100);
    stopper.join().unwrap();
}

#[test]
fn a_timeline_that_ended_names_the_next_and_leaves_the_connection_usable() {
    let next = NextTimeline {
        timeline: 2,
        at: Lsn::new(START + 100),
    };
    let (outcome, memory) = run(|peer| {
        peer.start_copy();
        peer.wal(START, START + 100, &[1; 100]);
        peer.send(b'c', b"");
        while peer.receive().unwrap().0 != b'c' {}
        peer.row(
            &["next_tli", "next_tli_startpos"],
            &[Some("2"), Some("0/3000064")],
        );
        peer.send(b'C', b"START_REPLICATION\0");
        peer.ready();
    });
    assert_eq!(outcome.unwrap(), StreamEnd::TimelineEnded(next));
    assert_eq!(memory.lock().bytes.len(), 100);

    // Nothing to send at all: the row comes without a copy.
    let (outcome, _) = run(|peer| {
        peer.expect_query("START_REPLICATION");
        peer.row(
            &["next_tli", "next_tli_startpos"],
            &[Some("2"), Some("0/3000064")],
        );
        peer.send(b'C', b"START_REPLICATION\0");
        peer.ready();
    });
    assert_eq!(outcome.unwrap(), StreamEnd::TimelineEnded(next));
}

#[test]
fn a_safekeeper_with_nothing_to_send_ends_the_stream_in_peace() {
    let (outcome, memory) = run(|peer| {
        peer.start_copy();
        peer.wal(START, START + 100, &[1; 100]);
        peer.error(
            "00000",
            "ending streaming to Some(\"pageserver\") at 0/3000064",
        );
    });
    assert_eq!(outcome.unwrap(), StreamEnd::Idle);
    assert_eq!(memory.lock().bytes.len(), 100);
    let (outcome, _) = run(|peer| {
        peer.start_copy();
        peer.error("XX000", "ending streaming");
    });
    assert!(outcome.is_err());
}
