//! Postgres timelines: a standby is promoted, and we follow where that is possible.

use walreceiver::FollowError;
use walrecord::Lsn;

use super::streaming::{Running, assert_same_wal, options};
use crate::support::server::Server;
use crate::support::sink::Memory;

#[test]
fn a_promoted_standby_is_followed_onto_its_new_timeline() {
    let primary = Server::start();
    let standby = Server::standby_of(&primary);
    primary.execute("CREATE TABLE t AS SELECT generate_series(1, 1000)");
    let shared = primary.flush_lsn();
    let start = shared.segment_start(1 << 20);
    let memory = Memory::at(start);
    let running = Running::start(options(&standby, ""), &memory);
    memory.wait_for(shared);
    primary.stop("immediate");
    standby.promote();
    standby.execute("CREATE TABLE after AS SELECT generate_series(1, 1000)");
    memory.wait_for(standby.flush_lsn());
    let (timeline, at) = memory.lock().switches[0];
    assert_eq!(timeline, 2);
    assert!(at >= shared);
    assert_same_wal(&standby, &memory, Some(at), 2);
    assert!(memory.lock().history.is_some());

    // Reconnecting compares the histories of timeline 2, which are the same.
    standby.stop("fast");
    standby.run_start();
    standby.execute("CREATE TABLE again ()");
    memory.wait_for(standby.flush_lsn());
    assert_eq!(memory.lock().switches.len(), 1);
    running.stop().unwrap();
}

#[test]
fn a_receiver_that_was_away_catches_up_across_the_switch() {
    let primary = Server::start();
    let standby = Server::standby_of(&primary);
    let start = primary.flush_lsn();
    primary.execute("CREATE TABLE t AS SELECT generate_series(1, 1000)");
    let shared = primary.flush_lsn();
    let memory = Memory::at(start);
    // The standby has everything before its primary goes.
    primary.stop("fast");
    standby.promote();
    standby.execute("CREATE TABLE after ()");
    let running = Running::start(options(&standby, ""), &memory);
    memory.wait_for(standby.flush_lsn());
    let (timeline, at) = memory.lock().switches[0];
    assert_eq!(timeline, 2);
    assert!(at >= shared);
    running.stop().unwrap();
}

#[test]
fn wal_that_a_failover_lost_ends_the_receiver() {
    let primary = Server::start();
    let standby = Server::standby_of(&primary);
    let end = primary.flush_lsn();
    primary.stop("immediate");
    standby.promote();
    // We hold a megabyte of the old timeline that the standby never had.
    let memory = Memory::at(end + (1 << 20));
    let running = Running::start(options(&standby, ""), &memory);
    match running.end().unwrap_err() {
        FollowError::Forked {
            timeline,
            fork,
            end: ours,
        } => {
            assert_eq!(timeline, 1);
            assert!(fork < ours);
            assert_eq!(ours, Lsn::new(end.get() + (1 << 20)));
        }
        other => panic!("{other}"),
    }
}

/// Two standbys were promoted, and we went with the other.
#[test]
fn another_history_of_the_same_timeline_number_forks_where_the_first_left() {
    let primary = Server::start();
    let standby = Server::standby_of(&primary);
    primary.stop("fast");
    standby.promote();
    let memory = Memory::at(standby.flush_lsn());
    {
        let mut state = memory.lock();
        state.timeline = 2;
        state.history = Some(b"1\t0/100028\tno recovery target specified\n".to_vec());
    }
    let running = Running::start(options(&standby, ""), &memory);
    match running.end().unwrap_err() {
        FollowError::Forked { timeline, fork, .. } => {
            assert_eq!((timeline, fork), (1, Lsn::new(0x10_0028)));
        }
        other => panic!("{other}"),
    }
}
