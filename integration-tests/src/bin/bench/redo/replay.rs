//! Redo of WAL files by one thread: read, check, decode, apply. This is what the benchmark measures.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use stockpg::RecoveredDir;
use walrecord::{
    DecoderOptions, Effect, EffectContext, Lsn, PageKey, PageTouch, Record, RedoRules,
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

impl Counts {
    pub(super) fn add(&mut self, other: Counts) {
        self.records += other.records;
        self.changes += other.changes;
        self.missing += other.missing;
    }
}

/// Replays all records, and gives what is then in memory.
///
/// # Errors
/// If a file cannot be read, or a record cannot be decoded or applied.
pub(super) fn replay(job: &Job) -> Result<(Vec<Pages>, Counts)> {
    let mut pages = Pages::new(Arc::clone(&job.base));
    let mut counts = Counts::default();
    let wal = WalFiles::open(&job.files)?;
    let context = job.context();
    let mut decoder = StreamDecoder::new(job.start, options(&job.rules));
    while !decoder.ended() && decoder.fill(CHUNK, |at, buf| wal.read_at(at, buf))? > 0 {
        while let Some(raw) = decoder.next_record()? {
            let mut record = Record::default();
            raw.decode_into(&mut record)?;
            counts.records += 1;
            apply(&record, &context, &mut pages, &mut counts)?;
        }
    }
    Ok((vec![pages], counts))
}

/// Applies one record to all pages that it touches.
#[inline]
fn apply(
    record: &Record<'_>,
    context: &EffectContext,
    pages: &mut Pages,
    counts: &mut Counts,
) -> Result<()> {
    let mut outcome = Ok(());
    effects(record, context, &mut |effect| {
        if outcome.is_ok() {
            outcome = match effect {
                Effect::Page { key, touch } => {
                    apply_to(record, &key, begins(touch), &context.rules, pages, counts)
                }
                Effect::Meta(change) => pages.change(&change),
            };
        }
    })
    .with_context(|| format!("effects of the record at {}", record.start))?;
    outcome
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
