//! Looks at everything that a timeline has on disk, goes on behind what is wrong, and says what and where
//! it is: layer files, WAL records, and every page rebuilt at one LSN.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walrecord::{
    BlockTag, Lsn, PageKey, RECORD_HEADER_SIZE, RecordReader, SegmentId, SlruKind, SlruPage,
    WAL_PAGE_SIZE, WalError,
};

use super::Timeline;
use super::layers::LayerSet;
use super::shared::Shared;
use super::snapshot::{ForkSize, Snapshot};
use crate::block_cache::BlockCache;
use crate::error::{ReadError, StoreError};
use crate::layer::LayerId;
use crate::wal::WalStore;

/// Places of damage kept to tell damage from what follows of it. Those beyond count as new.
const MAX_PLACES: usize = 10_000;

/// Records between two calls for progress.
const RECORDS_PER_STEP: u64 = 1000;

/// Where a record names the one before it (`xl_prev`).
const PREV_OFFSET: usize = 8;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, below the store's directory; none if it is about a page that no single file explains.
    pub file: Option<PathBuf>,
    /// Where in the file.
    pub offset: Option<u64>,
    /// The page, or the first key of the damaged block.
    pub key: Option<String>,
    /// The LSN of the record, or the one that the page was read at.
    pub lsn: Option<Lsn>,
    /// What is wrong.
    pub problem: String,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Verified {
    /// Layer files.
    pub layers: u64,
    /// Bytes in them.
    pub layer_bytes: u64,
    /// Bytes of WAL.
    pub wal_bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Relation forks and SLRU segments.
    pub forks: u64,
    /// Pages that were rebuilt.
    pub pages: u64,
    /// Pages that could not be, because of damage that was reported before.
    pub pages_lost: u64,
    /// Findings.
    pub findings: u64,
}

/// What a verification is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyStage {
    /// Reading layer files; counted in bytes.
    Layers,
    /// Reading WAL; counted in bytes.
    Wal,
    /// Rebuilding pages; counted in pages.
    Pages,
}

/// Who hears of a verification.
pub trait VerifyWatch {
    /// Something is wrong.
    fn finding(&mut self, finding: Finding);

    /// How far it is. Called often.
    fn progress(&mut self, stage: VerifyStage, done: u64, total: u64);
}

impl Timeline {
    /// Reads every block of every layer file and every record of the WAL up to the last one, and rebuilds
    /// every page that exists at `lsn` (default: the last record). Memory is bounded by the list of
    /// relations. What is damaged is told to `watch` and passed over. Pages that damage makes unreadable are
    /// counted, not told one by one.
    ///
    /// WAL behind the last record, which a crash may have left torn, is looked at only for whether whole
    /// records follow: then what is before them is damage.
    ///
    /// # Errors
    /// If `lsn` is not readable.
    pub fn verify(
        &self,
        lsn: Option<Lsn>,
        watch: &mut dyn VerifyWatch,
    ) -> Result<Verified, ReadError> {
        let lsn = lsn.unwrap_or(self.shared.tracker.get().last_record);
        let snapshot = self.snapshot(lsn)?;
        // No WAL file goes meanwhile.
        let _all_wal = self.shared.pins.hold(Lsn::MAX);
        let mut verifier = Verifier {
            shared: &self.shared,
            watch,
            done: Verified::default(),
            layers: BTreeSet::new(),
            records: BTreeSet::new(),
        };
        verifier.layers();
        verifier.wal();
        verifier.pages(&snapshot);
        Ok(verifier.done)
    }
}

struct Verifier<'a> {
    shared: &'a Arc<Shared>,
    watch: &'a mut dyn VerifyWatch,
    done: Verified,
    /// Damaged places in layers, of those that the timeline branches from, too.
    layers: BTreeSet<(PathBuf, Option<u64>)>,
    /// Damaged records.
    records: BTreeSet<Lsn>,
}

impl Verifier<'_> {
    fn tell(&mut self, finding: Finding) {
        self.done.findings += 1;
        self.watch.finding(finding);
    }

    fn layers(&mut self) {
        let layers: Arc<LayerSet> = self.shared.layers();
        let all = || layers.files().map(|(_, layer)| layer);
        let total = all().map(|layer| layer.summary().file_size).sum();
        let uncached = Arc::new(BlockCache::new(0));
        for layer in all() {
            let mut findings = Vec::new();
            let examined = layer.anew(&uncached).examine(&mut |finding| {
                findings.push((finding.error, finding.from_key));
            });
            if let Err(StoreError::Layer { source, .. }) = examined {
                findings.push((*source, None));
            }
            for (error, from_key) in findings {
                // A compaction may have made another of it since; that one is not looked at.
                if error.offset().is_none() && !self.is_present(layer.id()) {
                    continue;
                }
                let key = from_key.map(|key| key.to_string());
                self.layer_finding(layer.path(), error.offset(), key, None, problem(&error));
            }
            self.done.layers += 1;
            self.done.layer_bytes += layer.summary().file_size;
            self.watch
                .progress(VerifyStage::Layers, self.done.layer_bytes, total);
        }
    }

    fn is_present(&self, id: LayerId) -> bool {
        let layers = self.shared.layers();
        layers.files().any(|(_, layer)| layer.id() == id)
    }

    fn layer_finding(
        &mut self,
        path: &Path,
        offset: Option<u64>,
        key: Option<String>,
        lsn: Option<Lsn>,
        problem: String,
    ) {
        if self.layers.len() < MAX_PLACES {
            self.layers.insert((path.to_owned(), offset));
        }
        self.tell(Finding {
            file: Some(path.to_owned()),
            offset,
            key,
            lsn,
            problem,
        });
    }

    /// Behind damage it goes on with the record that names the damaged one as the one before it, if that is in
    /// the same page, else with the next page in which a record begins.
    fn wal(&mut self) {
        let wal = &self.shared.wal;
        let (start, end) = (wal.start(), wal.end());
        let good = self.shared.tracker.get().last_record;
        let mut reader = RecordReader::new(wal, self.shared.decoder_options());
        // Damage behind the last good record, which may only be the torn end.
        let mut torn: Option<Finding> = None;
        let mut next = first_from(wal, start);
        while let Some(first) = next {
            let stopped = match reader.seek(first) {
                Ok(()) => self.records(&mut reader, &mut torn, good),
                Err(error) => Some((place_of(&error, first), problem(&error))),
            };
            let Some((place, problem)) = stopped else {
                break;
            };
            let finding = self.wal_finding(place, problem);
            if place < good {
                self.note_record(place);
                self.tell(finding);
            } else {
                torn.get_or_insert(finding);
            }
            let behind = place.max(first).page_start() + WAL_PAGE_SIZE as u64;
            next = follower(wal, place.max(first)).or_else(|| first_from(wal, behind));
        }
        self.done.wal_bytes = end - start;
    }

    /// Reads records up to the end, or to the first that is not sound; gives its place.
    fn records(
        &mut self,
        reader: &mut RecordReader<&WalStore>,
        torn: &mut Option<Finding>,
        good: Lsn,
    ) -> Option<(Lsn, String)> {
        let (start, end) = (self.shared.wal.start(), self.shared.wal.end());
        loop {
            let at = reader.position();
            match reader.next_record() {
                Ok(Some(_)) => {}
                Ok(None) if at < good => {
                    let problem = format!("no record follows, but there were some up to {good}");
                    return Some((at, problem));
                }
                Ok(None) => return None,
                Err(error) => return Some((place_of(&error, at), problem(&error))),
            }
            if let Some(finding) = torn.take() {
                self.note_record(finding.lsn.unwrap_or(at));
                self.tell(finding);
            }
            self.done.records += 1;
            if self.done.records.is_multiple_of(RECORDS_PER_STEP) {
                let done = reader.position() - start;
                self.watch.progress(VerifyStage::Wal, done, end - start);
            }
        }
    }

    fn note_record(&mut self, at: Lsn) {
        if self.records.len() < MAX_PLACES {
            self.records.insert(at);
        }
    }

    fn wal_finding(&self, at: Lsn, problem: String) -> Finding {
        let size = self.shared.wal.segment_size();
        let segments = self.shared.wal.segments();
        let segment = segments
            .iter()
            .rev()
            .find(|segment| segment.start <= at && at < segment.end);
        let name = segment.map_or_else(
            || SegmentId::of(self.shared.wal.timeline(), at, size).file_name(size),
            |segment| segment.name.clone(),
        );
        Finding {
            file: Some(self.shared.paths.wal().join(name)),
            offset: Some(u64::from(at.segment_offset(size))),
            key: None,
            lsn: Some(at),
            problem,
        }
    }

    fn pages(&mut self, snapshot: &Snapshot) {
        let forks = match snapshot.forks() {
            Ok(forks) => forks,
            Err(error) => {
                self.read_finding("list of relations", snapshot.lsn(), &error);
                self.forks_one_by_one(snapshot)
            }
        };
        let mut segments = Vec::new();
        for kind in SlruKind::ALL {
            match snapshot.slru_segments(kind) {
                Ok(found) => segments.extend(found.into_iter().map(|found| (kind, found))),
                Err(error) => {
                    let what = format!("segments of {}", kind.directory());
                    self.read_finding(&what, snapshot.lsn(), &error);
                }
            }
        }
        let blocks: u64 = forks.iter().map(|fork| u64::from(fork.blocks)).sum();
        let pages: u64 = segments
            .iter()
            .map(|(_, (_, pages))| u64::from(*pages))
            .sum();
        for fork in &forks {
            for block in 0..fork.blocks {
                let (rel, fork) = (fork.rel, fork.fork);
                let tag = BlockTag { rel, fork, block };
                self.page(snapshot, tag.into(), blocks + pages);
            }
        }
        for (kind, (segment, pages_here)) in &segments {
            let first = segment * walrecord::SLRU_PAGES_PER_SEGMENT;
            for page in first..first + pages_here {
                let page = SlruPage { kind: *kind, page };
                self.page(snapshot, page.into(), blocks + pages);
            }
        }
        self.done.forks = (forks.len() + segments.len()) as u64;
        self.metadata(snapshot);
    }

    /// The forks of those databases whose lists can be read.
    fn forks_one_by_one(&mut self, snapshot: &Snapshot) -> Vec<ForkSize> {
        let mut forks = Vec::new();
        for (spc, db) in snapshot.database_directories() {
            match snapshot.forks_in(spc, db) {
                Ok(found) => forks.extend(found),
                Err(error) => {
                    let what = format!("relations of database {spc}/{db}");
                    self.read_finding(&what, snapshot.lsn(), &error);
                }
            }
        }
        forks
    }

    fn page(&mut self, snapshot: &Snapshot, key: PageKey, total: u64) {
        match snapshot.stored_page(key) {
            Ok(_) => self.done.pages += 1,
            Err(error) => {
                self.done.pages_lost += 1;
                self.read_finding(&key.to_string(), snapshot.lsn(), &error);
            }
        }
        let done = self.done.pages + self.done.pages_lost;
        self.watch.progress(VerifyStage::Pages, done, total);
    }

    fn metadata(&mut self, snapshot: &Snapshot) {
        let mut maps = vec![(walrecord::GLOBAL_TABLESPACE, 0)];
        maps.extend(snapshot.database_directories());
        for (spc, db) in maps {
            if let Err(error) = snapshot.relation_map(spc, db) {
                let what = format!("relation map of {spc}/{db}");
                self.read_finding(&what, snapshot.lsn(), &error);
            }
        }
        let others = [
            ("control file", snapshot.control().map(drop)),
            ("tablespaces", snapshot.tablespaces().map(drop)),
            ("prepared transactions", snapshot.two_phase().map(drop)),
            ("replication origins", snapshot.origins().map(drop)),
            ("configuration files", snapshot.files().map(drop)),
        ];
        for (what, result) in others {
            if let Err(error) = result {
                self.read_finding(what, snapshot.lsn(), &error);
            }
        }
    }

    /// Tells what cannot be read, unless it is for damage that was told.
    fn read_finding(&mut self, what: &str, lsn: Lsn, error: &ReadError) {
        if let ReadError::Store(error) = error {
            let mut cause: &StoreError = error;
            while let StoreError::DirectoriesLost { source, .. } = cause {
                cause = source;
            }
            if let StoreError::Layer { path, source } = cause {
                let place = (path.clone(), source.offset());
                if !self.layers.contains(&place) {
                    // Of another timeline's.
                    let (key, problem) = (Some(what.to_owned()), problem(&**source));
                    self.layer_finding(path, place.1, key, Some(lsn), problem);
                }
                return;
            }
            if let StoreError::BadRecord { start, .. } = cause
                && self.records.contains(start)
            {
                return;
            }
        }
        self.tell(Finding {
            file: None,
            offset: None,
            key: Some(what.to_owned()),
            lsn: Some(lsn),
            problem: problem(error),
        });
    }
}

/// The first record that begins in the page at `page` or behind it.
fn first_from(wal: &WalStore, mut page: Lsn) -> Option<Lsn> {
    while page < wal.end() {
        match walrecord::first_record(wal, page) {
            Ok(Some(first)) => return Some(first),
            // Nothing, or zeros, or no page: it may go on behind.
            Ok(None) | Err(_) => page = page + WAL_PAGE_SIZE as u64,
        }
    }
    None
}

/// Where in the page of a damaged record the one stands that says it follows that.
fn follower(wal: &WalStore, damaged: Lsn) -> Option<Lsn> {
    let mut bytes = [0; WAL_PAGE_SIZE];
    let page = damaged.page_start();
    let read = wal.read_at(page, &mut bytes).ok()?;
    let candidates = (damaged.page_offset() as usize + RECORD_HEADER_SIZE..read).step_by(8);
    candidates
        .filter_map(|at| {
            let prev = bytes[..read].get(at + PREV_OFFSET..)?.first_chunk()?;
            (u64::from_le_bytes(*prev) == damaged.get()).then_some(page + at as u64)
        })
        .next()
}

/// The page or record that the error is about.
fn place_of(error: &walrecord::ReadError<io::Error>, otherwise: Lsn) -> Lsn {
    match error {
        walrecord::ReadError::Source { at, .. } => *at,
        walrecord::ReadError::Missing(at) => *at,
        walrecord::ReadError::Wal(error) => match error {
            WalError::Page { at, .. }
            | WalError::UnexpectedContinuation { page: at }
            | WalError::NoContinuation { record: at, .. }
            | WalError::ContinuationLength { record: at, .. }
            | WalError::Record { at, .. }
            | WalError::PrevLink { at, .. }
            | WalError::PrevNotBefore { at, .. }
            | WalError::Crc { at, .. } => *at,
            _ => otherwise,
        },
    }
}

/// An error with its causes, as far as it does not tell them itself.
fn problem(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
