//! One replication connection: opening it, commands that return rows, and the copy modes that base
//! backup and streaming run in.

mod authentication;
mod certificate;
mod error;
mod framing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod message;
mod open;
mod socket;
mod tls;
mod transport;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use slog::{Logger, info, warn};

pub use error::{AuthenticationError, ConnectError, ConnectFailure, TlsSettingsError};
pub(crate) use framing::{FrameError, Message, MessageReader};
pub(crate) use message::{Body, ResultSet};
pub(crate) use transport::WriteHalf;

use crate::error::{ConnectionError, ProtocolError, ServerError, Tag};
use socket::Socket;
use transport::ReadHalf;

/// How long a command that answers at once may take before the server counts as dead.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// The most bytes of rows that a command may return: thousands of tablespaces.
const MAX_RESULT: usize = 16 << 20;

/// A physical replication connection, logged in.
///
/// Commands are methods of it (see the crate's front page). After a [`ConnectionError`] other than
/// [`ConnectionError::Server`] it is of no more use.
#[derive(Debug)]
pub struct Connection {
    receiver: Receiver,
    writer: WriteHalf,
    target: String,
}

/// The half of a connection that messages are read from.
#[derive(Debug)]
pub(crate) struct Receiver {
    reader: MessageReader<ReadHalf>,
    parameters: BTreeMap<String, String>,
    /// What the deadline was made from, for messages.
    timeout: Duration,
    log: Logger,
}

/// Ends a connection from another thread: its reads and writes fail at once.
#[derive(Debug)]
pub struct Interrupt(Socket);

impl Interrupt {
    /// Shuts the connection down.
    pub fn interrupt(&self) {
        self.0.shutdown();
    }
}

impl Connection {
    fn new(reader: ReadHalf, writer: WriteHalf, target: String, log: Logger) -> Connection {
        Connection {
            receiver: Receiver {
                reader: MessageReader::new(reader),
                parameters: BTreeMap::new(),
                timeout: Duration::ZERO,
                log,
            },
            writer,
            target,
        }
    }

    /// What it is connected to, for messages.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// A setting that the server reported at login, such as `server_version`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.receiver.parameters.get(name).map(String::as_str)
    }

    /// A handle to end this connection from another thread.
    ///
    /// # Errors
    /// If the system cannot duplicate the socket.
    pub fn interrupt_handle(&self) -> io::Result<Interrupt> {
        self.writer.interrupt().map(Interrupt)
    }

    /// Runs a command that answers at once, and returns its result sets.
    pub(crate) fn query(
        &mut self,
        command: &'static str,
        text: &str,
    ) -> Result<Vec<ResultSet>, ConnectionError> {
        self.receiver.set_deadline(Some(COMMAND_TIMEOUT));
        let result = self
            .send_query(command, text)
            .and_then(|()| self.receiver.read_results(command));
        self.receiver.set_deadline(None);
        result
    }

    /// Sends a command; the caller reads what comes.
    pub(crate) fn send_query(
        &mut self,
        command: &'static str,
        text: &str,
    ) -> Result<(), ConnectionError> {
        let mut buffer = BytesMut::new();
        frontend::query(text, &mut buffer).map_err(|source| ConnectionError::Io {
            during: command,
            source,
        })?;
        self.send(command, &buffer)
    }

    pub(crate) fn send(
        &mut self,
        during: &'static str,
        bytes: &[u8],
    ) -> Result<(), ConnectionError> {
        self.writer
            .send(bytes)
            .map_err(|source| ConnectionError::Io { during, source })
    }

    /// The half to receive from.
    pub(crate) fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    /// Both halves, for two threads.
    pub(crate) fn halves(&mut self) -> (&mut Receiver, &mut WriteHalf) {
        (&mut self.receiver, &mut self.writer)
    }
}

impl Receiver {
    /// Reads result sets up to `ReadyForQuery`. An `ErrorResponse` is returned only then, so that
    /// the connection can go on.
    pub(crate) fn read_results(
        &mut self,
        command: &'static str,
    ) -> Result<Vec<ResultSet>, ConnectionError> {
        let mut results = Results::new(command);
        let mut refusal = None;
        loop {
            match self.receive(command) {
                Err(error @ ConnectionError::Server { .. }) => {
                    refusal.get_or_insert(error);
                }
                Err(error) => return Err(error),
                Ok(message) => match message.tag {
                    b'Z' => return refusal.map_or(Ok(results.sets), Err),
                    b'C' | b'I' => {}
                    _ => results.accept(message)?,
                },
            }
        }
    }

    /// Reads one result set up to its `CommandComplete`, for commands that go on afterwards.
    pub(crate) fn read_result_set(
        &mut self,
        command: &'static str,
    ) -> Result<ResultSet, ConnectionError> {
        let mut results = Results::new(command);
        loop {
            let message = self.receive(command)?;
            if message.tag == b'C' {
                return Ok(results.sets.pop().unwrap_or_default());
            }
            results.accept(message)?;
        }
    }

    /// The next message that means something to the caller. Notices go to the log, parameters are
    /// kept, an `ErrorResponse` becomes an error.
    pub(crate) fn receive(&mut self, during: &'static str) -> Result<Message<'_>, ConnectionError> {
        self.peek(during)?;
        match self.reader.next() {
            Ok(message) => Ok(message),
            Err(_) => unreachable!("the message was peeked at"),
        }
    }

    /// The type of the message that [`Receiver::receive`] would return; waits for it.
    pub(crate) fn peek(&mut self, during: &'static str) -> Result<u8, ConnectionError> {
        loop {
            let tag = match self.reader.peek_tag() {
                Ok(tag @ (b'N' | b'S' | b'A' | b'E')) => tag,
                Ok(tag) => return Ok(tag),
                Err(error) => return Err(self.frame_error(error, during)),
            };
            let Ok(message) = self.reader.next() else {
                unreachable!("the message was peeked at");
            };
            let body = Body::new(tag, message.body);
            match tag {
                b'S' => remember(&mut self.parameters, body)?,
                b'N' => log_notice(&self.log, &message::server_error(body)?),
                b'E' => {
                    return Err(ConnectionError::Server {
                        command: during,
                        source: Box::new(message::server_error(body)?),
                    });
                }
                // A notification of LISTEN, which nobody asked for.
                _ => {}
            }
        }
    }

    /// The type of the message at the front, if it has arrived whole.
    pub(crate) fn buffered_tag(&self) -> Result<Option<u8>, ProtocolError> {
        self.reader.buffered_tag()
    }

    /// Reads fail after `timeout`; none lets them wait for ever.
    pub(crate) fn set_deadline(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout.unwrap_or_default();
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        self.reader.source_mut().set_deadline(deadline);
    }

    pub(crate) fn log(&self) -> &Logger {
        &self.log
    }

    fn frame_error(&self, error: FrameError, during: &'static str) -> ConnectionError {
        match error {
            FrameError::Io(source) if source.kind() == io::ErrorKind::TimedOut => {
                ConnectionError::TimedOut {
                    during,
                    waited: self.timeout,
                }
            }
            FrameError::Io(source) => ConnectionError::Io { during, source },
            FrameError::Protocol(error) => error.into(),
            FrameError::Closed => ConnectionError::Closed { during },
        }
    }
}

/// Result sets as they come, within bounds.
struct Results {
    command: &'static str,
    sets: Vec<ResultSet>,
    size: usize,
}

impl Results {
    fn new(command: &'static str) -> Results {
        Results {
            command,
            sets: Vec::new(),
            size: 0,
        }
    }

    fn accept(&mut self, message: Message<'_>) -> Result<(), ProtocolError> {
        let command = self.command;
        self.size += message.body.len();
        if self.size > MAX_RESULT {
            return Err(ProtocolError::ResultTooLarge {
                command,
                ceiling: MAX_RESULT,
            });
        }
        let body = Body::new(message.tag, message.body);
        match message.tag {
            b'T' => self.sets.push(ResultSet {
                columns: message::row_description(body)?,
                rows: Vec::new(),
            }),
            b'D' => {
                let row = message::data_row(body)?;
                match self.sets.last_mut() {
                    Some(set) if set.columns.len() == row.len() => set.rows.push(row),
                    _ => {
                        return Err(ProtocolError::Shape {
                            command,
                            expected: "rows as wide as their description",
                        });
                    }
                }
            }
            tag => return Err(unexpected(tag, command)),
        }
        Ok(())
    }
}

/// A message that does not belong here.
pub(crate) fn unexpected(tag: u8, during: &'static str) -> ProtocolError {
    ProtocolError::UnexpectedMessage {
        tag: Tag(tag),
        during,
    }
}

/// The most parameters that are kept; a server reports about fifteen.
const MAX_PARAMETERS: usize = 100;

fn remember(
    parameters: &mut BTreeMap<String, String>,
    mut body: Body<'_>,
) -> Result<(), ProtocolError> {
    let name = body.text("parameter name")?;
    let value = body.text("parameter value")?;
    if parameters.len() < MAX_PARAMETERS || parameters.contains_key(&name) {
        parameters.insert(name, value);
    }
    Ok(())
}

fn log_notice(log: &Logger, notice: &ServerError) {
    if notice.severity == "WARNING" {
        warn!(log, "the server warns"; "message" => %notice);
    } else {
        info!(log, "the server notes"; "message" => %notice);
    }
}
