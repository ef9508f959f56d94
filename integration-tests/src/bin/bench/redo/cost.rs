//! What one record of each kind costs, applied alone to a page in the processor's cache, and what a page
//! with 20 changes costs.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use rustc_hash::FxHashMap;
use walrecord::{
    Effect, PAGE_SIZE, Page, PageKey, PageTouch, PgVersion, Record, RedoRules, StreamDecoder,
    ZERO_PAGE, effects,
};
use walredo::{Applied, RecordKind, redo};

use super::division::Division;
use super::pages::Pages;
use super::replay::{CHUNK, Counts, Job, apply_to, options};
use super::wal::WalFiles;
use crate::measure::median;

/// Copies of a page that a record is applied to, one after the other, for one measurement: enough to lose the
/// clock's own time in, few enough for the cache.
const COPIES: usize = 8;
/// So many records of a kind are measured, then every so many-th.
const ALL_UP_TO: u64 = 500;
const EVERY: u64 = 100;
/// Changes of a page whose rebuild is measured.
const CHANGES: usize = 20;
/// Pages whose rebuild is measured.
const RUNS: usize = 2000;
/// Of each rebuild.
const REPEATS: usize = 9;

/// What a record is, and whether it came with the page's image.
type Kind = (RecordKind, bool);

/// Records of one kind.
#[derive(Default)]
struct Cost {
    seen: u64,
    nanoseconds: Vec<f64>,
}

/// A page, and its first changes as a store keeps them.
struct Run {
    base: Page,
    changes: Vec<(Kind, Stored)>,
}

/// A record trimmed to what its page needs.
struct Stored {
    version: PgVersion,
    start: walrecord::Lsn,
    end: walrecord::Lsn,
    bytes: Vec<u8>,
}

/// Replays everything and prints a table.
///
/// # Errors
/// As [`super::replay::replay`].
pub(super) fn measure(job: &Job) -> Result<()> {
    let wal = WalFiles::open(&job.files)?;
    let context = job.context();
    let mut bench = Measuring {
        rules: job.rules,
        pages: Pages::new(Arc::clone(&job.base), Arc::new(Division::among(1)), 0)?,
        counts: Counts::default(),
        costs: BTreeMap::new(),
        runs: FxHashMap::default(),
        copies: vec![ZERO_PAGE; COPIES],
    };
    let mut decoder = StreamDecoder::new(job.start, options(&job.rules));
    while !decoder.ended() && decoder.fill(CHUNK, |at, buf| wal.read_at(at, buf))? > 0 {
        while let Some(raw) = decoder.next_record()? {
            let record = raw.decode()?;
            let mut outcome = Ok(());
            effects(&record, &context, &mut |effect| {
                if outcome.is_ok() {
                    outcome = match effect {
                        Effect::Page { key, touch } => bench.page(&record, &key, touch),
                        Effect::Meta(change) => bench.pages.change(&change),
                    };
                }
            })?;
            outcome?;
        }
    }
    bench.print_costs();
    bench.print_runs()
}

struct Measuring {
    rules: RedoRules,
    pages: Pages,
    counts: Counts,
    costs: BTreeMap<Kind, Cost>,
    runs: FxHashMap<PageKey, Run>,
    copies: Vec<Page>,
}

impl Measuring {
    fn page(&mut self, record: &Record<'_>, key: &PageKey, touch: PageTouch) -> Result<()> {
        let kind = (RecordKind::of(record), touch == PageTouch::Image);
        let page = self
            .pages
            .get(key, false)?
            .context("a page of another thread")?;
        let cost = self.costs.entry(kind).or_default();
        cost.seen += 1;
        if cost.seen <= ALL_UP_TO || cost.seen.is_multiple_of(EVERY) {
            cost.nanoseconds.extend(apply_alone(
                page,
                record,
                key,
                &self.rules,
                &mut self.copies,
            )?);
        }
        if touch == PageTouch::Delta {
            self.remember(record, key, kind)?;
        } else if self
            .runs
            .get(key)
            .is_some_and(|run| run.changes.len() < CHANGES)
        {
            // The page starts anew: what comes does not continue what was kept.
            self.runs.remove(key);
        }
        apply_to(
            record,
            key,
            false,
            &self.rules,
            &mut self.pages,
            &mut self.counts,
        )
    }

    /// Keeps the first changes of the first pages.
    fn remember(&mut self, record: &Record<'_>, key: &PageKey, kind: Kind) -> Result<()> {
        let PageKey::Block(tag) = key else {
            return Ok(());
        };
        if !self.runs.contains_key(key) {
            if self.runs.len() == RUNS {
                return Ok(());
            }
            let run = Run {
                base: *self
                    .pages
                    .get(key, false)?
                    .context("a page of another thread")?,
                changes: Vec::new(),
            };
            self.runs.insert(*key, run);
        }
        if let Some(run) = self.runs.get_mut(key)
            && run.changes.len() < CHANGES
        {
            let mut bytes = Vec::new();
            record.encode_trimmed(Some(tag), &mut bytes);
            let stored = Stored {
                version: record.version,
                start: record.start,
                end: record.end,
                bytes,
            };
            run.changes.push((kind, stored));
        }
        Ok(())
    }

    fn print_costs(&self) {
        println!("| record | seen | ns |\n|---|---:|---:|");
        for ((kind, image), cost) in &self.costs {
            if !cost.nanoseconds.is_empty() {
                let image = if *image { ", image" } else { "" };
                let typical = median(cost.nanoseconds.iter().copied());
                println!("| {kind}{image} | {} | {typical:.0} |", cost.seen);
            }
        }
    }

    fn print_runs(&self) -> Result<()> {
        let copy = copy_of_a_page();
        let (mut decoded, mut stored, mut bounds, mut ratios) = (vec![], vec![], vec![], vec![]);
        for (key, run) in &self.runs {
            if run.changes.len() < CHANGES {
                continue;
            }
            let costs = run
                .changes
                .iter()
                .map(|(kind, _)| &self.costs[kind].nanoseconds);
            let bound = 3.0 * copy + costs.map(|it| median(it.iter().copied())).sum::<f64>();
            let (from_decoded, from_stored) = rebuild(key, run, &self.rules)?;
            decoded.push(from_decoded);
            stored.push(from_stored);
            bounds.push(bound);
            ratios.push(from_stored / bound);
        }
        if ratios.is_empty() {
            return Ok(());
        }
        println!(
            "{} pages with {CHANGES} changes: {:.0} ns, with decoding {:.0} ns; 3 copies of a page (of {copy:.0} ns) and the changes' costs {:.0} ns; with decoding {:.2} of that",
            ratios.len(),
            median(decoded),
            median(stored),
            median(bounds),
            median(ratios),
        );
        Ok(())
    }
}

/// Nanoseconds that a record takes on a page, if it changes it.
fn apply_alone(
    page: &Page,
    record: &Record<'_>,
    key: &PageKey,
    rules: &RedoRules,
    copies: &mut [Page],
) -> Result<Option<f64>> {
    copies.fill(*page);
    let began = Instant::now();
    let mut changed = true;
    for copy in copies.iter_mut() {
        changed &= redo(copy, record, key, rules)? == Applied::Changed;
        black_box(copy);
    }
    let took = began.elapsed().as_nanos() as f64 / copies.len() as f64;
    Ok(changed.then_some(took))
}

/// Nanoseconds to make a page's last version from its first: with the records decoded before, and from their
/// stored bytes.
fn rebuild(key: &PageKey, run: &Run, rules: &RedoRules) -> Result<(f64, f64)> {
    let records = run
        .changes
        .iter()
        .map(|(_, it)| Record::parse(it.version, it.start, it.end, &it.bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let mut page = ZERO_PAGE;
    let (mut decoded, mut stored) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        let began = Instant::now();
        page.copy_from_slice(&run.base);
        for record in &records {
            redo(&mut page, record, key, rules)?;
        }
        black_box(&mut page);
        decoded.push(began.elapsed().as_nanos() as f64);
        let began = Instant::now();
        page.copy_from_slice(&run.base);
        for (_, it) in &run.changes {
            let record = Record::parse(it.version, it.start, it.end, &it.bytes)?;
            redo(&mut page, &record, key, rules)?;
        }
        black_box(&mut page);
        stored.push(began.elapsed().as_nanos() as f64);
    }
    Ok((median(decoded), median(stored)))
}

/// Nanoseconds to copy a page within the processor's cache.
fn copy_of_a_page() -> f64 {
    const ROUNDS: usize = 100;
    let from = black_box(vec![1u8; PAGE_SIZE]);
    let mut to = vec![0u8; PAGE_SIZE];
    median((0..ROUNDS).map(|_| {
        let began = Instant::now();
        for _ in 0..COPIES {
            to.copy_from_slice(black_box(&from));
            black_box(&mut to);
        }
        began.elapsed().as_nanos() as f64 / COPIES as f64
    }))
}
