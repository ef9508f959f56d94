//! Messages of the Postgres protocol as frames: a tag, a length, a body. Startup packets have no tag.

use std::ops::Range;

/// Bytes of a message's body at most. The longest that has a meaning is a query text; a page stream
/// request has 46 bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// Bytes of a startup packet, its length included (`MAX_STARTUP_PACKET_LENGTH` of Postgres).
const STARTUP_SIZES: std::ops::RangeInclusive<usize> = 8..=10_000;

/// The first byte of a TLS record that opens a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

const LENGTH_SIZE: usize = 4;

/// Where a whole message lies in a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) tag: u8,
    pub(crate) body: Range<usize>,
}

/// Bytes that cannot be framed; nothing behind them can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("message of type {tag:?} with a length of {length}, which is not from 4 to {}", MAX_BODY + LENGTH_SIZE)]
    Length { tag: char, length: u32 },
    #[error("startup packet of {0} bytes, which is not from 8 to 10000")]
    StartupLength(u32),
    #[error("TLS is not supported: connect with sslmode=disable or prefer")]
    DirectTls,
}

/// The message at the front of `bytes`; none if more bytes are needed.
pub(crate) fn frame(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    let Some((&[tag, ref length @ ..], _)) = bytes.split_first_chunk::<{ 1 + LENGTH_SIZE }>()
    else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length);
    let end = length as usize + 1;
    if !(LENGTH_SIZE..=MAX_BODY + LENGTH_SIZE).contains(&(length as usize)) {
        let tag = char::from(tag);
        return Err(FrameError::Length { tag, length });
    }
    Ok((end <= bytes.len()).then_some(Frame {
        tag,
        body: 1 + LENGTH_SIZE..end,
    }))
}

/// The startup packet at the front of `bytes`, its length left out; none if more bytes are needed.
pub(crate) fn startup_frame(bytes: &[u8]) -> Result<Option<Range<usize>>, FrameError> {
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return Err(FrameError::DirectTls);
    }
    let Some((length, _)) = bytes.split_first_chunk::<LENGTH_SIZE>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length);
    if !STARTUP_SIZES.contains(&(length as usize)) {
        return Err(FrameError::StartupLength(length));
    }
    let body = LENGTH_SIZE..length as usize;
    Ok((body.end <= bytes.len()).then_some(body))
}

/// Appends a message whose body `write` appends; the length is filled in when that is known.
pub(crate) fn message(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let length_at = out.len();
    out.extend_from_slice(&[0xFF; LENGTH_SIZE]);
    write(out);
    // What this side writes is bounded far below 4 GiB.
    let length = (out.len() - length_at) as u32;
    out[length_at..length_at + LENGTH_SIZE].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_framed_only_when_it_is_whole() {
        let mut bytes = Vec::new();
        message(&mut bytes, b'Q', |out| out.extend_from_slice(b"abc\0"));
        assert_eq!(bytes, b"Q\0\0\0\x08abc\0");
        for cut in 0..bytes.len() {
            assert_eq!(frame(&bytes[..cut]), Ok(None), "{cut}");
        }
        let body = 5..9;
        bytes.extend_from_slice(b"rest");
        assert_eq!(frame(&bytes), Ok(Some(Frame { tag: b'Q', body })));
    }

    #[test]
    fn lengths_that_no_message_has_are_refused_before_the_body_arrives() {
        for length in [0_u32, 3, 4 + MAX_BODY as u32 + 1, u32::MAX] {
            let mut bytes = vec![b'd'];
            bytes.extend_from_slice(&length.to_be_bytes());
            let error = FrameError::Length { tag: 'd', length };
            assert_eq!(frame(&bytes), Err(error));
        }
        for length in [4 + MAX_BODY as u32, 5] {
            let mut bytes = vec![b'd'];
            bytes.extend_from_slice(&length.to_be_bytes());
            assert_eq!(frame(&bytes), Ok(None));
        }
    }

    #[test]
    fn startup_packets_have_8_to_10000_bytes() {
        for (length, fits) in [(7_u32, false), (8, true), (10_000, true), (10_001, false)] {
            let found = startup_frame(&length.to_be_bytes());
            let expected = if fits {
                Ok(None)
            } else {
                Err(FrameError::StartupLength(length))
            };
            assert_eq!(found, expected);
        }
        assert_eq!(startup_frame(&[0, 0, 0, 8, 1, 2, 3, 4, 5]), Ok(Some(4..8)));
        assert_eq!(startup_frame(&[0x16]), Err(FrameError::DirectTls));
    }
}
