//! WAL arrives byte for byte, commits wait for our word and no longer, connections come back.

use std::fs;
use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use walreceiver::{
    Control, FollowError, FollowOptions, Peer, Persistence, ReceiverStatus, SinkError, SlotName,
    StreamEnd, StreamOptions, SystemTiming, WalReservation, follow, stream,
};
use walrecord::Lsn;

use crate::support::no_log;
use crate::support::server::{Server, Setup, version};
use crate::support::sink::{Memory, PATIENCE};

const SEGMENT: u32 = 1 << 20;

/// A receiver that runs until the test stops it.
pub(super) struct Running {
    pub(super) control: Control,
    pub(super) status: ReceiverStatus,
    thread: Option<JoinHandle<Result<(), FollowError>>>,
}

impl Drop for Running {
    /// A test that fails leaves no receiver behind.
    fn drop(&mut self) {
        self.control.stop();
    }
}

impl Running {
    pub(super) fn start(options: FollowOptions, memory: &Memory) -> Running {
        let control = Control::new();
        let status = ReceiverStatus::new();
        let (theirs, seen) = (control.clone(), status.clone());
        let mut sink = memory.sink();
        let thread = thread::spawn(move || {
            let mut timing = SystemTiming::default();
            follow(&options, &mut sink, &theirs, &seen, &mut timing, &no_log())
        });
        Running {
            control,
            status,
            thread: Some(thread),
        }
    }

    pub(super) fn stop(self) -> Result<(), FollowError> {
        self.control.stop();
        self.end()
    }

    /// Waits for the receiver to give up by itself.
    pub(super) fn end(mut self) -> Result<(), FollowError> {
        self.thread.take().unwrap().join().unwrap()
    }
}

pub(super) fn options(server: &Server, more: &str) -> FollowOptions {
    let identity = server.connect().identify_system().unwrap();
    FollowOptions::new(
        server.conninfo(more),
        Peer::Postgres(version()),
        identity.system_identifier,
    )
}

fn slot(server: &Server) -> SlotName {
    let name: SlotName = "receiver".parse().unwrap();
    server
        .connect()
        .create_physical_slot(&name, WalReservation::Now, Persistence::Persistent)
        .unwrap();
    name
}

fn write_wal(server: &Server) {
    server.execute(
        "CREATE TABLE IF NOT EXISTS t (n int, filler text);
         INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 10000) g",
    );
}

/// What the server's own files hold between two positions.
fn server_wal(server: &Server, start: Lsn, end: Lsn, timeline: u32) -> Vec<u8> {
    let mut wal = Vec::new();
    let mut at = start;
    while at < end {
        let number = at.segment_number(SEGMENT);
        let name = format!("{timeline:08X}{:08X}{:08X}", number / 4096, number % 4096);
        let bytes = fs::read(server.data().join("pg_wal").join(name)).unwrap();
        let from = at.segment_offset(SEGMENT) as usize;
        let until = bytes.len().min(from + (end - at) as usize);
        wal.extend_from_slice(&bytes[from..until]);
        at = at + (until - from) as u64;
    }
    wal
}

/// Compares what was received from `from` on (none: all) with the server's own files.
pub(super) fn assert_same_wal(server: &Server, memory: &Memory, from: Option<Lsn>, timeline: u32) {
    let state = memory.lock();
    let from = from.unwrap_or(state.start);
    let expected = server_wal(server, from, state.end(), timeline);
    assert!(state.bytes[(from - state.start) as usize..] == expected);
}

#[test]
fn megabytes_of_wal_arrive_byte_for_byte() {
    let server = Server::with(&Setup {
        settings: &["wal_keep_size = 1GB"],
        ..Setup::default()
    });
    let start = server.flush_lsn().segment_start(SEGMENT);
    let memory = Memory::at(start);
    let running = Running::start(options(&server, ""), &memory);
    for _ in 0..3 {
        write_wal(&server);
    }
    let end = server.flush_lsn();
    assert!(end - start > 5 << 20);
    memory.wait_for(end);
    assert_same_wal(&server, &memory, Some(start), 1);
    let status = running.status.snapshot();
    assert_eq!((status.connects, status.failures), (1, 0));
    running.stop().unwrap();
}

#[test]
fn streaming_begins_at_the_very_byte_asked_for() {
    let server = Server::start();
    write_wal(&server);
    let start = Lsn::new(server.flush_lsn().get() - 12_345);
    let memory = Memory::at(start);
    let (control, status) = (Control::new(), ReceiverStatus::new());
    let end = server.flush_lsn();
    let (theirs, seen) = (control.clone(), memory.clone());
    let stopper = thread::spawn(move || {
        seen.wait_for(end);
        theirs.stop();
    });
    let mut options = StreamOptions::new(start);
    options.timeline = Some(1);
    let mut connection = server.connect();
    let mut sink = memory.sink();
    let outcome = stream(&mut connection, &mut sink, &options, &control, &status);
    assert_eq!(outcome.unwrap(), StreamEnd::Stopped);
    stopper.join().unwrap();
    assert_same_wal(&server, &memory, Some(start), 1);
}

#[test]
fn a_synchronous_commit_returns_when_its_flush_is_reported_and_not_before() {
    let server = Server::start();
    write_wal(&server);
    let memory = Memory::at(server.flush_lsn());
    let running = Running::start(options(&server, "application_name=us"), &memory);
    // One synced answer makes us a candidate; then nothing is acknowledged by itself.
    memory.lock().acknowledge = false;
    server.execute("ALTER SYSTEM SET synchronous_standby_names = 'us'");
    server.execute("SELECT pg_reload_conf()");
    let (done, finished) = mpsc::channel();
    let mut session = server.sql();
    let before = memory.lock().end();
    let committer = thread::spawn(move || {
        session.batch_execute("CREATE TABLE durable ()").unwrap();
        done.send(()).unwrap();
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let mut observer = server.sql();
    loop {
        // Ends because the server gets there, or the test's own time limit strikes.
        let waiters: i64 = observer.query_one(waiting, &[]).unwrap().get(0);
        if waiters == 1 {
            break;
        }
        thread::yield_now();
    }
    assert_eq!(finished.try_recv(), Err(mpsc::TryRecvError::Empty));
    memory.wait("the commit record", |state| state.end() > before);
    while finished.try_recv().is_err() {
        memory.acknowledge(&running.control);
        thread::yield_now();
    }
    committer.join().unwrap();
    running.stop().unwrap();
}

#[test]
fn positions_that_are_not_reported_do_not_move_the_slot() {
    let server = Server::start();
    let mut follow_options = options(&server, "");
    let name = slot(&server);
    follow_options.slot = Some(name.clone());
    let before = server.slot_restart(name.as_str());
    let memory = Memory::at(before);
    memory.lock().acknowledge = false;
    let running = Running::start(follow_options, &memory);
    write_wal(&server);
    memory.wait_for(server.flush_lsn());
    running.control.wake();
    assert_eq!(server.slot_restart(name.as_str()), before);
    memory.acknowledge(&running.control);
    let end = memory.lock().end();
    while server.slot_restart(name.as_str()) < end {
        thread::yield_now();
    }
    running.stop().unwrap();
}

#[test]
fn a_restarted_server_is_found_again_and_nothing_is_lost_or_doubled() {
    let server = Server::start();
    let name = slot(&server);
    let mut follow_options = options(&server, "");
    follow_options.slot = Some(name);
    let start = server.flush_lsn().segment_start(SEGMENT);
    let memory = Memory::at(start);
    let running = Running::start(follow_options, &memory);
    for mode in ["fast", "immediate"] {
        write_wal(&server);
        memory.wait_for(server.flush_lsn());
        server.stop(mode);
        server.run_start();
    }
    write_wal(&server);
    memory.wait_for(server.flush_lsn());
    let last_segment = memory.lock().end().segment_start(SEGMENT);
    assert_same_wal(&server, &memory, Some(last_segment), 1);
    assert!(running.status.snapshot().connects >= 3);
    running.stop().unwrap();
}

#[test]
fn a_server_that_shuts_down_gets_its_last_record_acknowledged() {
    let server = Server::start();
    let memory = Memory::at(server.flush_lsn());
    let running = Running::start(options(&server, ""), &memory);
    write_wal(&server);
    // Would hang until a time-out if the shutdown checkpoint were not acknowledged.
    server.stop("fast");
    let end = memory.lock().end();
    let control = server_control_checkpoint(&server);
    assert!(
        end > control,
        "{end} does not cover the checkpoint at {control}"
    );
    running.stop().unwrap();
}

/// Where the last checkpoint record begins.
fn server_control_checkpoint(server: &Server) -> Lsn {
    let bytes = fs::read(server.data().join("global/pg_control")).unwrap();
    Lsn::new(u64::from_le_bytes(bytes[32..40].try_into().unwrap()))
}

#[test]
fn an_unverified_tail_is_asked_for_again() {
    let server = Server::start();
    let name = slot(&server);
    let mut follow_options = options(&server, "");
    follow_options.slot = Some(name.clone());
    let start = server.slot_restart(name.as_str());
    write_wal(&server);
    let memory = Memory::at(start);
    {
        // 3000 bytes of rubbish behind 40 verified bytes, as a crash might leave them.
        let mut state = memory.lock();
        state.bytes = server_wal(&server, start, start + 40, 1);
        state.valid_end = Some(start + 40);
        state.bytes.resize(3040, 0xAA);
    }
    let running = Running::start(follow_options, &memory);
    memory.wait_for(server.flush_lsn());
    assert_eq!(memory.lock().rewinds, [start + 40]);
    assert_same_wal(&server, &memory, Some(start), 1);
    running.stop().unwrap();
}

#[test]
fn a_dropped_slot_ends_the_receiver_with_its_name() {
    let server = Server::start();
    let name = slot(&server);
    let mut follow_options = options(&server, "");
    follow_options.slot = Some(name.clone());
    let memory = Memory::at(server.flush_lsn());
    let running = Running::start(follow_options, &memory);
    write_wal(&server);
    memory.wait_for(server.flush_lsn());
    server.execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots;
         DO $$ BEGIN LOOP BEGIN PERFORM pg_drop_replication_slot('receiver'); EXIT;
         EXCEPTION WHEN object_in_use THEN
             PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots;
         END; END LOOP; END $$",
    );
    match running.end().unwrap_err() {
        FollowError::SlotMissing { slot } => assert_eq!(slot, name),
        other => panic!("{other}"),
    }
}

#[test]
fn removed_wal_ends_the_receiver_with_the_position() {
    let server = Server::start();
    let start = server.flush_lsn().segment_start(SEGMENT);
    for _ in 0..2 {
        write_wal(&server);
        server.execute("SELECT pg_switch_wal(); CHECKPOINT");
    }
    let running = Running::start(options(&server, ""), &Memory::at(start));
    match running.end().unwrap_err() {
        FollowError::WalRemoved { start: at, .. } => assert_eq!(at, start),
        other => panic!("{other}"),
    }
}

#[test]
fn another_cluster_is_refused() {
    let server = Server::start();
    let mut follow_options = options(&server, "");
    follow_options.system_identifier += 1;
    let running = Running::start(follow_options, &Memory::at(server.flush_lsn()));
    assert!(matches!(
        running.end(),
        Err(FollowError::SystemIdentifier { .. })
    ));
}

#[test]
fn a_sink_that_is_broken_ends_the_receiver_and_one_that_is_full_does_not() {
    let server = Server::start();
    let memory = Memory::at(server.flush_lsn());
    memory.lock().refuse = Some(|| SinkError::Retry(io::Error::other("full").into()));
    let running = Running::start(options(&server, ""), &memory);
    write_wal(&server);
    let began = std::time::Instant::now();
    while running.status.snapshot().last_error.is_none() {
        assert!(began.elapsed() < PATIENCE);
        thread::yield_now();
    }
    memory.lock().refuse = None;
    memory.wait_for(server.flush_lsn());
    memory.lock().refuse = Some(|| SinkError::Fatal(io::Error::other("broken").into()));
    write_wal(&server);
    assert!(matches!(running.end(), Err(FollowError::Sink(_))));
}
