//! One connection: startup, then queries, simple and extended, until the client or the server ends it.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use slog::{Logger, debug};

use super::Shared;
use super::command::{Command, CommandError};
use super::io::{Hangup, Input, Output, is_timeout};
use super::stream::{PageStream, StreamEnd};
use crate::source::{ErrorKind, SourceError};
use crate::wire::frame::{Frame, FrameError};
use crate::wire::message::{
    Backend, MessageError, Severity, SqlState, Startup, StartupPacket, parse_text, query_text,
};

/// What drivers are told at their start. Nothing here depends on it; the version is the one that the
/// field's clients know from such servers.
const PARAMETERS: [(&str, &str); 3] = [
    ("client_encoding", "UTF8"),
    ("integer_datetimes", "on"),
    ("server_version", "14.1"),
];

/// The row that answers `lease lsn`: milliseconds since 1970.
const LEASE_ROW: Backend<'static> = Backend::RowDescription("valid_until");

/// A client asks for encryption twice at most (GSS, then TLS).
const MAX_ENCRYPTION_REQUESTS: usize = 2;

pub(super) struct Connection<'a> {
    shared: &'a Shared,
    stream: &'a TcpStream,
    input: Input<'a>,
    output: Output<'a>,
    log: &'a Logger,
    /// The text of the last Parse.
    parsed: Option<String>,
    /// After an error in the extended protocol, everything up to the next Sync is skipped.
    skipping: bool,
}

/// How a command was asked for, which decides who asks for ReadyForQuery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Simple,
    Extended,
}

impl<'a> Connection<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        stream: &'a TcpStream,
        log: &'a Logger,
    ) -> Result<Connection<'a>, Hangup> {
        let limit = shared.options.write_timeout;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(limit))?;
        Ok(Connection {
            shared,
            stream,
            input: Input::new(stream, &shared.counters),
            output: Output::new(stream, &shared.counters, limit),
            log,
            parsed: None,
            skipping: false,
        })
    }

    /// Serves the client until one side ends it.
    pub(super) fn run(&mut self) -> Result<(), Hangup> {
        let end = self.startup().and_then(|()| self.queries());
        match &end {
            Err(Hangup::Violation(text)) => {
                self.last_word(SqlState::ProtocolViolation, text);
            }
            Err(Hangup::Stopping) => {
                self.last_word(SqlState::AdminShutdown, "the page server is shutting down");
            }
            Err(Hangup::Cancel) | Ok(()) => self.output.close(),
            Err(_) => {}
        }
        end
    }

    fn last_word(&mut self, state: SqlState, text: &str) {
        self.send(&Backend::Error(Severity::Fatal, state, text));
        self.output.close();
    }

    fn send(&mut self, message: &Backend<'_>) {
        message.encode(&mut self.output.buffer);
    }

    fn startup(&mut self) -> Result<(), Hangup> {
        let limit = self.shared.options.startup_timeout;
        let deadline = Instant::now() + limit;
        for _ in 0..=MAX_ENCRYPTION_REQUESTS {
            let body = loop {
                if let Some(body) = self.input.peek_startup().map_err(violation)? {
                    break body;
                }
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(Hangup::SlowStartup(limit));
                }
                self.stream.set_read_timeout(Some(left))?;
                match self.input.fill() {
                    Ok(0) => return Err(self.closed()),
                    Ok(_) => {}
                    Err(error) if is_timeout(&error) => return Err(Hangup::SlowStartup(limit)),
                    Err(error) => return Err(error.into()),
                }
            };
            let packet = StartupPacket::decode(self.input.bytes(&body)).map_err(violation)?;
            self.input.consume(&body);
            match packet {
                StartupPacket::Encryption => {
                    self.output.buffer.push(b'N');
                    self.output.flush()?;
                }
                StartupPacket::Cancel => return Err(Hangup::Cancel),
                StartupPacket::Startup(startup) => return self.welcome(&startup),
            }
        }
        Err(Hangup::Violation("too many encryption requests".to_owned()))
    }

    fn welcome(&mut self, startup: &Startup) -> Result<(), Hangup> {
        let application = startup.application_name.as_deref().unwrap_or("");
        debug!(self.log, "client connected"; "application_name" => application);
        if startup.minor > 0 || !startup.extensions.is_empty() {
            self.send(&Backend::NegotiateProtocolVersion(&startup.extensions));
        }
        self.send(&Backend::AuthenticationOk);
        for (name, value) in PARAMETERS {
            self.send(&Backend::ParameterStatus(name, value));
        }
        self.send(&Backend::ReadyForQuery);
        self.stream
            .set_read_timeout(Some(self.shared.options.idle_timeout))?;
        Ok(())
    }

    fn queries(&mut self) -> Result<(), Hangup> {
        loop {
            let frame = next_message(self.shared, &mut self.input, &mut self.output)?;
            self.input.consume(&frame.body);
            if frame.tag == b'X' {
                return Ok(());
            }
            if self.skipping && frame.tag != b'S' {
                continue;
            }
            self.message(&frame)?;
        }
    }

    fn message(&mut self, frame: &Frame) -> Result<(), Hangup> {
        let body = self.input.bytes(&frame.body);
        match frame.tag {
            b'Q' => {
                let text = query_text(body).map_err(violation)?.to_owned();
                self.command(&text, Asked::Simple)?;
            }
            b'P' => {
                self.parsed = Some(parse_text(body).map_err(violation)?.to_owned());
                self.send(&Backend::ParseComplete);
            }
            b'B' => self.send(&Backend::BindComplete),
            b'D' => {
                // A statement has parameters, a portal has not.
                if body.first() == Some(&b'S') {
                    self.send(&Backend::NoParameters);
                }
                match Command::parse(self.parsed.as_deref().unwrap_or_default()) {
                    Ok(Command::LeaseLsn { .. }) => self.send(&LEASE_ROW),
                    _ => self.send(&Backend::NoData),
                }
            }
            b'E' => {
                let text = self.parsed.clone().unwrap_or_default();
                self.command(&text, Asked::Extended)?;
            }
            b'C' => self.send(&Backend::CloseComplete),
            b'S' => {
                self.skipping = false;
                self.send(&Backend::ReadyForQuery);
            }
            b'H' => self.output.flush()?,
            // What was under way when a copy ended; Postgres ignores it, too.
            b'd' | b'c' | b'f' => {}
            tag => {
                let tag = char::from(tag);
                return Err(Hangup::Violation(format!("unexpected message {tag:?}")));
            }
        }
        Ok(())
    }

    fn command(&mut self, text: &str, asked: Asked) -> Result<(), Hangup> {
        let mut ready = asked == Asked::Simple;
        match Command::parse(text) {
            Ok(Command::Empty) => self.send(&Backend::EmptyQuery),
            Ok(Command::Set) => self.send(&Backend::CommandComplete("SELECT 1")),
            Ok(Command::LeaseLsn {
                tenant,
                timeline,
                lsn,
            }) => match self.shared.source.lease(&tenant, &timeline, lsn) {
                Err(error) if error.kind() == ErrorKind::ShuttingDown => {
                    return Err(Hangup::Stopping);
                }
                Err(error) if error.kind() != ErrorKind::NotReadable => {
                    self.fail(state_of(&error), &error.to_string(), ready);
                }
                held => self.leased(held.ok(), asked),
            },
            Ok(Command::PageStream {
                version,
                tenant,
                timeline,
            }) => match self.shared.source.open(&tenant, &timeline) {
                Ok(source) => {
                    debug!(self.log, "page stream opened"; "tenant" => tenant, "timeline" => timeline);
                    self.send(&Backend::CopyBoth);
                    let stream =
                        PageStream::new(version, Arc::clone(&source), asked == Asked::Extended);
                    match stream.run(self.shared, &mut self.input, &mut self.output)? {
                        StreamEnd::Terminated => return Err(Hangup::Closed),
                        StreamEnd::Failed { text, synced } => {
                            ready |= synced;
                            self.fail(SqlState::ProtocolViolation, &text, ready);
                        }
                    }
                }
                Err(error) if error.kind() == ErrorKind::ShuttingDown => {
                    return Err(Hangup::Stopping);
                }
                Err(error) => self.fail(state_of(&error), &error.to_string(), ready),
            },
            Err(error) => self.fail(state_of_command(&error), &error.to_string(), ready),
        }
        if ready {
            self.send(&Backend::ReadyForQuery);
        }
        Ok(())
    }

    /// Tells until when an LSN is held; that it is not, by a value that is null.
    fn leased(&mut self, until: Option<u64>, asked: Asked) {
        // In the extended protocol it is Describe that asks for this.
        if asked == Asked::Simple {
            self.send(&LEASE_ROW);
        }
        let until = until.map(|until| until.to_string());
        self.send(&Backend::DataRow(until.as_deref()));
        self.send(&Backend::CommandComplete("SELECT 1"));
    }

    /// The command failed. Unless ReadyForQuery follows at once, a Sync is due first.
    fn fail(&mut self, state: SqlState, text: &str, ready: bool) {
        self.send(&Backend::Error(Severity::Error, state, text));
        self.skipping = !ready;
    }

    fn closed(&self) -> Hangup {
        closed(self.shared, &self.input)
    }
}

/// The next message, not yet consumed. Sends what is due before it waits.
pub(super) fn next_message(
    shared: &Shared,
    input: &mut Input<'_>,
    output: &mut Output<'_>,
) -> Result<Frame, Hangup> {
    loop {
        if let Some(frame) = input.peek().map_err(violation)? {
            return Ok(frame);
        }
        output.flush()?;
        match input.fill() {
            Ok(0) => return Err(closed(shared, input)),
            Ok(_) => {}
            Err(error) if is_timeout(&error) => {
                return Err(Hangup::Idle(shared.options.idle_timeout));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The input ended: the client closed it, or `stop` did.
fn closed(shared: &Shared, input: &Input<'_>) -> Hangup {
    if shared.is_stopping() {
        Hangup::Stopping
    } else if input.is_empty() {
        Hangup::Closed
    } else {
        Hangup::ClosedInMessage
    }
}

trait Violation: std::fmt::Display {}
impl Violation for FrameError {}
impl Violation for MessageError {}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
fn violation<E: Violation>(error: E) -> Hangup {
    Hangup::Violation(error.to_string())
}

fn state_of(error: &SourceError) -> SqlState {
    match error.kind() {
        ErrorKind::Unsupported => SqlState::FeatureNotSupported,
        _ => SqlState::Other,
    }
}

fn state_of_command(error: &CommandError) -> SqlState {
    match error {
        CommandError::Unsupported(_) => SqlState::FeatureNotSupported,
        CommandError::Arguments(_)
        | CommandError::LeaseArguments
        | CommandError::Lsn(_)
        | CommandError::Name(_) => SqlState::Other,
    }
}
