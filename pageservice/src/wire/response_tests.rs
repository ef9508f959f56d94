//! Responses byte for byte, and everything that is none.

use walrecord::{BlockTag, ForkNumber, RelFileLocator, SlruKind};

use super::*;
use ProtocolVersion::{V2, V3};

const REL: RelFileLocator = RelFileLocator {
    spc: 1663,
    db: 5,
    rel: 0x0102_0304,
};

const REL_BYTES: [u8; 12] = [0, 0, 6, 0x7F, 0, 0, 0, 5, 1, 2, 3, 4];

/// Id, request LSN, not_modified_since.
const HEADER_BYTES: [u8; 24] = [
    0, 0, 0, 0, 0, 0, 0, 7, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 1, 0x6B,
    0x37, 0x48,
];

fn request(body: RequestBody) -> Request {
    let header = RequestHeader {
        id: 7,
        request_lsn: Lsn::MAX,
        not_modified_since: Lsn::new(0x16B_3748),
    };
    Request { header, body }
}

fn get_page() -> Request {
    request(RequestBody::GetPage(BlockTag {
        rel: REL,
        fork: ForkNumber::Main,
        block: 9,
    }))
}

/// Holds a response against its bytes in both versions, and reads it back.
fn holds(
    request: &Request,
    tag: u8,
    echo: &[u8],
    payload: &[u8],
    answer: impl Fn(Responder<'_>),
    response: Response<'_>,
) {
    for version in [V2, V3] {
        let header: &[u8] = &HEADER_BYTES;
        let repeated = match version {
            V2 => Vec::new(),
            V3 => [header, echo].concat(),
        };
        let body = [&[tag][..], &repeated, payload].concat();
        let length = (body.len() as u32 + 4).to_be_bytes();
        let expected = [&b"d"[..], &length, &body].concat();
        let mut out = Vec::new();
        answer(Responder {
            version,
            request,
            out: &mut out,
        });
        assert!(out == expected, "{version:?} {request:?}");
        assert_eq!(Response::decode(version, request, &body), Ok(response));
        for cut in 0..body.len().min(100) {
            let found = Response::decode(version, request, &body[..cut]);
            assert!(
                matches!(found, Err(ResponseError::Truncated { .. })) || tag == ERROR,
                "{version:?} {request:?} cut to {cut}: {found:?}"
            );
        }
        if tag != ERROR {
            let longer = [&body[..], &[0]].concat();
            let error = ResponseError::Leftover { tag, count: 1 };
            assert_eq!(Response::decode(version, request, &longer), Err(error));
        }
    }
}

#[test]
fn exists_and_nblocks_have_these_bytes() {
    let fsm = [&REL_BYTES[..], &[1]].concat();
    let exists = request(RequestBody::Exists(REL, ForkNumber::Fsm));
    holds(
        &exists,
        100,
        &fsm,
        &[1],
        |r| r.exists(true),
        Response::Exists(true),
    );
    holds(
        &exists,
        100,
        &fsm,
        &[0],
        |r| r.exists(false),
        Response::Exists(false),
    );
    let nblocks = request(RequestBody::Nblocks(REL, ForkNumber::Fsm));
    let response = Response::Nblocks(0x0102_0304);
    holds(
        &nblocks,
        101,
        &fsm,
        &[1, 2, 3, 4],
        |r| r.nblocks(0x0102_0304),
        response,
    );
}

#[test]
fn a_page_has_these_bytes() {
    let mut page = walrecord::ZERO_PAGE;
    page[0] = 1;
    page[8191] = 2;
    let echo = [&REL_BYTES[..], &[0, 0, 0, 0, 9]].concat();
    holds(
        &get_page(),
        102,
        &echo,
        &page,
        |r| r.page(&page),
        Response::Page(&page),
    );
}

#[test]
fn an_error_repeats_only_the_header_and_ends_with_a_zero_byte() {
    let text = "Not found: x\0y";
    let response = Response::Error("Not found: xy");
    holds(
        &get_page(),
        103,
        &[],
        b"Not found: xy\0",
        |r| r.error(text),
        response,
    );
}

#[test]
fn sizes_and_segments_have_these_bytes() {
    let size = request(RequestBody::DbSize(5));
    let bytes = 0x0102_0304_0506_0708_i64;
    let answer = |r: Responder<'_>| r.db_size(bytes as u64);
    holds(
        &size,
        104,
        &[0, 0, 0, 5],
        &bytes.to_be_bytes(),
        answer,
        Response::DbSize(bytes),
    );

    let segment = request(RequestBody::SlruSegment(SlruKind::MultiXactMembers, 0x20));
    let pages = [[1; PAGE_SIZE], [2; PAGE_SIZE]].concat();
    let payload = [&[0, 0, 0, 2][..], &pages].concat();
    let response = Response::SlruSegment(&pages);
    let answer = |r: Responder<'_>| r.slru_segment(&pages);
    holds(
        &segment,
        105,
        &[1, 0, 0, 0, 0x20],
        &payload,
        answer,
        response,
    );
}

#[test]
fn a_response_to_another_request_is_caught() {
    let sent = get_page();
    let mut out = Vec::new();
    Responder {
        version: V3,
        request: &sent,
        out: &mut out,
    }
    .page(&walrecord::ZERO_PAGE);
    let body = &out[5..];
    // Each byte of what is repeated matters: id, LSNs, relation, fork, block.
    for at in 1..1 + 24 + 17 {
        let mut other = body.to_vec();
        other[at] ^= 1;
        let found = Response::decode(V3, &sent, &other);
        assert!(matches!(found, Err(ResponseError::Echo { .. })), "{at}");
    }
    let expected = 101;
    let error = ResponseError::Tag {
        found: 102,
        expected,
    };
    let nblocks = request(RequestBody::Nblocks(REL, ForkNumber::Main));
    assert_eq!(Response::decode(V3, &nblocks, body), Err(error));
}

#[test]
fn an_slru_segment_longer_than_any_is_refused_before_it_is_read() {
    let segment = request(RequestBody::SlruSegment(SlruKind::Clog, 0));
    let body = [&[105][..], &33_u32.to_be_bytes()].concat();
    let error = ResponseError::SlruPages(33);
    assert_eq!(Response::decode(V2, &segment, &body), Err(error));
}
