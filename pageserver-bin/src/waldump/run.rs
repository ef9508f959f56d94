//! From the first record to the last (`main`, bin/pg_waldump/pg_waldump.c).

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, ensure};
use walrecord::describe::Text;
use walrecord::{DecoderOptions, Lsn, PgVersion, RecordReader, Rmgr, WalSource};

use super::args::{RmgrChoice, Waldump};
use super::batch::{self, Done, Feed};
use super::dump::Dump;
use super::locate::locate;
use super::output::{Closed, Output};
use super::source::{Segments, SourceError, Stream, Until};
use super::zone::Local;
use crate::stop::Stop;

/// How often the end of the WAL is looked at again, in following.
const FOLLOW_PERIOD: Duration = Duration::from_secs(1);

/// Shows WAL.
///
/// # Errors
/// If there is no such WAL, if it cannot be read or is damaged, or if the output cannot be written. All
/// that could be read is shown before.
pub fn waldump(args: &Waldump) -> Result<()> {
    let mut output = Output::new(Text::in_zone(Arc::new(Local::new())))?;
    let result = if args.rmgr.contains(&RmgrChoice::List) {
        list_rmgrs(&mut output)
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

fn list_rmgrs(output: &mut Output) -> Result<()> {
    for rmgr in Rmgr::ALL {
        output.text.str(rmgr.name()).byte(b'\n');
    }
    output.flush()
}

fn dump_segments(args: &Waldump, output: Output) -> Result<()> {
    let located = locate(args)?;
    let stop = Stop::on_signal()?;
    let source = Segments::new(&located, args.follow);
    let dump = Dump::new(args, located.version, located.timeline, output)?;
    let span = Span {
        version: located.version,
        start: located.start,
        end: located.end,
        segment_size: Some(located.segment_size),
        follow: args.follow,
    };
    span.run(source, dump, &stop)
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
struct Span {
    version: PgVersion,
    start: Lsn,
    end: Option<Lsn>,
    /// Bytes; none if the WAL does not say.
    segment_size: Option<u32>,
    /// The end of the WAL is no end.
    follow: bool,
}

/// Reads what is in the span.
type Reader<S> = RecordReader<Until<S>>;

impl Span {
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
        let (dump, result) = batch::run(dump, |feed| self.read(&mut reader, feed, stop))?;
        dump.finish(first)?;
        // If the dump had enough, what came of reading on does not matter.
        result.unwrap_or(Ok(()))
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

    /// Hands on all records behind the first. Gives how the WAL ended.
    fn read<S: WalSource<Error = SourceError>>(
        &self,
        reader: &mut Reader<S>,
        feed: &mut Feed,
        stop: &Stop,
    ) -> Result<Result<()>, Done> {
        loop {
            let error = match reader.next_record() {
                Ok(Some(raw)) => {
                    feed.put(&raw)?;
                    if feed.is_empty() && stop.is_set() {
                        return Ok(Ok(()));
                    }
                    continue;
                }
                Ok(None) => None,
                Err(error) => Some(error),
            };
            let position = reader.position();
            if reader.source().is_reached(position) {
                return Ok(Ok(()));
            }
            if !self.follow {
                let last = reader.previous().unwrap_or(position);
                let error =
                    error.map_or_else(|| anyhow!("the WAL ends at {position}"), Error::from);
                return Ok(Err(error.context(format!("error in WAL record at {last}"))));
            }
            feed.flush()?;
            if stop.wait(FOLLOW_PERIOD) {
                return Ok(Ok(()));
            }
            // The version is known by now, which is all that can be missing.
            if let Err(error) = reader.seek(position) {
                return Ok(Err(error.into()));
            }
        }
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

#[expect(clippy::print_stderr, reason = "this is what a person is told besides")]
fn tell(note: &str) {
    eprintln!("pageserver: {note}");
}
