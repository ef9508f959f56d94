//! The Postgres protocol around the page stream, byte for byte, and clients that misbehave.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use common::{Fake, TENANT, Timelines, main_block, no_log, start};
use pageservice::client::{ClientError, PageStreamClient, ReadAt};
use pageservice::{
    Exposure, Listen, PageService, PageServiceOptions, ProtocolVersion, RequestBody, StartError,
};

/// After how long a test gives up on a server that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0\
    S\0\0\0\x19client_encoding\0UTF8\0\
    S\0\0\0\x19integer_datetimes\0on\0\
    S\0\0\0\x18server_version\x0014.1\0\
    Z\0\0\0\x05I";

const COPY_BOTH: &[u8] = b"W\0\0\0\x07\0\0\0";
const READY: &[u8] = b"Z\0\0\0\x05I";

fn startup(code: [u8; 4], parameters: &[u8]) -> Vec<u8> {
    let length = (8 + parameters.len()) as u32;
    [&length.to_be_bytes()[..], &code, parameters].concat()
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = (4 + body.len()) as u32;
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn query(text: &str) -> Vec<u8> {
    message(b'Q', format!("{text}\0").as_bytes())
}

fn page_stream() -> String {
    format!("pagestream_v2 {TENANT} main")
}

fn error(severity: &str, code: &str, text: &str) -> Vec<u8> {
    let body = format!("S{severity}\0C{code}\0M{text}\0\0");
    message(b'E', body.as_bytes())
}

/// A v2 request for a database's size, as CopyData, and its answer.
fn db_size() -> (Vec<u8>, Vec<u8>) {
    let request = [&[3][..], &[0xFF; 8], &[0; 8], &[0, 0, 0, 5]].concat();
    let answer = [&[104][..], &827_392_i64.to_be_bytes()].concat();
    (message(b'd', &request), message(b'd', &answer))
}

struct Raw(TcpStream);

impl Raw {
    fn open(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Raw(stream)
    }

    fn welcomed(address: SocketAddr) -> Raw {
        let mut raw = Raw::open(address);
        raw.send(&startup([0, 3, 0, 0], b"user\0x\0\0"));
        raw.expect(WELCOME);
        raw
    }

    fn streaming(address: SocketAddr) -> Raw {
        let mut raw = Raw::welcomed(address);
        raw.send(&query(&page_stream()));
        raw.expect(COPY_BOTH);
        raw
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    fn expect(&mut self, expected: &[u8]) {
        let mut found = vec![0; expected.len()];
        self.0.read_exact(&mut found).unwrap();
        assert_eq!(
            found.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }

    /// Everything up to the end; a reset is an end, too.
    fn rest(&mut self) -> String {
        let mut found = Vec::new();
        match self.0.read_to_end(&mut found) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
            _ => found.escape_ascii().to_string(),
        }
    }

    fn expect_end(&mut self) {
        assert_eq!(self.rest(), "");
    }
}

fn service() -> PageService {
    start(&Fake::new(), PageServiceOptions::default())
}

#[test]
fn encryption_is_declined_and_the_startup_goes_on() {
    let service = service();
    let mut raw = Raw::open(service.local_addr());
    raw.send(&startup([4, 210, 22, 48], b""));
    raw.expect(b"N");
    raw.send(&startup([4, 210, 22, 47], b""));
    raw.expect(b"N");
    raw.send(&startup([0, 3, 0, 0], b"user\0x\0application_name\0y\0\0"));
    raw.expect(WELCOME);
}

#[test]
fn a_newer_minor_version_and_unknown_extensions_are_negotiated_down() {
    let service = service();
    let mut raw = Raw::open(service.local_addr());
    raw.send(&startup([0, 3, 0, 2], b"_pq_.x\0y\0user\0x\0\0"));
    raw.expect(b"v\0\0\0\x13\0\0\0\0\0\0\0\x01_pq_.x\0");
    raw.expect(WELCOME);
}

#[test]
fn startups_that_are_none_are_refused() {
    let service = service();
    for (bytes, named) in [
        (vec![0x16, 3, 1, 0], "TLS is not supported"),
        (vec![0, 0, 0, 7, 0, 3, 0], "startup packet of 7 bytes"),
        (vec![0, 0, 0x27, 0x11], "startup packet of 10001 bytes"),
        (
            startup([0, 2, 0, 0], b"\0"),
            "protocol 2.0 is not supported",
        ),
        (startup([0, 3, 0, 0], b""), "parameters"),
        (startup([0, 3, 0, 0], b"user\0x\0"), "parameters"),
        (startup([0, 3, 0, 0], b"user\0\0"), "parameters"),
        (
            startup([4, 210, 22, 47], b"").repeat(3),
            "too many encryption requests",
        ),
    ] {
        let mut raw = Raw::open(service.local_addr());
        raw.send(&bytes);
        let rest = raw.rest();
        assert!(rest.contains("C08P01") && rest.contains(named), "{rest}");
    }
    let mut raw = Raw::open(service.local_addr());
    raw.send(&startup([4, 210, 22, 46], b"\0\0\0\x01\0\0\0\x02"));
    raw.expect_end();
}

#[test]
fn simple_queries_are_answered() {
    let service = service();
    let mut raw = Raw::welcomed(service.local_addr());
    raw.send(&query("SET client_encoding = 'UTF8'"));
    raw.expect(&[&b"C\0\0\0\x0dSELECT 1\0"[..], READY].concat());
    raw.send(&query(" ; "));
    raw.expect(&[&b"I\0\0\0\x04"[..], READY].concat());
    raw.send(&query("select 1"));
    let text =
        "unsupported command \"select\"; there are pagestream_v2, pagestream_v3 and lease lsn";
    raw.expect(&[error("ERROR", "0A000", text), READY.to_vec()].concat());
    raw.send(&query(&format!("pagestream_v3 {TENANT} other")));
    let text = format!("there is no timeline other of tenant {TENANT}");
    raw.expect(&[error("ERROR", "XX000", &text), READY.to_vec()].concat());
    raw.send(&query(&page_stream()));
    raw.expect(COPY_BOTH);
    let (request, answer) = db_size();
    raw.send(&request);
    raw.expect(&answer);
    raw.send(b"X\0\0\0\x04");
    raw.expect_end();
}

#[test]
fn the_extended_protocol_runs_commands_and_skips_to_the_sync_after_an_error() {
    let service = service();
    let mut raw = Raw::welcomed(service.local_addr());
    let parse = |text: &str| message(b'P', format!("s\0{text}\0\0\0").as_bytes());
    let bind = message(b'B', b"\0s\0\0\0\0\0\0\0");
    let execute = message(b'E', b"\0\0\0\0\0");
    let sync = message(b'S', b"");
    let describe = [message(b'D', b"Ss\0"), message(b'D', b"P\0")].concat();
    raw.send(
        &[
            &parse("set x"),
            &describe,
            &bind,
            &execute,
            &message(b'C', b"Ss\0"),
            &sync,
        ]
        .map(|m| &m[..])
        .concat(),
    );
    let described = b"t\0\0\0\x06\0\0n\0\0\0\x04n\0\0\0\x04";
    raw.expect(
        &[
            b"1\0\0\0\x04",
            &described[..],
            b"2\0\0\0\x04C\0\0\0\x0dSELECT 1\x003\0\0\0\x04",
            READY,
        ]
        .concat(),
    );

    raw.send(
        &[&parse("nonsense"), &bind, &execute, &bind, &execute, &sync]
            .map(|m| &m[..])
            .concat(),
    );
    let text =
        "unsupported command \"nonsense\"; there are pagestream_v2, pagestream_v3 and lease lsn";
    raw.expect(
        &[
            b"1\0\0\0\x042\0\0\0\x04",
            &error("ERROR", "0A000", text)[..],
            READY,
        ]
        .concat(),
    );

    // Drivers send the Sync along; it arrives in the stream and is no error there.
    let (request, answer) = db_size();
    raw.send(
        &[&parse(&page_stream()), &bind, &execute, &sync, &request]
            .map(|m| &m[..])
            .concat(),
    );
    raw.expect(&[b"1\0\0\0\x042\0\0\0\x04", COPY_BOTH, &answer].concat());
    raw.send(&message(b'c', b""));
    let text = "unexpected message 'c' in a page stream";
    raw.expect(&[&error("ERROR", "08P01", text)[..], READY].concat());
    raw.send(&query("set x"));
    raw.expect(b"C\0\0\0\x0dSELECT 1\0");
}

#[test]
fn what_is_no_request_ends_the_stream_but_not_the_connection() {
    let service = service();
    let mut raw = Raw::streaming(service.local_addr());
    let (request, answer) = db_size();
    for (bytes, text) in [
        (message(b'd', b""), "an empty page stream request"),
        (
            message(b'd', &[99; 40]),
            "page stream request with unknown tag 99",
        ),
        (
            message(b'd', &[2; 8]),
            "page stream request with tag 2 has 8 bytes instead of 34",
        ),
        (
            message(b'S', b""),
            "unexpected message 'S' in a page stream",
        ),
        (query("select 1"), "unexpected message 'Q' in a page stream"),
    ] {
        raw.send(&[&request[..], &bytes].concat());
        raw.expect(&[&answer[..], &error("ERROR", "08P01", text), READY].concat());
        raw.send(&query(&page_stream()));
        raw.expect(COPY_BOTH);
    }
}

#[test]
fn frames_of_impossible_length_end_the_connection_with_an_error() {
    let service = service();
    for opened in [Raw::welcomed, Raw::streaming] {
        for length in [0_u32, 3, 65_541, u32::MAX] {
            let mut raw = opened(service.local_addr());
            raw.send(&[&b"d"[..], &length.to_be_bytes()].concat());
            let text = format!(
                "message of type 'd' with a length of {length}, which is not from 4 to 65540"
            );
            raw.expect(&error("FATAL", "08P01", &text));
            raw.expect_end();
        }
    }
    let mut raw = Raw::welcomed(service.local_addr());
    raw.send(&message(b'y', b""));
    raw.expect(&error("FATAL", "08P01", "unexpected message 'y'"));
    raw.expect_end();
    let mut raw = Raw::welcomed(service.local_addr());
    raw.send(&message(b'Q', b"no end"));
    raw.expect(&error(
        "FATAL",
        "08P01",
        "a Query without the zero byte that ends a text",
    ));
}

#[test]
fn the_longest_message_is_taken_and_one_byte_at_a_time_is_as_good() {
    let service = service();
    let mut raw = Raw::welcomed(service.local_addr());
    let text = format!("set {}", "x".repeat(64 * 1024 - 5));
    raw.send(&query(&text));
    raw.expect(&[&b"C\0\0\0\x0dSELECT 1\0"[..], READY].concat());
    raw.0.set_nodelay(true).unwrap();
    for byte in query(&page_stream()) {
        raw.send(&[byte]);
    }
    raw.expect(COPY_BOTH);
    let (request, answer) = db_size();
    for byte in [&request[..], &request].concat() {
        raw.send(&[byte]);
    }
    raw.expect(&[&answer[..], &answer].concat());
}

/// A small generator (xorshift): the same bytes in each run.
fn garbage(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    })
    .take(len)
    .collect()
}

#[test]
fn garbage_at_any_stage_and_cuts_anywhere_leave_the_server_whole() {
    let service = service();
    let address = service.local_addr();
    for seed in 0..200 {
        for opened in [Raw::open, Raw::welcomed, Raw::streaming] {
            let mut raw = opened(address);
            let mut bytes = garbage(seed, 1 + seed as usize);
            if seed % 3 == 0 {
                // Well framed, so that it gets past the first check.
                bytes = [
                    &b"QPBDEdcf"[seed as usize % 8..][..1],
                    &(bytes.len() as u32 + 4).to_be_bytes(),
                    &bytes,
                ]
                .concat();
            }
            // The server may have closed already; that is its right.
            let _ = raw.0.write_all(&bytes);
            let _ = raw.0.shutdown(Shutdown::Write);
            raw.rest();
        }
    }
    let whole = [
        startup([0, 3, 0, 0], b"user\0x\0\0"),
        query(&page_stream()),
        db_size().0,
    ]
    .concat();
    for cut in 0..whole.len() {
        let mut raw = Raw::open(address);
        raw.send(&whole[..cut]);
        raw.0.shutdown(Shutdown::Write).unwrap();
        raw.rest();
    }
    // Each thread gave its place back, and there is room for one more.
    drop(Raw::streaming(address));
    while service.stats().connections_open > 0 {
        std::thread::yield_now();
    }
    assert_eq!(service.stats().connections_panicked, 0);
}

#[test]
fn connections_beyond_the_bound_are_turned_away_and_room_is_reused() {
    let options = PageServiceOptions {
        max_connections: 2,
        ..PageServiceOptions::default()
    };
    let service = start(&Fake::new(), options);
    let address = service.local_addr();
    let first = Raw::streaming(address);
    let _second = Raw::welcomed(address);
    for _ in 0..40 {
        let mut third = Raw::open(address);
        // What libpq sends before it reads must not cost it the reason.
        let _ = third.0.write_all(&startup([4, 210, 22, 47], b""));
        third.expect(&error("FATAL", "53300", "too many connections"));
        third.expect_end();
    }
    assert_eq!(service.stats().connections_refused, 40);
    drop(first);
    while service.stats().connections_open > 1 {
        std::thread::yield_now();
    }
    // The place is given back right after the count: ask until it is there.
    loop {
        let version = ProtocolVersion::V2;
        match PageStreamClient::connect(address, version, TENANT, "main") {
            Ok(_) => break,
            Err(ClientError::Server { code, .. }) => assert_eq!(code, "53300"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn clients_that_say_nothing_or_read_nothing_are_dropped() {
    let options = PageServiceOptions {
        idle_timeout: Duration::from_millis(50),
        write_timeout: Duration::from_millis(50),
        startup_timeout: Duration::from_millis(50),
        ..PageServiceOptions::default()
    };
    let service = start(&Fake::new(), options);
    let address = service.local_addr();
    Raw::open(address).expect_end();
    Raw::welcomed(address).expect_end();
    Raw::streaming(address).expect_end();

    // Asks for pages for ever and reads none: the server stops when the sockets are full.
    let version = ProtocolVersion::V3;
    let mut client = PageStreamClient::connect(address, version, TENANT, "main").unwrap();
    let asked = loop {
        for _ in 0..100 {
            client.send(ReadAt::LATEST, RequestBody::GetPage(main_block(1)));
        }
        if client.flush().is_err() {
            break client.pending();
        }
    };
    assert!(asked > 100);
    while service.stats().connections_open > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn other_addresses_than_loopback_are_refused_unless_allowed() {
    let begin = |address: &str, exposure| {
        let listen = Listen {
            address: address.parse().unwrap(),
            exposure,
        };
        let source = Arc::new(Timelines(Fake::new()));
        PageService::start(listen, source, PageServiceOptions::default(), &no_log())
    };
    for address in ["0.0.0.0:0", "[::]:0", "[::ffff:10.0.0.1]:0", "192.0.2.1:0"] {
        let refused = begin(address, Exposure::Loopback).err();
        assert!(
            matches!(refused, Some(StartError::NotLoopback(_))),
            "{address}"
        );
    }
    let service = begin("0.0.0.0:0", Exposure::AnyoneUnauthenticated).unwrap();
    Raw::welcomed(SocketAddr::from((
        [127, 0, 0, 1],
        service.local_addr().port(),
    )));
    service.stop();
    let _ = begin("127.0.0.1:0", Exposure::Loopback).unwrap();
}

/// As the field's computes ask: a row with milliseconds since 1970, null for an LSN that cannot be held.
#[test]
fn an_lsn_is_held_by_a_command_of_either_protocol() {
    let service = service();
    let address = service.local_addr();
    let mut raw = Raw::welcomed(address);
    let row = b"T\0\0\0\x24\0\x01valid_until\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
    let done = b"C\0\0\0\x0dSELECT 1\0";
    raw.send(&query(&format!("lease lsn {TENANT} main 0/80")));
    let until = b"D\0\0\0\x17\0\x01\0\0\0\x0d1795356180123";
    raw.expect(&[row, &until[..], done, READY].concat());
    raw.send(&query(&format!("lease lsn {TENANT} main 0/88")));
    let null = b"D\0\0\0\x0a\0\x01\xff\xff\xff\xff";
    raw.expect(&[row, &null[..], done, READY].concat());
    let other = format!("lease lsn {TENANT} other 0/80");
    raw.send(&query(&other));
    let text = format!("there is no timeline other of tenant {TENANT}");
    raw.expect(&[error("ERROR", "XX000", &text), READY.to_vec()].concat());

    let config = format!("host={} port={} user=x", address.ip(), address.port());
    let mut client = postgres::Client::connect(&config, postgres::NoTls).unwrap();
    let command = format!("lease lsn {TENANT} main 0/80");
    let held = client.query_one(&command, &[]).unwrap();
    assert_eq!(held.get::<_, &str>("valid_until"), "1795356180123");
    let found = client.simple_query(&command).unwrap();
    let values = found.iter().filter_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => row.get("valid_until"),
        _ => None,
    });
    assert_eq!(values.collect::<Vec<_>>(), ["1795356180123"]);
}

#[test]
fn the_rust_driver_connects_and_runs_commands() {
    let service = service();
    let address = service.local_addr();
    let config = format!("host={} port={} user=x", address.ip(), address.port());
    let mut client = postgres::Client::connect(&config, postgres::NoTls).unwrap();
    client.batch_execute("SET x = 1").unwrap();
    let error = client.batch_execute("select 1").unwrap_err();
    let error = error.as_db_error().unwrap();
    assert!(error.message().contains("unsupported command"));
    assert!(
        client.copy_out(&page_stream()).is_err(),
        "it is no COPY OUT"
    );
}
