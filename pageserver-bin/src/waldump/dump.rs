//! What is done with each record: shown, counted, its images saved.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Error, Result, bail};
use walrecord::describe::Text;
use walrecord::dump::{BlockStyle, Stats, StatsBy, image_file_name};
use walrecord::{Lsn, PAGE_SIZE, PgTimelineId, PgVersion, RawRecord, Record};

use super::args::Waldump;
use super::lines::Lines;
use super::output::Output;
use super::zone::Local;

/// What is done with each record, and what came of those before.
pub(super) struct Dump {
    version: PgVersion,
    lines: Lines,
    stats: Option<(StatsBy, Stats)>,
    images: Option<Images>,
    output: Output,
    /// Records that may still be shown; none: all.
    left: Option<u64>,
}

/// Where images are saved, and the timeline that goes into their names.
struct Images {
    directory: PathBuf,
    timeline: PgTimelineId,
}

impl Dump {
    /// Checks the options against the WAL's version.
    pub(super) fn new(
        args: &Waldump,
        version: PgVersion,
        timeline: PgTimelineId,
        output: Output,
    ) -> Result<Dump> {
        let filter = args.filter(version)?;
        let images = match &args.save_fullpage {
            Some(directory) => Some(Images::new(directory, timeline)?),
            None => None,
        };
        Ok(Dump {
            version,
            lines: Lines {
                filter,
                style: match args.bkp_details {
                    true => BlockStyle::Detailed,
                    false => BlockStyle::Short,
                },
                quiet: args.quiet,
                text: Text::in_zone(Arc::new(Local::new())),
                undescribed: None,
            },
            stats: args.stats.map(|by| (by, Stats::new())),
            images,
            output,
            left: args
                .limit
                .and_then(|limit| u64::try_from(limit).ok())
                .filter(|limit| *limit > 0),
        })
    }

    /// Takes a record; says whether to go on.
    #[inline]
    pub(super) fn take(&mut self, raw: &RawRecord<'_>) -> Result<ControlFlow<()>> {
        let mut record = Record::default();
        match self.lines.admits(raw, &mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(ControlFlow::Continue(())),
            Err(error) => {
                self.flush()?;
                return Err(error);
            }
        }
        match &mut self.stats {
            Some((_, stats)) => stats.add(&record),
            None => self.lines.add(&record),
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
        self.output.write_long(&mut self.lines.text)?;
        Ok(ControlFlow::Continue(()))
    }

    /// What others need in order to make lines of the records that come next, for [`Dump::take_lines`];
    /// none if more than lines is wanted of a record, or only so many records are.
    pub(super) fn lines(&self) -> Option<Lines> {
        if self.stats.is_some() || self.images.is_some() || self.left.is_some() {
            return None;
        }
        let mut lines = self.lines.clone();
        lines.clear();
        Some(lines)
    }

    /// Takes the lines of the records that come next, and leaves none.
    pub(super) fn take_lines(&mut self, lines: &mut Lines) -> Result<()> {
        let undescribed = lines.undescribed.take();
        self.lines.undescribed = self.lines.undescribed.or(undescribed);
        self.flush()?;
        self.output.write(&mut lines.text)
    }

    /// The text on its way out.
    pub(super) const fn text(&mut self) -> &mut Text {
        &mut self.lines.text
    }

    /// Writes out all text.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.output.write(&mut self.lines.text)
    }

    /// Ends the output. `first` is where the first record starts.
    pub(super) fn finish(mut self, first: Lsn) -> Result<()> {
        if let Some((by, stats)) = self.stats.take().filter(|_| !self.lines.quiet) {
            stats.write(self.version, first, by, &mut self.lines.text);
        }
        self.flush()?;
        if let Some((at, error)) = self.lines.undescribed {
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
