//! Replays WAL written with `wal_consistency_checking` and compares each page with the version that
//! the WAL itself expects (as `verifyBackupPageConsistency`, access/transam/xlogrecovery.c, does).
//!
//! Pages live in memory and go from record to record by redo. With `full_page_writes = off` nearly
//! every change is checked.

mod compare;
mod findings;
mod pages;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use walrecord::{
    BlockRef, BlockTag, Effect, EffectContext, EffectError, ForkNumber, MetaEffect, Page, PageKey,
    PageTouch, Record, RedoRules, RelFileLocator, RmgrId, SlruPage, ZERO_PAGE, effects,
};

use self::compare::{Verdict, compare};
pub use self::findings::{BlockCounts, Difference, Disagreement, Findings};
use self::pages::Pages;
use crate::error::RedoError;
use crate::page::{is_new, page_lsn, set_lsn};
use crate::redo::{Applied, redo};

/// What the next record on a page is applied to, after a record that carries its expected version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// The page that redo made, through the whole history: a fault shows in all that follows, and redo
    /// meets its own pages, as in recovery. After a difference the expected version is taken.
    Carried,
    /// The expected version: each record is judged alone.
    Expected,
}

/// The share of all pages that one of several verifiers of the same WAL looks after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which share, counted from 0. The first also counts records.
    pub index: u32,
    /// Into how many shares the pages are divided; at least 1.
    pub count: u32,
}

impl Share {
    /// Everything.
    pub const ALL: Share = Share { index: 0, count: 1 };

    fn has(self, key: &PageKey) -> bool {
        let (area, number) = match key {
            PageKey::Block(tag) => (tag.rel.rel.wrapping_mul(8) + tag.fork as u32, tag.block),
            PageKey::Slru(page) => (page.kind as u32, page.page),
        };
        // Multiplicative hashing: neighbours go to different shares.
        let mixed = (u64::from(area) << 32 | u64::from(number)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 32) % u64::from(self.count.max(1)) == u64::from(self.index)
    }
}

/// How a [`Verifier`] works.
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions {
    /// The rule set of the server that wrote the WAL.
    pub rules: RedoRules,
    /// What each record is applied to.
    pub base: Base,
    /// Which pages to look after.
    pub share: Share,
    /// Pages of 8 KiB to keep, besides visibility maps and status logs. Those not touched for longest are
    /// forgotten first, and begin anew with the next expected version.
    pub max_pages: usize,
    /// Commit times are kept where the WAL begins. Later the WAL tells.
    pub track_commit_timestamp: bool,
}

impl VerifyOptions {
    /// All pages, carried, without a bound on memory.
    pub const fn new(rules: RedoRules) -> VerifyOptions {
        VerifyOptions {
            rules,
            base: Base::Carried,
            share: Share::ALL,
            max_pages: usize::MAX,
            track_commit_timestamp: true,
        }
    }
}

/// Takes pages from record to record and compares them.
#[derive(Debug)]
pub struct Verifier {
    options: VerifyOptions,
    pages: Pages,
    slrus: BTreeMap<SlruPage, Box<Page>>,
    /// Relations whose whole history is in the WAL: their pages start from nothing.
    created: HashSet<RelFileLocator>,
    findings: Findings,
}

impl Verifier {
    /// A verifier that knows no page, with [`VerifyOptions::new`].
    pub fn new(rules: RedoRules) -> Verifier {
        Verifier::with_options(VerifyOptions::new(rules))
    }

    /// A verifier that knows no page.
    pub fn with_options(options: VerifyOptions) -> Verifier {
        Verifier {
            options,
            pages: Pages::new(options.max_pages),
            slrus: BTreeMap::new(),
            created: HashSet::new(),
            findings: Findings::default(),
        }
    }

    /// What was counted so far.
    pub const fn counts(&self) -> &BTreeMap<crate::RecordKind, BlockCounts> {
        &self.findings.counts
    }

    /// The first differences found.
    pub fn differences(&self) -> &[Difference] {
        &self.findings.differences
    }

    /// Pages that were found equal, and those that were not (differing or failed).
    pub fn totals(&self) -> (u64, u64) {
        self.findings.totals()
    }

    /// Everything that was found.
    pub fn into_findings(mut self) -> Findings {
        self.findings.pages_dropped = self.pages.dropped();
        self.findings
    }

    /// Gives the page that a block has where the WAL begins, from a base backup for instance. Other
    /// pages of the relation then start from nothing.
    pub fn load(&mut self, tag: BlockTag, page: Box<Page>) {
        self.created.insert(tag.rel);
        self.pages.insert(tag, page);
    }

    /// All known pages as redo left them, in no particular order.
    pub fn pages(&self) -> impl Iterator<Item = (&BlockTag, &Page)> {
        self.pages.iter()
    }

    /// As [`Verifier::load`], for a page of a status log.
    pub fn load_status(&mut self, page: SlruPage, content: Box<Page>) {
        self.slrus.insert(page, content);
    }

    /// All known pages of status logs as redo left them, in order.
    pub fn status_pages(&self) -> impl Iterator<Item = (&SlruPage, &Page)> {
        self.slrus.iter().map(|(key, page)| (key, &**page))
    }

    /// How many pages are held in memory.
    pub fn pages_held(&self) -> usize {
        self.pages.len() + self.slrus.len()
    }

    /// Replays one record and compares the pages that it names. Records must come in order. Pages that it
    /// changes without naming them are compared when a record names them; status logs never.
    ///
    /// # Errors
    /// If the record's body cannot be decoded. It is counted as failed, the pages that it names begin
    /// anew, and the next record may follow.
    pub fn replay(&mut self, record: &Record<'_>) -> Result<(), EffectError> {
        let share = self.options.share;
        if share.index == 0 {
            self.findings.of(record).records += 1;
        }
        let context = EffectContext {
            rules: self.options.rules,
            track_commit_timestamp: self.options.track_commit_timestamp,
        };
        let mut unnamed = Vec::new();
        let mut status = Vec::new();
        let mut changes = Vec::new();
        let told = effects(record, &context, &mut |effect| match effect {
            Effect::Page { key, .. } if !share.has(&key) => {}
            Effect::Page {
                key: PageKey::Block(tag),
                touch: touch @ (PageTouch::Implicit | PageTouch::IfPresent),
            } => unnamed.push((tag, touch)),
            Effect::Page {
                key: PageKey::Slru(page),
                ..
            } => status.push(page),
            Effect::Page { .. } => {}
            Effect::Meta(change) => changes.push(change),
        });
        if let Err(error) = told {
            self.give_up(record, error);
            return Err(error);
        }
        for block in record.blocks() {
            if share.has(&block.tag.into()) {
                self.replay_block(record, block);
            }
        }
        for (tag, touch) in unnamed {
            if record.blocks().iter().all(|block| block.tag != tag) {
                self.replay_unnamed(record, tag, touch);
            }
        }
        for page in status {
            self.replay_status(record, page);
        }
        for change in changes {
            self.change(&change);
        }
        Ok(())
    }

    /// A record that cannot be decoded: the pages that it names begin anew.
    fn give_up(&mut self, record: &Record<'_>, error: EffectError) {
        let share = self.options.share;
        for block in record.blocks() {
            if share.has(&block.tag.into()) {
                self.seed(record, block);
            }
        }
        if share.index == 0 {
            self.findings.of(record).failed += 1;
            self.findings
                .differ(record, None, || Disagreement::Undecodable(error));
        }
    }

    fn replay_unnamed(&mut self, record: &Record<'_>, tag: BlockTag, touch: PageTouch) {
        if self.pages.get_mut(&tag).is_none() {
            if !self.created.contains(&tag.rel) || touch != PageTouch::Implicit {
                return;
            }
            self.pages.insert(tag, Box::new(ZERO_PAGE));
        }
        let Some(page) = self.pages.get_mut(&tag) else {
            return;
        };
        let key = PageKey::Block(tag);
        if let Err(error) = redo(page, record, &key, &self.options.rules) {
            self.pages.remove(&tag);
            self.failed(record, key, error);
        }
    }

    /// A page of a status log. No WAL says what is expected of it.
    fn replay_status(&mut self, record: &Record<'_>, slru: SlruPage) {
        let page = self.slrus.entry(slru).or_insert_with(|| ZERO_PAGE.into());
        let key = PageKey::Slru(slru);
        match redo(page, record, &key, &self.options.rules) {
            Ok(_) => self.findings.of(record).unchecked += 1,
            Err(error) => self.failed(record, key, error),
        }
    }

    fn failed(&mut self, record: &Record<'_>, key: PageKey, error: RedoError) {
        self.findings.of(record).failed += 1;
        self.findings
            .differ(record, Some(key), || Disagreement::Failed(error));
    }

    /// Follows what becomes of relations: their old pages are not the past of new ones.
    fn change(&mut self, change: &MetaEffect<'_>) {
        let tag = |rel, fork, block| BlockTag { rel, fork, block };
        match *change {
            MetaEffect::RelationCreate { rel, .. } => {
                self.created.insert(rel);
            }
            MetaEffect::RelationTruncate { rel, fork, blocks } => {
                self.pages
                    .remove_range(tag(rel, fork, blocks), tag(rel, fork, u32::MAX));
            }
            MetaEffect::RelationDrop { rel } => {
                let first = tag(rel, ForkNumber::Main, 0);
                self.pages
                    .remove_range(first, tag(rel, ForkNumber::Init, u32::MAX));
                self.created.remove(&rel);
            }
            MetaEffect::DatabaseCopy { spc, db, .. } | MetaEffect::DatabaseDrop { spc, db } => {
                let gone = |rel: &RelFileLocator| rel.db == db && rel.spc == spc;
                self.pages.retain(|tag| !gone(&tag.rel));
                self.created.retain(|rel| !gone(rel));
            }
            MetaEffect::Parameters(parameters) => {
                self.options.track_commit_timestamp = parameters.track_commit_timestamp;
            }
            MetaEffect::SlruRemove { kind } => self.slrus.retain(|page, _| page.kind != kind),
            _ => {}
        }
    }

    fn replay_block(&mut self, record: &Record<'_>, block: &BlockRef<'_>) {
        let tag = block.tag;
        if self.pages.get_mut(&tag).is_none() {
            let from_nothing = block.will_init || block.apply_image().is_some();
            let is_new_map = tag.fork == ForkNumber::Vm && self.created.contains(&tag.rel);
            if !from_nothing && !is_new_map {
                self.begin(record, block);
                return;
            }
            self.pages.insert(tag, Box::new(ZERO_PAGE));
        }
        let Some(page) = self.pages.get_mut(&tag) else {
            return;
        };
        let key = PageKey::Block(tag);
        match redo(page, record, &key, &self.options.rules) {
            Ok(Applied::Changed | Applied::Skipped) => self.compare(record, block),
            Ok(Applied::NoBase) => self.begin(record, block),
            Err(error @ RedoError::Unsupported { .. }) => self.refuse(record, block, error),
            Err(error) => {
                self.seed(record, block);
                self.failed(record, key, error);
            }
        }
    }

    /// A page without a past.
    fn begin(&mut self, record: &Record<'_>, block: &BlockRef<'_>) {
        if let RmgrId::Custom(_) = record.header.rmgr {
            let error = RedoError::unsupported(record, block.tag.into());
            self.refuse(record, block, error);
            return;
        }
        let seeded = self.seed(record, block);
        let counts = self.findings.of(record);
        match seeded {
            true => counts.seeded += 1,
            false => counts.unknown += 1,
        }
    }

    fn refuse(&mut self, record: &Record<'_>, block: &BlockRef<'_>, error: RedoError) {
        self.seed(record, block);
        self.findings.of(record).refused += 1;
        self.findings
            .note(record, block.tag.into(), || Disagreement::Refused(error));
    }

    fn compare(&mut self, record: &Record<'_>, block: &BlockRef<'_>) {
        let RmgrId::BuiltIn(rmgr) = record.header.rmgr else {
            return;
        };
        let mut expected = ZERO_PAGE;
        let restored = block
            .image
            .filter(|image| !image.apply)
            .map(|image| image.restore(&mut expected));
        let actual = self.pages.get_mut(&block.tag).map(|page| *page);
        let actual = actual.filter(|page| page_lsn(page) <= record.end);
        let (Some(Ok(())), Some(mut actual)) = (restored, actual) else {
            self.findings.of(record).unchecked += 1;
            return;
        };
        let key = PageKey::Block(block.tag);
        let verdict = compare(&mut actual, &mut expected, record, &block.tag, rmgr);
        match verdict {
            Verdict::Equal => self.findings.of(record).equal += 1,
            Verdict::OtherBits { surplus, missing } => {
                self.findings.of(record).equal += 1;
                self.findings.maps_with_other_bits += 1;
                let bits = Disagreement::OtherBits { surplus, missing };
                self.findings.note(record, key, || bits);
            }
            Verdict::Different(what) => {
                self.findings.of(record).different += 1;
                self.findings.differ(record, Some(key), || what);
                self.seed(record, block);
            }
        }
        if self.options.base == Base::Expected {
            self.seed(record, block);
        }
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
}
