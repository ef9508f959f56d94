//! What is done with each record: shown, counted, its images saved.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use walrecord::describe::Text;
use walrecord::dump::{BlockStyle, Filter, Stats, StatsBy, image_file_name, record_line};
use walrecord::rmgr::BodyError;
use walrecord::{Lsn, PAGE_SIZE, PgTimelineId, PgVersion, RawRecord, Record};

use super::args::Waldump;
use super::output::Output;

/// What is done with each record, and what came of those before.
pub(super) struct Dump {
    version: PgVersion,
    filter: Filter,
    style: BlockStyle,
    quiet: bool,
    stats: Option<(StatsBy, Stats)>,
    images: Option<Images>,
    output: Output,
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
            filter,
            style: match args.bkp_details {
                true => BlockStyle::Detailed,
                false => BlockStyle::Short,
            },
            quiet: args.quiet,
            stats: args.stats.map(|by| (by, Stats::new())),
            images,
            output,
            left: args
                .limit
                .and_then(|limit| u64::try_from(limit).ok())
                .filter(|limit| *limit > 0),
            undescribed: None,
        })
    }

    /// Takes a record; says whether to go on.
    #[inline]
    pub(super) fn take(&mut self, raw: &RawRecord<'_>) -> Result<ControlFlow<()>> {
        let mut record = Record::default();
        if let Err(error) = raw.decode_into(&mut record) {
            let error = Error::from(error);
            return Err(error.context(format!("error in WAL record at {}", raw.start)));
        }
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
        self.output.flush_long()?;
        Ok(ControlFlow::Continue(()))
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

    /// The text on its way out.
    pub(super) const fn text(&mut self) -> &mut Text {
        &mut self.output.text
    }

    /// Writes out all text.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.output.flush()
    }

    /// Ends the output. `first` is where the first record starts.
    pub(super) fn finish(mut self, first: Lsn) -> Result<()> {
        if let Some((by, stats)) = self.stats.filter(|_| !self.quiet) {
            stats.write(self.version, first, by, &mut self.output.text);
        }
        self.output.flush()?;
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
