//! Replays WAL written with `wal_consistency_checking` and compares each page with the version that
//! the WAL itself expects (as `verifyBackupPageConsistency`, access/transam/xlogrecovery.c, does).
//!
//! Pages live in memory and are carried from record to record by redo alone; nothing is refreshed
//! from the expected versions, so that a fault shows in all that follows. With
//! `full_page_writes = off` nearly every change is checked.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use walrecord::{
    BlockImage, BlockRef, BlockTag, Effect, EffectContext, EffectError, ForkNumber, MetaEffect,
    Page, PageKey, PageTouch, Record, RedoRules, RelFileLocator, RmgrId, ZERO_PAGE, effects,
};

use crate::error::{RecordId, RecordKind, RedoError};
use crate::mask::mask;
use crate::page::{is_new, page_lsn, set_lsn};
use crate::redo::{Applied, redo};

/// What became of the blocks that records of one kind refer to, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCounts {
    /// Redo made what the WAL expects.
    pub equal: u64,
    /// Redo made something else.
    pub different: u64,
    /// Redo refused: page and record contradict each other.
    pub failed: u64,
    /// Replaced by an image, or changed with no version to compare with.
    pub unchecked: u64,
    /// The page's past is not in the WAL: it begins with the expected version.
    pub seeded: u64,
    /// The page's past is not in the WAL, and neither is an expected version.
    pub unknown: u64,
    /// Redo of such records is not supported.
    pub unsupported: u64,
}

/// A page that is not what the WAL expects.
#[derive(Clone, Debug)]
pub struct Difference {
    /// After which record.
    pub record: RecordId,
    /// Which page.
    pub tag: BlockTag,
    /// Why redo refused; none if it did not.
    pub error: Option<RedoError>,
    /// Where the masked pages differ, by the first bytes: offset, redo's, expected.
    pub bytes: Vec<(usize, u8, u8)>,
}

/// Differing bytes that a [`Difference`] keeps.
const KEPT_BYTES: usize = 16;
/// Differences that are kept; all are counted.
const KEPT_DIFFERENCES: usize = 100;

/// Carries pages from record to record and compares them.
#[derive(Debug)]
pub struct Verifier {
    rules: RedoRules,
    pages: BTreeMap<BlockTag, Box<Page>>,
    /// Relations whose whole history is in the WAL: their pages start from nothing.
    created: HashSet<RelFileLocator>,
    /// Pages that recovery rightly has otherwise than the primary, until the next expected version.
    lossy: HashSet<BlockTag>,
    counts: BTreeMap<RecordKind, BlockCounts>,
    differences: Vec<Difference>,
}

impl Verifier {
    /// A verifier that knows no page.
    pub fn new(rules: RedoRules) -> Verifier {
        Verifier {
            rules,
            pages: BTreeMap::new(),
            created: HashSet::new(),
            lossy: HashSet::new(),
            counts: BTreeMap::new(),
            differences: Vec::new(),
        }
    }

    /// What was counted so far.
    pub const fn counts(&self) -> &BTreeMap<RecordKind, BlockCounts> {
        &self.counts
    }

    /// The first differences found. [`BlockCounts`] has the number of all.
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// Gives the page that a block has where the WAL begins, from a base backup for instance. Other
    /// pages of the relation then start from nothing.
    pub fn load(&mut self, tag: BlockTag, page: Box<Page>) {
        self.created.insert(tag.rel);
        self.pages.insert(tag, page);
    }

    /// All known pages as redo left them, in the order of their tags.
    pub fn pages(&self) -> impl Iterator<Item = (&BlockTag, &Page)> {
        self.pages.iter().map(|(tag, page)| (tag, &**page))
    }

    /// Blocks that were found equal, and those that were not (differing or refused).
    pub fn totals(&self) -> (u64, u64) {
        let sum = |field: fn(&BlockCounts) -> u64| self.counts.values().map(field).sum();
        (sum(|c| c.equal), sum(|c| c.different + c.failed))
    }

    /// Replays one record and compares the pages that it refers to. Records must come in order.
    /// Pages that it changes without naming them are compared when a record names them.
    ///
    /// # Errors
    /// If the record's body cannot be decoded; nothing is replayed then.
    pub fn replay(&mut self, record: &Record<'_>) -> Result<(), EffectError> {
        let context = EffectContext {
            rules: self.rules,
            // Says only whether commit records touch pages of commit times, which are not looked at.
            track_commit_timestamp: false,
        };
        let mut unnamed: Vec<(BlockTag, PageTouch)> = Vec::new();
        let mut changes = Vec::new();
        effects(record, &context, &mut |effect| match effect {
            Effect::Page {
                key: PageKey::Block(tag),
                touch: touch @ (PageTouch::Implicit | PageTouch::IfPresent),
            } => unnamed.push((tag, touch)),
            Effect::Page { .. } => {}
            Effect::Meta(change) => changes.push(change),
        })?;
        for block in record.blocks() {
            self.replay_block(record, block);
        }
        for (tag, touch) in unnamed {
            self.replay_unnamed(record, tag, touch);
        }
        for change in changes {
            self.change(&change);
        }
        Ok(())
    }

    fn replay_unnamed(&mut self, record: &Record<'_>, tag: BlockTag, touch: PageTouch) {
        let known = self.created.contains(&tag.rel) && touch == PageTouch::Implicit;
        let page = match self.pages.entry(tag) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if known => entry.insert(Box::new(ZERO_PAGE)),
            Entry::Vacant(_) => return,
        };
        if let Err(error) = redo(page, record, &PageKey::Block(tag), &self.rules) {
            self.pages.remove(&tag);
            self.count(record, |counts| &mut counts.failed);
            self.report(record, tag, Some(error), Vec::new());
        }
    }

    /// Follows what becomes of relations: their old pages are not the past of new ones.
    fn change(&mut self, change: &MetaEffect<'_>) {
        match *change {
            MetaEffect::RelationCreate { rel, .. } => {
                self.created.insert(rel);
            }
            MetaEffect::RelationTruncate { rel, fork, blocks } => {
                let first = BlockTag {
                    rel,
                    fork,
                    block: blocks,
                };
                let last = BlockTag {
                    rel,
                    fork,
                    block: u32::MAX,
                };
                self.forget(first, last);
            }
            MetaEffect::RelationDrop { rel } => {
                let (fork, block) = (ForkNumber::Main, 0);
                let first = BlockTag { rel, fork, block };
                let (fork, block) = (ForkNumber::Init, u32::MAX);
                self.forget(first, BlockTag { rel, fork, block });
                self.created.remove(&rel);
            }
            MetaEffect::DatabaseCopy { db, .. } | MetaEffect::DatabaseDrop { db, .. } => {
                self.pages.retain(|tag, _| tag.rel.db != db);
                self.created.retain(|rel| rel.db != db);
            }
            _ => {}
        }
    }

    fn forget(&mut self, first: BlockTag, last: BlockTag) {
        let gone: Vec<BlockTag> = self
            .pages
            .range(first..=last)
            .map(|(tag, _)| *tag)
            .collect();
        for tag in gone {
            self.pages.remove(&tag);
        }
    }

    fn replay_block(&mut self, record: &Record<'_>, block: &BlockRef<'_>) {
        let tag = block.tag;
        let from_nothing = block.will_init || block.apply_image().is_some();
        let is_new_map = tag.fork == ForkNumber::Vm && self.created.contains(&tag.rel);
        let page = match self.pages.entry(tag) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) if from_nothing || is_new_map => entry.insert(Box::new(ZERO_PAGE)),
            Entry::Vacant(_) => {
                let seeded = self.seed(record, block);
                self.count(record, |counts| match seeded {
                    true => &mut counts.seeded,
                    false => &mut counts.unknown,
                });
                return;
            }
        };
        match redo(page, record, &PageKey::Block(tag), &self.rules) {
            Ok(Applied::Changed | Applied::Skipped) => self.compare(record, block),
            Ok(Applied::NoBase) => {
                self.seed(record, block);
                self.count(record, |counts| &mut counts.seeded);
            }
            Err(RedoError::Unsupported { .. }) => {
                self.seed(record, block);
                self.count(record, |counts| &mut counts.unsupported);
            }
            Err(error) => {
                self.seed(record, block);
                self.count(record, |counts| &mut counts.failed);
                self.report(record, tag, Some(error), Vec::new());
            }
        }
    }

    fn compare(&mut self, record: &Record<'_>, block: &BlockRef<'_>) {
        if loses_content(block) {
            self.lossy.insert(block.tag);
        }
        let RmgrId::BuiltIn(rmgr) = record.header.rmgr else {
            return;
        };
        let mut expected = ZERO_PAGE;
        let restored = block
            .image
            .filter(|image| !image.apply)
            .map(|image| image.restore(&mut expected));
        let ahead = |page: &Page| page_lsn(page) > record.end;
        let actual = self.pages.get(&block.tag).filter(|page| !ahead(page));
        let (Some(Ok(())), Some(actual)) = (restored, actual) else {
            self.count(record, |counts| &mut counts.unchecked);
            return;
        };
        if self.lossy.remove(&block.tag) {
            self.seed(record, block);
            self.count(record, |counts| &mut counts.seeded);
            return;
        }
        let mut actual: Page = **actual;
        mask(&mut actual, &block.tag, rmgr);
        mask(&mut expected, &block.tag, rmgr);
        if actual == expected {
            self.count(record, |counts| &mut counts.equal);
            return;
        }
        let bytes = (0..actual.len())
            .filter(|at| actual[*at] != expected[*at])
            .map(|at| (at, actual[at], expected[at]))
            .take(KEPT_BYTES)
            .collect();
        self.seed(record, block);
        self.count(record, |counts| &mut counts.different);
        self.report(record, block.tag, None, bytes);
    }

    /// Takes the page from the record's image, or forgets it. Says which.
    fn seed(&mut self, record: &Record<'_>, block: &BlockRef<'_>) -> bool {
        let mut page = Box::new(ZERO_PAGE);
        let seeded = block
            .image
            .is_some_and(|image| image.restore(&mut page).is_ok());
        if !seeded {
            self.pages.remove(&block.tag);
            return false;
        }
        let keeps_lsn = block.tag.fork == ForkNumber::Fsm || is_new(&page);
        if !keeps_lsn {
            set_lsn(&mut page, record.end);
        }
        self.pages.insert(block.tag, page);
        true
    }

    fn count(&mut self, record: &Record<'_>, field: impl FnOnce(&mut BlockCounts) -> &mut u64) {
        *field(self.counts.entry(RecordKind::of(record)).or_default()) += 1;
    }

    fn report(
        &mut self,
        record: &Record<'_>,
        tag: BlockTag,
        error: Option<RedoError>,
        bytes: Vec<(usize, u8, u8)>,
    ) {
        if self.differences.len() < KEPT_DIFFERENCES {
            self.differences.push(Difference {
                record: RecordId::of(record),
                tag,
                error,
                bytes,
            });
        }
    }
}

/// Whether the image drops what the primary's page holds. `CREATE DATABASE` logs visibility maps as
/// if they had a hole, which is where their content lies: recovery gets empty ones, rightly so.
fn loses_content(block: &BlockRef<'_>) -> bool {
    let has_hole = |image: &BlockImage<'_>| image.hole_length > 0;
    block.tag.fork == ForkNumber::Vm && block.apply_image().is_some_and(has_hole)
}
