//! Bad answers during start-up, login and commands.

use std::time::Duration;

use walreceiver::{
    AuthenticationError, ConnInfo, ConnectFailure, Connection, ConnectionError, ProtocolError,
    SqlState,
};

use crate::support::fake::{Peer, serve};
use crate::support::no_log;

fn failure(script: impl FnOnce(&mut Peer) + Send + 'static) -> ConnectFailure {
    failure_with(|_| {}, script)
}

fn failure_with(
    adjust: impl FnOnce(&mut ConnInfo),
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> ConnectFailure {
    let (mut info, server) = serve(script);
    adjust(&mut info);
    let error = Connection::connect(&info, &no_log()).expect_err("the login succeeded");
    server.join().unwrap();
    error.source
}

fn protocol_error(script: impl FnOnce(&mut Peer) + Send + 'static) -> ProtocolError {
    match failure(script) {
        ConnectFailure::Connection(ConnectionError::Protocol(error)) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn the_start_up_packet_asks_for_physical_replication() {
    let (info, server) = serve(|peer| {
        let parameters = peer.start_up();
        peer.authentication(0, b"");
        peer.ready();
        parameters
    });
    Connection::connect(&info, &no_log()).unwrap();
    let parameters = server.join().unwrap();
    for expected in ["user me", "replication true", "application_name pageserver"] {
        assert!(parameters.contains(expected), "{parameters}");
    }
}

#[test]
fn methods_that_are_not_supported_are_named() {
    for (code, name) in [
        (7, "gss"),
        (9, "sspi"),
        (2, "Kerberos 5"),
        (99, "unknown (99)"),
    ] {
        let error = failure(move |peer| {
            peer.start_up();
            peer.authentication(code, b"");
        });
        match error {
            ConnectFailure::Authentication(AuthenticationError::Unsupported { method }) => {
                assert_eq!(method, name);
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn an_unknown_sasl_mechanism_is_named() {
    let error = failure_with(
        |info| info.password = Some(walreceiver::Secret::new("x".to_owned())),
        |peer| {
            peer.start_up();
            peer.authentication(10, b"OAUTHBEARER\0\0");
        },
    );
    assert!(error.to_string().contains("OAUTHBEARER"), "{error}");
}

#[test]
fn a_scram_server_that_does_not_know_the_password_is_found_out() {
    let error = failure_with(
        |info| info.password = Some(walreceiver::Secret::new("x".to_owned())),
        |peer| {
            peer.start_up();
            peer.authentication(10, b"SCRAM-SHA-256\0\0");
            let (_, first) = peer.receive().unwrap();
            let text = String::from_utf8_lossy(&first).into_owned();
            let nonce = text.split("r=").nth(1).unwrap().to_owned();
            let challenge = format!("r={nonce}server,s=c2FsdA==,i=4096");
            peer.authentication(11, challenge.as_bytes());
            peer.receive().unwrap();
            peer.authentication(12, b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
            // A client that believed this would go on from here.
            peer.authentication(0, b"");
            peer.ready();
        },
    );
    assert!(matches!(
        error,
        ConnectFailure::Authentication(AuthenticationError::Scram(_))
    ));
}

#[test]
fn a_scram_server_cannot_make_us_hash_for_ever() {
    let error = failure_with(
        |info| info.password = Some(walreceiver::Secret::new("x".to_owned())),
        |peer| {
            peer.start_up();
            peer.authentication(10, b"SCRAM-SHA-256\0\0");
            let (_, first) = peer.receive().unwrap();
            let text = String::from_utf8_lossy(&first).into_owned();
            let nonce = text.split("r=").nth(1).unwrap().to_owned();
            let challenge = format!("r={nonce}x,s=c2FsdA==,i=4000000000");
            peer.authentication(11, challenge.as_bytes());
        },
    );
    assert!(matches!(
        error,
        ConnectFailure::Authentication(AuthenticationError::Scram(_))
    ));
}

#[test]
fn lengths_out_of_range_are_refused_before_anything_is_allocated() {
    for length in [0u32, 3, 0x0100_0000, u32::MAX] {
        let error = protocol_error(move |peer| {
            peer.start_up();
            peer.raw(&[&b"R"[..], &length.to_be_bytes()].concat());
        });
        assert!(matches!(error, ProtocolError::Length { .. }), "{error}");
    }
}

#[test]
fn garbage_is_a_protocol_error() {
    let error = protocol_error(|peer| {
        peer.start_up();
        peer.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    assert!(
        matches!(
            error,
            ProtocolError::Length { .. } | ProtocolError::UnexpectedMessage { .. }
        ),
        "{error}"
    );
    let error = protocol_error(|peer| {
        peer.start_up();
        peer.send(b'R', b"\0\0");
    });
    assert!(matches!(error, ProtocolError::Truncated { .. }), "{error}");
    let error = protocol_error(|peer| {
        peer.start_up();
        peer.authentication(0, b"");
        peer.send(b'D', b"\0\0");
    });
    assert!(
        matches!(error, ProtocolError::UnexpectedMessage { .. }),
        "{error}"
    );
}

#[test]
fn a_server_that_hangs_up_is_not_waited_for() {
    let error = failure(|peer| {
        peer.start_up();
    });
    assert!(matches!(
        error,
        ConnectFailure::Connection(ConnectionError::Closed { .. } | ConnectionError::Io { .. })
    ));
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let (mut info, server) = serve(|peer| {
        peer.start_up();
        // Ends when the client goes.
        peer.receive().is_none()
    });
    info.connect_timeout = Some(Duration::from_millis(100));
    let error = Connection::connect(&info, &no_log()).unwrap_err();
    assert!(matches!(
        error.source,
        ConnectFailure::Connection(ConnectionError::TimedOut { .. })
    ));
    assert!(server.join().unwrap());
}

#[test]
fn answers_to_the_tls_request_other_than_yes_and_no_are_refused() {
    let error = failure_with(
        |info| info.tls.mode = walreceiver::SslMode::Require,
        |peer| {
            peer.ssl_request();
            peer.raw(b"E");
        },
    );
    assert!(matches!(
        error,
        ConnectFailure::Connection(ConnectionError::Protocol(ProtocolError::BadValue { .. }))
    ));
}

#[test]
fn text_smuggled_in_before_the_tls_handshake_does_not_count() {
    let error = failure_with(
        |info| info.tls.mode = walreceiver::SslMode::Require,
        |peer| {
            peer.ssl_request();
            peer.raw(b"SR\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
        },
    );
    assert!(matches!(error, ConnectFailure::TlsHandshake(_)), "{error}");
}

#[test]
fn a_refusal_keeps_code_and_words() {
    let error = failure(|peer| {
        peer.start_up();
        peer.error("57P03", "the database system is starting up");
    });
    match error {
        ConnectFailure::Refused(error) => {
            assert_eq!(error.code, SqlState::CANNOT_CONNECT_NOW);
            assert!(error.message.contains("starting up"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn results_of_another_shape_are_refused() {
    type Script = fn(&mut Peer);
    let scripts: [Script; 5] = [
        |peer| peer.row(&["a", "b"], &[Some("1"), Some("1")]),
        |peer| {
            peer.row(
                &["a", "b", "c", "d"],
                &[Some("1"), Some("1"), Some("zz"), None],
            );
        },
        |peer| peer.row(&["a", "b", "c", "d"], &[None, Some("1"), Some("0/0"), None]),
        |peer| peer.row(&["a", "b", "c", "d"], &[Some("1")]),
        |peer| peer.send(b'C', b"IDENTIFY_SYSTEM\0"),
    ];
    for script in scripts {
        let (info, server) = serve(move |peer| {
            peer.welcome();
            peer.expect_query("IDENTIFY_SYSTEM");
            script(peer);
            peer.ready();
        });
        let mut connection = Connection::connect(&info, &no_log()).unwrap();
        let error = connection.identify_system().unwrap_err();
        assert!(matches!(error, ConnectionError::Protocol(_)), "{error}");
        server.join().unwrap();
    }
}

#[test]
fn a_result_without_end_is_cut_off() {
    let (info, server) = serve(|peer| {
        peer.welcome();
        peer.expect_query("IDENTIFY_SYSTEM");
        let value = "x".repeat(500_000);
        for _ in 0..40 {
            peer.row(&["a"], &[Some(&value)]);
        }
    });
    let mut connection = Connection::connect(&info, &no_log()).unwrap();
    let error = connection.identify_system().unwrap_err();
    assert!(matches!(
        error,
        ConnectionError::Protocol(ProtocolError::ResultTooLarge { .. })
    ));
    drop(connection);
    server.join().unwrap();
}
