//! Requests of the page stream: what a client puts into one CopyData message.

use walrecord::{BlockNumber, BlockTag, ForkNumber, Lsn, Oid, RelFileLocator, SlruKind};

const EXISTS: u8 = 0;
const NBLOCKS: u8 = 1;
const GET_PAGE: u8 = 2;
const DB_SIZE: u8 = 3;
const SLRU_SEGMENT: u8 = 4;

/// The version of the page stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum ProtocolVersion {
    /// `pagestream_v2`: responses carry their payload only.
    V2,
    /// `pagestream_v3`: requests carry an id; responses repeat the request.
    V3,
}

/// The fields that every request begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RequestHeader {
    /// The client's own number for the request; version 3 only, else zero.
    pub id: u64,
    /// Read at this LSN; [`Lsn::MAX`] is the newest.
    pub request_lsn: Lsn,
    /// What is asked for did not change after this LSN, up to `request_lsn`.
    pub not_modified_since: Lsn,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestBody {
    /// Does the fork exist?
    Exists(RelFileLocator, ForkNumber),
    /// How many blocks has the fork?
    Nblocks(RelFileLocator, ForkNumber),
    /// A page.
    GetPage(BlockTag),
    /// How many bytes have the relations of the database in the default tablespace?
    DbSize(Oid),
    /// A segment of an SLRU.
    SlruSegment(SlruKind, u32),
}

/// A request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Its id and LSNs.
    pub header: RequestHeader,
    /// What is asked for.
    pub body: RequestBody,
}

/// Bytes that are not a request. The stream cannot go on: an answer could not be matched to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// No bytes at all.
    #[error("an empty page stream request")]
    Empty,
    /// A tag of no request.
    #[error("page stream request with unknown tag {0}")]
    UnknownTag(u8),
    /// A request that is too short or too long.
    #[error("page stream request with tag {tag} has {found} bytes instead of {expected}")]
    Length {
        /// The request's tag.
        tag: u8,
        /// Bytes it has, the tag included.
        found: usize,
        /// Bytes it should have.
        expected: usize,
    },
    /// A number of no fork.
    #[error("page stream request names fork {0}; forks are 0 to 3")]
    UnknownFork(u8),
    /// A number of no SLRU.
    #[error("page stream request names SLRU {0}; they are 0 to 2")]
    UnknownSlru(u8),
}

impl Request {
    /// Reads a request; `bytes` must be that and nothing else.
    ///
    /// # Errors
    /// If it is anything but a request of that version.
    pub fn decode(version: ProtocolVersion, bytes: &[u8]) -> Result<Request, RequestError> {
        let &tag = bytes.first().ok_or(RequestError::Empty)?;
        let expected = 1 + header_size(version) + body_size(tag)?;
        if bytes.len() != expected {
            let found = bytes.len();
            return Err(RequestError::Length {
                tag,
                found,
                expected,
            });
        }
        // The length is right, so no read below runs short.
        let mut fields = Fields(&bytes[1..]);
        let header = RequestHeader {
            id: match version {
                ProtocolVersion::V2 => 0,
                ProtocolVersion::V3 => fields.u64(),
            },
            request_lsn: Lsn::new(fields.u64()),
            not_modified_since: Lsn::new(fields.u64()),
        };
        let body = RequestBody::decode(tag, &mut fields)?;
        Ok(Request { header, body })
    }

    /// The page asked for, if it is one.
    pub(crate) fn page(&self) -> Option<BlockTag> {
        match self.body {
            RequestBody::GetPage(tag) => Some(tag),
            _ => None,
        }
    }

    /// Appends the request to `out`.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        out.push(self.body.tag());
        self.header.encode(version, out);
        self.body.encode(out);
    }
}

impl RequestHeader {
    /// Appends the header, as requests and responses of version 3 and requests of version 2 carry it.
    pub(crate) fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        if version == ProtocolVersion::V3 {
            out.extend_from_slice(&self.id.to_be_bytes());
        }
        out.extend_from_slice(&self.request_lsn.get().to_be_bytes());
        out.extend_from_slice(&self.not_modified_since.get().to_be_bytes());
    }
}

impl RequestBody {
    pub(crate) const fn tag(&self) -> u8 {
        match self {
            RequestBody::Exists(..) => EXISTS,
            RequestBody::Nblocks(..) => NBLOCKS,
            RequestBody::GetPage(_) => GET_PAGE,
            RequestBody::DbSize(_) => DB_SIZE,
            RequestBody::SlruSegment(..) => SLRU_SEGMENT,
        }
    }

    /// Appends the body; a response of version 3 repeats it in the same form.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes().as_slice());
    }

    /// The body's bytes.
    pub(crate) fn bytes(&self) -> BodyBytes {
        let mut out = BodyBytes::default();
        match *self {
            RequestBody::Exists(rel, fork) | RequestBody::Nblocks(rel, fork) => {
                out.put_fork(rel, fork);
            }
            RequestBody::GetPage(tag) => {
                out.put_fork(tag.rel, tag.fork);
                out.put(&tag.block.to_be_bytes());
            }
            RequestBody::DbSize(db) => out.put(&db.to_be_bytes()),
            RequestBody::SlruSegment(kind, segment) => {
                out.put(&[kind as u8]);
                out.put(&segment.to_be_bytes());
            }
        }
        out
    }

    fn decode(tag: u8, fields: &mut Fields<'_>) -> Result<RequestBody, RequestError> {
        Ok(match tag {
            EXISTS => {
                let (rel, fork) = fields.fork()?;
                RequestBody::Exists(rel, fork)
            }
            NBLOCKS => {
                let (rel, fork) = fields.fork()?;
                RequestBody::Nblocks(rel, fork)
            }
            GET_PAGE => {
                let (rel, fork) = fields.fork()?;
                let block: BlockNumber = fields.u32();
                RequestBody::GetPage(BlockTag { rel, fork, block })
            }
            DB_SIZE => RequestBody::DbSize(fields.u32()),
            SLRU_SEGMENT => RequestBody::SlruSegment(fields.slru()?, fields.u32()),
            other => return Err(RequestError::UnknownTag(other)),
        })
    }

    /// The relation, if one is asked about.
    pub(crate) fn relation(&self) -> Option<RelFileLocator> {
        match self {
            RequestBody::Exists(rel, _) | RequestBody::Nblocks(rel, _) => Some(*rel),
            RequestBody::GetPage(tag) => Some(tag.rel),
            RequestBody::DbSize(_) | RequestBody::SlruSegment(..) => None,
        }
    }
}

const fn header_size(version: ProtocolVersion) -> usize {
    match version {
        ProtocolVersion::V2 => 16,
        ProtocolVersion::V3 => 24,
    }
}

const FORK_SIZE: usize = 3 * size_of::<Oid>() + 1;

const fn body_size(tag: u8) -> Result<usize, RequestError> {
    Ok(match tag {
        EXISTS | NBLOCKS => FORK_SIZE,
        GET_PAGE => FORK_SIZE + size_of::<BlockNumber>(),
        DB_SIZE => size_of::<Oid>(),
        SLRU_SEGMENT => 1 + size_of::<u32>(),
        other => return Err(RequestError::UnknownTag(other)),
    })
}

/// The longest body: that of a GetPage.
const MAX_BODY_SIZE: usize = FORK_SIZE + size_of::<BlockNumber>();

/// A body's bytes, without an allocation.
#[derive(Default)]
pub(crate) struct BodyBytes {
    bytes: [u8; MAX_BODY_SIZE],
    len: usize,
}

impl BodyBytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn put(&mut self, field: &[u8]) {
        self.bytes[self.len..self.len + field.len()].copy_from_slice(field);
        self.len += field.len();
    }

    fn put_fork(&mut self, rel: RelFileLocator, fork: ForkNumber) {
        for oid in [rel.spc, rel.db, rel.rel] {
            self.put(&oid.to_be_bytes());
        }
        self.put(&[fork as u8]);
    }
}

/// Reads big-endian fields off the front of bytes whose length was checked; zeros past the end.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk() {
            Some((head, tail)) => {
                self.0 = tail;
                *head
            }
            None => {
                debug_assert!(false, "the length of a request was checked");
                [0; N]
            }
        }
    }

    fn u8(&mut self) -> u8 {
        u8::from_be_bytes(self.array())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    fn fork(&mut self) -> Result<(RelFileLocator, ForkNumber), RequestError> {
        let rel = RelFileLocator {
            spc: self.u32(),
            db: self.u32(),
            rel: self.u32(),
        };
        let fork = self.u8();
        let fork = ForkNumber::from_u8(fork).ok_or(RequestError::UnknownFork(fork))?;
        Ok((rel, fork))
    }

    /// The protocol knows the three SLRUs that a client cannot do without; commit times are not
    /// among them.
    fn slru(&mut self) -> Result<SlruKind, RequestError> {
        let kind = self.u8();
        SlruKind::from_u8(kind)
            .filter(|kind| *kind != SlruKind::CommitTs)
            .ok_or(RequestError::UnknownSlru(kind))
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
