//! Every way to log in that this client supports, and what it says where it cannot.

use walreceiver::{
    AuthenticationError, ConnInfo, ConnectError, ConnectFailure, Connection, SqlState,
};

use crate::support::no_log;
use crate::support::server::{Server, Setup, version};

const ROLES: &str = "
    SET password_encryption = 'scram-sha-256';
    CREATE ROLE scram_user LOGIN REPLICATION PASSWORD 'tiger';
    CREATE ROLE clear_user LOGIN REPLICATION PASSWORD 'tiger';
    SET password_encryption = 'md5';
    CREATE ROLE md5_user LOGIN REPLICATION PASSWORD 'tiger';
    CREATE ROLE plain_user LOGIN;
    CREATE ROLE peer_user LOGIN REPLICATION;
";

fn server() -> Server {
    let server = Server::with(&Setup {
        hba: &[
            "local all postgres trust",
            "local replication peer_user ident",
            "host replication postgres,plain_user 127.0.0.1/32 trust",
            "host replication scram_user 127.0.0.1/32 scram-sha-256",
            "host replication md5_user 127.0.0.1/32 md5",
            "host replication clear_user 127.0.0.1/32 password",
            "local replication scram_user scram-sha-256",
        ],
        ..Setup::default()
    });
    server.execute(ROLES);
    server
}

fn connect(info: &ConnInfo) -> Result<Connection, ConnectError> {
    Connection::connect(info, &no_log())
}

fn failure(info: &ConnInfo) -> ConnectFailure {
    match connect(info) {
        Err(error) => error.source,
        Ok(_) => panic!("login succeeded"),
    }
}

#[test]
fn every_supported_method_lets_the_right_password_in_and_no_other() {
    let server = server();
    connect(&server.conninfo("")).unwrap();
    for user in ["scram_user", "md5_user", "clear_user"] {
        let right = server.conninfo(&format!("user={user} password=tiger"));
        let mut connection = connect(&right).unwrap();
        connection.identify_system().unwrap();
        assert!(
            connection
                .parameter("server_version")
                .unwrap()
                .starts_with(&format!("{}.", version()))
        );

        let wrong = server.conninfo(&format!("user={user} password=lion"));
        match failure(&wrong) {
            ConnectFailure::Refused(error) => assert_eq!(error.code, SqlState::INVALID_PASSWORD),
            other => panic!("{other}"),
        }
        let none = server.conninfo(&format!("user={user}"));
        assert!(matches!(
            failure(&none),
            ConnectFailure::Authentication(AuthenticationError::NoPassword)
        ));
    }
}

#[test]
fn unix_sockets_work_with_and_without_password() {
    let server = server();
    let info = server.socket_conninfo("user=scram_user password=tiger sslmode=require");
    connect(&info).unwrap().identify_system().unwrap();
    let error = connect(&server.socket_conninfo("port=1")).unwrap_err();
    assert!(matches!(error.source, ConnectFailure::Reach(_)));
    assert!(error.to_string().contains(".s.PGSQL.1"), "{error}");
}

#[test]
fn the_password_file_is_asked_for_the_replication_database() {
    let server = server();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pgpass");
    let line = format!("127.0.0.1:{}:replication:scram_user:tiger\n", server.port);
    std::fs::write(&path, line).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let info = server.conninfo(&format!("user=scram_user passfile={}", path.display()));
    connect(&info).unwrap();
}

#[test]
fn a_role_without_replication_is_refused_in_the_servers_words() {
    let server = server();
    match failure(&server.conninfo("user=plain_user")) {
        ConnectFailure::Refused(error) => {
            assert_eq!(error.code, SqlState::INSUFFICIENT_PRIVILEGE);
        }
        other => panic!("{other}"),
    }
    match failure(&server.conninfo("user=nobody")) {
        ConnectFailure::Refused(error) => assert_eq!(error.code, SqlState::INVALID_AUTHORIZATION),
        other => panic!("{other}"),
    }
}

#[test]
fn the_next_host_is_tried_if_nobody_answers_at_the_first() {
    let server = server();
    let text = format!("host=127.0.0.1,127.0.0.1 port=1,{}", server.port);
    connect(&server.conninfo(&text)).unwrap();
}

#[test]
fn the_session_carries_name_and_options() {
    let server = server();
    let info = server.conninfo("application_name=tester options='-c work_mem=1234kB'");
    let mut connection = connect(&info).unwrap();
    assert_eq!(connection.show("work_mem").unwrap(), "1234kB");
    assert_eq!(connection.show("application_name").unwrap(), "tester");
    let mut default = connect(&server.conninfo("")).unwrap();
    assert_eq!(default.show("application_name").unwrap(), "pageserver");
}
