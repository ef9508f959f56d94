//! What becomes of one key's versions: those that nobody can ask for go, long chains of changes are cut by
//! images.

use std::sync::Arc;

use walrecord::{Lsn, Page, PageKey};

use super::chain::Chain;
use super::merge::Merge;
use super::output::Outputs;
use super::retention::Retention;
use crate::error::{ReadError, StoreError};
use crate::key::Key;
use crate::layer::EntryKind;
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
    points: Vec<Lsn>,
    chain: Chain,
    value: Vec<u8>,
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
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        layers: Arc<LayerSet>,
        retention: Retention,
        is_bottom: bool,
    ) -> Rewriter<'a> {
        Rewriter {
            layers,
            rules: shared.rules(),
            retention,
            is_bottom,
            import_stop: shared.import_stop(),
            points: Vec::new(),
            chain: Chain::default(),
            value: Vec::new(),
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
            Some(page) => self
                .page_below(key, page, &points, merge, out)
                .and_then(|()| self.page_above(key, page, merge, out)),
            None => self.values(key, &points, merge, out),
        };
        self.points = points;
        result
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

    /// The versions above the cutoff: all of them.
    fn page_above(
        &mut self,
        key: &Key,
        page: PageKey,
        merge: &mut Merge<'_>,
        out: &mut Outputs<'_>,
    ) -> Result<(), StoreError> {
        let max_deltas = self.shared.config.max_deltas;
        let mut length = ChainLength::default();
        let mut has_images = true;
        loop {
            let value = &mut self.value;
            let version = merge.next_of(key, Lsn::MAX, |version| {
                value.clear();
                value.extend_from_slice(version.value);
                (version.lsn, version.kind)
            })?;
            let Some((lsn, kind)) = version else {
                return Ok(());
            };
            length.add(kind.needs_older(), self.value.len() as u64);
            if has_images && kind.needs_older() && length.is_due(max_deltas) {
                if let Some(image) = self.image(page, lsn)? {
                    out.add(key, lsn, EntryKind::Image, &image)?;
                    length = ChainLength::default();
                    continue;
                }
                has_images = false;
            }
            out.add(key, lsn, kind, &self.value)?;
        }
    }

    /// The page at `lsn`, to be stored whole; none if that cannot be: below an import's stop position, where
    /// pages are fuzzy, or if redo refuses it, or if what it rests on is damaged.
    fn image(&self, page: PageKey, lsn: Lsn) -> Result<Option<Page>, StoreError> {
        if lsn < self.import_stop {
            return Ok(None);
        }
        let snapshot = Snapshot::over(self.shared, Arc::clone(&self.layers), lsn);
        match snapshot.page(page) {
            Ok((image, _)) => Ok(Some(image)),
            Err(ReadError::Store(error)) if !error.is_damage() => Err(*error),
            // Changes that say so when the page is read.
            Err(_) => Ok(None),
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
        let value = &mut self.value;
        for (number, point) in points.iter().enumerate() {
            while let Some(lsn) = merge.next_of(key, *point, |version| {
                value.clear();
                value.extend_from_slice(version.value);
                version.lsn
            })? {
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
            if !(is_nothing && is_tombstone(key, value)) {
                out.add(key, lsn, EntryKind::Value, value)?;
                has_written = true;
            }
            newest = None;
        }
        while let Some(lsn) = merge.next_of(key, Lsn::MAX, |version| {
            value.clear();
            value.extend_from_slice(version.value);
            version.lsn
        })? {
            out.add(key, lsn, EntryKind::Value, value)?;
        }
        Ok(())
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
