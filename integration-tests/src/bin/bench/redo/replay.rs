//! Redo of WAL files: read, check, decode, apply. This is what the benchmark measures.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use stockpg::RecoveredDir;
use walrecord::{
    DecoderOptions, Effect, EffectContext, Lsn, PageKey, PageTouch, RawRecord, Record, RedoRules,
    StreamDecoder, concerns, effects,
};
use walredo::{Applied, redo};

use super::division::Division;
use super::pages::Pages;
use super::wal::{SEGMENT, WalFiles};

/// Read at a time. What was read should still be in the processor's cache when it is decoded.
pub(super) const CHUNK: usize = 64 << 10;

/// What is replayed, on what.
pub(super) struct Job {
    pub(super) base: Arc<RecoveredDir>,
    pub(super) files: Vec<PathBuf>,
    /// Where replay of the backup begins.
    pub(super) start: Lsn,
    pub(super) rules: RedoRules,
}

impl Job {
    pub(super) fn context(&self) -> EffectContext {
        EffectContext {
            rules: self.rules,
            track_commit_timestamp: false,
        }
    }
}

/// How the WAL of a server with these rules is decoded.
pub(super) fn options(rules: &RedoRules) -> DecoderOptions {
    DecoderOptions {
        version: Some(rules.version),
        segment_size: u32::try_from(SEGMENT).ok(),
        ..DecoderOptions::default()
    }
}

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) records: u64,
    /// Changes of pages.
    pub(super) changes: u64,
    /// Pages that records found missing.
    pub(super) missing: u64,
}

/// Replays all records with that many threads, and gives what is then in memory. Pages are divided among the
/// threads by block, the checking of CRCs by stretch of WAL, see [`Division`]. Each thread reads all WAL: so there
/// is nothing that they wait for each other for, and nothing is given out unless all records were found right.
///
/// # Errors
/// If a file cannot be read, or a record cannot be decoded or applied.
pub(super) fn replay(job: &Job, threads: u32) -> Result<(Vec<Pages>, Counts)> {
    let division = Arc::new(Division::among(threads));
    let shares = thread::scope(|scope| {
        let division = &division;
        let running: Vec<_> = (0..threads)
            .map(|number| scope.spawn(move || Share::new(job, division, number)?.replay(job)))
            .collect();
        running.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    let mut all = Counts::default();
    for Share { counts, .. } in &shares {
        all.records = counts.records;
        all.changes += counts.changes;
        all.missing += counts.missing;
    }
    Ok((shares.into_iter().map(|share| share.pages).collect(), all))
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The pages that one thread looks after.
struct Share {
    division: Arc<Division>,
    pages: Pages,
    counts: Counts,
}

impl Share {
    fn new(job: &Job, division: &Arc<Division>, number: u32) -> Result<Share> {
        Ok(Share {
            division: Arc::clone(division),
            pages: Pages::new(Arc::clone(&job.base), Arc::clone(division), number)?,
            counts: Counts::default(),
        })
    }

    fn replay(mut self, job: &Job) -> Result<Share> {
        let wal = WalFiles::open(&job.files)?;
        let context = job.context();
        let mut decoder = StreamDecoder::new(job.start, options(&job.rules));
        let (mut stretch, mut checking) = (u64::MAX, false);
        while !decoder.ended() && decoder.fill(CHUNK, |at, buf| wal.read_at(at, buf))? > 0 {
            while let Some(found) = decoder.next_unverified()? {
                let raw = found.unverified();
                let number = raw.start.get() / CHUNK as u64;
                if stretch != number {
                    (stretch, checking) = (number, self.division.checks(number));
                }
                if checking {
                    found.verify()?;
                }
                self.counts.records += 1;
                self.apply(&raw, &context)?;
            }
        }
        Ok(self)
    }

    /// Applies one record to the pages of this share that it touches. What is all for others is not decoded.
    #[inline]
    fn apply(&mut self, raw: &RawRecord<'_>, context: &EffectContext) -> Result<()> {
        if self.division.is_shared() && !concerns(raw, |tag| !self.pages.is_elsewhere(tag)) {
            return Ok(());
        }
        let mut record = Record::default();
        raw.decode_into(&mut record)?;
        let mut outcome = Ok(());
        effects(&record, context, &mut |effect| {
            if outcome.is_ok() {
                // By reference: an effect that is copied waits until it is written.
                outcome = match &effect {
                    Effect::Page { key, touch } => {
                        let (pages, counts) = (&mut self.pages, &mut self.counts);
                        apply_to(&record, key, begins(*touch), &context.rules, pages, counts)
                    }
                    Effect::Meta(change) => self.pages.change(change),
                };
            }
        })
        .with_context(|| format!("effects of the record at {}", record.start))?;
        outcome
    }
}

/// Whether a record makes a page anew, whatever was there.
pub(super) fn begins(touch: PageTouch) -> bool {
    matches!(touch, PageTouch::Init | PageTouch::Image)
}

/// Applies one record to one page. `begins`: it makes it anew.
#[inline]
pub(super) fn apply_to(
    record: &Record<'_>,
    key: &PageKey,
    begins: bool,
    rules: &RedoRules,
    pages: &mut Pages,
    counts: &mut Counts,
) -> Result<()> {
    let Some(page) = pages.get(key, begins)? else {
        return Ok(());
    };
    match redo(page, record, key, rules)? {
        Applied::Changed => counts.changes += 1,
        Applied::Skipped => {}
        Applied::NoBase => counts.missing += 1,
    }
    Ok(())
}
