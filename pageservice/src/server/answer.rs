//! Answers requests of the page stream: at which LSN to read, whether to wait for it, what the source
//! says, and how errors read to a client.

use std::time::{Duration, Instant};

use walrecord::{BlockTag, ForkNumber, Lsn, PAGE_SIZE, Page, SLRU_PAGES_PER_SEGMENT, ZERO_PAGE};

use super::Shared;
use super::io::{Hangup, Input, Output};
use crate::plausible::{Implausible, check_page};
use crate::source::{ErrorKind, SourceError, TimelineSource};
use crate::wire::request::{ProtocolVersion, Request, RequestBody};
use crate::wire::response::Responder;

/// How often a wait looks whether the server stops or the client is gone.
const WAIT_SLICE: Duration = Duration::from_millis(500);

/// Why a request is refused before the source sees it, or in spite of what it gave.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("request_lsn is 0/0")]
    NoLsn,
    #[error("request_lsn {request} is below not_modified_since {since}")]
    Order { request: Lsn, since: Lsn },
    #[error(
        "tried to read at {at}, below the oldest readable LSN {oldest}: that version may have been \
         garbage collected"
    )]
    BelowWindow { at: Lsn, oldest: Lsn },
    #[error("nothing is readable yet: the last record is at {last}, reading begins at {oldest}")]
    NothingYet { last: Lsn, oldest: Lsn },
    #[error("relation number 0 names no relation")]
    NoRelation,
    #[error(
        "{target} did not arrive within {waited:?}; the last record is at {last}{}{status}",
        if status.is_empty() { "" } else { "; " }
    )]
    Timeout {
        target: Lsn,
        waited: Duration,
        last: Lsn,
        status: String,
    },
    #[error("{what} does not exist at {at}")]
    Missing { what: String, at: Lsn },
    #[error("{tag} at {at}: {problem}")]
    Implausible {
        tag: BlockTag,
        at: Lsn,
        problem: Implausible,
    },
    #[error("the source left out {0}")]
    LeftOut(BlockTag),
    #[error("SLRU segment of {0} bytes, which is not 1 to 32 pages")]
    SegmentSize(usize),
    #[error(transparent)]
    Source(SourceError),
}

impl Refusal {
    fn kind(&self) -> ErrorKind {
        match self {
            Refusal::NoLsn | Refusal::Order { .. } | Refusal::NoRelation => ErrorKind::Invalid,
            Refusal::BelowWindow { .. } | Refusal::NothingYet { .. } => ErrorKind::NotReadable,
            Refusal::Timeout { .. } => ErrorKind::Timeout,
            Refusal::Missing { .. } => ErrorKind::NotFound,
            Refusal::Implausible { .. } => ErrorKind::Corrupt,
            Refusal::LeftOut(_) | Refusal::SegmentSize(_) => ErrorKind::Internal,
            Refusal::Source(error) => error.kind(),
        }
    }

    /// What a client's text begins with; the field's clients show it to their user.
    fn prefix(&self) -> &'static str {
        match self.kind() {
            ErrorKind::NotFound | ErrorKind::PastEnd => "Not found",
            ErrorKind::Invalid | ErrorKind::NotReadable => "Bad request",
            ErrorKind::Timeout => "LSN timeout",
            ErrorKind::Corrupt
            | ErrorKind::Unsupported
            | ErrorKind::Internal
            | ErrorKind::ShuttingDown => "Read error",
        }
    }
}

/// Where a request is to be read.
enum Place {
    /// Here, at once.
    At(Lsn),
    /// Here, when it has arrived.
    Wait(Lsn),
}

pub(super) struct Answerer<'a> {
    shared: &'a Shared,
    timeline: &'a dyn TimelineSource,
    version: ProtocolVersion,
    /// Those of the run that is being read; kept for its memory.
    tags: Vec<BlockTag>,
}

/// The window of readable LSNs, as it was when a batch was begun.
#[derive(Clone, Copy)]
struct Window {
    oldest: Lsn,
    last: Lsn,
}

impl<'a> Answerer<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        timeline: &'a dyn TimelineSource,
        version: ProtocolVersion,
    ) -> Answerer<'a> {
        Answerer {
            shared,
            timeline,
            version,
            tags: Vec::new(),
        }
    }

    /// Answers page requests. Neighbours that are to be read at one LSN are read together.
    pub(super) fn pages(
        &mut self,
        batch: &[Request],
        input: &Input<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), Hangup> {
        self.shared.counters.requests[2].add(batch.len() as u64);
        let mut window = self.window();
        let mut run: Option<(usize, Lsn)> = None;
        for (index, request) in batch.iter().enumerate() {
            let place = self.place(window, request);
            if let (Ok(Place::At(at)), Some((_, same))) = (&place, run)
                && *at == same
            {
                continue;
            }
            if let Some((first, at)) = run.take() {
                self.read(&batch[first..index], at, output)?;
            }
            match self.arrive(place, input, output) {
                Ok((at, waited)) => {
                    if waited {
                        window = self.window();
                    }
                    run = Some((index, at));
                }
                Err(Stop::Refused(refusal)) => self.refuse(request, &refusal, output),
                Err(Stop::Hangup(hangup)) => return Err(hangup),
            }
        }
        if let Some((first, at)) = run {
            self.read(&batch[first..], at, output)?;
        }
        Ok(())
    }

    /// Answers a request that is not for a page.
    pub(super) fn other(
        &mut self,
        request: &Request,
        input: &Input<'_>,
        output: &mut Output<'_>,
    ) -> Result<(), Hangup> {
        self.shared.counters.requests[request.body.tag() as usize].add(1);
        let place = self.place(self.window(), request);
        let answered = self
            .arrive(place, input, output)
            .and_then(|(at, _)| Ok(self.answer(request, at, output)?));
        match answered {
            Ok(()) => Ok(()),
            Err(Stop::Refused(refusal)) => {
                if refusal.kind() == ErrorKind::ShuttingDown {
                    return Err(Hangup::Stopping);
                }
                self.refuse(request, &refusal, output);
                Ok(())
            }
            Err(Stop::Hangup(hangup)) => Err(hangup),
        }
    }

    fn window(&self) -> Window {
        // The oldest first: the window cannot look empty because it moved between the two.
        let oldest = self.timeline.oldest_lsn();
        let last = self.timeline.last_record_lsn();
        Window { oldest, last }
    }

    /// Where to read. A lease keeps an LSN readable that the window has moved past.
    fn place(&self, window: Window, request: &Request) -> Result<Place, Refusal> {
        match window.place(request) {
            Err(Refusal::BelowWindow { at, .. }) if self.timeline.is_leased(at) => {
                Ok(Place::At(at))
            }
            place => place,
        }
    }

    fn refuse(&self, request: &Request, refusal: &Refusal, output: &mut Output<'_>) {
        self.shared.counters.errors.add(1);
        let text = format!("{}: {refusal}", refusal.prefix());
        responder(self.version, request, &mut output.buffer).error(&text);
    }

    /// Waits, if that is needed, and says where to read and whether it waited.
    fn arrive(
        &self,
        place: Result<Place, Refusal>,
        input: &Input<'_>,
        output: &mut Output<'_>,
    ) -> Result<(Lsn, bool), Stop> {
        match place.map_err(Stop::Refused)? {
            Place::At(at) => Ok((at, false)),
            Place::Wait(target) => {
                // Those before it in line are not to wait with it.
                output.flush().map_err(Stop::Hangup)?;
                self.shared.counters.waits.add(1);
                self.wait(target, input)?;
                Ok((target, true))
            }
        }
    }

    fn wait(&self, target: Lsn, input: &Input<'_>) -> Result<(), Stop> {
        let limit = self.shared.options.wait_lsn_timeout;
        let started = Instant::now();
        loop {
            let left = limit.saturating_sub(started.elapsed());
            match self.timeline.wait_for(target, left.min(WAIT_SLICE)) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ShuttingDown => {
                    return Err(Stop::Hangup(Hangup::Stopping));
                }
                Err(error) if error.kind() != ErrorKind::Timeout => {
                    return Err(Stop::Refused(Refusal::Source(error)));
                }
                Err(_) if self.shared.is_stopping() => return Err(Stop::Hangup(Hangup::Stopping)),
                Err(_) if input.is_closed() => return Err(Stop::Hangup(Hangup::Closed)),
                Err(_) => {}
            }
            if started.elapsed() >= limit {
                return Err(Stop::Refused(Refusal::Timeout {
                    target,
                    waited: limit,
                    last: self.timeline.last_record_lsn(),
                    status: self.timeline.describe(),
                }));
            }
        }
    }

    /// Reads a run of pages and appends their responses.
    fn read(&mut self, run: &[Request], at: Lsn, output: &mut Output<'_>) -> Result<(), Hangup> {
        self.shared.counters.batches.add(1);
        self.tags.clear();
        // A run holds nothing but page requests.
        self.tags.extend(run.iter().filter_map(Request::page));
        debug_assert_eq!(self.tags.len(), run.len());
        let mut due = 0;
        let mut stopping = false;
        let tags = &self.tags;
        self.timeline.pages(at, tags, &mut |index, found| {
            stopping |= matches!(&found, Err(e) if e.kind() == ErrorKind::ShuttingDown);
            // Responses go out in order: what was skipped is answered now, what comes late is not.
            while due < index.min(run.len()) {
                self.refuse(&run[due], &Refusal::LeftOut(tags[due]), output);
                due += 1;
            }
            if due == index && index < run.len() {
                self.page(&run[index], tags[index], at, found, output);
                due += 1;
            }
        });
        for (request, tag) in run.iter().zip(tags).skip(due) {
            self.refuse(request, &Refusal::LeftOut(*tag), output);
        }
        match stopping {
            true => Err(Hangup::Stopping),
            false => Ok(()),
        }
    }

    fn page(
        &self,
        request: &Request,
        tag: BlockTag,
        at: Lsn,
        found: Result<&Page, SourceError>,
        output: &mut Output<'_>,
    ) {
        let page = match found {
            Ok(page) => match check_page(page, at) {
                Ok(()) => page,
                Err(problem) => {
                    let refusal = Refusal::Implausible { tag, at, problem };
                    return self.refuse(request, &refusal, output);
                }
            },
            Err(error) if reads_as_zeros(error.kind(), tag.fork) => &ZERO_PAGE,
            Err(error) => return self.refuse(request, &Refusal::Source(error), output),
        };
        responder(self.version, request, &mut output.buffer).page(page);
    }

    fn answer(&self, request: &Request, at: Lsn, output: &mut Output<'_>) -> Result<(), Refusal> {
        let respond = responder(self.version, request, &mut output.buffer);
        match request.body {
            RequestBody::Exists(rel, fork) => {
                respond.exists(self.timeline.fork_blocks(at, rel, fork)?.is_some());
            }
            RequestBody::Nblocks(rel, fork) => match self.timeline.fork_blocks(at, rel, fork)? {
                Some(blocks) => respond.nblocks(blocks),
                None if is_map(fork) => respond.nblocks(0),
                None => {
                    let what = format!("relation {rel} ({fork})");
                    return Err(Refusal::Missing { what, at });
                }
            },
            RequestBody::DbSize(db) => respond.db_size(self.timeline.db_size(at, db)?),
            RequestBody::SlruSegment(kind, segment) => {
                let Some(pages) = self.timeline.slru_segment(at, kind, segment)? else {
                    let what = format!("segment {segment:04X} of {}", kind.directory());
                    return Err(Refusal::Missing { what, at });
                };
                let count = pages.len() / PAGE_SIZE;
                if pages.len() % PAGE_SIZE != 0 || count > SLRU_PAGES_PER_SEGMENT as usize {
                    return Err(Refusal::SegmentSize(pages.len()));
                }
                respond.slru_segment(&pages);
            }
            // They come in batches: see `pages`.
            RequestBody::GetPage(tag) => return Err(Refusal::LeftOut(tag)),
        }
        Ok(())
    }
}

/// Why a request gets no answer from the source.
enum Stop {
    /// It is answered with an error.
    Refused(Refusal),
    /// The connection ends.
    Hangup(Hangup),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<SourceError> for Refusal {
    fn from(error: SourceError) -> Refusal {
        Refusal::Source(error)
    }
}

impl Window {
    /// Where to read: any LSN from not_modified_since to request_lsn is right, so nobody waits who
    /// need not.
    fn place(self, request: &Request) -> Result<Place, Refusal> {
        let (wanted, since) = (
            request.header.request_lsn,
            request.header.not_modified_since,
        );
        let Window { oldest, last } = self;
        if !wanted.is_valid() {
            return Err(Refusal::NoLsn);
        }
        if wanted < since {
            let request = wanted;
            return Err(Refusal::Order { request, since });
        }
        if request.body.relation().is_some_and(|rel| rel.rel == 0) {
            return Err(Refusal::NoRelation);
        }
        if wanted < oldest {
            return Err(Refusal::BelowWindow { at: wanted, oldest });
        }
        if since > last {
            return match since < oldest {
                true => Err(Refusal::NothingYet { last, oldest }),
                false => Ok(Place::Wait(since)),
            };
        }
        let at = wanted.min(last);
        match at < oldest {
            true => Err(Refusal::NothingYet { last, oldest }),
            false => Ok(Place::At(at)),
        }
    }
}

/// A fork that comes and goes with use: one that is missing is an empty one.
fn is_map(fork: ForkNumber) -> bool {
    matches!(fork, ForkNumber::Fsm | ForkNumber::Vm)
}

/// Postgres reads a block past the end as one that was never written.
fn reads_as_zeros(kind: ErrorKind, fork: ForkNumber) -> bool {
    kind == ErrorKind::PastEnd || (kind == ErrorKind::NotFound && is_map(fork))
}

fn responder<'a>(
    version: ProtocolVersion,
    request: &'a Request,
    out: &'a mut Vec<u8>,
) -> Responder<'a> {
    Responder {
        version,
        request,
        out,
    }
}
