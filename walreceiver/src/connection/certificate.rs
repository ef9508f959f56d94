//! The few fields of an X.509 certificate that the TLS library does not hand out: the hash of its
//! signature for channel binding. A total reader of DER (RFC 5280, section 4.1).

use ring::digest::{self, Algorithm};

/// `tls-server-end-point` of RFC 5929: the certificate's hash, by the hash of its own signature,
/// SHA-256 at least. None if the signature's algorithm names no hash (such as Ed25519).
pub(super) fn end_point_binding(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = signature_hash(certificate)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

/// `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, ... }, signature }`
fn signature_hash(certificate: &[u8]) -> Option<&'static Algorithm> {
    let (outer, _) = element(SEQUENCE, certificate)?;
    let (_, after_body) = element(SEQUENCE, outer)?;
    let (algorithm, _) = element(SEQUENCE, after_body)?;
    let (oid, _) = element(OBJECT_IDENTIFIER, algorithm)?;
    let known = HASHES.iter().find(|(known, _)| *known == oid);
    known.map(|(_, hash)| *hash)
}

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// Signature algorithms as encoded object identifiers (RFC 8017, RFC 5758).
static HASHES: [(&[u8], &Algorithm); 8] = [
    // MD5 and SHA-1 with RSA: RFC 5929 raises both to SHA-256.
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", &digest::SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", &digest::SHA256),
    // SHA-256, SHA-384, SHA-512 with RSA.
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", &digest::SHA256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", &digest::SHA384),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", &digest::SHA512),
    // SHA-256, SHA-384, SHA-512 with ECDSA.
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", &digest::SHA256),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", &digest::SHA384),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", &digest::SHA512),
];

/// The content of the element at the front, if it has this tag, and what follows it.
fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    if found != tag {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // A certificate is shorter than 16 MiB.
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits.iter().fold(0, |n, d| n << 8 | usize::from(*d));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
