//! The commands that answer with rows, and the checks before attaching.

use walreceiver::{
    AttachError, ConnectFailure, Connection, Persistence, Primary, SlotName, SqlState,
    WalReservation,
};
use walrecord::PgVersion;

use crate::support::no_log;
use crate::support::server::{Server, Setup, version};

fn slot(name: &str) -> SlotName {
    name.parse().unwrap()
}

#[test]
fn a_server_describes_itself() {
    let server = Server::start();
    let primary = Primary::check(&mut server.connect()).unwrap();
    assert_eq!(primary.version, version());
    assert_eq!(primary.segment_size, 1 << 20);
    assert_eq!(primary.identity.timeline, 1);
    assert!(!primary.in_recovery && !primary.data_checksums && !primary.wal_log_hints);
    let row = server.sql().query_one(
        "SELECT system_identifier::text FROM pg_control_system()",
        &[],
    );
    let identifier: String = row.unwrap().get(0);
    assert_eq!(primary.identity.system_identifier.to_string(), identifier);
}

#[test]
fn an_error_leaves_the_connection_usable() {
    let server = Server::start();
    let mut connection = server.connect();
    let error = connection.show("no_such_setting").unwrap_err();
    assert_eq!(error.code(), Some(SqlState::UNDEFINED_OBJECT));
    let error = connection.timeline_history(99).unwrap_err();
    assert_eq!(error.code(), Some(SqlState::UNDEFINED_FILE));
    connection.identify_system().unwrap();
}

#[test]
fn slots_are_created_read_and_dropped() {
    let server = Server::start();
    let mut connection = server.connect();
    let name = slot("1_slot");
    let can_be_read = version() >= PgVersion::V15;
    if can_be_read {
        assert_eq!(connection.read_slot(&name).unwrap(), None);
    } else {
        let error = connection.read_slot(&name).unwrap_err();
        assert!(error.server().is_some(), "{error}");
    }
    connection
        .create_physical_slot(&name, WalReservation::Now, Persistence::Persistent)
        .unwrap();
    if can_be_read {
        let position = connection.read_slot(&name).unwrap().unwrap();
        assert!(position.restart_lsn.unwrap() <= server.flush_lsn());
        assert_eq!(position.restart_timeline, Some(1));
    }
    let error = connection
        .create_physical_slot(&name, WalReservation::Now, Persistence::Persistent)
        .unwrap_err();
    assert_eq!(error.code(), Some(SqlState::DUPLICATE_OBJECT));
    connection.drop_slot(&name).unwrap();
    let error = connection.drop_slot(&name).unwrap_err();
    assert_eq!(error.code(), Some(SqlState::UNDEFINED_OBJECT));

    if !can_be_read {
        return;
    }
    assert_eq!(connection.read_slot(&name).unwrap(), None);
    let later = slot("later");
    connection
        .create_physical_slot(&later, WalReservation::OnFirstUse, Persistence::Temporary)
        .unwrap();
    let position = connection.read_slot(&later).unwrap().unwrap();
    assert_eq!(position.restart_lsn, None);
    drop(connection);
}

#[test]
fn wal_level_minimal_cannot_be_attached() {
    let server = Server::with(&Setup {
        settings: &["wal_level = minimal", "max_wal_senders = 0"],
        ..Setup::default()
    });
    // Such a server has no WAL senders at all, and says so at login.
    let error = Connection::connect(&server.conninfo(""), &no_log()).unwrap_err();
    match error.source {
        ConnectFailure::Refused(error) => assert_eq!(error.code, SqlState::TOO_MANY_CONNECTIONS),
        other => panic!("{other}"),
    }
}

#[test]
fn names_that_cannot_be_slots_are_refused_before_the_server_sees_them() {
    for bad in ["", "Upper", "a-b", "a b", "a\"b", &"x".repeat(64)] {
        assert!(bad.parse::<SlotName>().is_err(), "{bad}");
    }
    assert!("x".repeat(63).parse::<SlotName>().is_ok());
}

#[test]
fn checks_say_what_to_do() {
    let error = AttachError::WalLevel {
        found: "minimal".to_owned(),
    };
    assert!(error.to_string().contains("set wal_level = replica"));
}
