//! Redo of WAL files: read, check, decode, apply. This is what the benchmark measures.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use stockpg::RecoveredDir;
use walrecord::{
    DecoderOptions, Effect, EffectContext, Lsn, PageKey, PageTouch, RawRecord, Record, RedoRules,
    StreamDecoder, effects,
};
use walredo::{Applied, redo};

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
/// threads by block, the checking of CRCs by record. Each thread reads all WAL: so there is nothing that they
/// wait for each other for, and nothing is given out unless all records were found right.
///
/// # Errors
/// If a file cannot be read, or a record cannot be decoded or applied.
pub(super) fn replay(job: &Job, threads: u64) -> Result<(Vec<Pages>, Counts)> {
    let shares = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|number| scope.spawn(move || Share::new(job, number, threads)?.replay(job)))
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
    number: u64,
    threads: u64,
    pages: Pages,
    counts: Counts,
}

impl Share {
    fn new(job: &Job, number: u64, threads: u64) -> Result<Share> {
        Ok(Share {
            number,
            threads,
            pages: Pages::new(Arc::clone(&job.base))?,
            counts: Counts::default(),
        })
    }

    fn replay(mut self, job: &Job) -> Result<Share> {
        let wal = WalFiles::open(&job.files)?;
        let context = job.context();
        let mut decoder = StreamDecoder::new(job.start, options(&job.rules));
        let mut to_verify = self.number;
        while !decoder.ended() && decoder.fill(CHUNK, |at, buf| wal.read_at(at, buf))? > 0 {
            while let Some(found) = decoder.next_unverified()? {
                if self.counts.records == to_verify {
                    found.verify()?;
                    to_verify += self.threads;
                }
                self.counts.records += 1;
                self.apply(&found.unverified(), &context)?;
            }
        }
        Ok(self)
    }

    /// Applies one record to the pages of this share that it touches.
    #[inline]
    fn apply(&mut self, raw: &RawRecord<'_>, context: &EffectContext) -> Result<()> {
        let mut record = Record::default();
        raw.decode_into(&mut record)?;
        let mut outcome = Ok(());
        effects(&record, context, &mut |effect| {
            if outcome.is_ok() {
                // By reference: an effect that is copied waits until it is written.
                outcome = match &effect {
                    Effect::Page { key, touch } if self.owns(key) => {
                        let (pages, counts) = (&mut self.pages, &mut self.counts);
                        apply_to(&record, key, begins(*touch), &context.rules, pages, counts)
                    }
                    Effect::Page { .. } => Ok(()),
                    Effect::Meta(change) => self.pages.change(change),
                };
            }
        })
        .with_context(|| format!("effects of the record at {}", record.start))?;
        outcome
    }

    /// Whether this share has the page: neighbours belong to different ones.
    #[inline]
    fn owns(&self, key: &PageKey) -> bool {
        let (area, number) = match key {
            PageKey::Block(tag) => (tag.rel.rel.wrapping_mul(8) + tag.fork as u32, tag.block),
            PageKey::Slru(page) => (page.kind as u32, page.page),
        };
        let mixed = (u64::from(area) << 32 | u64::from(number)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed >> 32) * self.threads) >> 32 == self.number
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
    match redo(pages.get(key, begins)?, record, key, rules)? {
        Applied::Changed => counts.changes += 1,
        Applied::Skipped => {}
        Applied::NoBase => counts.missing += 1,
    }
    Ok(())
}
