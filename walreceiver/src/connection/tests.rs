//! Framing and message bodies against hostile bytes.

use std::io::{self, Read};

use super::framing::{FrameError, MAX_MESSAGE, MessageReader};
use super::message::{self, Body};
use crate::error::{ProtocolError, SqlState};

/// Hands out `bytes` in pieces of `piece`.
struct Drip<'a> {
    bytes: &'a [u8],
    piece: usize,
}

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.piece.min(buffer.len()).min(self.bytes.len());
        buffer[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes = &self.bytes[count..];
        Ok(count)
    }
}

fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 4).to_be_bytes();
    [&[tag], &length[..], body].concat()
}

fn reader(bytes: &[u8], piece: usize) -> MessageReader<Drip<'_>> {
    MessageReader::new(Drip { bytes, piece })
}

#[test]
fn messages_come_out_whole_however_they_arrive() {
    let long = vec![7; 300_000];
    let bodies: Vec<&[u8]> = vec![b"", b"x", &long, b"yz", &long, &long, &long, b""];
    let stream: Vec<u8> = bodies.iter().flat_map(|body| framed(b'd', body)).collect();
    for piece in [1, 5, 1000, 65_536, usize::MAX] {
        let mut reader = reader(&stream, piece);
        for body in &bodies {
            let message = reader.next().unwrap();
            assert_eq!(message.tag, b'd');
            assert!(message.body == *body, "piece {piece}");
        }
        assert!(matches!(reader.next(), Err(FrameError::Closed)));
    }
}

#[test]
fn the_longest_message_fits_and_one_byte_more_does_not() {
    let longest = framed(b'd', &vec![0; MAX_MESSAGE as usize - 4]);
    let behind_a_small_one = [framed(b'x', b"abc"), longest].concat();
    let mut reader = reader(&behind_a_small_one, 100_000);
    assert_eq!(reader.next().unwrap().body, b"abc");
    assert_eq!(reader.next().unwrap().body.len(), MAX_MESSAGE as usize - 4);

    let mut header = vec![b'd'];
    header.extend((MAX_MESSAGE + 1).to_be_bytes());
    let mut reader = self::reader(&header, 5);
    assert!(matches!(
        reader.next(),
        Err(FrameError::Protocol(ProtocolError::Length { .. }))
    ));
}

#[test]
fn lengths_that_do_not_count_themselves_are_refused() {
    for length in [0u32, 3, u32::MAX, 1 << 31] {
        let bytes = [&b"d"[..], &length.to_be_bytes()].concat();
        assert!(
            matches!(
                reader(&bytes, 5).next(),
                Err(FrameError::Protocol(ProtocolError::Length { .. }))
            ),
            "{length}"
        );
    }
}

#[test]
fn an_end_inside_a_message_is_not_a_message() {
    let bytes = framed(b'd', b"hello");
    for length in 0..bytes.len() {
        assert!(matches!(
            reader(&bytes[..length], 3).next(),
            Err(FrameError::Closed)
        ));
    }
}

#[test]
fn only_whole_messages_count_as_buffered() {
    let bytes = [framed(b'a', b"1"), framed(b'b', b"2")].concat();
    let mut reader = reader(&bytes, bytes.len() - 1);
    assert_eq!(reader.buffered_tag(), Ok(None));
    assert_eq!(reader.next().unwrap().tag, b'a');
    assert_eq!(reader.buffered_tag(), Ok(None));
    assert_eq!(reader.next().unwrap().tag, b'b');
}

#[test]
fn error_fields_are_told_apart_and_unknown_ones_passed_over() {
    let body = b"SFEHLER\0VERROR\0C42704\0Mno slot\0Dmore\0Htry\0Wwhere\0L12\0\0";
    let error = message::server_error(Body::new(b'E', body)).unwrap();
    assert_eq!(error.severity, "ERROR");
    assert_eq!(error.code, SqlState::UNDEFINED_OBJECT);
    assert_eq!(error.message, "no slot");
    assert_eq!(error.detail.as_deref(), Some("more"));
    assert_eq!(error.hint.as_deref(), Some("try"));
    for length in 0..body.len() {
        assert!(message::server_error(Body::new(b'E', &body[..length])).is_err());
    }
}

#[test]
fn a_code_that_is_none_becomes_internal_error() {
    for text in ["", "1234", "123456", "ab\u{e9}d", "28 00"] {
        assert_eq!(SqlState::from_text(text), SqlState::INTERNAL_ERROR);
    }
}

#[test]
fn truncated_rows_and_descriptions_are_errors() {
    let mut description = vec![0, 1];
    description.extend(b"name\0");
    description.extend([0; 18]);
    let columns = message::row_description(Body::new(b'T', &description)).unwrap();
    assert_eq!(columns, ["name"]);
    for length in 0..description.len() {
        assert!(message::row_description(Body::new(b'T', &description[..length])).is_err());
    }

    let row = b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0";
    let values = message::data_row(Body::new(b'D', row)).unwrap();
    assert_eq!(values, [Some(b"ab".to_vec()), None, Some(vec![])]);
    for length in 0..row.len() {
        assert!(message::data_row(Body::new(b'D', &row[..length])).is_err());
    }
    // A count or length that claims more than there is allocates nothing.
    assert!(message::data_row(Body::new(b'D', b"\x7f\xff")).is_err());
    assert!(message::data_row(Body::new(b'D', b"\0\x01\x7f\xff\xff\xff")).is_err());
}
