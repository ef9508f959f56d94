//! From the first record to the last (`main`, bin/pg_waldump/pg_waldump.c).

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use walrecord::describe::Text;
use walrecord::dump::{BlockStyle, Filter, Stats, StatsBy, image_file_name, record_line};
use walrecord::rmgr::BodyError;
use walrecord::{
    DecoderOptions, Lsn, PAGE_SIZE, PgTimelineId, PgVersion, RawRecord, Record, RecordReader, Rmgr,
    WalSource,
};

use super::args::{RmgrChoice, Waldump};
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
    let source = Segments::new(&located, args.follow.then(|| stop.clone()));
    let span = Span {
        start: located.start,
        end: located.end,
        segment_size: Some(located.segment_size),
    };
    let dump = Dump::new(args, located.version, located.timeline, output, stop)?;
    dump.run(source, &span)
}

fn dump_stream(args: &Waldump, output: Output) -> Result<()> {
    ensure!(
        args.endseg.is_none() && args.path.is_none() && !args.follow,
        "standard input is read to its end: --path, --follow and a last segment do not go with it"
    );
    let (source, first) = Stream::new(io::stdin().lock()).context("WAL in standard input")?;
    let span = Span {
        start: args.start.unwrap_or(first.address),
        end: args.end,
        segment_size: first.segment.map(|segment| segment.segment_size),
    };
    ensure!(
        span.start >= first.address,
        "start {} is before the WAL in standard input, which starts at {}",
        span.start,
        first.address
    );
    let timeline = args.timeline.unwrap_or(first.timeline);
    let dump = Dump::new(args, first.version, timeline, output, Stop::on_signal()?)?;
    dump.run(source, &span)
}

/// Which WAL is shown.
struct Span {
    start: Lsn,
    end: Option<Lsn>,
    /// Bytes; none if the WAL does not say.
    segment_size: Option<u32>,
}

/// What is done with each record, and what came of those before.
struct Dump {
    version: PgVersion,
    filter: Filter,
    style: BlockStyle,
    quiet: bool,
    follow: bool,
    stats: Option<(StatsBy, Stats)>,
    images: Option<Images>,
    output: Output,
    stop: Stop,
    /// Records that may still be shown; none: all.
    left: Option<u64>,
    /// The first record that could not be described.
    undescribed: Option<(Lsn, BodyError)>,
}

/// Where images are saved, and the timeline that goes into their names.
struct Images {
    directory: PathBuf,
    timeline: PgTimelineId,
}

impl Dump {
    fn new(
        args: &Waldump,
        version: PgVersion,
        timeline: PgTimelineId,
        output: Output,
        stop: Stop,
    ) -> Result<Dump> {
        let filter = args.filter(version)?;
        let images = match &args.save_fullpage {
            Some(directory) => Some(Images::new(directory, timeline)?),
            None => None,
        };
        Ok(Dump {
            version,
            filter,
            style: match args.bkp_details {
                true => BlockStyle::Detailed,
                false => BlockStyle::Short,
            },
            quiet: args.quiet,
            follow: args.follow,
            stats: args.stats.map(|by| (by, Stats::new())),
            images,
            output,
            stop,
            left: args
                .limit
                .and_then(|limit| u64::try_from(limit).ok())
                .filter(|limit| *limit > 0),
            undescribed: None,
        })
    }

    fn run(mut self, source: impl WalSource<Error = SourceError>, span: &Span) -> Result<()> {
        let options = DecoderOptions {
            segment_size: span.segment_size,
            ..DecoderOptions::default()
        };
        let mut reader = RecordReader::new(Until::new(source, span.end), options);
        let first = match self.take_first(&mut reader, span) {
            Ok(first) => first,
            Err(error) if error.is::<Closed>() => return Err(error),
            Err(error) => {
                let start = span.start;
                return Err(error.context(format!("there is no record at or after {start}")));
            }
        };
        let result = match first.1 {
            ControlFlow::Continue(()) => self.take_rest(&mut reader),
            ControlFlow::Break(()) => Ok(()),
        };
        self.finish(first.0, result)
    }

    /// Takes the first record that starts at or behind the start; gives where it starts. Reading begins
    /// with its page, whose header tells where a record does.
    fn take_first<S: WalSource<Error = SourceError>>(
        &mut self,
        reader: &mut RecordReader<S>,
        span: &Span,
    ) -> Result<(Lsn, ControlFlow<()>)> {
        reader.seek(span.start.page_start())?;
        loop {
            let raw = reader.next_record()?;
            let raw = raw.context("the WAL ends before")?;
            if raw.start >= span.start {
                self.note_skipped(span, raw.start)?;
                return Ok((raw.start, self.take(&raw)?));
            }
        }
    }

    /// Takes all records behind the first.
    fn take_rest<S: WalSource<Error = SourceError>>(
        &mut self,
        reader: &mut RecordReader<Until<S>>,
    ) -> Result<()> {
        loop {
            let error = match reader.next_record() {
                Ok(Some(raw)) => match self.take(&raw)? {
                    ControlFlow::Continue(()) => continue,
                    ControlFlow::Break(()) => return Ok(()),
                },
                Ok(None) => None,
                Err(error) => Some(error),
            };
            let position = reader.position();
            let error = error.map_or_else(|| anyhow!("the WAL ends at {position}"), Error::from);
            if reader.source().is_reached(position) {
                return Ok(());
            }
            if !self.follow {
                let last = reader.previous().unwrap_or(position);
                return Err(error.context(format!("error in WAL record at {last}")));
            }
            self.output.flush()?;
            if self.stop.wait(FOLLOW_PERIOD) {
                return Ok(());
            }
            reader.seek(position)?;
        }
    }

    /// Takes a record; says whether to go on.
    #[inline]
    fn take(&mut self, raw: &RawRecord<'_>) -> Result<ControlFlow<()>> {
        let mut record = Record::default();
        raw.decode_into(&mut record)?;
        if !self.filter.admits(&record) {
            return Ok(ControlFlow::Continue(()));
        }
        if !self.quiet {
            self.show(&record)?;
        }
        if let Some(images) = &self.images {
            images.save(&record)?;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                return Ok(ControlFlow::Break(()));
            }
        }
        match self.output.flush_long()? && self.stop.is_set() {
            true => Ok(ControlFlow::Break(())),
            false => Ok(ControlFlow::Continue(())),
        }
    }

    #[inline]
    fn show(&mut self, record: &Record<'_>) -> Result<()> {
        match &mut self.stats {
            Some((_, stats)) => stats.add(record),
            None => {
                if let Err(error) = record_line(record, self.style, &mut self.output.text) {
                    self.undescribed.get_or_insert((record.start, error));
                }
            }
        }
        Ok(())
    }

    /// Says that WAL is passed over, unless a whole segment was asked for. 17 moved that to standard
    /// error.
    fn note_skipped(&mut self, span: &Span, first: Lsn) -> Result<()> {
        let start = span.start;
        let at_segment = span
            .segment_size
            .is_some_and(|size| start == start.segment_start(size));
        if first == start || at_segment {
            return Ok(());
        }
        let bytes = first - start;
        let plural = if bytes == 1 { "" } else { "s" };
        let note = format!(
            "first record is after {start}, at {first}, skipping over {bytes} byte{plural}"
        );
        match self.version >= PgVersion::V17 {
            true => tell(&note),
            false => {
                self.output.text.str(&note).byte(b'\n');
            }
        }
        Ok(())
    }

    /// Ends the output. `result` is how reading ended.
    fn finish(mut self, first: Lsn, result: Result<()>) -> Result<()> {
        if result.as_ref().is_err_and(Error::is::<Closed>) {
            return result;
        }
        if let Some((by, stats)) = self.stats.filter(|_| !self.quiet) {
            stats.write(self.version, first, by, &mut self.output.text);
        }
        self.output.flush()?;
        result?;
        if let Some((at, error)) = self.undescribed {
            let error = Error::from(error).context(format!("record at {at}"));
            return Err(error.context("not every record could be described"));
        }
        Ok(())
    }
}

impl Images {
    fn new(directory: &Path, timeline: PgTimelineId) -> Result<Images> {
        let of = || directory.display();
        fs::create_dir_all(directory).with_context(|| format!("making directory {}", of()))?;
        let mut entries =
            fs::read_dir(directory).with_context(|| format!("opening directory {}", of()))?;
        if entries.next().is_some() {
            bail!("directory {} is not empty", of());
        }
        Ok(Images {
            directory: directory.to_owned(),
            timeline,
        })
    }

    // Not inlined: the page would be part of what every record needs of the stack.
    #[inline(never)]
    fn save(&self, record: &Record<'_>) -> Result<()> {
        let mut page = [0; PAGE_SIZE];
        for block in record.blocks() {
            let Some(image) = &block.image else { continue };
            image
                .restore(&mut page)
                .with_context(|| format!("image of {} at {}", block.tag, record.start))?;
            let name = image_file_name(self.timeline, record, block);
            let path = self.directory.join(name);
            fs::write(&path, page).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

#[expect(clippy::print_stderr, reason = "this is what a person is told besides")]
fn tell(note: &str) {
    eprintln!("pageserver: {note}");
}
