//! What becomes of one key's versions: those that nobody can ask for go, long chains of changes are cut by
//! images.

mod quick;

use std::ops::RangeInclusive;
use std::sync::Arc;

use walrecord::{Lsn, PageKey};

use super::chain::Chain;
use super::effort::Effort;
use super::merge::Merge;
use super::output::Outputs;
use super::retention::Retention;
use crate::error::{ReadError, StoreError};
use crate::key::Key;
use crate::layer::{BlockAhead, BlockEdges, BlockVersion, EntryKind, WholeBlock};
use crate::meta::is_tombstone;
use crate::timeline::chain_bound::ChainLength;
use crate::timeline::layers::LayerSet;
use crate::timeline::read::RulesHistory;
use crate::timeline::resolve::Place;
use crate::timeline::shared::Shared;
use crate::timeline::snapshot::Snapshot;

/// Rewrites keys one after the other.
pub(super) struct Rewriter<'a> {
    pub(super) shared: &'a Arc<Shared>,
    /// The layer files as they are; the keys to come are in what is rewritten.
    pub(super) layers: Arc<LayerSet>,
    rules: Arc<RulesHistory>,
    retention: Retention,
    /// Nothing is below the layers that are rewritten.
    is_bottom: bool,
    import_stop: Lsn,
    /// What is rewritten holds all versions around the import's stop position.
    has_import_stop: bool,

    points: Vec<Lsn>,
    chain: Chain,
    value: Vec<u8>,
    /// In a hurry, of the key that was written last: what is to come of it goes on from here.
    length: (Key, ChainLength),
}

/// Where a page's past begins, seen from a point.
#[derive(Clone, Copy)]
struct Past {
    /// Versions at or below are void.
    above: Lsn,
    /// Below is nothing: the page is zeros there, rather than another database's.
    is_own: bool,
}

impl<'a> Rewriter<'a> {
    /// `lsns` are those of what is rewritten; nobody else has versions among them.
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        layers: Arc<LayerSet>,
        retention: Retention,
        is_bottom: bool,
        lsns: &RangeInclusive<Lsn>,
    ) -> Rewriter<'a> {
        Rewriter {
            layers,
            rules: shared.rules(),
            retention,
            is_bottom,
            import_stop: shared.import_stop(),
            has_import_stop: lsns.contains(&shared.import_stop()),
            points: Vec::new(),
            chain: Chain::default(),
            value: Vec::new(),
            length: (Key::all().start, ChainLength::default()),
            shared,
        }
    }

    /// Takes the versions of `key` out of the merge, and writes those that count.
    pub(super) fn key(
        &mut self,
        key: &Key,
        merge: &mut Merge<'_>,
        out: &mut Outputs<'_>,
    ) -> Result<(), StoreError> {
        let mut points = std::mem::take(&mut self.points);
        self.retention.points_of(key, &mut points);
        let result = match key.as_page() {
            Some(page) => self.page(key, page, &points, merge, out),
            None => self.values(key, &points, merge, out),
        };
        self.points = points;
        result
    }

    fn page(
        &mut self,
        key: &Key,
        page: PageKey,
        points: &[Lsn],
        merge: &mut Merge<'_>,
        out: &mut Outputs<'_>,
    ) -> Result<(), StoreError> {
        self.page_below(key, page, points, merge, out)?;
        let is_fuzzy = merge.has(key, Lsn::new(self.import_stop.get().saturating_sub(1)))?;
        match out.effort() {
            Effort::Quick if !is_fuzzy => self.page_above_quickly(key, page, merge, out),
            _ => self.page_above(key, page, merge, out),
        }
    }

    /// The block that comes next, if it comes out as it is.
    pub(super) fn whole_block(
        &mut self,
        merge: &mut Merge<'_>,
        effort: Effort,
    ) -> Result<Option<WholeBlock>, StoreError> {
        let compression = effort.options().compression;
        if effort == Effort::Quick
            && let Some(length) = self.kept_quickly(merge)?
            && let Some(block) = merge.whole_block(compression)?
        {
            self.length = length;
            return Ok(Some(block));
        }
        match merge.block_ahead(BlockEdges::Closed, compression)? {
            Some(block) if self.keeps_thoroughly(&block)? => merge.whole_block(compression),
            _ => Ok(None),
        }
    }

    /// Whether a block, which has all versions of its keys, comes out as it is: there are no changes in it, which may
    /// have become too many, and all versions stay.
    fn keeps_thoroughly(&mut self, block: &BlockAhead<'_>) -> Result<bool, StoreError> {
        let cutoff = self.retention.cutoff();
        let mut versions = block.versions().peekable();
        let mut last = None;
        while let Some(version) = versions.next() {
            if version.kind.needs_older() {
                return Ok(false);
            }
            let is_first = last.replace(version.key) != Some(version.key);
            let is_single = is_first && versions.peek().is_none_or(|next| next.key != version.key);
            if version.lsn <= cutoff && !(is_single && self.stays(&version)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the only version of a key, below the cutoff, is seen and is what would be made of it: a page, whole.
    fn stays(&mut self, version: &BlockVersion) -> Result<bool, StoreError> {
        let (Some(page), EntryKind::Image) = (version.key.as_page(), version.kind) else {
            return Ok(false);
        };
        let mut points = std::mem::take(&mut self.points);
        self.retention.points_of(&version.key, &mut points);
        let mut stays = Ok(false);
        for point in points.iter().rev().take_while(|at| **at >= version.lsn) {
            stays = self
                .past(page, *point)
                .map(|past| past.is_some_and(|past| version.lsn > past.above));
            if !matches!(stays, Ok(false)) {
                break;
            }
        }
        self.points = points;
        stays
    }

    /// The versions up to the cutoff: one for each point.
    fn page_below(
        &mut self,
        key: &Key,
        page: PageKey,
        points: &[Lsn],
        merge: &mut Merge<'_>,
        out: &mut Outputs<'_>,
    ) -> Result<(), StoreError> {
        self.chain.reset();
        for point in points {
            if self.chain.newest().is_none() && !merge.has(key, *point)? {
                continue;
            }
            let past = self.past(page, *point)?;
            // What an earlier point saw may be void by now.
            if past.is_none_or(|past| self.chain.newest() <= Some(past.above)) {
                self.chain.forget();
            }
            loop {
                let chain = &mut self.chain;
                let begins_as_zeros = self.is_bottom && past.is_some_and(|past| past.is_own);
                let taken = merge.next_of(key, *point, |version| {
                    if past.is_some_and(|past| version.lsn > past.above) {
                        chain.push(version, begins_as_zeros);
                    }
                })?;
                if taken.is_none() {
                    break;
                }
                self.chain.bound(key, page, &self.rules, out)?;
            }
            self.chain.settle(key, page, &self.rules, out)?;
        }
        Ok(())
    }

    /// The versions above the cutoff: all of them, and images where changes are many. What is held of the page
    /// so far is what it rests on.
    fn page_above(
        &mut self,
        key: &Key,
        page: PageKey,
        merge: &mut Merge<'_>,
        out: &mut Outputs<'_>,
    ) -> Result<(), StoreError> {
        let max_deltas = out.effort().max_deltas(&self.shared.config);
        let mut length = ChainLength::default();
        loop {
            let chain = &mut self.chain;
            let version = merge.next_of(key, Lsn::MAX, |version| {
                chain.push(version, false);
                (version.lsn, version.kind, version.value.len() as u64)
            })?;
            let Some((lsn, kind, bytes)) = version else {
                return Ok(());
            };
            length.add(kind.needs_older(), bytes);
            if lsn < self.import_stop {
                self.chain.write_newest(key, out)?;
                self.chain.keep_newest();
                let is_many = length.is_due(max_deltas / 4);
                if is_many && !merge.has(key, self.import_stop)? {
                    length = self.image_at_import_stop(key, page, length, out)?;
                }
                continue;
            }
            let is_last = !merge.has(key, Lsn::MAX)?;
            let is_due = length.is_due(max_deltas) || (is_last && length.is_long(max_deltas));
            if kind.needs_older() && is_due && self.make_image(page, lsn)? {
                length = ChainLength::based();
            }
            self.chain.write_newest(key, out)?;
        }
    }

    /// Ends the changes that an import met with, of this `length`, with the page as it was when that was over.
    /// Below, pages are fuzzy. Gives the length from there on.
    fn image_at_import_stop(
        &mut self,
        key: &Key,
        page: PageKey,
        length: ChainLength,
        out: &mut Outputs<'_>,
    ) -> Result<ChainLength, StoreError> {
        if !self.has_import_stop {
            return Ok(length);
        }
        match self.snapshot(self.import_stop).stored_page(page) {
            Ok((image, _)) => {
                self.chain.rest_on(self.import_stop, &image);
                self.chain.write_newest(key, out)?;
                Ok(ChainLength::based())
            }
            Err(ReadError::Store(error)) if !error.is_damage() => Err(*error),
            Err(_) => Ok(length),
        }
    }

    fn snapshot(&self, lsn: Lsn) -> Snapshot {
        Snapshot::over(self.shared, Arc::clone(&self.layers), lsn)
    }

    /// Makes the newest version, a change at `lsn`, an image. Returns false if that cannot be: redo refuses it, or what
    /// it rests on is damaged.
    fn make_image(&mut self, page: PageKey, lsn: Lsn) -> Result<bool, StoreError> {
        if self.chain.is_stuck() {
            // Nothing is made of the others: not to hold them bounds the memory.
            self.chain.keep_newest();
            return Ok(false);
        }
        let past = self.past(page, lsn)?;
        let is_held = past.is_some_and(|past| self.chain.begins_above(past.above));
        if is_held && self.chain.fold(page, &self.rules) {
            return Ok(true);
        }
        match self.snapshot(lsn).stored_page(page) {
            Ok((image, _)) => {
                self.chain.rest_on(lsn, &image);
                Ok(true)
            }
            Err(ReadError::Store(error)) if !error.is_damage() => Err(*error),
            // Changes that say so when the page is read.
            Err(_) => {
                self.chain.stick();
                Ok(false)
            }
        }
    }

    fn values(
        &mut self,
        key: &Key,
        points: &[Lsn],
        merge: &mut Merge<'_>,
        out: &mut Outputs<'_>,
    ) -> Result<(), StoreError> {
        // The newest version up to the point at hand, if it was not written yet.
        let mut newest: Option<Lsn> = None;
        let mut has_written = false;
        for (number, point) in points.iter().enumerate() {
            while let Some(lsn) = self.next_value(key, *point, merge)? {
                newest = Some(lsn);
            }
            let Some(lsn) = newest else {
                continue;
            };
            let directory = self.shared.directory_of(key, *point);
            if lsn <= directory.barrier {
                newest = None;
                continue;
            }
            let is_last = number + 1 == points.len();
            // In a copied database it hides what the source has.
            let is_nothing =
                is_last && self.is_bottom && !has_written && directory.source.is_none();
            if !(is_nothing && is_tombstone(key, &self.value)) {
                out.add(key, lsn, EntryKind::Value, &self.value)?;
                has_written = true;
            }
            newest = None;
        }
        while let Some(lsn) = self.next_value(key, Lsn::MAX, merge)? {
            out.add(key, lsn, EntryKind::Value, &self.value)?;
        }
        Ok(())
    }

    /// Takes the next version of `key` up to an LSN to where values are held; gives its LSN.
    fn next_value(
        &mut self,
        key: &Key,
        upto: Lsn,
        merge: &mut Merge<'_>,
    ) -> Result<Option<Lsn>, StoreError> {
        let value = &mut self.value;
        merge.next_of(key, upto, |version| {
            value.clear();
            value.extend_from_slice(version.value);
            version.lsn
        })
    }

    /// Where the past of a page begins, seen from `point`; none if it does not exist there.
    fn past(&self, page: PageKey, point: Lsn) -> Result<Option<Past>, StoreError> {
        let place = self.shared.resolver(&self.layers).place(page, point)?;
        Ok(match place {
            Place::NoFork | Place::PastEnd(_) => None,
            Place::Steps(steps) => steps.first().map(|step| Past {
                above: step.above,
                is_own: steps.len() == 1,
            }),
        })
    }
}
