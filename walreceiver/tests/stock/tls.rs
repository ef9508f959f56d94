//! `sslmode` and client certificates against certificates made on the spot.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use walreceiver::{ConnectError, ConnectFailure, Connection, SqlState, TlsSettingsError};

use super::streaming::{Running, assert_same_wal, options};
use crate::support::no_log;
use crate::support::server::{Server, Setup, tool};
use crate::support::sink::Memory;

/// A certificate authority, and what it signed.
struct Certificates(TempDir);

impl Certificates {
    fn make() -> Certificates {
        let certificates = Certificates(tempfile::tempdir().unwrap());
        let base = certificates.0.path().to_owned();
        let path = |name: &str| base.join(name).display().to_string();
        tool(
            "openssl",
            [
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=root",
                "-keyout",
                &path("root.key"),
                "-out",
                &path("root.crt"),
            ],
        );
        certificates.sign("server", "/CN=server", "subjectAltName=DNS:localhost");
        certificates.sign("client", "/CN=cert_user", "subjectAltName=DNS:client");
        certificates
    }

    fn sign(&self, name: &str, subject: &str, extension: &str) {
        let path = |suffix: &str| self.path(&format!("{name}{suffix}"));
        tool(
            "openssl",
            [
                "req",
                "-new",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                subject,
                "-keyout",
                &path(".key"),
                "-out",
                &path(".csr"),
            ],
        );
        fs::write(path(".ext"), extension).unwrap();
        tool(
            "openssl",
            [
                "x509",
                "-req",
                "-days",
                "2",
                "-in",
                &path(".csr"),
                "-CA",
                &self.path("root.crt"),
                "-CAkey",
                &self.path("root.key"),
                "-CAcreateserial",
                "-extfile",
                &path(".ext"),
                "-out",
                &path(".crt"),
            ],
        );
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(Path::new(&self.path(name))).unwrap()
    }
}

const HBA: &[&str] = &[
    "local all postgres trust",
    "hostssl replication postgres 127.0.0.1/32 trust",
    "hostnossl replication plain_only 127.0.0.1/32 trust",
    "hostssl replication scram_user 127.0.0.1/32 scram-sha-256",
    "hostssl replication cert_user 127.0.0.1/32 cert",
];

fn server(certificates: &Certificates) -> Server {
    let server = Server::with(&Setup {
        settings: &["ssl = on", "ssl_ca_file = 'root.crt'"],
        hba: HBA,
        files: &[
            ("server.crt", &certificates.read("server.crt")),
            ("server.key", &certificates.read("server.key")),
            ("root.crt", &certificates.read("root.crt")),
        ],
    });
    server.execute(
        "CREATE ROLE plain_only LOGIN REPLICATION; CREATE ROLE cert_user LOGIN REPLICATION;
         CREATE ROLE scram_user LOGIN REPLICATION PASSWORD 'tiger'",
    );
    server
}

fn connect(server: &Server, more: &str) -> Result<Connection, ConnectError> {
    Connection::connect(&server.conninfo(more), &no_log())
}

fn failure(server: &Server, more: &str) -> ConnectFailure {
    match connect(server, more) {
        Err(error) => error.source,
        Ok(_) => panic!("{more} succeeded"),
    }
}

#[test]
fn verification_is_as_strict_as_sslmode_says() {
    let certificates = Certificates::make();
    let server = server(&certificates);
    let root = certificates.path("root.crt");
    let stranger = Certificates::make();
    let other_root = stranger.path("root.crt");

    // The certificate names localhost, and the address only reaches it.
    let full = format!("sslmode=verify-full sslrootcert={root}");
    let mut connection = connect(
        &server,
        &format!("{full} host=localhost hostaddr=127.0.0.1"),
    );
    connection.as_mut().unwrap().identify_system().unwrap();
    assert!(matches!(
        failure(&server, &full),
        ConnectFailure::TlsHandshake(_)
    ));
    connect(&server, &format!("sslmode=verify-ca sslrootcert={root}")).unwrap();
    connect(&server, "sslmode=require").unwrap();

    // A signature of somebody else; `require` checks it too once it is given roots.
    for mode in ["verify-full", "verify-ca", "require"] {
        let text =
            format!("sslmode={mode} sslrootcert={other_root} host=localhost hostaddr=127.0.0.1");
        assert!(
            matches!(failure(&server, &text), ConnectFailure::TlsHandshake(_)),
            "{mode}"
        );
    }
    assert!(matches!(
        failure(&server, "sslmode=verify-ca"),
        ConnectFailure::TlsSettings(TlsSettingsError::NoRootCertificates { .. })
    ));
    assert!(matches!(
        failure(&server, "sslmode=verify-ca sslrootcert=/nowhere"),
        ConnectFailure::TlsSettings(TlsSettingsError::File { .. })
    ));
}

#[test]
fn a_self_signed_certificate_can_be_its_own_root() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    tool(
        "openssl",
        [
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            &path("key"),
            "-out",
            &path("crt"),
        ],
    );
    let (certificate, key) = (
        fs::read(path("crt")).unwrap(),
        fs::read(path("key")).unwrap(),
    );
    let server = Server::with(&Setup {
        settings: &["ssl = on"],
        hba: HBA,
        files: &[("server.crt", &certificate), ("server.key", &key)],
    });
    let text = format!("sslmode=verify-full sslrootcert={}", path("crt"));
    connect(
        &server,
        &format!("{text} host=localhost hostaddr=127.0.0.1"),
    )
    .unwrap();
    assert!(matches!(
        failure(&server, &text),
        ConnectFailure::TlsHandshake(_)
    ));
}

#[test]
fn prefer_and_allow_find_the_kind_of_channel_that_is_let_in() {
    let certificates = Certificates::make();
    let server = server(&certificates);
    for mode in ["prefer", "allow"] {
        for user in ["plain_only", "postgres"] {
            connect(&server, &format!("sslmode={mode} user={user}")).unwrap();
        }
    }
    connect(&server, "sslmode=disable user=plain_only").unwrap();
    connect(&server, "sslmode=require").unwrap();
    for text in ["sslmode=disable", "sslmode=require user=plain_only"] {
        match failure(&server, text) {
            ConnectFailure::Refused(error) => {
                assert_eq!(error.code, SqlState::INVALID_AUTHORIZATION);
            }
            other => panic!("{text}: {other}"),
        }
    }
}

#[test]
fn a_server_without_tls_is_used_by_prefer_and_refused_by_require() {
    let server = Server::start();
    connect(&server, "sslmode=prefer").unwrap();
    assert!(matches!(
        failure(&server, "sslmode=require"),
        ConnectFailure::TlsRefused
    ));
}

#[test]
fn scram_is_bound_to_the_session_where_both_sides_can() {
    let certificates = Certificates::make();
    let server = server(&certificates);
    let login = "user=scram_user password=tiger sslmode=require";
    for binding in ["require", "prefer", "disable"] {
        connect(&server, &format!("{login} channel_binding={binding}")).unwrap();
    }
    assert!(matches!(
        failure(&server, "sslmode=require channel_binding=require"),
        ConnectFailure::Authentication(_)
    ));
}

#[test]
fn a_client_certificate_logs_in_and_its_key_must_be_private() {
    let certificates = Certificates::make();
    let server = server(&certificates);
    let (certificate, key) = (
        certificates.path("client.crt"),
        certificates.path("client.key"),
    );
    let text = format!("user=cert_user sslmode=require sslcert={certificate} sslkey={key}");
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    connect(&server, &text).unwrap().identify_system().unwrap();
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert!(matches!(
        failure(&server, &text),
        ConnectFailure::TlsSettings(TlsSettingsError::KeyPermissions { .. })
    ));
    assert!(matches!(
        failure(&server, "user=cert_user sslmode=require"),
        ConnectFailure::Refused(_)
    ));
}

#[test]
fn wal_and_replies_pass_each_other_in_one_encrypted_session() {
    let certificates = Certificates::make();
    let server = server(&certificates);
    let memory = Memory::at(server.flush_lsn());
    let running = Running::start(options(&server, "sslmode=require"), &memory);
    server.execute("CREATE TABLE t (n int, filler text)");
    for _ in 0..20 {
        server.execute("INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 1000) g");
    }
    memory.wait_for(server.flush_lsn());
    assert_same_wal(&server, &memory, None, 1);
    assert_eq!(running.status.snapshot().failures, 0);
    // The reply that a shutdown waits for is encrypted too.
    server.stop("fast");
    running.stop().unwrap();
}
