//! The messages inside the copy: WAL and keep-alives in, status out (`XLogSendPhysical`,
//! `WalSndKeepalive` and `ProcessStandbyReplyMessage` of walsender.c).

use walrecord::{Lsn, PgTime};

use super::Positions;
use crate::connection::Body;
use crate::error::ProtocolError;

/// The most WAL in one message: `MAX_SEND_SIZE`, 16 WAL pages.
pub(super) const MAX_WAL: usize = 16 * 8192;

/// What the server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FromServer<'a> {
    Wal {
        start: Lsn,
        server_end: Lsn,
        sent_at: PgTime,
        bytes: &'a [u8],
    },
    KeepAlive {
        server_end: Lsn,
        sent_at: PgTime,
        reply_requested: bool,
    },
}

impl<'a> FromServer<'a> {
    pub(super) fn decode(body: &'a [u8]) -> Result<FromServer<'a>, ProtocolError> {
        let mut body = Body::new(b'd', body);
        match body.u8("replication message type")? {
            b'w' => {
                let start = Lsn::new(body.u64("WAL start")?);
                let server_end = Lsn::new(body.u64("server's WAL end")?);
                let sent_at = body.i64("send time")?;
                let bytes = body.rest();
                if bytes.len() > MAX_WAL {
                    return Err(ProtocolError::WalTooLong {
                        lsn: start,
                        length: bytes.len(),
                        ceiling: MAX_WAL,
                    });
                }
                Ok(FromServer::Wal {
                    start,
                    server_end,
                    sent_at,
                    bytes,
                })
            }
            b'k' => Ok(FromServer::KeepAlive {
                server_end: Lsn::new(body.u64("server's WAL end")?),
                sent_at: body.i64("send time")?,
                reply_requested: body.u8("reply request")? != 0,
            }),
            other => Err(ProtocolError::BadValue {
                field: "replication message type",
                value: other.escape_ascii().to_string(),
                expected: "w or k",
            }),
        }
    }
}

/// Whether the server should answer at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    NotNeeded,
    Wanted,
}

/// Bytes of a status reply with its frame.
const STATUS: usize = 1 + 4 + 1 + 4 * 8 + 1;

/// A framed status reply.
pub(super) fn status(positions: &Positions, now: PgTime, answer: Answer) -> [u8; STATUS] {
    let mut message = [0; STATUS];
    let mut rest = &mut message[..];
    let mut put = |bytes: &[u8]| {
        let (head, tail) = std::mem::take(&mut rest).split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        rest = tail;
    };
    put(b"d");
    // The length counts itself, not the type byte.
    put(&(STATUS as u32 - 1).to_be_bytes());
    put(b"r");
    put(&positions.written.get().to_be_bytes());
    put(&positions.flushed.get().to_be_bytes());
    put(&positions.applied.get().to_be_bytes());
    put(&now.to_be_bytes());
    put(&[u8::from(answer == Answer::Wanted)]);
    debug_assert!(rest.is_empty());
    message
}

/// The end of our side of the copy.
pub(super) const COPY_DONE: [u8; 5] = *b"c\0\0\0\x04";

/// Good-bye.
pub(super) const TERMINATE: [u8; 5] = *b"X\0\0\0\x04";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wal_and_keepalive_are_decoded() {
        let mut wal = vec![b'w'];
        for value in [0x1000u64, 0x2000, 7] {
            wal.extend(value.to_be_bytes());
        }
        wal.extend(b"bytes");
        let expected = FromServer::Wal {
            start: Lsn::new(0x1000),
            server_end: Lsn::new(0x2000),
            sent_at: 7,
            bytes: b"bytes",
        };
        assert_eq!(FromServer::decode(&wal), Ok(expected));

        let mut keepalive = vec![b'k'];
        keepalive.extend(0x2000u64.to_be_bytes());
        keepalive.extend((-1i64).to_be_bytes());
        keepalive.push(1);
        let expected = FromServer::KeepAlive {
            server_end: Lsn::new(0x2000),
            sent_at: -1,
            reply_requested: true,
        };
        assert_eq!(FromServer::decode(&keepalive), Ok(expected));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let mut keepalive = vec![b'k'];
        keepalive.extend([0; 17]);
        for length in 0..keepalive.len() {
            assert!(
                FromServer::decode(&keepalive[..length]).is_err(),
                "{length}"
            );
        }
        let wal = [&b"w"[..], &[0; 24]].concat();
        for length in 0..wal.len() {
            assert!(FromServer::decode(&wal[..length]).is_err(), "{length}");
        }
        assert!(FromServer::decode(b"z").is_err());
    }

    #[test]
    fn wal_beyond_128_kib_is_refused() {
        let mut wal = [&b"w"[..], &[0; 24]].concat();
        wal.resize(25 + MAX_WAL, 0);
        assert!(FromServer::decode(&wal).is_ok());
        wal.push(0);
        assert!(matches!(
            FromServer::decode(&wal),
            Err(ProtocolError::WalTooLong { .. })
        ));
    }

    #[test]
    fn status_is_laid_out_as_the_server_reads_it() {
        let positions = Positions {
            written: Lsn::new(3),
            flushed: Lsn::new(2),
            applied: Lsn::INVALID,
        };
        let message = status(&positions, 5, Answer::Wanted);
        assert_eq!(message[..6], *b"d\0\0\0\x26r");
        assert_eq!(message[6..14], 3u64.to_be_bytes());
        assert_eq!(message[14..22], 2u64.to_be_bytes());
        assert_eq!(message[22..30], 0u64.to_be_bytes());
        assert_eq!(message[30..38], 5u64.to_be_bytes());
        assert_eq!(message[38], 1);
    }
}
