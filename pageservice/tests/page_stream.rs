//! The page stream from a client's point of view: what is answered, in which order, at which LSN.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{
    BLOCKS, CORRUPT, FROM_THE_FUTURE, Fake, LAST, LEASED, LEFT_OUT, OLDEST, PANIC, REL,
    SHUTTING_DOWN, TENANT, main_block, page_of, start,
};
use pageservice::client::{ClientError, PageStreamClient, ReadAt};
use pageservice::walrecord::{BlockTag, ForkNumber, Lsn, RelFileLocator, SlruKind, ZERO_PAGE};
use pageservice::{
    MAX_BATCH, PageService, PageServiceOptions, ProtocolVersion, RequestBody, Response,
};

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V2, ProtocolVersion::V3];

fn connect(service: &PageService, version: ProtocolVersion) -> PageStreamClient {
    let client = PageStreamClient::connect(service.local_addr(), version, TENANT, "main").unwrap();
    // After so long a test gives up on a server that hangs.
    let patience = Duration::from_secs(20);
    client.set_timeout(Some(patience)).unwrap();
    client
}

/// A service over a fresh fake, and a client of version 3.
fn setup(options: PageServiceOptions) -> (Arc<Fake>, PageService, PageStreamClient) {
    let fake = Fake::new();
    let service = start(&fake, options);
    let client = connect(&service, ProtocolVersion::V3);
    (fake, service, client)
}

fn text_of(result: Result<Response<'_>, ClientError>) -> String {
    match result {
        Err(ClientError::Request(text)) => text,
        other => panic!("not an error in the stream: {other:?}"),
    }
}

fn read(request_lsn: Lsn, not_modified_since: Lsn) -> ReadAt {
    ReadAt {
        request_lsn,
        not_modified_since,
    }
}

#[test]
fn every_request_is_answered_in_both_versions() {
    let service = start(&Fake::new(), PageServiceOptions::default());
    for version in VERSIONS {
        let mut client = connect(&service, version);
        let at = ReadAt::LATEST;
        let page = page_of(main_block(3), LAST);
        let pages = [[1; 8192], [2; 8192]].concat();
        let clog = SlruKind::Clog;
        for (body, response) in [
            (
                RequestBody::Exists(REL, ForkNumber::Main),
                Response::Exists(true),
            ),
            (
                RequestBody::Exists(REL, ForkNumber::Fsm),
                Response::Exists(false),
            ),
            (
                RequestBody::Nblocks(REL, ForkNumber::Main),
                Response::Nblocks(BLOCKS),
            ),
            (
                RequestBody::Nblocks(REL, ForkNumber::Vm),
                Response::Nblocks(1),
            ),
            (
                RequestBody::Nblocks(REL, ForkNumber::Fsm),
                Response::Nblocks(0),
            ),
            (RequestBody::GetPage(main_block(3)), Response::Page(&page)),
            (RequestBody::DbSize(5), Response::DbSize(827_392)),
            (
                RequestBody::SlruSegment(clog, 0),
                Response::SlruSegment(&pages),
            ),
        ] {
            assert_eq!(
                client.ask(at, body).unwrap(),
                response,
                "{version:?} {body:?}"
            );
        }
    }
    let stats = service.stats();
    assert_eq!(stats.requests, [4, 6, 2, 2, 2]);
    assert_eq!((stats.errors, stats.getpage_latency.count()), (0, 2));
}

#[test]
fn a_block_past_the_end_and_one_of_a_missing_map_are_zero_pages() {
    let (_, _service, mut client) = setup(PageServiceOptions::default());
    for (fork, block) in [
        (ForkNumber::Main, BLOCKS),
        (ForkNumber::Vm, 1),
        (ForkNumber::Fsm, 0),
    ] {
        let tag = BlockTag {
            rel: REL,
            fork,
            block,
        };
        assert!(
            client.page(ReadAt::LATEST, tag).unwrap() == &ZERO_PAGE,
            "{tag}"
        );
    }
}

#[test]
fn what_cannot_be_answered_is_an_error_in_the_stream_and_the_stream_goes_on() {
    let (_, service, mut client) = setup(PageServiceOptions::default());
    let none = RelFileLocator { rel: 0, ..REL };
    let other = RelFileLocator { rel: 7, ..REL };
    let main = ForkNumber::Main;
    let block_of = |rel| BlockTag {
        rel,
        fork: main,
        block: 0,
    };
    let cases = [
        (
            RequestBody::Exists(none, main),
            "Bad request: relation number 0",
        ),
        (
            RequestBody::GetPage(block_of(none)),
            "Bad request: relation number 0",
        ),
        (
            RequestBody::Nblocks(other, main),
            "Not found: relation 1663/5/7 (main)",
        ),
        (
            RequestBody::GetPage(block_of(other)),
            "Not found: 1663/5/7.main:0: no such fork",
        ),
        (
            RequestBody::GetPage(main_block(CORRUPT)),
            "Read error: 1663/5/16384.main:66: the layer",
        ),
        (
            RequestBody::GetPage(main_block(FROM_THE_FUTURE)),
            "carries LSN 0/1008, which is later",
        ),
        (
            RequestBody::GetPage(main_block(LEFT_OUT)),
            "Read error: the source left out",
        ),
        (RequestBody::DbSize(6), "Not found: no database 6"),
        (
            RequestBody::SlruSegment(SlruKind::Clog, 0x2A),
            "Not found: segment 002A of pg_xact",
        ),
        (
            RequestBody::SlruSegment(SlruKind::Clog, 1),
            "Read error: SLRU segment of 270336 bytes",
        ),
    ];
    for (body, expected) in cases {
        let text = text_of(client.ask(ReadAt::LATEST, body));
        assert!(text.contains(expected), "{body:?}: {text}");
    }
    assert_eq!(service.stats().errors, cases.len() as u64);
    assert!(client.page(ReadAt::LATEST, main_block(1)).is_ok());
}

#[test]
fn the_read_is_at_the_newest_lsn_that_the_request_allows() {
    let (_, _service, mut client) = setup(PageServiceOptions::default());
    for (at, read_at) in [
        (read(Lsn::MAX, Lsn::INVALID), LAST),
        (read(Lsn::MAX, LAST), LAST),
        (read(LAST, Lsn::new(0x200)), LAST),
        (read(Lsn::new(0x300), Lsn::new(0x200)), Lsn::new(0x300)),
        // What has not changed since is served at once, though its LSN has not arrived.
        (read(Lsn::new(0x9000), LAST), LAST),
        (read(OLDEST, Lsn::INVALID), OLDEST),
        (read(LEASED, Lsn::INVALID), LEASED),
    ] {
        let page = client.page(at, main_block(5)).unwrap();
        assert!(page == &page_of(main_block(5), read_at), "{at:?}");
    }
}

#[test]
fn requests_that_contradict_themselves_or_lie_below_the_window_are_bad_requests() {
    let (_, _service, mut client) = setup(PageServiceOptions::default());
    for (at, named) in [
        (read(Lsn::INVALID, Lsn::INVALID), "request_lsn is 0/0"),
        (
            read(Lsn::new(0x200), Lsn::new(0x201)),
            "request_lsn 0/200 is below not_modified_since 0/201",
        ),
        (
            read(Lsn::new(0xFF), Lsn::INVALID),
            "at 0/FF, below the oldest readable LSN 0/100",
        ),
    ] {
        let text = text_of(client.ask(at, RequestBody::GetPage(main_block(0))));
        assert!(
            text.starts_with("Bad request: ") && text.contains(named),
            "{text}"
        );
        let text = text_of(client.ask(at, RequestBody::DbSize(5)));
        assert!(
            text.starts_with("Bad request: ") && text.contains(named),
            "{text}"
        );
    }
}

#[test]
fn nothing_is_read_before_the_window_begins() {
    let (fake, _service, mut client) = setup(PageServiceOptions::default());
    fake.advance(Lsn::new(0xF0));
    for at in [ReadAt::LATEST, read(Lsn::MAX, Lsn::new(0xF8))] {
        let text = text_of(client.ask(at, RequestBody::GetPage(main_block(0))));
        let expected = "Bad request: nothing is readable yet: the last record is at 0/F0";
        assert!(text.contains(expected), "{text}");
    }
    assert!(fake.calls.lock().unwrap().is_empty());
}

#[test]
fn a_request_waits_for_its_lsn_and_those_before_it_do_not_wait_with_it() {
    let (fake, service, mut client) = setup(PageServiceOptions::default());
    let target = Lsn::new(0x2000);
    client.send(ReadAt::LATEST, RequestBody::GetPage(main_block(1)));
    client.send(read(Lsn::MAX, target), RequestBody::GetPage(main_block(2)));
    client.send(ReadAt::LATEST, RequestBody::GetPage(main_block(3)));
    client.flush().unwrap();
    let first = page_of(main_block(1), LAST);
    assert!(client.receive().unwrap() == Response::Page(&first));
    fake.advance(Lsn::new(0x3000));
    let second = page_of(main_block(2), target);
    assert!(client.receive().unwrap() == Response::Page(&second));
    // The window is looked at again after a wait.
    let third = page_of(main_block(3), Lsn::new(0x3000));
    assert!(client.receive().unwrap() == Response::Page(&third));
    assert_eq!(service.stats().waits, 1);
}

#[test]
fn a_wait_that_takes_too_long_says_for_what_and_what_there_is() {
    let (fake, _service, mut client) = setup(PageServiceOptions {
        wait_lsn_timeout: Duration::from_millis(20),
        ..PageServiceOptions::default()
    });
    let at = ReadAt::exactly(Lsn::new(0x2000));
    for body in [RequestBody::GetPage(main_block(0)), RequestBody::DbSize(5)] {
        assert_eq!(
            text_of(client.ask(at, body)),
            "LSN timeout: 0/2000 did not arrive within 20ms; the last record is at 0/1000; \
             streaming from the fake, caught up"
        );
    }
    assert!(fake.calls.lock().unwrap().is_empty());
    assert!(client.page(ReadAt::LATEST, main_block(0)).is_ok());
}

#[test]
fn what_is_pipelined_is_folded_into_batches_and_answered_in_order() {
    let (fake, service, mut client) = setup(PageServiceOptions::default());
    // The first request is held in the source; what arrives meanwhile waits in the socket.
    let gate = fake.gate.lock().unwrap();
    client.send(ReadAt::LATEST, RequestBody::GetPage(main_block(0)));
    client.flush().unwrap();
    while fake.calls.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    let count = 2 * MAX_BATCH as u32;
    for block in 1..=count {
        let lsn = Lsn::new(if block > 40 { 0x300 } else { 0x200 });
        client.send(ReadAt::up_to(lsn), RequestBody::GetPage(main_block(block)));
    }
    client.send(ReadAt::LATEST, RequestBody::Nblocks(REL, ForkNumber::Main));
    client.send(ReadAt::LATEST, RequestBody::GetPage(main_block(1)));
    client.flush().unwrap();
    drop(gate);
    let first = page_of(main_block(0), LAST);
    assert!(client.receive().unwrap() == Response::Page(&first));
    for block in 1..=count {
        let lsn = Lsn::new(if block > 40 { 0x300 } else { 0x200 });
        let page = page_of(main_block(block), lsn);
        assert!(
            client.receive().unwrap() == Response::Page(&page),
            "{block}"
        );
    }
    assert_eq!(client.receive().unwrap(), Response::Nblocks(BLOCKS));
    let last = page_of(main_block(1), LAST);
    assert!(client.receive().unwrap() == Response::Page(&last));
    assert_eq!(client.pending(), 0);

    // Batches of 32, cut where the LSN changes, ended by what is no page request.
    let (low, high) = (Lsn::new(0x200), Lsn::new(0x300));
    let expected = [(1, LAST), (32, low), (8, low), (24, high), (1, LAST)];
    assert_eq!(*fake.calls.lock().unwrap(), expected);
    assert_eq!(service.stats().batches, 5);
    assert_eq!(
        service.stats().getpage_latency.count(),
        u64::from(count) + 2
    );
}

#[test]
fn an_error_in_a_batch_concerns_one_page() {
    let (fake, _service, mut client) = setup(PageServiceOptions::default());
    let gate = fake.gate.lock().unwrap();
    let blocks = [0, 1, CORRUPT, 2, LEFT_OUT, 3, BLOCKS, 4, LEFT_OUT];
    for block in blocks {
        client.send(ReadAt::LATEST, RequestBody::GetPage(main_block(block)));
    }
    client.flush().unwrap();
    drop(gate);
    for block in blocks {
        let response = client.receive();
        match block {
            CORRUPT => assert!(text_of(response).contains("the layer is damaged")),
            LEFT_OUT => assert!(text_of(response).contains("left out 1663/5/16384.main:88")),
            BLOCKS => assert!(response.unwrap() == Response::Page(&ZERO_PAGE)),
            _ => {
                let page = page_of(main_block(block), LAST);
                assert!(response.unwrap() == Response::Page(&page), "{block}");
            }
        }
    }
}

fn assert_shutdown(result: Result<Response<'_>, ClientError>) {
    match result {
        Err(ClientError::Server { code, .. }) => assert_eq!(code, "57P01"),
        other => panic!("no shutdown: {other:?}"),
    }
}

#[test]
fn a_source_that_shuts_down_ends_the_stream() {
    let (_, _service, mut client) = setup(PageServiceOptions::default());
    client.send(
        ReadAt::LATEST,
        RequestBody::GetPage(main_block(SHUTTING_DOWN)),
    );
    text_of(client.receive());
    client.send(ReadAt::LATEST, RequestBody::DbSize(5));
    assert_shutdown(client.receive());
}

#[test]
fn stop_ends_idle_connections_and_waits() {
    let (_, service, mut idle) = setup(PageServiceOptions::default());
    let mut waiting = connect(&service, ProtocolVersion::V2);
    waiting.send(ReadAt::exactly(Lsn::new(0x9000)), RequestBody::DbSize(5));
    waiting.flush().unwrap();
    while service.stats().waits == 0 {
        std::thread::yield_now();
    }
    service.stop();
    service.stop();
    assert_eq!(service.stats().connections_open, 0);
    assert_shutdown(waiting.receive());
    idle.send(ReadAt::LATEST, RequestBody::DbSize(5));
    // The request may be refused by the socket, which was closed; the last word was said before.
    let _ = idle.flush();
    match idle.receive() {
        Err(ClientError::Io(_)) => {}
        other => assert_shutdown(other),
    }
}

#[test]
fn a_client_that_leaves_while_it_waits_is_let_go() {
    let (_, service, mut client) = setup(PageServiceOptions::default());
    client.send(ReadAt::exactly(Lsn::new(0x9000)), RequestBody::DbSize(5));
    client.flush().unwrap();
    while service.stats().waits == 0 {
        std::thread::yield_now();
    }
    drop(client);
    while service.stats().connections_open > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_source_that_panics_costs_its_own_connection_only() {
    let (_, service, mut client) = setup(PageServiceOptions::default());
    let mut other = connect(&service, ProtocolVersion::V3);
    client.send(ReadAt::LATEST, RequestBody::GetPage(main_block(PANIC)));
    assert!(matches!(client.receive(), Err(ClientError::Io(_))));
    // The fake's gate is poisoned, which is no matter to what does not read pages.
    assert!(other.ask(ReadAt::LATEST, RequestBody::DbSize(5)).is_ok());
    drop((client, other));
    service.stop();
    assert_eq!(service.stats().connections_panicked, 1);
}
