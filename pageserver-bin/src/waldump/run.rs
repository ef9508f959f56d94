//! From the first record to the last (`main`, bin/pg_waldump/pg_waldump.c).

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use walrecord::describe::Text;
use walrecord::{DecoderOptions, Lsn, PgVersion, RecordReader, Rmgr, WalSource};

use super::abreast::{Abreast, Taken};
use super::args::{RmgrChoice, Waldump};
use super::dump::Dump;
use super::locate::{Located, locate};
use super::output::{Closed, Output};
use super::source::{Segments, SourceError, Stream, Until};
use crate::stop::Stop;

/// How often the end of the WAL is looked at again, in following.
const FOLLOW_PERIOD: Duration = Duration::from_secs(1);

/// Shows WAL.
///
/// # Errors
/// If there is no such WAL, if it cannot be read or is damaged, or if the output cannot be written. All
/// that could be read is shown before.
pub fn waldump(args: &Waldump) -> Result<()> {
    let output = Output::new()?;
    let result = if args.rmgr.contains(&RmgrChoice::List) {
        list_rmgrs(output)
    } else if args.startseg.as_deref() == Some(Path::new("-")) {
        dump_stream(args, output)
    } else {
        dump_segments(args, output)
    };
    match result {
        Err(error) if error.is::<Closed>() => Ok(()),
        result => result,
    }
}

fn list_rmgrs(mut output: Output) -> Result<()> {
    let mut text = Text::new();
    for rmgr in Rmgr::ALL {
        text.str(rmgr.name()).byte(b'\n');
    }
    output.write(&mut text)
}

fn dump_segments(args: &Waldump, output: Output) -> Result<()> {
    let located = locate(args)?;
    let stop = Stop::on_signal()?;
    let dump = Dump::new(args, located.version, located.timeline, output)?;
    // What is not there yet can only be waited for.
    let abreast = match args.follow {
        false => Abreast::new(&located),
        true => None,
    };
    show_located(&located, args.follow, abreast, dump, &stop)
}

/// Shows WAL in segment files.
pub(super) fn show_located(
    located: &Located,
    follow: bool,
    abreast: Option<Abreast<'_>>,
    dump: Dump,
    stop: &Stop,
) -> Result<()> {
    let span = Span {
        version: located.version,
        start: located.start,
        end: located.end,
        segment_size: Some(located.segment_size),
        follow,
        abreast,
    };
    span.run(Segments::new(located, follow), dump, stop)
}

fn dump_stream(args: &Waldump, output: Output) -> Result<()> {
    ensure!(
        args.endseg.is_none() && args.path.is_none() && !args.follow,
        "standard input is read to its end: --path, --follow and a last segment do not go with it"
    );
    let (source, first) = Stream::new(io::stdin().lock()).context("WAL in standard input")?;
    let span = Span {
        version: first.version,
        start: args.start.unwrap_or(first.address),
        end: args.end,
        segment_size: first.segment.map(|segment| segment.segment_size),
        follow: false,
        abreast: None,
    };
    ensure!(
        span.start >= first.address,
        "start {} is before the WAL in standard input, which starts at {}",
        span.start,
        first.address
    );
    let timeline = args.timeline.unwrap_or(first.timeline);
    let dump = Dump::new(args, first.version, timeline, output)?;
    span.run(source, dump, &Stop::on_signal()?)
}

/// Which WAL is shown.
struct Span<'a> {
    version: PgVersion,
    start: Lsn,
    end: Option<Lsn>,
    /// Bytes; none if the WAL does not say.
    segment_size: Option<u32>,
    /// The end of the WAL is no end.
    follow: bool,
    /// Several threads can read it.
    abreast: Option<Abreast<'a>>,
}

/// Reads what is in the span.
type Reader<S> = RecordReader<Until<S>>;

/// How often it is looked whether to stop, in records.
const STOP_PERIOD: u64 = 1024;

impl Span<'_> {
    fn run<S: WalSource<Error = SourceError>>(
        &self,
        source: S,
        mut dump: Dump,
        stop: &Stop,
    ) -> Result<()> {
        let options = DecoderOptions {
            segment_size: self.segment_size,
            ..DecoderOptions::default()
        };
        let mut reader = RecordReader::new(Until::new(source, self.end), options);
        let (first, taken) = self
            .take_first(&mut reader, &mut dump)
            .with_context(|| format!("there is no record at or after {}", self.start))?;
        if taken?.is_break() {
            return dump.finish(first);
        }
        let result = self.take_rest(&mut reader, &mut dump, stop)?;
        dump.finish(first)?;
        result
    }

    /// Has the first record taken that starts at or behind the start; gives where it starts, and what
    /// came of that. Reading begins with the start's page, whose header tells where a record does.
    fn take_first<S: WalSource<Error = SourceError>>(
        &self,
        reader: &mut Reader<S>,
        dump: &mut Dump,
    ) -> Result<(Lsn, Result<ControlFlow<()>>)> {
        reader.seek(self.start.page_start())?;
        loop {
            let raw = reader.next_record()?.context("the WAL ends before")?;
            if raw.start >= self.start {
                self.note_skipped(raw.start, dump.text());
                return Ok((raw.start, dump.take(&raw)));
            }
        }
    }

    /// Has all records behind the first taken. Gives how the WAL ended.
    fn take_rest<S: WalSource<Error = SourceError>>(
        &self,
        reader: &mut Reader<S>,
        dump: &mut Dump,
        stop: &Stop,
    ) -> Result<Result<()>> {
        let abreast = self.abreast.as_ref().zip(dump.lines());
        let mut behind = reader.position();
        loop {
            let until = abreast
                .as_ref()
                .and_then(|(abreast, _)| abreast.boundary(behind));
            if let ControlFlow::Break(result) = self.take(reader, until, dump, stop)? {
                return Ok(result);
            }
            let (Some((abreast, lines)), Some(last)) = (&abreast, reader.previous()) else {
                continue;
            };
            let before = Taken {
                last,
                end: reader.position(),
                timeline: reader.timeline(),
            };
            let taken = abreast.run(dump, lines, before, reader.known(), stop)?;
            if taken.last != before.last
                && let Err(error) = go_behind(reader, taken.last)
            {
                return Ok(Err(error));
            }
            // What stopped the others is taken, or told, one by one.
            behind = taken.end + 1;
        }
    }

    /// Has records taken one by one; breaks, with how the WAL ended, unless `until` is reached.
    fn take<S: WalSource<Error = SourceError>>(
        &self,
        reader: &mut Reader<S>,
        until: Option<Lsn>,
        dump: &mut Dump,
        stop: &Stop,
    ) -> Result<ControlFlow<Result<()>>> {
        let until = until.unwrap_or(Lsn::new(u64::MAX));
        let mut taken = 0;
        while reader.position() < until {
            let error = match reader.next_record() {
                Ok(Some(raw)) => {
                    if dump.take(&raw)?.is_break() {
                        return Ok(ControlFlow::Break(Ok(())));
                    }
                    taken += 1;
                    if taken % STOP_PERIOD == 0 && stop.is_set() {
                        return Ok(ControlFlow::Break(Ok(())));
                    }
                    continue;
                }
                Ok(None) => None,
                Err(error) => Some(error),
            };
            let position = reader.position();
            if reader.source().is_reached(position) {
                return Ok(ControlFlow::Break(Ok(())));
            }
            if !self.follow {
                let last = reader.previous().unwrap_or(position);
                let error =
                    error.map_or_else(|| anyhow!("the WAL ends at {position}"), Error::from);
                let error = error.context(format!("error in WAL record at {last}"));
                return Ok(ControlFlow::Break(Err(error)));
            }
            dump.flush()?;
            if stop.wait(FOLLOW_PERIOD) {
                return Ok(ControlFlow::Break(Ok(())));
            }
            // The version is known by now, which is all that can be missing.
            if let Err(error) = reader.seek(position) {
                return Ok(ControlFlow::Break(Err(error.into())));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Says that WAL is passed over, unless a whole segment was asked for. 17 moved that to standard
    /// error.
    fn note_skipped(&self, first: Lsn, text: &mut Text) {
        let start = self.start;
        let at_segment = self
            .segment_size
            .is_some_and(|size| start == start.segment_start(size));
        if first == start || at_segment {
            return;
        }
        let bytes = first - start;
        let plural = if bytes == 1 { "" } else { "s" };
        let note = format!(
            "first record is after {start}, at {first}, skipping over {bytes} byte{plural}"
        );
        match self.version >= PgVersion::V17 {
            true => tell(&note),
            false => {
                text.str(&note).byte(b'\n');
            }
        }
    }
}

/// Makes the reader go on behind the record that starts at `last`. It reads that record again, from the
/// page it starts in: what follows is held against both.
fn go_behind<S: WalSource<Error = SourceError>>(reader: &mut Reader<S>, last: Lsn) -> Result<()> {
    reader.seek(last.page_start())?;
    while let Some(raw) = reader.next_record()? {
        if raw.start >= last {
            return Ok(());
        }
    }
    bail!("the record at {last} cannot be read again")
}

#[expect(clippy::print_stderr, reason = "this is what a person is told besides")]
fn tell(note: &str) {
    eprintln!("pageserver: {note}");
}
