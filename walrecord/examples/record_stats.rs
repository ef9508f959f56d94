//! What a stretch of WAL is made of: records by kind and effects by sort.
//!
//! `cargo run --release -p walrecord --example record_stats -- VERSION.MINOR FILE...` with the files
//! of consecutive segments in order. The counts by kind are those of `pg_waldump --stats=record`.

#![expect(clippy::print_stdout, reason = "an example's output is its purpose")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use walrecord::{
    DecoderOptions, Effect, EffectContext, Lsn, PageHeader, PgVersion, Record, RedoRules,
    StreamDecoder, effects, rmgr,
};

#[path = "../tests/bodies/walk.rs"]
mod walk;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let version = args
        .next()
        .ok_or("usage: record_stats VERSION.MINOR FILE...")?;
    let (major, minor) = version.split_once('.').ok_or("VERSION.MINOR as in 15.18")?;
    let segments = args.map(fs::read).collect::<Result<Vec<_>, _>>()?;
    let first = segments.first().ok_or("no files")?;
    let start = PageHeader::parse(first)?.address;
    let context = EffectContext {
        rules: RedoRules {
            version: PgVersion::from_major(major.parse()?)?,
            minor: minor.parse()?,
            hint_bits_logged: true,
        },
        track_commit_timestamp: true,
    };

    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    let mut sorts: BTreeMap<String, u64> = BTreeMap::new();
    each_record(start, &segments, |record| {
        walk::walk(record)?;
        let name = rmgr::record_name(record).ok_or("a record without a name")?;
        let kind = format!("{}/{name}", record.header.rmgr);
        *kinds.entry(kind).or_default() += 1;
        effects(record, &context, &mut |effect| {
            *sorts.entry(sort(&effect)).or_default() += 1;
        })?;
        Ok(())
    })?;
    for (kind, count) in &kinds {
        println!("{kind}\t{count}");
    }
    for (sort, count) in &sorts {
        println!("effect {sort}\t{count}");
    }

    let began = Instant::now();
    let mut records = 0u64;
    each_record(start, &segments, |_| {
        records += 1;
        Ok(())
    })?;
    let decoding = began.elapsed();
    let began = Instant::now();
    let mut told = 0u64;
    each_record(start, &segments, |record| {
        effects(record, &context, &mut |effect| {
            std::hint::black_box(effect);
            told += 1;
        })?;
        Ok(())
    })?;
    let both = began.elapsed();
    let nanos = |time: Duration| time.as_nanos() as f64 / records.max(1) as f64;
    println!(
        "{records} records, {told} effects; a record: {:.0} ns to decode, {:.0} ns with effects",
        nanos(decoding),
        nanos(both)
    );
    Ok(())
}

/// Decodes all records of consecutive segments.
fn each_record(
    start: Lsn,
    segments: &[Vec<u8>],
    mut visit: impl FnMut(&Record<'_>) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut decoder = StreamDecoder::new(start, DecoderOptions::default());
    let mut at = start;
    for segment in segments {
        decoder.push(at, segment)?;
        at = at + segment.len() as u64;
        while let Some(raw) = decoder.next_record()? {
            let record = raw.decode()?;
            visit(&record).map_err(|error| format!("{}: {error}", record.start))?;
        }
    }
    Ok(())
}

/// The names of an effect's outer variants, without their content.
fn sort(effect: &Effect<'_>) -> String {
    match effect {
        Effect::Page { key, touch } => {
            let area = match key {
                walrecord::PageKey::Block(tag) => tag.fork.name(),
                walrecord::PageKey::Slru(page) => page.kind.directory(),
            };
            format!("{touch:?} {area}")
        }
        Effect::Meta(meta) => {
            let text = format!("{meta:?}");
            let end = text.find([' ', '(', '{']).unwrap_or(text.len());
            text[..end].to_owned()
        }
    }
}
