//! Stretches of WAL read and put into lines side by side, and joined in order. What is found where two
//! stretches meet must be what reading them one after the other finds; a stretch of which that is
//! not sure is left to whoever reads so, with whatever is wrong there.

use std::num::NonZero;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Error, Result};
use walrecord::{
    DecoderOptions, LONG_PAGE_HEADER_SIZE, Lsn, PageHeader, PgTimelineId, Record,
    SHORT_PAGE_HEADER_SIZE, StreamDecoder, WAL_PAGE_SIZE, WalSource,
};

use super::dump::Dump;
use super::lines::Lines;
use super::locate::Located;
use super::source::{Segments, SourceError, Until};
use crate::stop::Stop;

#[cfg(test)]
mod tests;

/// Bytes of a stretch. Long enough that handing over costs nothing beside it, short enough that its text
/// stays in the processor's cache. Segments are a multiple of it.
const STRETCH: u64 = 512 << 10;

/// Read at a time. What was read should still be in the processor's cache when it is decoded.
const CHUNK: u64 = 64 << 10;

/// More would wait for one another's output.
const MOST_WORKERS: usize = 4;

/// How far WAL was taken, to go on from there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Where the last record starts.
    pub(super) last: Lsn,
    /// Where it ends.
    pub(super) end: Lsn,
    /// Of the last page looked at.
    pub(super) timeline: Option<PgTimelineId>,
}

/// Reads segment files with several workers.
#[derive(Debug)]
pub(super) struct Abreast<'a> {
    located: &'a Located,
    workers: usize,
    /// Bytes of a stretch: whole pages, of which a segment is a multiple.
    stretch: u64,
}

impl<'a> Abreast<'a> {
    /// With as many workers as the machine has processors; none if it has only one.
    pub(super) fn new(located: &'a Located) -> Option<Abreast<'a>> {
        let workers = thread::available_parallelism().map_or(1, NonZero::get);
        (workers > 1).then_some(Abreast {
            located,
            workers: workers.min(MOST_WORKERS),
            stretch: STRETCH,
        })
    }

    /// The first place at or behind `lsn` where a stretch can begin.
    pub(super) fn boundary(&self, lsn: Lsn) -> Option<Lsn> {
        lsn.get()
            .checked_next_multiple_of(self.stretch)
            .map(Lsn::new)
    }

    /// Has the dump take the lines of the records behind those taken, stretch by stretch, as long as
    /// they can be joined; none if there is no stretch's beginning behind. `known` is what was learned
    /// of the WAL so far.
    ///
    /// # Errors
    /// If the dump fails, or a thread cannot be started.
    pub(super) fn run(
        &self,
        dump: &mut Dump,
        lines: &Lines,
        taken: Taken,
        known: DecoderOptions,
        stop: &Stop,
    ) -> Result<Taken> {
        let Some(start) = self.boundary(taken.end) else {
            return Ok(taken);
        };
        let known = DecoderOptions {
            system_identifier: known
                .system_identifier
                .or(Some(self.located.system_identifier)),
            ..known
        };
        let front = Front {
            state: Mutex::new(State {
                next: start,
                turn: start,
                taken,
                dump,
                closed: false,
                failed: None,
            }),
            moved: Condvar::new(),
            stretch: self.stretch,
            segment_size: self.located.segment_size,
            end: self.located.end.unwrap_or(Lsn::new(u64::MAX)),
            stop,
        };
        thread::scope(|scope| {
            for _ in 0..self.workers {
                let worker = Worker {
                    decoder: StreamDecoder::new(start, known),
                    source: Until::new(Segments::new(self.located, false), self.located.end),
                    lines: lines.clone(),
                    front: &front,
                };
                thread::Builder::new()
                    .name("waldump".to_owned())
                    .spawn_scoped(scope, move || worker.run())
                    .inspect_err(|_| front.close())
                    .context("starting a thread")?;
            }
            Ok::<(), Error>(())
        })?;
        let state = front.state.into_inner();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        state.failed.map_or(Ok(state.taken), Err)
    }
}

/// Where the stretches are joined.
struct Front<'a> {
    state: Mutex<State<'a>>,
    moved: Condvar,
    stretch: u64,
    segment_size: u32,
    /// Nothing behind it is wanted.
    end: Lsn,
    stop: &'a Stop,
}

struct State<'a> {
    /// The stretch that nobody reads yet.
    next: Lsn,
    /// The stretch that is joined next.
    turn: Lsn,
    taken: Taken,
    dump: &'a mut Dump,
    /// No more is joined.
    closed: bool,
    failed: Option<Error>,
}

/// What was seen in a stretch all of whose records are sound.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Where the first record that begins in it starts.
    first: Lsn,
    /// Where the record before that starts, as it says.
    previous: Lsn,
    /// Of the first page.
    timeline: PgTimelineId,
    taken: Taken,
}

impl<'a> Front<'a> {
    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.moved.notify_all();
    }

    /// Where the stretch begins that is to be read next.
    fn next(&self) -> Option<Lsn> {
        let mut state = self.lock();
        let from = state.next;
        let to = from
            .checked_add(self.stretch)
            .filter(|to| *to <= self.end)?;
        state.next = to;
        (!state.closed).then_some(from)
    }

    /// Waits until it is the stretch's turn that begins at `from`, and has its lines taken. Says whether
    /// to go on.
    fn join(&self, from: Lsn, seen: Option<Seen>, lines: &mut Lines) -> bool {
        let mut state = self.lock();
        while state.turn != from && !state.closed {
            let woken = self.moved.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        let state = &mut *state;
        if state.closed {
            return false;
        }
        let to = from + self.stretch;
        if state.taken.end >= to {
            // It is within one record, or behind the one that ended a segment.
            lines.clear();
        } else if let Some(seen) = seen.filter(|seen| self.continues(&state.taken, seen))
            && !self.stop.is_set()
        {
            state.taken = seen.taken;
            state.failed = state.dump.take_lines(lines).err();
            state.closed = state.failed.is_some();
        } else {
            state.closed = true;
        }
        state.turn = to;
        self.moved.notify_all();
        !state.closed
    }

    /// Whether a stretch goes on where records were taken up to: what reading on would check there.
    fn continues(&self, taken: &Taken, seen: &Seen) -> bool {
        let header = match taken.end {
            end if end.segment_offset(self.segment_size) == 0 => LONG_PAGE_HEADER_SIZE,
            end if end.page_offset() == 0 => SHORT_PAGE_HEADER_SIZE,
            _ => 0,
        };
        seen.first == taken.end + header as u64
            && seen.previous == taken.last
            && taken.timeline.is_none_or(|before| before <= seen.timeline)
    }
}

struct Worker<'f, 'a> {
    decoder: StreamDecoder,
    source: Until<Segments>,
    lines: Lines,
    front: &'f Front<'a>,
}

impl Worker<'_, '_> {
    fn run(mut self) {
        let _closing = ClosedByPanic(self.front);
        while let Some(from) = self.front.next() {
            let seen = self.read(from);
            if !self.front.join(from, seen, &mut self.lines) {
                return;
            }
        }
    }

    /// Reads the stretch that begins at `from`: all records that begin in it. None if there is anything
    /// but sound records, or a record so long that others would wait.
    fn read(&mut self, from: Lsn) -> Option<Seen> {
        let to = from + self.front.stretch;
        self.decoder.restart(from);
        let (mut first, mut timeline) = (None, None);
        while self.decoder.position() < to {
            let Some(raw) = self.decoder.next_record().ok()? else {
                let received = self.decoder.received();
                if self.decoder.ended() || (first.is_none() && received >= to) {
                    return None;
                }
                let count = match to.saturating_sub(received) {
                    // Most records that go on behind a stretch end in the next page.
                    0 => WAL_PAGE_SIZE as u64,
                    left => left.min(CHUNK),
                };
                let source = &self.source;
                let got = self.decoder.fill(count as usize, |at, buf| {
                    let got = source.read_at(at, buf)?;
                    if at == from {
                        let header = PageHeader::parse(&buf[..got]).ok();
                        timeline = header.map(|header| header.timeline);
                    }
                    Ok::<usize, SourceError>(got)
                });
                got.ok().filter(|got| *got > 0)?;
                continue;
            };
            if raw.start >= to {
                return None;
            }
            let mut record = Record::default();
            let admitted = self.lines.admits(&raw, &mut record).ok()?;
            first.get_or_insert((record.start, record.header.prev));
            if admitted {
                self.lines.add(&record);
            }
        }
        let (first, previous) = first?;
        Some(Seen {
            first,
            previous,
            timeline: timeline?,
            taken: Taken {
                last: self.decoder.previous()?,
                end: self.decoder.position(),
                timeline: self.decoder.timeline(),
            },
        })
    }
}

/// Nobody waits for the turn of a worker that is gone.
struct ClosedByPanic<'f, 'a>(&'f Front<'a>);

impl Drop for ClosedByPanic<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.close();
        }
    }
}
