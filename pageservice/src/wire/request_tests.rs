//! Requests byte for byte, and everything that is none.

use super::*;

const REL: RelFileLocator = RelFileLocator {
    spc: 1663,
    db: 5,
    rel: 0x0102_0304,
};

const HEADER: RequestHeader = RequestHeader {
    id: 0x1112_1314_1516_1718,
    request_lsn: Lsn::MAX,
    not_modified_since: Lsn::new(0x16B_3748),
};

/// Every kind of request: its tag and its body's bytes, from the protocol's description.
fn vectors() -> Vec<(RequestBody, u8, Vec<u8>)> {
    let rel = [0, 0, 6, 0x7F, 0, 0, 0, 5, 1, 2, 3, 4];
    let with = |rest: &[u8]| [&rel[..], rest].concat();
    let tag = BlockTag {
        rel: REL,
        fork: ForkNumber::Main,
        block: 0x0A0B_0C0D,
    };
    let offsets = SlruKind::MultiXactOffsets;
    vec![
        (RequestBody::Exists(REL, ForkNumber::Fsm), 0, with(&[1])),
        (RequestBody::Nblocks(REL, ForkNumber::Init), 1, with(&[3])),
        (RequestBody::GetPage(tag), 2, with(&[0, 0xA, 0xB, 0xC, 0xD])),
        (RequestBody::DbSize(5), 3, vec![0, 0, 0, 5]),
        (
            RequestBody::SlruSegment(SlruKind::Clog, 0x10),
            4,
            vec![0, 0, 0, 0, 0x10],
        ),
        (
            RequestBody::SlruSegment(SlruKind::MultiXactMembers, 1),
            4,
            vec![1, 0, 0, 0, 1],
        ),
        (RequestBody::SlruSegment(offsets, 1), 4, vec![2, 0, 0, 0, 1]),
    ]
}

fn header_bytes(version: ProtocolVersion) -> Vec<u8> {
    let id: &[u8] = &[0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18];
    let id = if version == ProtocolVersion::V3 {
        id
    } else {
        &[]
    };
    [id, &[0xFF; 8], &[0, 0, 0, 0, 1, 0x6B, 0x37, 0x48]].concat()
}

#[test]
fn every_request_has_these_bytes_in_both_versions() {
    for version in [ProtocolVersion::V2, ProtocolVersion::V3] {
        for (body, tag, bytes) in vectors() {
            let expected = [&[tag][..], &header_bytes(version), &bytes].concat();
            let mut header = HEADER;
            if version == ProtocolVersion::V2 {
                header.id = 0;
            }
            let request = Request { header, body };
            let mut encoded = Vec::new();
            request.encode(version, &mut encoded);
            assert_eq!(encoded, expected, "{request:?}");
            assert_eq!(Request::decode(version, &expected), Ok(request));
        }
    }
}

#[test]
fn a_request_that_is_cut_or_too_long_is_refused_by_its_length() {
    for version in [ProtocolVersion::V2, ProtocolVersion::V3] {
        for (body, tag, _) in vectors() {
            let mut bytes = Vec::new();
            let header = HEADER;
            Request { header, body }.encode(version, &mut bytes);
            bytes.push(0);
            let expected = bytes.len() - 1;
            for found in (1..=bytes.len()).filter(|len| *len != expected) {
                let error = RequestError::Length {
                    tag,
                    found,
                    expected,
                };
                assert_eq!(Request::decode(version, &bytes[..found]), Err(error));
            }
        }
    }
    let v3 = ProtocolVersion::V3;
    assert_eq!(Request::decode(v3, &[]), Err(RequestError::Empty));
}

#[test]
fn unknown_tags_forks_and_slrus_are_named() {
    let version = ProtocolVersion::V2;
    let header = header_bytes(version);
    for tag in [5, 99, 100, 255] {
        let bytes = [&[tag][..], &header].concat();
        let error = RequestError::UnknownTag(tag);
        assert_eq!(Request::decode(version, &bytes), Err(error));
    }
    let bytes = [&[0][..], &header, &[0; 12], &[4]].concat();
    let error = RequestError::UnknownFork(4);
    assert_eq!(Request::decode(version, &bytes), Err(error));
    // 3 is an SLRU of this server, but none of the protocol.
    for kind in [3, 4] {
        let bytes = [&[4][..], &header, &[kind], &[0; 4]].concat();
        let error = RequestError::UnknownSlru(kind);
        assert_eq!(Request::decode(version, &bytes), Err(error));
    }
}
