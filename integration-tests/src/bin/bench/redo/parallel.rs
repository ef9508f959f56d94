//! Redo of WAL files by several threads, pages divided among them by block.
//!
//! Stretches of WAL are taken in turn. First each thread reads, checks and decodes a part of the stretch
//! and notes who has to apply which record; then each thread applies what is its own, part by part.

use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, ensure};
use walrecord::{
    Effect, EffectContext, Lsn, MetaEffect, PageKey, PgVersion, RawRecord, Record, RedoRules,
    StreamDecoder, effects,
};

use super::pages::{Pages, removes_pages};
use super::replay::{CHUNK, Counts, Job, apply_to, begins, options};
use super::wal::WalFiles;

/// Bytes of WAL that one thread decodes at a time: small enough for the processor's cache, large enough that
/// waiting for the other threads does not matter.
const PART: u64 = 1 << 20;

/// A part of the WAL, decoded. Kept from stretch to stretch for its memory.
#[derive(Default)]
struct Part {
    records: Vec<Framed>,
    /// The bytes of the records, one after the other.
    bytes: Vec<u8>,
    /// What each thread has to do, in the order of the WAL.
    tasks: Vec<Vec<Task>>,
    /// Where the record before the first one starts.
    previous: Option<Lsn>,
}

/// A record whose bytes are those of the part up to `upto`, from where the one before ends.
struct Framed {
    version: PgVersion,
    start: Lsn,
    end: Lsn,
    from: usize,
    upto: usize,
}

#[derive(Clone, Copy)]
enum Task {
    /// Apply the record of this number to the page.
    Redo(u32, PageKey, bool),
    /// Forget pages.
    Change(MetaEffect<'static>),
}

/// Replays all records with that many threads, and gives what is then in memory.
///
/// # Errors
/// As [`super::replay::replay`].
pub(super) fn replay(job: &Job, threads: usize) -> Result<(Vec<Pages>, Counts)> {
    let wal = WalFiles::open(&job.files)?;
    let mut shares: Vec<(Pages, Counts)> = (0..threads)
        .map(|_| (Pages::new(Arc::clone(&job.base)), Counts::default()))
        .collect();
    let mut parts: Vec<Part> = (0..threads).map(|_| Part::new(threads)).collect();
    let context = job.context();
    let mut from = job.start;
    let mut records = 0;
    let mut last = None;
    while from < wal.end() {
        let bounds = |index: usize| {
            let first = Lsn::new(from.get() / PART * PART);
            let start = from.max(first + index as u64 * PART);
            (start, first + (index as u64 + 1) * PART)
        };
        thread::scope(|scope| {
            let decoding: Vec<_> = parts
                .iter_mut()
                .enumerate()
                .map(|(index, part)| {
                    let (wal, context) = (&wal, &context);
                    scope.spawn(move || part.decode(wal, bounds(index), context))
                })
                .collect();
            decoding.into_iter().try_for_each(join)
        })?;
        for part in &parts {
            let linked = part
                .previous
                .is_none_or(|it| last.is_none_or(|last| it == last));
            ensure!(linked, "a gap between parts of the WAL behind {from}");
            last = part
                .records
                .last()
                .map_or(last, |record| Some(record.start));
        }
        records += parts.iter().map(|part| part.records.len()).sum::<usize>() as u64;
        thread::scope(|scope| {
            let applying: Vec<_> = shares
                .iter_mut()
                .enumerate()
                .map(|(index, (pages, counts))| {
                    let (parts, rules) = (&parts, &job.rules);
                    scope.spawn(move || {
                        parts
                            .iter()
                            .try_for_each(|part| part.apply(index, pages, counts, rules))
                    })
                })
                .collect();
            applying.into_iter().try_for_each(join)
        })?;
        from = bounds(threads - 1).1;
    }
    let mut counts = Counts::default();
    let mut all = Vec::new();
    for (pages, own) in shares {
        counts.add(own);
        all.push(pages);
    }
    counts.records = records;
    Ok((all, counts))
}

fn join(thread: thread::ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

impl Part {
    fn new(threads: usize) -> Part {
        Part {
            tasks: (0..threads).map(|_| Vec::new()).collect(),
            ..Part::default()
        }
    }

    /// Takes in the records that start between two places: the first is where one starts or a page's
    /// boundary, the other is a page's boundary.
    fn decode(
        &mut self,
        wal: &WalFiles,
        (start, end): (Lsn, Lsn),
        context: &EffectContext,
    ) -> Result<()> {
        self.records.clear();
        self.previous = None;
        self.bytes.clear();
        self.tasks.iter_mut().for_each(Vec::clear);
        let mut decoder = StreamDecoder::new(start, options(&context.rules));
        while !decoder.ended() && decoder.fill(CHUNK, |at, buf| wal.read_at(at, buf))? > 0 {
            while let Some(raw) = decoder.next_record()? {
                if raw.start >= end {
                    return Ok(());
                }
                self.take(&raw, context)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, raw: &RawRecord<'_>, context: &EffectContext) -> Result<()> {
        let mut record = Record::default();
        raw.decode_into(&mut record)?;
        let number = u32::try_from(self.records.len()).context("too many records in a part")?;
        let threads = self.tasks.len();
        let mut outcome = Ok(());
        effects(&record, context, &mut |effect| match effect {
            Effect::Page { key, touch } => {
                let task = Task::Redo(number, key, begins(touch));
                self.tasks[owner(&key, threads)].push(task);
            }
            Effect::Meta(change) if removes_pages(&change) => match own(&change) {
                Some(change) => self
                    .tasks
                    .iter_mut()
                    .for_each(|it| it.push(Task::Change(change))),
                None => outcome = Err(anyhow::anyhow!("{change:?} is not for this benchmark")),
            },
            Effect::Meta(_) => {}
        })?;
        self.previous.get_or_insert(record.header.prev);
        let from = self.bytes.len();
        self.bytes.extend_from_slice(raw.bytes);
        self.records.push(Framed {
            version: raw.version,
            start: raw.start,
            end: raw.end,
            from,
            upto: self.bytes.len(),
        });
        outcome
    }

    /// Does what is the task of the thread of this number.
    fn apply(
        &self,
        thread: usize,
        pages: &mut Pages,
        counts: &mut Counts,
        rules: &RedoRules,
    ) -> Result<()> {
        let mut record = Record::default();
        let mut current = u32::MAX;
        for task in &self.tasks[thread] {
            match task {
                Task::Redo(number, key, begins) => {
                    if *number != current {
                        current = *number;
                        let it = &self.records[current as usize];
                        let bytes = &self.bytes[it.from..it.upto];
                        RawRecord::new(it.version, it.start, it.end, bytes)?
                            .decode_into(&mut record)?;
                    }
                    apply_to(&record, key, *begins, rules, pages, counts)?;
                }
                Task::Change(change) => pages.change(change)?,
            }
        }
        Ok(())
    }
}

/// Who looks after a page: neighbours belong to different threads.
#[inline]
fn owner(key: &PageKey, threads: usize) -> usize {
    let (area, number) = match key {
        PageKey::Block(tag) => (tag.rel.rel.wrapping_mul(8) + tag.fork as u32, tag.block),
        PageKey::Slru(page) => (page.kind as u32, page.page),
    };
    let mixed = (u64::from(area) << 32 | u64::from(number)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed >> 32) as usize * threads) >> 32
}

/// The change without anything borrowed, if it is one that this benchmark knows.
fn own(change: &MetaEffect<'_>) -> Option<MetaEffect<'static>> {
    Some(match *change {
        MetaEffect::RelationTruncate { rel, fork, blocks } => {
            MetaEffect::RelationTruncate { rel, fork, blocks }
        }
        MetaEffect::RelationDrop { rel } => MetaEffect::RelationDrop { rel },
        _ => return None,
    })
}
