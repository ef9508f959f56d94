//! Replays WAL on the pages of a base backup and demands that every block of every heap, B-tree, GiST,
//! SP-GiST and BRIN index, sequence and visibility map, and every page of the status logs, is what stock recovery of the same backup with the same WAL leaves on
//! disk: byte for byte, holes included, only `pd_checksum` aside. Ignored, since it needs three
//! directories:
//!
//! 1. A throw-away cluster with `track_commit_timestamp = on` and `wal_keep_size` above all WAL to come; `pg_basebackup -X none` from it
//!    to `ZENITH_BASE_DIR`; a workload; a clean stop. `ZENITH_WAL_DIR` is its `pg_wal`.
//! 2. `ZENITH_RECOVERED_DIR`: a copy of the backup with `recovery.signal`, `hot_standby = off`,
//!    `autovacuum = off` and a `restore_command` that copies from there, started and, once it takes
//!    connections, stopped. (It ends recovery with a checkpoint, so that all pages are on disk.)
//! 3. `cargo test -p walredo --test real_wal recovery -- --ignored --nocapture`, with `ZENITH_PG_MINOR` and
//!    `ZENITH_NO_HINTS` as for the module `consistency`.
//!
//! Not compared: free space maps, unlogged relations, and whether an untouched
//! page of a visibility map is all zeros or empty (recovery leaves that to chance).

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Write;
use std::path::Path;

use crate::support::{Directory, path_from_env, rules};
use walrecord::{
    BlockTag, DecoderOptions, ForkNumber, Lsn, PAGE_SIZE, Page, RELSEG_BLOCKS, RecordReader,
    RelFileLocator, SLRU_PAGES_PER_SEGMENT, SlruKind, SlruPage, ZERO_PAGE,
};
use walredo::{Verifier, clear_checksum, is_zero, page_checksum, page_lsn, stored_checksum};

type Slrus = BTreeMap<SlruPage, Box<Page>>;
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The fork, relation number and segment that a relation file's name says.
fn parse_name(name: &str) -> Option<(u32, ForkNumber, u32)> {
    let (name, segment) = match name.split_once('.') {
        Some((name, segment)) => (name, segment.parse().ok()?),
        None => (name, 0),
    };
    let (rel, fork) = match name.split_once('_') {
        Some((rel, fork)) => (rel, fork.parse().ok()?),
        None => (name, ForkNumber::Main),
    };
    Some((rel.parse().ok()?, fork, segment))
}

/// Calls `visit` for every block of every relation file in one directory.
fn visit_directory(
    path: &Path,
    spc: u32,
    db: u32,
    visit: &mut impl FnMut(BlockTag, Box<Page>),
) -> Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let Some((rel, fork, segment)) = entry.file_name().to_str().and_then(parse_name) else {
            continue;
        };
        let bytes = std::fs::read(entry.path())?;
        for (index, bytes) in bytes.chunks_exact(PAGE_SIZE).enumerate() {
            let block = segment * RELSEG_BLOCKS + index as u32;
            let rel = RelFileLocator { spc, db, rel };
            let page: Box<[u8]> = bytes.into();
            let page = page.try_into().map_err(|_| "half a page")?;
            visit(BlockTag { rel, fork, block }, page);
        }
    }
    Ok(())
}

/// Calls `visit` for every block of every relation in the default and the global tablespace.
fn visit_cluster(root: &Path, visit: &mut impl FnMut(BlockTag, Box<Page>)) -> Result<()> {
    visit_directory(&root.join("global"), 1664, 0, visit)?;
    for entry in std::fs::read_dir(root.join("base"))? {
        let entry = entry?;
        if let Some(db) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        {
            visit_directory(&entry.path(), 1663, db, visit)?;
        }
    }
    Ok(())
}

/// Where replay of a base backup begins.
fn start_of_backup(base: &Path) -> Result<Lsn> {
    let label = std::fs::read_to_string(base.join("backup_label"))?;
    let location = label.strip_prefix("START WAL LOCATION: ");
    let location = location.and_then(|text| text.split(' ').next());
    Ok(location.ok_or("no start in backup_label")?.parse()?)
}

/// The pages of the status logs in a data directory.
fn load_slrus(root: &Path) -> Result<Slrus> {
    let mut pages = Slrus::new();
    for kind in SlruKind::ALL {
        for entry in std::fs::read_dir(root.join(kind.directory()))? {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            let segment = u32::from_str_radix(&name, 16)?;
            let bytes = std::fs::read(entry.path())?;
            for (index, bytes) in bytes.chunks_exact(PAGE_SIZE).enumerate() {
                let page = segment * SLRU_PAGES_PER_SEGMENT + index as u32;
                pages.insert(SlruPage { kind, page }, Box::new(bytes.try_into()?));
            }
        }
    }
    Ok(pages)
}

/// Compares pages of the status logs; a page that only one side has must be all zeros. Gives the
/// numbers of equal and of wrong pages.
fn compare_slrus(actual: &Verifier, expected: &Slrus, out: &mut impl Write) -> Result<(u64, u64)> {
    let (mut equal, mut wrong) = (0, 0);
    let actual: BTreeMap<&SlruPage, &Page> = actual.status_pages().collect();
    let keys: BTreeSet<_> = actual.keys().copied().chain(expected.keys()).collect();
    for key in keys {
        let actual = actual.get(key).map_or(&ZERO_PAGE, |page| page);
        let expected = expected.get(key).map_or(&ZERO_PAGE, |page| page);
        let differing: Vec<_> = (0..PAGE_SIZE)
            .filter(|at| actual[*at] != expected[*at])
            .map(|at| (at, actual[at], expected[at]))
            .take(12)
            .collect();
        if differing.is_empty() {
            equal += 1;
            continue;
        }
        wrong += 1;
        writeln!(out, "{key}: offset, redo's, recovery's {differing:?}")?;
    }
    Ok((equal, wrong))
}

fn replay(base: &Path) -> Result<Verifier> {
    let mut reader = RecordReader::new(Directory::from_env()?, DecoderOptions::default());
    reader.seek(start_of_backup(base)?)?;
    let mut verifier: Option<Verifier> = None;
    // Behind the end there may be a recycled segment: what stands there is no WAL of here.
    while let Ok(Some(raw)) = reader.next_record() {
        if verifier.is_none() {
            let mut loaded = Verifier::new(rules(raw.version)?);
            visit_cluster(base, &mut |tag, page| loaded.load(tag, page))?;
            for (key, page) in load_slrus(base)? {
                loaded.load_status(key, page);
            }
            verifier = Some(loaded);
        }
        if let Some(verifier) = &mut verifier {
            verifier.replay(&raw.decode()?)?;
        }
    }
    Ok(verifier.ok_or("no record behind the start of the backup")?)
}

/// A page that no change was ever made to: all zeros, or of a visibility map and without a bit.
fn is_blank(tag: &BlockTag, page: &Page) -> bool {
    is_zero(page)
        || (tag.fork == ForkNumber::Vm
            && page_lsn(page) == Lsn::INVALID
            && page[24..].iter().all(|byte| *byte == 0))
}

#[test]
#[ignore = "needs a base backup, WAL and a recovered cluster, see the module"]
fn redo_leaves_the_pages_that_stock_recovery_leaves() -> Result<()> {
    let base = path_from_env("ZENITH_BASE_DIR")?;
    let verifier = replay(&base)?;
    let mut out = std::io::stderr().lock();
    for (kind, counts) in verifier.counts() {
        writeln!(out, "{kind} {counts:?}")?;
    }
    for difference in verifier.differences() {
        writeln!(out, "{difference:?}")?;
    }
    let mut known: BTreeMap<BlockTag, &Page> =
        verifier.pages().map(|(tag, page)| (*tag, page)).collect();
    // When recovery ends, it copies their init forks over their main forks.
    let unlogged: BTreeSet<RelFileLocator> = known
        .keys()
        .filter(|tag| tag.fork == ForkNumber::Init)
        .map(|tag| tag.rel)
        .collect();
    let (mut equal, mut blank, mut wrong, mut summed) = (0u64, 0u64, 0u64, 0u64);
    let recovered = path_from_env("ZENITH_RECOVERED_DIR")?;
    visit_cluster(&recovered, &mut |tag, mut expected| {
        let is_copy = tag.fork == ForkNumber::Main && unlogged.contains(&tag.rel);
        if tag.fork == ForkNumber::Fsm || is_copy {
            return;
        }
        // The server computed this one when it wrote the page.
        let stored = stored_checksum(&expected);
        wrong += u64::from(stored != 0 && stored != page_checksum(&expected, tag.block));
        summed += u64::from(stored != 0);
        let actual = known.remove(&tag);
        if is_blank(&tag, &expected) && actual.is_none_or(|page| is_blank(&tag, page)) {
            blank += 1;
            return;
        }
        let mut actual = actual.map_or([0; PAGE_SIZE], |page| *page);
        clear_checksum(&mut actual);
        clear_checksum(&mut expected);
        if actual == *expected {
            equal += 1;
            return;
        }
        wrong += 1;
        if wrong <= 40 {
            let differing = (0..PAGE_SIZE).filter(|at| actual[*at] != expected[*at]);
            let bytes: Vec<_> = differing
                .map(|at| (at, actual[at], expected[at]))
                .take(12)
                .collect();
            let _ = writeln!(out, "{tag}: offset, redo's, recovery's {bytes:?}");
        }
    })?;
    let (slrus_equal, slrus_wrong) = compare_slrus(&verifier, &load_slrus(&recovered)?, &mut out)?;
    writeln!(
        out,
        "{slrus_equal} status log pages equal, {slrus_wrong} wrong"
    )?;
    known.retain(|tag, page| tag.fork != ForkNumber::Fsm && !is_blank(tag, page));
    for tag in known.keys().take(40) {
        writeln!(out, "{tag}: not on disk after recovery")?;
    }
    writeln!(
        out,
        "{equal} pages equal, {blank} blank, {summed} with a checksum, {wrong} wrong, {} not there",
        known.len()
    )?;
    assert!(equal > 0, "nothing was compared");
    assert_eq!((wrong, slrus_wrong, known.len()), (0, 0, 0));
    Ok(())
}
