//! Which kinds of record the decoder knows, and how often WAL of each version holds them, as Markdown.
//!
//! `cargo run --release -p walrecord --example coverage -- FIXTURES SUITES [WAL_DIRECTORY...]`: FIXTURES and
//! SUITES are the directories `tests/fixtures` and `tests/suites` of this crate; each WAL_DIRECTORY holds segment
//! files of one server. Every record of WAL is decoded, described and asked for its effects; one that fails ends
//! the program. Of the suites, whose WAL is too much to keep, the counts that `pg_waldump --stats=record` printed
//! are taken. `docs/record-coverage.md` is its output.

#![expect(clippy::print_stdout, reason = "an example's output is its purpose")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use walrecord::describe::{Text, describe};
use walrecord::rmgr::{opcode_name, record_name};
use walrecord::{
    DecoderOptions, EffectContext, PageHeader, PgVersion, Record, RedoRules, Rmgr, RmgrId,
    StreamDecoder, effects,
};

/// How often a kind of record was seen: in the fixtures, in other WAL.
type Seen = BTreeMap<(Rmgr, &'static str, PgVersion), [u64; 2]>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let fixtures = paths
        .next()
        .ok_or("usage: coverage FIXTURES SUITES [WAL_DIRECTORY...]")?;
    let suites = paths
        .next()
        .ok_or("which directory has the suites' counts?")?;
    let mut seen = Seen::new();
    for file in files(&fixtures)? {
        let wal = file.join("wal.zst");
        if wal.exists() {
            let bytes = zstd::decode_all(std::fs::File::open(wal)?)?;
            let mut decoder = None;
            count(&mut decoder, &bytes, 0, &mut seen)?;
        }
    }
    for version in PgVersion::ALL {
        let text = std::fs::read_to_string(suites.join(format!("{version}.stats")))?;
        add_counted(&text, version, &mut seen);
    }
    for directory in paths {
        let mut decoder = None;
        for file in files(&directory)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if name.len() == 24 {
                count(&mut decoder, &std::fs::read(&file)?, 1, &mut seen)?;
            }
        }
    }
    print(&seen);
    Ok(())
}

/// What a directory holds, in the order of names.
fn files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = std::fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    files.sort();
    Ok(files)
}

/// Counts the records in `bytes`, which go on where the decoder stands.
fn count(
    decoder: &mut Option<StreamDecoder>,
    bytes: &[u8],
    place: usize,
    seen: &mut Seen,
) -> Result<(), Box<dyn Error>> {
    let start = PageHeader::parse(bytes)?.address;
    let decoder =
        decoder.get_or_insert_with(|| StreamDecoder::new(start, DecoderOptions::default()));
    if decoder.ended() {
        return Ok(());
    }
    decoder.push(start, bytes)?;
    let mut text = Text::new();
    while let Some(raw) = decoder.next_record()? {
        let record = raw.decode()?;
        text.clear();
        describe(&record, &mut text)?;
        effects(&record, &context(&record), &mut |_| {})?;
        if let (RmgrId::BuiltIn(rmgr), Some(name)) = (record.header.rmgr, record_name(&record)) {
            seen.entry((rmgr, name, record.version)).or_default()[place] += 1;
        }
    }
    Ok(())
}

/// Adds the counts of a table by `pg_waldump --stats=record`: lines that begin `Heap/INSERT   12 (`.
fn add_counted(text: &str, version: PgVersion, seen: &mut Seen) {
    for rmgr in Rmgr::ALL {
        for name in names(rmgr) {
            let kind = format!("{}/{name}", rmgr.name());
            let mut counts = text.lines().filter_map(|line| {
                let mut words = line.split_whitespace();
                let count = (words.next() == Some(&kind)).then(|| words.next())?;
                count?.parse::<u64>().ok()
            });
            if let Some(count) = counts.next() {
                seen.entry((rmgr, name, version)).or_default()[1] += count;
            }
        }
    }
}

fn context(record: &Record<'_>) -> EffectContext {
    EffectContext {
        rules: RedoRules {
            version: record.version,
            minor: 0,
            hint_bits_logged: true,
        },
        track_commit_timestamp: true,
    }
}

fn print(seen: &Seen) {
    print!("| record |");
    PgVersion::ALL.iter().for_each(|v| print!(" {v} |"));
    println!("\n|---|{}", "--:|".repeat(PgVersion::ALL.len()));
    for rmgr in Rmgr::ALL {
        for name in names(rmgr) {
            print!("| {}/{name} |", rmgr.name());
            for version in PgVersion::ALL {
                let known = (0..16).any(|bits| opcode_name(rmgr, bits << 4, version) == Some(name));
                match (known, seen.get(&(rmgr, name, version))) {
                    (false, _) => print!(" · |"),
                    (true, None) => print!(" 0 |"),
                    (true, Some([fixtures, 0])) => print!(" {fixtures} |"),
                    (true, Some([fixtures, others])) => print!(" {fixtures} + {others} |"),
                }
            }
            println!();
        }
    }
}

/// The kinds of record of a resource manager, in any version.
fn names(rmgr: Rmgr) -> Vec<&'static str> {
    let mut names = Vec::new();
    for bits in 0..16 {
        for version in PgVersion::ALL {
            if let Some(name) = opcode_name(rmgr, bits << 4, version)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
    }
    names
}
