//! A blocking client of the page stream, versions 2 and 3: for tests, measurements and tools. Sends
//! and receives apart, so that a caller may have many requests under way.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use walrecord::{BlockTag, Lsn, PAGE_SIZE, Page, SLRU_PAGES_PER_SEGMENT};

use crate::wire::frame::message;
use crate::wire::request::{ProtocolVersion, Request, RequestBody, RequestHeader};
use crate::wire::response::{Response, ResponseError};

/// What goes wrong between a client and a page server.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection failed.
    #[error("connection to the page server: {0}")]
    Io(#[from] io::Error),
    /// The server ended the command with an `ErrorResponse`.
    #[error("the page server says: {message} (SQLSTATE {code})")]
    Server {
        /// The SQLSTATE.
        code: String,
        /// The text.
        message: String,
    },
    /// The server answered one request with an error. The stream goes on.
    #[error("{0}")]
    Request(String),
    /// The server sent a message that has no place here.
    #[error("unexpected message of type {0:?} from the page server")]
    UnexpectedMessage(char),
    /// The server sent a message that is longer than any.
    #[error("message of {0} bytes from the page server")]
    TooLong(u32),
    /// The response is not one to the request whose turn it is. The stream is of no use any more.
    #[error(transparent)]
    Response(#[from] ResponseError),
    /// A response was asked for with no request under way.
    #[error("no request is under way")]
    NothingPending,
}

/// An SLRU segment and what goes around it in version 3.
const MAX_MESSAGE: usize = SLRU_PAGES_PER_SEGMENT as usize * PAGE_SIZE + 256;

/// A page stream to a page server.
pub struct PageStreamClient {
    stream: TcpStream,
    version: ProtocolVersion,
    next_id: u64,
    pending: VecDeque<Request>,
    out: Vec<u8>,
    /// Holds a message that was received, from its tag on, and what was read behind it.
    input: Vec<u8>,
    start: usize,
    end: usize,
}

impl PageStreamClient {
    /// Connects, and opens a page stream on a timeline.
    ///
    /// # Errors
    /// If the server cannot be reached, or refuses.
    pub fn connect(
        address: impl ToSocketAddrs,
        version: ProtocolVersion,
        tenant: &str,
        timeline: &str,
    ) -> Result<PageStreamClient, ClientError> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut client = PageStreamClient {
            stream,
            version,
            next_id: 1,
            pending: VecDeque::new(),
            out: Vec::new(),
            input: vec![0; 16 * 1024],
            start: 0,
            end: 0,
        };
        client.startup()?;
        let command = match version {
            ProtocolVersion::V2 => "pagestream_v2",
            ProtocolVersion::V3 => "pagestream_v3",
        };
        let text = format!("{command} {tenant} {timeline}\0");
        message(&mut client.out, b'Q', |out| {
            out.extend_from_slice(text.as_bytes());
        });
        client.flush()?;
        loop {
            match client.receive_message()? {
                b'W' => return Ok(client),
                b'S' | b'N' | b'Z' => {}
                other => return Err(ClientError::UnexpectedMessage(char::from(other))),
            }
        }
    }

    /// How long [`PageStreamClient::receive`] waits; none: for ever, which is the default.
    ///
    /// # Errors
    /// If the socket refuses.
    pub fn set_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(limit)
    }

    /// Puts a request under way. It leaves with [`PageStreamClient::flush`], at the latest with the
    /// next [`PageStreamClient::receive`].
    pub fn send(&mut self, lsn: ReadAt, body: RequestBody) {
        let id = match self.version {
            ProtocolVersion::V2 => 0,
            ProtocolVersion::V3 => self.next_id,
        };
        self.next_id += 1;
        let request = Request {
            header: RequestHeader {
                id,
                request_lsn: lsn.request_lsn,
                not_modified_since: lsn.not_modified_since,
            },
            body,
        };
        let version = self.version;
        message(&mut self.out, b'd', |out| request.encode(version, out));
        self.pending.push_back(request);
    }

    /// Sends what is under way.
    ///
    /// # Errors
    /// If the connection fails.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }

    /// Requests that were sent and not yet answered.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The response to the oldest request under way, checked against it.
    ///
    /// # Errors
    /// [`ClientError::Request`] if the server could not answer this one request; anything else ends
    /// the stream.
    pub fn receive(&mut self) -> Result<Response<'_>, ClientError> {
        let request = self
            .pending
            .pop_front()
            .ok_or(ClientError::NothingPending)?;
        self.flush()?;
        let body = match self.receive_message()? {
            b'd' => self.last_body(),
            other => return Err(ClientError::UnexpectedMessage(char::from(other))),
        };
        match Response::decode(self.version, &request, body)? {
            Response::Error(text) => Err(ClientError::Request(text.to_owned())),
            response => Ok(response),
        }
    }

    /// Sends a request and waits for its response.
    ///
    /// # Errors
    /// As [`PageStreamClient::receive`].
    ///
    /// # Panics
    /// If other requests are under way: this would be the response to one of them.
    pub fn ask(&mut self, lsn: ReadAt, body: RequestBody) -> Result<Response<'_>, ClientError> {
        assert_eq!(self.pending(), 0, "ask() in the middle of a pipeline");
        self.send(lsn, body);
        self.receive()
    }

    /// A page.
    ///
    /// # Errors
    /// As [`PageStreamClient::receive`].
    ///
    /// # Panics
    /// If requests are under way.
    pub fn page(&mut self, lsn: ReadAt, tag: BlockTag) -> Result<&Page, ClientError> {
        match self.ask(lsn, RequestBody::GetPage(tag))? {
            Response::Page(page) => Ok(page),
            _ => Err(ClientError::UnexpectedMessage('d')),
        }
    }

    fn startup(&mut self) -> Result<(), ClientError> {
        let parameters = b"user\0pageserver\0application_name\0pagestream\0\0";
        let length = (8 + parameters.len()) as u32;
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(&[0, 3, 0, 0]);
        self.out.extend_from_slice(parameters);
        self.flush()?;
        loop {
            match self.receive_message()? {
                b'Z' => return Ok(()),
                b'R' if self.last_body() == [0; 4] => {}
                b'S' | b'K' | b'N' => {}
                other => return Err(ClientError::UnexpectedMessage(char::from(other))),
            }
        }
    }

    /// Receives a message and says its type; [`PageStreamClient::last_body`] is its body.
    fn receive_message(&mut self) -> Result<u8, ClientError> {
        self.input.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        self.fill(5)?;
        let tag = self.input[0];
        let length =
            u32::from_be_bytes([self.input[1], self.input[2], self.input[3], self.input[4]]);
        let size = length as usize + 1;
        if !(5..=MAX_MESSAGE).contains(&size) {
            return Err(ClientError::TooLong(length));
        }
        self.fill(size)?;
        self.start = size;
        match tag {
            b'E' => Err(server_error(self.last_body())),
            tag => Ok(tag),
        }
    }

    fn last_body(&self) -> &[u8] {
        &self.input[5..self.start]
    }

    /// Reads until there are `needed` bytes.
    fn fill(&mut self, needed: usize) -> io::Result<()> {
        if self.input.len() < needed {
            self.input.resize(needed, 0);
        }
        while self.end < needed {
            match self.stream.read(&mut self.input[self.end..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The fields of an `ErrorResponse`: a letter and a text each.
fn server_error(body: &[u8]) -> ClientError {
    let field = |letter: u8| {
        body.split(|byte| *byte == 0)
            .filter_map(|field| field.split_first())
            .find(|(found, _)| **found == letter)
            .map(|(_, text)| String::from_utf8_lossy(text).into_owned())
            .unwrap_or_default()
    };
    ClientError::Server {
        code: field(b'C'),
        message: field(b'M'),
    }
}

/// Where to read: any LSN from `not_modified_since` to `request_lsn` gives the right answer, the
/// caller promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadAt {
    /// Read at this LSN; [`Lsn::MAX`] is the newest.
    pub request_lsn: Lsn,
    /// What is asked for did not change after this LSN, up to `request_lsn`.
    pub not_modified_since: Lsn,
}

impl ReadAt {
    /// The newest version that the server has: no waiting.
    pub const LATEST: ReadAt = ReadAt {
        request_lsn: Lsn::MAX,
        not_modified_since: Lsn::INVALID,
    };

    /// At this LSN, or as far as the server is: no waiting.
    pub const fn up_to(lsn: Lsn) -> ReadAt {
        ReadAt {
            request_lsn: lsn,
            not_modified_since: Lsn::INVALID,
        }
    }

    /// At exactly this LSN; the server waits until it has it.
    pub const fn exactly(lsn: Lsn) -> ReadAt {
        ReadAt {
            request_lsn: lsn,
            not_modified_since: lsn,
        }
    }
}
