//! The thread that receives: WAL to the sink, in order and without gaps, until the stream ends.

use std::sync::Arc;
use std::thread;

use slog::{info, o};
use walrecord::{Lsn, PgTime};

use super::message::{COPY_DONE, FromServer};
use super::reply::{Replier, Shared, Verdict};
use super::start::{self, Started};
use super::{NextTimeline, Progress, StreamEnd, StreamError, StreamOptions, WalSink};
use crate::connection::{Connection, Receiver, unexpected};
use crate::control::Control;
use crate::error::{ConnectionError, ProtocolError, SqlState};
use crate::follow::ReceiverStatus;

const STREAM: &str = "streaming";

/// Messages that have arrived are handed to the sink together, up to this many bytes.
const BATCH: usize = 1 << 20;

/// A message of at least so many bytes is handed over as it is: there is nothing to win by another copy.
const LARGE: usize = 64 << 10;

/// Streams WAL from `options.start` into `sink` until the stream ends.
///
/// The sink is rewound to `options.start` once the server has agreed to send from there. Replies go out from a thread of their own; it lives as long
/// as this call. What the server says about itself is kept in `status`.
///
/// # Errors
/// As the server, the connection or the sink fails. The connection is then of no more use; WAL that
/// was handed to the sink stays there.
pub fn stream(
    connection: &mut Connection,
    sink: &mut dyn WalSink,
    options: &StreamOptions,
    control: &Control,
    status: &ReceiverStatus,
) -> Result<StreamEnd, StreamError> {
    match start::start_replication(connection, options) {
        Ok(Started::Streaming) => {}
        Ok(Started::AtEnd(next)) => return Ok(StreamEnd::TimelineEnded(next)),
        Err(_) if control.is_stopped() => return Ok(StreamEnd::Stopped),
        Err(error) => return Err(error.into()),
    }
    // Not before the server has agreed to send from there: what it does not send again must stay. Even if
    // nothing is cut off, from here on the sink's end is where the stream goes on.
    sink.rewind(options.start).map_err(StreamError::Sink)?;
    // From here on the status thread ends the connection, after a last reply.
    control.unguard();
    status.streaming(options.start);

    let failed = |source| ConnectionError::Io {
        during: STREAM,
        source,
    };
    let interrupt = connection.interrupt_handle().map_err(failed)?;
    let (receiver, writer) = connection.halves();
    writer
        .set_timeout(Some(options.silence_timeout))
        .map_err(failed)?;
    let shared = Shared::new();
    let progress = sink.progress();
    let mut intake = Intake {
        sink,
        progress: progress.clone(),
        shared: &shared,
        control,
        status,
        log: receiver.log().new(o!()),
        end: options.start,
        batch: Vec::new(),
        caught_up: false,
    };
    let replier = Replier {
        writer,
        shared: &shared,
        control,
        progress: &*progress,
        options,
        status,
    };
    let outcome = thread::scope(|scope| {
        let sender = thread::Builder::new()
            .name("wal-status".to_owned())
            .spawn_scoped(scope, || replier.run())
            .map_err(failed)?;
        let outcome = intake.run(receiver);
        shared.finish();
        if !matches!(outcome, Ok(Ended::CopyDone)) {
            // The status thread may be blocked in a write that nobody reads.
            interrupt.interrupt();
        }
        control.wake();
        if let Err(panic) = sender.join() {
            std::panic::resume_unwind(panic);
        }
        outcome
    });
    match conclude(outcome, shared.take_verdict(), control, options) {
        Ok(Ended::CopyDone) => end_copy(connection, options).map(StreamEnd::TimelineEnded),
        Ok(Ended::ServerShutdown) => Ok(StreamEnd::ServerShutdown),
        Ok(Ended::Idle) => Ok(StreamEnd::Idle),
        Ok(Ended::Stopped) => Ok(StreamEnd::Stopped),
        Err(error) => Err(error),
    }
}

/// How the receiving thread ended.
#[derive(Debug)]
enum Ended {
    CopyDone,
    ServerShutdown,
    Idle,
    Stopped,
}

/// Which of the two threads' findings is the reason for the end.
fn conclude(
    outcome: Result<Ended, StreamError>,
    verdict: Option<Verdict>,
    control: &Control,
    options: &StreamOptions,
) -> Result<Ended, StreamError> {
    let broke = matches!(
        outcome,
        Err(StreamError::Connection(
            ConnectionError::Io { .. } | ConnectionError::Closed { .. }
        ))
    );
    match (outcome, verdict) {
        (Ok(ended), _) => Ok(ended),
        // A sink that waits may give up for the same reason.
        (Err(StreamError::Sink(super::SinkError::Retry(_))), _) if control.is_stopped() => {
            Ok(Ended::Stopped)
        }
        // The connection broke because the status thread broke it.
        (Err(_), Some(Verdict::Stopped)) if broke => Ok(Ended::Stopped),
        (Err(_), Some(Verdict::Silent)) if broke => {
            Err(StreamError::Silent(options.silence_timeout))
        }
        (Err(_), Some(Verdict::Unsent(source))) if broke => Err(ConnectionError::Io {
            during: "a status reply",
            source,
        }
        .into()),
        (Err(error), _) => Err(error),
    }
}

/// Ends our side of the copy after the server ended its.
fn end_copy(
    connection: &mut Connection,
    options: &StreamOptions,
) -> Result<NextTimeline, StreamError> {
    connection.send(STREAM, &COPY_DONE)?;
    let receiver = connection.receiver();
    receiver.set_deadline(Some(options.silence_timeout));
    let next = start::next_timeline(receiver)?;
    receiver.set_deadline(None);
    Ok(next)
}

struct Intake<'a> {
    sink: &'a mut dyn WalSink,
    progress: Arc<dyn Progress>,
    shared: &'a Shared,
    control: &'a Control,
    status: &'a ReceiverStatus,
    log: slog::Logger,
    /// Where the next WAL must start.
    end: Lsn,
    /// WAL received and not yet written, up to `end`.
    batch: Vec<u8>,
    caught_up: bool,
}

/// What the server last said about itself.
#[derive(Clone, Copy)]
struct Heard {
    server_end: Lsn,
    sent_at: PgTime,
    reply_requested: bool,
}

impl Intake<'_> {
    fn run(&mut self, receiver: &mut Receiver) -> Result<Ended, StreamError> {
        loop {
            self.shared.begin_wait();
            let first = receiver.peek(STREAM);
            self.shared.end_wait();
            match first {
                Ok(_) => {}
                Err(error) if says_good_bye(&error) => return Ok(Ended::Idle),
                Err(error) => return Err(error.into()),
            }
            if let Some(ended) = self.take_buffered(receiver)? {
                return Ok(ended);
            }
        }
    }

    /// Takes the messages that are there whole, of which there is one at least.
    fn take_buffered(&mut self, receiver: &mut Receiver) -> Result<Option<Ended>, StreamError> {
        let mut heard = None;
        let mut ended = None;
        loop {
            let message = receiver.receive(STREAM)?;
            match message.tag {
                b'd' => {
                    let now = self.take(FromServer::decode(message.body)?)?;
                    let asked = heard.is_some_and(|earlier: Heard| earlier.reply_requested);
                    heard = Some(Heard {
                        reply_requested: now.reply_requested || asked,
                        ..now
                    });
                }
                b'c' => ended = Some(Ended::CopyDone),
                // The end of the command without an end of the copy (`WalSndDone`).
                b'C' => ended = Some(Ended::ServerShutdown),
                tag => return Err(unexpected(tag, STREAM).into()),
            }
            let more = ended.is_none()
                && self.batch.len() < BATCH
                && matches!(receiver.buffered_tag()?, Some(b'd' | b'c' | b'C'));
            if !more {
                break;
            }
        }
        self.hand_over()?;
        if let Some(heard) = heard {
            self.note(heard);
        }
        Ok(ended)
    }

    /// Appends WAL to the batch, or hands it over if it is large.
    fn take(&mut self, message: FromServer<'_>) -> Result<Heard, StreamError> {
        match message {
            FromServer::KeepAlive {
                server_end,
                sent_at,
                reply_requested,
            } => Ok(Heard {
                server_end,
                sent_at,
                reply_requested,
            }),
            FromServer::Wal {
                start,
                server_end,
                sent_at,
                bytes,
            } => {
                if start != self.end {
                    let expected = self.end;
                    return Err(ProtocolError::Gap {
                        expected,
                        found: start,
                    }
                    .into());
                }
                if bytes.len() >= LARGE {
                    self.hand_over()?;
                }
                self.end = start.checked_add(bytes.len() as u64).ok_or_else(|| {
                    ProtocolError::BadValue {
                        field: "WAL start",
                        value: start.to_string(),
                        expected: "a position whose WAL ends in range",
                    }
                })?;
                if bytes.len() >= LARGE {
                    self.write(start, bytes)?;
                } else {
                    self.batch.extend_from_slice(bytes);
                }
                Ok(Heard {
                    server_end,
                    sent_at,
                    reply_requested: false,
                })
            }
        }
    }

    fn hand_over(&mut self) -> Result<(), StreamError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let start = Lsn::new(self.end.get() - batch.len() as u64);
        let written = self.write(start, &batch);
        self.batch = batch;
        self.batch.clear();
        written
    }

    fn write(&mut self, start: Lsn, bytes: &[u8]) -> Result<(), StreamError> {
        let before = self.progress.positions();
        self.sink.write(start, bytes)?;
        // A sink that syncs inside `write` need not know of the status thread.
        if self.progress.positions().matter_beside(&before) {
            self.control.wake();
        }
        Ok(())
    }

    fn note(&mut self, heard: Heard) {
        self.sink.server_position(heard.server_end, heard.sent_at);
        self.status.heard(self.end, heard.server_end);
        if !self.caught_up && self.end >= heard.server_end {
            self.caught_up = true;
            info!(self.log, "caught up with the server"; "lsn" => %self.end);
        }
        if heard.reply_requested {
            self.shared.request_reply();
            self.control.wake();
        }
    }
}

/// A safekeeper whose timeline is idle ends the stream with an error that is none.
fn says_good_bye(error: &ConnectionError) -> bool {
    error.server().is_some_and(|error| {
        error.code == SqlState::SUCCESSFUL_COMPLETION && error.message.contains("ending streaming")
    })
}
