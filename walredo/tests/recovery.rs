//! Replays WAL over a cold copy of a cluster and demands every touched page, relations' and
//! transaction-status logs' alike, to be byte for byte what stock recovery of the same copy with the
//! same WAL left on disk: hole bytes and hints included, nothing masked but the checksum field.
//! Ignored, since the directories must be made first: `tests/workload/recover.sh` makes them and prints
//! the variables that this test reads.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use walrecord::{
    BlockTag, DEFAULT_TABLESPACE, DecoderOptions, Effect, EffectContext, ForkNumber,
    GLOBAL_TABLESPACE, Lsn, MetaEffect, PAGE_SIZE, Page, PageKey, PageTouch, RELSEG_BLOCKS, Record,
    RecordReader, RedoRules, RelFileLocator, SLRU_PAGES_PER_SEGMENT, SegmentId, SlruKind,
    WalSource, ZERO_PAGE, effects,
};
use walredo::{Applied, RedoError, clear_checksum, redo};

type Outcome<T> = Result<T, Box<dyn Error>>;

const SEGMENT_SIZE: u32 = 16 << 20;
const SHOWN: usize = 40;

/// The segments of timeline 1 in a directory.
struct WalDirectory(PathBuf);

impl WalSource for WalDirectory {
    type Error = std::io::Error;

    fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> std::io::Result<usize> {
        let name = SegmentId::of(1, lsn, SEGMENT_SIZE).file_name(SEGMENT_SIZE);
        match File::open(self.0.join(name)) {
            Ok(file) => file.read_at(buf, u64::from(lsn.segment_offset(SEGMENT_SIZE))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// The data directory of a stopped server.
struct Cluster(PathBuf);

impl Cluster {
    /// None if the file does not exist or is shorter, or if the tablespace is not looked into.
    fn page(&self, key: &PageKey) -> Outcome<Option<Page>> {
        let Some((path, number)) = place(key) else {
            return Ok(None);
        };
        let file = match File::open(self.0.join(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut page = ZERO_PAGE;
        match file.read_exact_at(&mut page, u64::from(number) * PAGE_SIZE as u64) {
            Ok(()) => Ok(Some(page)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The file that holds a page, and the page's number in it.
fn place(key: &PageKey) -> Option<(String, u32)> {
    let tag = match key {
        PageKey::Slru(page) => {
            let path = format!("{}/{:04X}", page.kind.directory(), page.segment());
            return Some((path, page.page % SLRU_PAGES_PER_SEGMENT));
        }
        PageKey::Block(tag) => tag,
    };
    let RelFileLocator { spc, db, rel } = tag.rel;
    let directory = match spc {
        DEFAULT_TABLESPACE => format!("base/{db}"),
        GLOBAL_TABLESPACE => "global".to_owned(),
        _ => return None,
    };
    let mut path = format!("{directory}/{rel}{}", tag.fork.suffix());
    let segment = tag.block / RELSEG_BLOCKS;
    if segment > 0 {
        path = format!("{path}.{segment}");
    }
    Some((path, tag.block % RELSEG_BLOCKS))
}

/// All pages that records touched, as redo left them.
struct Replay {
    base: Cluster,
    context: EffectContext,
    pages: HashMap<PageKey, Box<Page>>,
    /// Whose pages in the base copy are not the past of later ones.
    gone: HashSet<RelFileLocator>,
    gone_slru: HashSet<SlruKind>,
    records: BTreeMap<String, u64>,
    unsupported: HashSet<PageKey>,
    failures: Vec<RedoError>,
}

impl Replay {
    fn apply(&mut self, record: &Record<'_>) -> Outcome<()> {
        let mut touched = Vec::new();
        let mut changes = Vec::new();
        effects(record, &self.context, &mut |effect| match effect {
            Effect::Page { key, touch } => touched.push((key, touch)),
            Effect::Meta(change) => changes.push(change),
        })?;
        for (key, touch) in touched {
            self.apply_to(record, key, touch)?;
        }
        for change in changes {
            self.change(&change);
        }
        Ok(())
    }

    fn apply_to(&mut self, record: &Record<'_>, key: PageKey, touch: PageTouch) -> Outcome<()> {
        let known_gone = match key {
            PageKey::Block(tag) => self.gone.contains(&tag.rel),
            PageKey::Slru(page) => self.gone_slru.contains(&page.kind),
        };
        let page = match self.pages.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let page = if known_gone {
                    None
                } else {
                    self.base.page(&key)?
                };
                if page.is_none() && touch == PageTouch::IfPresent {
                    return Ok(());
                }
                entry.insert(Box::new(page.unwrap_or(ZERO_PAGE)))
            }
        };
        match redo(page, record, &key, &self.context.rules) {
            Ok(Applied::Changed) => {
                let kind = format!("{} {:#04x}", record.header.rmgr, record.info());
                *self.records.entry(kind).or_default() += 1;
            }
            Ok(Applied::Skipped | Applied::NoBase) => {}
            Err(RedoError::Unsupported { .. }) => {
                self.unsupported.insert(key);
            }
            Err(error) => self.failures.push(error),
        }
        Ok(())
    }

    fn change(&mut self, change: &MetaEffect<'_>) {
        match *change {
            MetaEffect::RelationDrop { rel } => {
                self.forget(|tag| tag.rel == rel);
                self.gone.insert(rel);
            }
            MetaEffect::RelationTruncate { rel, fork, blocks } => {
                self.forget(|tag| tag.rel == rel && tag.fork == fork && tag.block >= blocks);
            }
            MetaEffect::SlruRemove { kind } => {
                let of_kind = |key: &PageKey| matches!(key, PageKey::Slru(p) if p.kind == kind);
                self.pages.retain(|key, _| !of_kind(key));
                self.gone_slru.insert(kind);
            }
            MetaEffect::Parameters(parameters) => {
                self.context.track_commit_timestamp = parameters.track_commit_timestamp;
            }
            _ => {}
        }
    }

    fn forget(&mut self, is: impl Fn(&BlockTag) -> bool) {
        let gone = |key: &PageKey| matches!(key, PageKey::Block(tag) if is(tag));
        self.pages.retain(|key, _| !gone(key));
    }
}

/// What a page's comparison is counted under.
fn class(key: &PageKey) -> &'static str {
    match key {
        PageKey::Block(tag) => tag.fork.name(),
        PageKey::Slru(page) => page.kind.directory(),
    }
}

fn variable(name: &str) -> Outcome<String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}").into())
}

fn replay_all() -> Outcome<(Replay, u64)> {
    let start: Lsn = variable("ZENITH_START_LSN")?.parse()?;
    let end: Lsn = variable("ZENITH_END_LSN")?.parse()?;
    let wal = WalDirectory(variable("ZENITH_WAL_DIR")?.into());
    let mut reader = RecordReader::new(wal, DecoderOptions::default());
    reader.seek(start)?;
    let mut replay: Option<Replay> = None;
    let mut records = 0;
    while let Some(raw) = reader.next_record()? {
        if raw.end > end {
            break;
        }
        if replay.is_none() {
            replay = Some(Replay {
                base: Cluster(variable("ZENITH_BASE_DIR")?.into()),
                context: EffectContext {
                    rules: RedoRules {
                        version: raw.version,
                        minor: variable("ZENITH_PG_MINOR")?.parse()?,
                        hint_bits_logged: std::env::var("ZENITH_NO_HINTS").is_err(),
                    },
                    track_commit_timestamp: std::env::var("ZENITH_COMMIT_TS").is_ok(),
                },
                pages: HashMap::new(),
                gone: HashSet::new(),
                gone_slru: HashSet::new(),
                records: BTreeMap::new(),
                unsupported: HashSet::new(),
                failures: Vec::new(),
            });
        }
        if let Some(replay) = &mut replay {
            replay.apply(&raw.decode()?)?;
            records += 1;
        }
    }
    Ok((replay.ok_or("no record at ZENITH_START_LSN")?, records))
}

#[derive(Default, Debug)]
struct Counts {
    equal: u64,
    different: u64,
    not_on_disk: u64,
}

#[test]
#[ignore = "needs directories that tests/workload/recover.sh makes"]
fn replayed_pages_equal_those_of_stock_recovery() -> Outcome<()> {
    let (mut replay, records) = replay_all()?;
    let recovered = Cluster(Path::new(&variable("ZENITH_RECOVERED_DIR")?).to_owned());
    let mut counts: BTreeMap<&str, Counts> = BTreeMap::new();
    let mut different = Vec::new();
    for (key, page) in &mut replay.pages {
        let is_map = matches!(key, PageKey::Block(tag) if tag.fork == ForkNumber::Fsm);
        if is_map || replay.unsupported.contains(key) {
            continue;
        }
        let counts = counts.entry(class(key)).or_default();
        let Some(mut expected) = recovered.page(key)? else {
            counts.not_on_disk += 1;
            continue;
        };
        if matches!(key, PageKey::Block(_)) {
            clear_checksum(page);
            clear_checksum(&mut expected);
        }
        if **page == expected {
            counts.equal += 1;
            continue;
        }
        counts.different += 1;
        let at = (0..PAGE_SIZE).filter(|at| page[*at] != expected[*at]);
        let bytes: Vec<_> = at.map(|at| (at, page[at], expected[at])).collect();
        let shown = bytes[..bytes.len().min(8)].to_vec();
        different.push(format!("{key}: {} bytes, {shown:?}", bytes.len()));
    }
    let mut out = std::io::stderr().lock();
    writeln!(out, "{records} records")?;
    for (kind, count) in &replay.records {
        writeln!(out, "{count:>9} {kind}")?;
    }
    for (class, counts) in &counts {
        writeln!(out, "{class}: {counts:?}")?;
    }
    writeln!(out, "{} pages unsupported", replay.unsupported.len())?;
    different.sort();
    for line in different.iter().take(SHOWN) {
        writeln!(out, "{line}")?;
    }
    for failure in replay.failures.iter().take(SHOWN) {
        writeln!(out, "{failure}")?;
    }
    assert!(replay.failures.is_empty() && different.is_empty());
    assert!(counts.values().any(|counts| counts.equal > 0));
    Ok(())
}
