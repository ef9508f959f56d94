//! The two halves of a connection's socket, each with its bounded buffer: whole messages come out of
//! [`Input`], bytes collect in [`Output`] until they are sent in one piece.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::stats::Counters;
use crate::wire::frame::{self, Frame, FrameError, MAX_BODY};

/// Room for 350 page requests: what a client pipelines is there after one read.
const INPUT_SIZE: usize = 16 * 1024;

/// What the longest message needs.
const MAX_INPUT_SIZE: usize = 1 + 4 + MAX_BODY;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Hangup {
    #[error("the client closed the connection")]
    Closed,
    #[error("the client closed the connection in the middle of a message")]
    ClosedInMessage,
    #[error("nothing arrived for {0:?}")]
    Idle(Duration),
    #[error("startup took longer than {0:?}")]
    SlowStartup(Duration),
    #[error("the client took longer than {0:?} to read an answer")]
    SlowReader(Duration),
    #[error("the server is shutting down")]
    Stopping,
    /// The client was told so.
    #[error("protocol violation: {0}")]
    Violation(String),
    #[error("cancel requests are not supported")]
    Cancel,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What the client sends.
pub(super) struct Input<'a> {
    stream: &'a TcpStream,
    counters: &'a Counters,
    /// Allocated in full; `filled` bytes of it hold something.
    buffer: Vec<u8>,
    unread: Range<usize>,
}

impl<'a> Input<'a> {
    pub(super) fn new(stream: &'a TcpStream, counters: &'a Counters) -> Input<'a> {
        Input {
            stream,
            counters,
            buffer: vec![0; INPUT_SIZE],
            unread: 0..0,
        }
    }

    /// The message at the front, if it is here as a whole. It stays until it is consumed.
    pub(super) fn peek(&self) -> Result<Option<Frame>, FrameError> {
        let unread = frame::frame(&self.buffer[self.unread.clone()])?;
        Ok(unread.map(|frame| Frame {
            tag: frame.tag,
            body: self.shifted(&frame.body),
        }))
    }

    /// As [`Input::peek`], for a startup packet: its body.
    pub(super) fn peek_startup(&self) -> Result<Option<Range<usize>>, FrameError> {
        let body = frame::startup_frame(&self.buffer[self.unread.clone()])?;
        Ok(body.map(|body| self.shifted(&body)))
    }

    /// Bytes of the buffer: those of a frame's body.
    pub(super) fn bytes(&self, body: &Range<usize>) -> &[u8] {
        &self.buffer[body.clone()]
    }

    /// Done with the message whose body this is. Its bytes stay where they are until the next
    /// [`Input::fill`].
    pub(super) fn consume(&mut self, body: &Range<usize>) {
        self.unread.start = body.end;
    }

    /// Whether bytes are left that were not consumed.
    pub(super) fn is_empty(&self) -> bool {
        self.unread.is_empty()
    }

    /// Reads what is there, and waits if nothing is. One system call.
    pub(super) fn fill(&mut self) -> io::Result<usize> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.start > 0 {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.unread.end == self.buffer.len() {
            // A message longer than the buffer. Messages have a bound, so the buffer has.
            self.buffer.resize(MAX_INPUT_SIZE, 0);
        }
        let count = loop {
            match self.stream.read(&mut self.buffer[self.unread.end..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.unread.end += count;
        self.counters.bytes_in.add(count as u64);
        Ok(count)
    }

    /// Whether the client closed its side, as far as that can be seen without taking what it sent
    /// before.
    pub(super) fn is_closed(&self) -> bool {
        let mut byte = [0];
        let peeked = self
            .stream
            .set_nonblocking(true)
            .and_then(|()| self.stream.peek(&mut byte));
        let restored = self.stream.set_nonblocking(false);
        match peeked {
            Ok(count) => count == 0 || restored.is_err(),
            Err(error) => error.kind() != ErrorKind::WouldBlock || restored.is_err(),
        }
    }

    fn shifted(&self, body: &Range<usize>) -> Range<usize> {
        self.unread.start + body.start..self.unread.start + body.end
    }
}

/// A read that found nothing within the socket's time-out.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// What goes to the client.
pub(super) struct Output<'a> {
    stream: &'a TcpStream,
    counters: &'a Counters,
    /// Whoever appends keeps it bounded by calling [`Output::flush`]: see `stream::MAX_BUFFERED`.
    pub(super) buffer: Vec<u8>,
    limit: Duration,
}

impl<'a> Output<'a> {
    /// The socket's write time-out must be `limit`, too.
    pub(super) fn new(stream: &'a TcpStream, counters: &'a Counters, limit: Duration) -> Self {
        Output {
            stream,
            counters,
            buffer: Vec::new(),
            limit,
        }
    }

    /// Sends everything. One system call, if the socket takes it at once.
    pub(super) fn flush(&mut self) -> Result<(), Hangup> {
        let mut sent = 0;
        let mut started = None;
        while sent < self.buffer.len() {
            match self.stream.write(&self.buffer[sent..]) {
                Ok(0) => return Err(Hangup::Closed),
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Err(Hangup::SlowReader(self.limit)),
                Err(error) => return Err(error.into()),
            }
            // A client that takes a few bytes now and then gets no longer than one that takes none.
            if sent < self.buffer.len()
                && started.get_or_insert_with(Instant::now).elapsed() > self.limit
            {
                return Err(Hangup::SlowReader(self.limit));
            }
        }
        self.counters.bytes_out.add(sent as u64);
        self.buffer.clear();
        Ok(())
    }

    /// Sends a last word and closes so that it arrives: see [`linger`].
    pub(super) fn close(&mut self) {
        if self.flush().is_ok() {
            linger(self.stream);
        }
    }
}

/// How long, and for how many bytes, a closing connection goes on reading.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// Shuts the sending side and reads on for a moment. Closing a socket that holds unread bytes resets
/// it, and the client would lose the error that it was just sent.
fn linger(mut stream: &TcpStream) {
    let deadline = Instant::now() + LINGER;
    let mut left = LINGER_BYTES;
    let mut scratch = [0; 4096];
    if stream.shutdown(Shutdown::Write).is_err() || stream.set_read_timeout(Some(LINGER)).is_err() {
        return;
    }
    while left > 0 && Instant::now() < deadline {
        match stream.read(&mut scratch) {
            Ok(0) | Err(_) => return,
            Ok(count) => left = left.saturating_sub(count),
        }
    }
}
