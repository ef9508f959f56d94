//! Holds a subject against the truth: every page, every length, every file, in both directions.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, bail, ensure};
use walrecord::{
    BlockTag, ForkNumber, Lsn, Page, PageKey, RelFileLocator, SLRU_PAGES_PER_SEGMENT, SlruKind,
    SlruPage, ZERO_PAGE,
};

use super::recovered::RecoveredDir;
use super::subject::{ForkSize, SlruSegment, StateFile, TruthSubject};

/// Pages asked for at once.
const BATCH: u32 = 64;

/// Offsets kept of a page that differs.
const OFFSETS_KEPT: usize = 16;

/// Where `pd_checksum` lies in a page.
const CHECKSUM: std::ops::Range<usize> = 8..10;

/// Whether `pd_checksum` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumField {
    /// It must be equal like every other byte: stock wrote the page to a file with a fresh one (or zero), and
    /// so must the subject.
    Exact,
    /// It is left out: the subject hands out pages as they are between redo and writing.
    Ignored,
}

/// How to compare.
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// Whether `pd_checksum` counts.
    pub checksums: ChecksumField,
    /// Differences that are kept with their details; all are counted.
    pub keep: usize,
}

impl Default for CompareOptions {
    fn default() -> CompareOptions {
        CompareOptions {
            checksums: ChecksumField::Exact,
            keep: 50,
        }
    }
}

/// One way in which the subject is not the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Bytes of a page differ.
    Page {
        /// Which page.
        key: PageKey,
        /// The `pd_lsn` of the truth (meaningless for an SLRU page).
        truth_lsn: Lsn,
        /// The `pd_lsn` of the subject's page.
        subject_lsn: Lsn,
        /// The first offsets of bytes that differ.
        offsets: Vec<usize>,
        /// How many bytes differ.
        bytes: usize,
    },
    /// A fork or SLRU segment is longer, shorter, missing or too many.
    Length {
        /// Which one, as its file would be named.
        name: String,
        /// Its pages in the truth; none if it does not exist there.
        truth: Option<u32>,
        /// Its pages in the subject.
        subject: Option<u32>,
    },
    /// A relation map, version file or two-phase file differs, is missing or is one too many.
    File {
        /// Its path in the data directory.
        path: String,
        /// Its length in the truth, in bytes.
        truth: Option<usize>,
        /// Its length in the subject.
        subject: Option<usize>,
    },
    /// A file of the truth that no rule knows.
    Unrecognised {
        /// Its path in the data directory.
        path: String,
    },
}

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Pages of relations that both sides have.
    pub relation_pages: u64,
    /// Among these, pages that are all zeros in the truth.
    pub zero_pages: u64,
    /// Pages of SLRUs that both sides have.
    pub slru_pages: u64,
    /// Forks of relations, on either side.
    pub forks: u64,
    /// Relation maps, version files and two-phase files that both sides have.
    pub files: u64,
    /// Pages that are not equal.
    pub differing_pages: u64,
    /// All differences, also those not kept.
    pub difference_count: u64,
    /// The first differences.
    pub differences: Vec<Difference>,
}

/// Compares every main, visibility-map and init fork, every SLRU page, every relation map and version file,
/// and the length of each, in both directions.
///
/// Free space maps are left out. A two-phase file of the truth must be in the subject; one of the subject may
/// be missing in the truth, because recovery writes it out only at its next checkpoint.
///
/// # Errors
/// If either side cannot be read; a difference is no error.
pub fn compare(
    truth: &mut RecoveredDir,
    subject: &mut dyn TruthSubject,
    options: &CompareOptions,
) -> Result<Comparison> {
    let mut run = Run {
        options,
        found: Comparison::default(),
    };
    for path in truth.unrecognised().to_vec() {
        run.note(Difference::Unrecognised { path });
    }
    run.relations(truth, subject)?;
    for kind in SlruKind::ALL {
        run.slru(kind, truth, subject)?;
    }
    run.state_files(truth.state_files()?, subject.state_files()?);
    run.twophase_files(truth.twophase_files()?, subject.twophase_files()?);
    Ok(run.found)
}

impl Comparison {
    /// Whether nothing differs.
    pub fn is_equal(&self) -> bool {
        self.difference_count == 0
    }

    /// Fails with the first differences if there are any.
    ///
    /// # Errors
    /// If the subject is not the truth.
    pub fn must_be_equal(&self) -> Result<()> {
        if !self.is_equal() {
            bail!("the pages are not those of stock recovery: {self}");
        }
        Ok(())
    }
}

struct Run<'a> {
    options: &'a CompareOptions,
    found: Comparison,
}

impl Run<'_> {
    fn note(&mut self, difference: Difference) {
        self.found.difference_count += 1;
        if self.found.differences.len() < self.options.keep {
            self.found.differences.push(difference);
        }
    }

    fn relations(
        &mut self,
        truth: &mut RecoveredDir,
        subject: &mut dyn TruthSubject,
    ) -> Result<()> {
        let expected = fork_map(truth.relation_forks()?)?;
        let given = fork_map(subject.relation_forks()?)?;
        for (&(rel, fork), pair) in pairs(&expected, &given) {
            let name = format!("{rel}{}", fork.suffix());
            self.found.forks += 1;
            self.length(name, pair);
            if let (Some(truth_blocks), Some(subject_blocks)) = pair {
                let blocks = truth_blocks.min(subject_blocks);
                let first = BlockTag {
                    rel,
                    fork,
                    block: 0,
                };
                self.pages(first, blocks, truth, subject)?;
            }
        }
        Ok(())
    }

    fn pages(
        &mut self,
        fork: BlockTag,
        blocks: u32,
        truth: &mut RecoveredDir,
        subject: &mut dyn TruthSubject,
    ) -> Result<()> {
        let mut next = 0;
        while next < blocks {
            let count = BATCH.min(blocks - next);
            let first = BlockTag {
                block: next,
                ..fork
            };
            let expected = truth.pages(first, count)?;
            let given = subject.pages(first, count)?;
            ensure!(
                given.len() == expected.len(),
                "{first}: {} pages asked, {} given",
                count,
                given.len()
            );
            for (at, (expected, given)) in (next..).zip(expected.iter().zip(&given)) {
                self.found.relation_pages += 1;
                self.found.zero_pages += u64::from(*expected == ZERO_PAGE);
                let ignore = self.options.checksums == ChecksumField::Ignored;
                self.page(
                    BlockTag { block: at, ..fork }.into(),
                    expected,
                    given,
                    ignore,
                );
            }
            next += count;
        }
        Ok(())
    }

    fn page(&mut self, key: PageKey, truth: &Page, subject: &Page, ignore_checksum: bool) {
        if truth == subject {
            return;
        }
        let skipped = |at: &usize| ignore_checksum && CHECKSUM.contains(at);
        let differing = || {
            let unequal = |at: &usize| truth[*at] != subject[*at];
            (0..truth.len()).filter(unequal).filter(|at| !skipped(at))
        };
        let bytes = differing().count();
        if bytes > 0 {
            self.found.differing_pages += 1;
            self.note(Difference::Page {
                key,
                truth_lsn: page_lsn(truth),
                subject_lsn: page_lsn(subject),
                offsets: differing().take(OFFSETS_KEPT).collect(),
                bytes,
            });
        }
    }

    fn slru(
        &mut self,
        kind: SlruKind,
        truth: &mut RecoveredDir,
        subject: &mut dyn TruthSubject,
    ) -> Result<()> {
        let map = |segments: Vec<SlruSegment>| -> BTreeMap<u32, u32> {
            segments
                .into_iter()
                .map(|segment| (segment.number, segment.pages))
                .collect()
        };
        let expected = map(truth.slru_segments(kind)?);
        let given = map(subject.slru_segments(kind)?);
        for (&number, pair) in pairs(&expected, &given) {
            self.length(format!("{}/{number:04X}", kind.directory()), pair);
            let (Some(truth_pages), Some(subject_pages)) = pair else {
                continue;
            };
            for at in 0..truth_pages.min(subject_pages) {
                let page = SlruPage {
                    kind,
                    page: number * SLRU_PAGES_PER_SEGMENT + at,
                };
                let (expected, given) = (truth.slru_page(page)?, subject.slru_page(page)?);
                self.found.slru_pages += 1;
                self.page(page.into(), &expected, &given, false);
            }
        }
        Ok(())
    }

    fn length(&mut self, name: String, (truth, subject): (Option<u32>, Option<u32>)) {
        if truth != subject {
            self.note(Difference::Length {
                name,
                truth,
                subject,
            });
        }
    }

    fn state_files(&mut self, truth: Vec<StateFile>, subject: Vec<StateFile>) {
        let (expected, given) = (file_map(truth), file_map(subject));
        for (path, (truth, subject)) in pairs(&expected, &given) {
            self.file(path, truth.as_deref(), subject.as_deref());
        }
    }

    fn twophase_files(&mut self, truth: Vec<StateFile>, subject: Vec<StateFile>) {
        let given = file_map(subject);
        for file in truth {
            let subject = given.get(&file.path);
            self.file(&file.path, Some(&file.bytes), subject.map(Vec::as_slice));
        }
    }

    fn file(&mut self, path: &str, truth: Option<&[u8]>, subject: Option<&[u8]>) {
        if truth.is_some() && subject.is_some() {
            self.found.files += 1;
        }
        if truth != subject {
            self.note(Difference::File {
                path: path.to_owned(),
                truth: truth.map(<[u8]>::len),
                subject: subject.map(<[u8]>::len),
            });
        }
    }
}

/// Everything that either map has, with what both say of it.
fn pairs<'a, K: Ord, V: Clone>(
    left: &'a BTreeMap<K, V>,
    right: &'a BTreeMap<K, V>,
) -> BTreeMap<&'a K, (Option<V>, Option<V>)> {
    let keys = left.keys().chain(right.keys());
    keys.map(|key| (key, (left.get(key).cloned(), right.get(key).cloned())))
        .collect()
}

fn fork_map(forks: Vec<ForkSize>) -> Result<BTreeMap<(RelFileLocator, ForkNumber), u32>> {
    let mut map = BTreeMap::new();
    for ForkSize { rel, fork, blocks } in forks {
        if fork == ForkNumber::Fsm {
            continue;
        }
        ensure!(
            map.insert((rel, fork), blocks).is_none(),
            "{rel}.{fork} is listed twice"
        );
    }
    Ok(map)
}

fn file_map(files: Vec<StateFile>) -> BTreeMap<String, Vec<u8>> {
    files
        .into_iter()
        .map(|file| (file.path, file.bytes))
        .collect()
}

/// `pd_lsn`: two 32-bit halves, the higher one first (bufpage.h, PageXLogRecPtr).
fn page_lsn(page: &Page) -> Lsn {
    let half = |at: usize| {
        u64::from(u32::from_ne_bytes([
            page[at],
            page[at + 1],
            page[at + 2],
            page[at + 3],
        ]))
    };
    Lsn::new(half(0) << 32 | half(4))
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pages of {} forks ({} all zero), {} SLRU pages, {} files compared; {} differences",
            self.relation_pages,
            self.forks,
            self.zero_pages,
            self.slru_pages,
            self.files,
            self.difference_count
        )?;
        for difference in &self.differences {
            write!(f, "\n  {difference}")?;
        }
        let more = self.difference_count - self.differences.len() as u64;
        if more > 0 {
            write!(f, "\n  and {more} more")?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            |value: Option<u64>| value.map_or_else(|| "absent".to_owned(), |v| v.to_string());
        match self {
            Difference::Page {
                key,
                truth_lsn,
                subject_lsn,
                offsets,
                bytes,
            } => write!(
                f,
                "{key}: {bytes} bytes differ, the first at {offsets:?}; pd_lsn {subject_lsn}, truth {truth_lsn}"
            ),
            Difference::Length {
                name,
                truth,
                subject,
            } => {
                let (truth, subject) = (shown(truth.map(u64::from)), shown(subject.map(u64::from)));
                write!(f, "{name}: {subject} pages, truth {truth}")
            }
            Difference::File {
                path,
                truth,
                subject,
            } => {
                let (truth, subject) = (
                    shown(truth.map(|n| n as u64)),
                    shown(subject.map(|n| n as u64)),
                );
                write!(
                    f,
                    "{path}: {subject} bytes, truth {truth} (or their content differs)"
                )
            }
            Difference::Unrecognised { path } => {
                write!(f, "{path}: no rule says what this file is")
            }
        }
    }
}
