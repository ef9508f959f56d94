//! Responses of the page stream: what the server puts into one CopyData message. The server appends
//! them to its output buffer; [`Response::decode`] is the client's side.

use walrecord::{Lsn, PAGE_SIZE, Page};

use super::frame;
use super::request::{ProtocolVersion, Request, RequestBody, RequestHeader};

/// The response to a request has its tag, and this added.
const RESPONSE: u8 = 100;
const ERROR: u8 = 103;

/// Pages in an SLRU segment at most; a longer answer is not one.
const MAX_SLRU_PAGES: u32 = walrecord::SLRU_PAGES_PER_SEGMENT;

/// The tag of the response to this request. 103 is the error: DbSize and SLRU come after it.
const fn tag_of(body: &RequestBody) -> u8 {
    let tag = body.tag() + RESPONSE;
    if tag >= ERROR { tag + 1 } else { tag }
}

/// Appends responses to one request, each as a whole CopyData message.
pub(crate) struct Responder<'a> {
    pub(crate) version: ProtocolVersion,
    pub(crate) request: &'a Request,
    pub(crate) out: &'a mut Vec<u8>,
}

impl Responder<'_> {
    pub(crate) fn exists(self, exists: bool) {
        self.message(|out| out.push(u8::from(exists)));
    }

    pub(crate) fn nblocks(self, blocks: u32) {
        self.message(|out| out.extend_from_slice(&blocks.to_be_bytes()));
    }

    pub(crate) fn page(self, page: &Page) {
        self.message(|out| out.extend_from_slice(page));
    }

    pub(crate) fn db_size(self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.message(|out| out.extend_from_slice(&bytes.to_be_bytes()));
    }

    /// `pages` is a whole number of pages, 32 at most: see `answer::slru_segment`.
    pub(crate) fn slru_segment(self, pages: &[u8]) {
        let count = (pages.len() / PAGE_SIZE) as u32;
        self.message(|out| {
            out.extend_from_slice(&count.to_be_bytes());
            out.extend_from_slice(pages);
        });
    }

    pub(crate) fn error(self, text: &str) {
        let Responder {
            version,
            request,
            out,
        } = self;
        frame::message(out, b'd', |out| {
            out.push(ERROR);
            if version == ProtocolVersion::V3 {
                request.header.encode(version, out);
            }
            // A zero byte inside would cut the text short on the other side.
            out.extend(text.bytes().filter(|byte| *byte != 0));
            out.push(0);
        });
    }

    fn message(self, payload: impl FnOnce(&mut Vec<u8>)) {
        let Responder {
            version,
            request,
            out,
        } = self;
        frame::message(out, b'd', |out| {
            out.push(tag_of(&request.body));
            if version == ProtocolVersion::V3 {
                request.header.encode(version, out);
                request.body.encode(out);
            }
            payload(out);
        });
    }
}

/// What the server said to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Response<'a> {
    /// Whether the fork exists.
    Exists(bool),
    /// Blocks of the fork.
    Nblocks(u32),
    /// The page.
    Page(&'a Page),
    /// Bytes of the database.
    DbSize(i64),
    /// The segment's pages, one after the other.
    SlruSegment(&'a [u8]),
    /// It cannot be answered. Whatever is not UTF-8 is shown as an empty text.
    Error(&'a str),
}

/// Bytes that are not the response to the request that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ResponseError {
    /// Fewer bytes than the response has.
    #[error("a page stream response with tag {tag:?} is cut short")]
    Truncated {
        /// The response's tag, if it has one.
        tag: Option<u8>,
    },
    /// More bytes than the response has.
    #[error("{count} bytes follow a page stream response with tag {tag}")]
    Leftover {
        /// The response's tag.
        tag: u8,
        /// Bytes too many.
        count: usize,
    },
    /// The response to something else.
    #[error("page stream response with tag {found} where {expected} was due")]
    Tag {
        /// Its tag.
        found: u8,
        /// The tag of the response to the request.
        expected: u8,
    },
    /// The response repeats another request than was sent.
    #[error(
        "page stream response repeats a request that was not sent: id {found}, sent was {expected}"
    )]
    Echo {
        /// The id that it repeats.
        found: u64,
        /// The id that was sent. Equal ids: another field differs.
        expected: u64,
    },
    /// An SLRU segment that is longer than segments are.
    #[error("page stream response with an SLRU segment of {0} pages")]
    SlruPages(u32),
}

impl<'a> Response<'a> {
    /// Reads the response to `request`, and checks what it repeats of it.
    ///
    /// # Errors
    /// If it is anything but a response to that request.
    pub fn decode(
        version: ProtocolVersion,
        request: &Request,
        bytes: &'a [u8],
    ) -> Result<Response<'a>, ResponseError> {
        let (&tag, rest) = bytes
            .split_first()
            .ok_or(ResponseError::Truncated { tag: None })?;
        let mut fields = Fields { tag, rest };
        let expected = tag_of(&request.body);
        if tag != expected && tag != ERROR {
            let found = tag;
            return Err(ResponseError::Tag { found, expected });
        }
        if version == ProtocolVersion::V3 {
            fields.echo(request)?;
        }
        if tag == ERROR {
            let [text @ .., 0] = fields.rest else {
                return Err(ResponseError::Truncated { tag: Some(tag) });
            };
            return Ok(Response::Error(std::str::from_utf8(text).unwrap_or("")));
        }
        let response = match request.body {
            RequestBody::Exists(..) => Response::Exists(fields.array::<1>()? != &[0]),
            RequestBody::Nblocks(..) => Response::Nblocks(fields.u32()?),
            RequestBody::GetPage(_) => Response::Page(fields.array()?),
            RequestBody::DbSize(_) => Response::DbSize(i64::from_be_bytes(*fields.array()?)),
            RequestBody::SlruSegment(..) => {
                let pages = fields.u32()?;
                if pages > MAX_SLRU_PAGES {
                    return Err(ResponseError::SlruPages(pages));
                }
                Response::SlruSegment(fields.take(pages as usize * PAGE_SIZE)?)
            }
        };
        match fields.rest.len() {
            0 => Ok(response),
            count => Err(ResponseError::Leftover { tag, count }),
        }
    }
}

/// Reads big-endian fields off the front of a response.
struct Fields<'a> {
    tag: u8,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn truncated(&self) -> ResponseError {
        ResponseError::Truncated {
            tag: Some(self.tag),
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], ResponseError> {
        let (head, tail) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| self.truncated())?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], ResponseError> {
        let (head, tail) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| self.truncated())?;
        self.rest = tail;
        Ok(head)
    }

    fn u32(&mut self) -> Result<u32, ResponseError> {
        Ok(u32::from_be_bytes(*self.array()?))
    }

    fn u64(&mut self) -> Result<u64, ResponseError> {
        Ok(u64::from_be_bytes(*self.array()?))
    }

    /// Takes the repeated request; an error repeats only the header.
    fn echo(&mut self, request: &Request) -> Result<(), ResponseError> {
        let found = RequestHeader {
            id: self.u64()?,
            request_lsn: Lsn::new(self.u64()?),
            not_modified_since: Lsn::new(self.u64()?),
        };
        let mut same = found == request.header;
        if self.tag != ERROR {
            let sent = request.body.bytes();
            same &= self.take(sent.as_slice().len())? == sent.as_slice();
        }
        if same {
            return Ok(());
        }
        Err(ResponseError::Echo {
            found: found.id,
            expected: request.header.id,
        })
    }
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
