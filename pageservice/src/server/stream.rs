//! The page stream: takes requests out of the input, folds runs of page requests into batches, and
//! appends the responses in the order of the requests.

use std::sync::Arc;
use std::time::Instant;

use super::Shared;
use super::answer::Answerer;
use super::connection::next_message;
use super::io::{Hangup, Input, Output};
use crate::source::TimelineSource;
use crate::wire::frame::Frame;
use crate::wire::request::{ProtocolVersion, Request, RequestBody};

/// Page requests that are answered together at most.
pub const MAX_BATCH: usize = 32;

/// Once so much lies in the output buffer it is sent, though more requests are there. A batch of pages
/// (270 KiB) or an SLRU segment (256 KiB) comes on top: the bound of what a slow reader can pin.
pub(super) const MAX_BUFFERED: usize = 64 * 1024;

/// How a page stream ended.
pub(super) enum StreamEnd {
    /// The client closes the connection.
    Terminated,
    /// The client sent something that is no request.
    Failed {
        text: String,
        /// The client asked for ReadyForQuery already.
        synced: bool,
    },
}

pub(super) struct PageStream {
    version: ProtocolVersion,
    timeline: Arc<dyn TimelineSource>,
    extended: bool,
    batch: Vec<Request>,
    synced: bool,
}

/// What the message at the front of the input is.
enum Next {
    Request(Request),
    /// Nothing that ends the stream, and nothing to answer.
    Nothing,
    End(StreamEnd),
}

impl PageStream {
    /// `extended`: the command came as an Execute. Its Sync may then arrive behind it.
    pub(super) fn new(
        version: ProtocolVersion,
        timeline: Arc<dyn TimelineSource>,
        extended: bool,
    ) -> PageStream {
        PageStream {
            version,
            timeline,
            extended,
            batch: Vec::with_capacity(MAX_BATCH),
            synced: false,
        }
    }

    /// Answers requests until the client ends the stream. Whatever was due before is sent first.
    pub(super) fn run(
        mut self,
        shared: &Shared,
        input: &mut Input<'_>,
        output: &mut Output<'_>,
    ) -> Result<StreamEnd, Hangup> {
        output.flush()?;
        let timeline = Arc::clone(&self.timeline);
        let mut answerer = Answerer::new(shared, &*timeline, self.version);
        loop {
            let frame = next_message(shared, input, output)?;
            let next = self.read(&frame, input);
            input.consume(&frame.body);
            match next {
                Next::End(end) => return Ok(end),
                Next::Nothing => {}
                Next::Request(request) => {
                    let started = Instant::now();
                    if matches!(request.body, RequestBody::GetPage(_)) {
                        self.batch.clear();
                        self.batch.push(request);
                        self.fold(input);
                        answerer.pages(&self.batch, input, output)?;
                        let count = self.batch.len() as u64;
                        shared.counters.observe_pages(count, started.elapsed());
                    } else {
                        answerer.other(&request, input, output)?;
                    }
                    if output.buffer.len() >= MAX_BUFFERED {
                        output.flush()?;
                    }
                }
            }
        }
    }

    /// Takes the page requests that are already here into the batch. Never waits: the batch grows
    /// with what a busy client sends meanwhile, and costs an idle one nothing.
    fn fold(&mut self, input: &mut Input<'_>) {
        while self.batch.len() < MAX_BATCH {
            // Whatever is wrong with the next message is found again when its turn comes.
            let Ok(Some(frame)) = input.peek() else {
                return;
            };
            let Next::Request(request) = self.read(&frame, input) else {
                return;
            };
            if !matches!(request.body, RequestBody::GetPage(_)) {
                return;
            }
            input.consume(&frame.body);
            self.batch.push(request);
        }
    }

    fn read(&mut self, frame: &Frame, input: &Input<'_>) -> Next {
        match frame.tag {
            b'd' => match Request::decode(self.version, input.bytes(&frame.body)) {
                Ok(request) => Next::Request(request),
                Err(error) => self.failed(error.to_string()),
            },
            b'X' => Next::End(StreamEnd::Terminated),
            // As Postgres does in a copy that an Execute began.
            b'S' if self.extended => {
                self.synced = true;
                Next::Nothing
            }
            b'H' if self.extended => Next::Nothing,
            tag => {
                let tag = char::from(tag);
                self.failed(format!("unexpected message {tag:?} in a page stream"))
            }
        }
    }

    fn failed(&self, text: String) -> Next {
        let synced = self.synced;
        Next::End(StreamEnd::Failed { text, synced })
    }
}
