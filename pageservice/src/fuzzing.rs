//! The bodies of the fuzz targets: each takes any bytes, and panics if a decoder breaks a promise. Serves
//! `fuzz/fuzz_targets` and, on the committed corpora, the tests below; not part of the crate otherwise.

use walrecord::{BlockTag, ForkNumber, Lsn, RelFileLocator, SlruKind};

use crate::wire::frame::{frame, startup_frame};
use crate::wire::message::{Startup, StartupPacket, parse_text, query_text};
use crate::{ProtocolVersion, Request, RequestBody, RequestHeader, Response};

/// A fuzz target: its name, which is that of its corpus, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this crate.
pub const TARGETS: &[Target] = &[
    ("connection", connection),
    ("http", http),
    ("request", request),
    ("response", response),
];

/// A page stream's request: one that is read is written as it was.
pub fn request(input: &[u8]) {
    for version in [ProtocolVersion::V2, ProtocolVersion::V3] {
        if let Ok(request) = Request::decode(version, input) {
            let mut encoded = Vec::new();
            request.encode(version, &mut encoded);
            assert_eq!(encoded, input);
        }
    }
}

/// A response, the kind of the request and the version (1 byte) in front: the client reads of it no more
/// than there is.
pub fn response(input: &[u8]) {
    let [choice, bytes @ ..] = input else {
        return;
    };
    let version = match choice & 0x80 {
        0 => ProtocolVersion::V2,
        _ => ProtocolVersion::V3,
    };
    let request = Request {
        header: RequestHeader {
            id: match version {
                ProtocolVersion::V2 => 0,
                ProtocolVersion::V3 => 1,
            },
            request_lsn: Lsn::MAX,
            not_modified_since: Lsn::new(64),
        },
        body: request_body(choice & 0x7F),
    };
    match Response::decode(version, &request, bytes) {
        Ok(Response::SlruSegment(pages)) => assert!(pages.len() < bytes.len()),
        Ok(Response::Error(text)) => assert!(text.len() < bytes.len()),
        _ => {}
    }
}

fn request_body(choice: u8) -> RequestBody {
    let rel = RelFileLocator {
        spc: 1663,
        db: 5,
        rel: 16384,
    };
    let fork = ForkNumber::Main;
    match choice % 5 {
        0 => RequestBody::Exists(rel, fork),
        1 => RequestBody::Nblocks(rel, fork),
        2 => RequestBody::GetPage(BlockTag {
            rel,
            fork,
            block: 7,
        }),
        3 => RequestBody::DbSize(5),
        _ => RequestBody::SlruSegment(SlruKind::ALL[0], 0),
    }
}

/// What a client sends from the start: a startup packet, then messages with commands.
pub fn connection(input: &[u8]) {
    let mut rest = input;
    if let Ok(Some(body)) = startup_frame(rest) {
        if let Ok(StartupPacket::Startup(startup)) = StartupPacket::decode(&rest[body.clone()]) {
            let Startup { extensions, .. } = startup;
            assert!(extensions.iter().map(String::len).sum::<usize>() <= 3 * body.len());
        }
        rest = &rest[body.end..];
    }
    while let Ok(Some(message)) = frame(rest) {
        let body = &rest[message.body.clone()];
        for text in [query_text(body), parse_text(body)].into_iter().flatten() {
            assert!(text.len() < body.len());
            crate::server::read_command(text);
        }
        for version in [ProtocolVersion::V2, ProtocolVersion::V3] {
            let _ = Request::decode(version, body);
        }
        rest = &rest[message.body.end..];
    }
}

/// A text: as the query of a URL, and as the body of a request.
pub fn http(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        crate::http::read_query(text);
    }
    let _ = serde_json::from_slice::<crate::http::CheckoutRequest>(input);
}

#[cfg(test)]
#[path = "../../walrecord/fuzz/replay.rs"]
mod replay;
