//! Any bytes: a request that decodes is encoded to the same bytes, anything else is an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pageservice::{ProtocolVersion, Request, Response};

fuzz_target!(|bytes: &[u8]| {
    for version in [ProtocolVersion::V2, ProtocolVersion::V3] {
        if let Ok(request) = Request::decode(version, bytes) {
            let mut encoded = Vec::new();
            request.encode(version, &mut encoded);
            assert_eq!(encoded, bytes);
            // The client's side, on bytes that begin right at best.
            let _ = Response::decode(version, &request, bytes);
        }
    }
});
