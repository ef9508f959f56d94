//! The history of one page: every version that is kept, and every barrier, newest first.

use std::ops::ControlFlow;
use std::sync::Arc;

use walrecord::{
    BlockTag, Lsn, PageKey, PgVersion, Record, RelFileLocator, SLRU_PAGES_PER_SEGMENT,
};

use super::Timeline;
use super::commit_times::{self, EndedTransaction};
use super::layers::LayerSet;
use super::shared::Shared;
use super::versions::{Version, VersionOrigin, Versions};
use super::wal_window::RecordFetcher;
use crate::error::{ReadError, StoreError};
use crate::key::Key;
use crate::layer::EntryKind;
use crate::meta::ForkState;

/// Databases copied from copies are followed this far; see the resolver.
const MAX_COPY_DEPTH: usize = 64;

/// One thing that happened to a page.
#[derive(Clone, Debug, PartialEq)]
pub struct PageVersion {
    /// The page as it was then called: of a database that was copied, the source's.
    pub key: PageKey,
    /// The version: the end of the record that made it.
    pub lsn: Lsn,
    /// What it is.
    pub kind: PageVersionKind,
    /// Where it is kept; none of a barrier.
    pub origin: Option<VersionOrigin>,
    /// How the transaction ended that made it, if that is known.
    pub transaction: Option<EndedTransaction>,
    /// The record: whole if it is in WAL, trimmed to what concerns the page if in a layer; empty of images
    /// and barriers. [`Record::parse`] reads it with [`PageVersion::start`].
    pub record: Vec<u8>,
    /// The major version whose rules it follows.
    pub version: PgVersion,
}

/// What a version of a page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageVersionKind {
    /// The page, whole.
    Image,
    /// A record that changes what is below it.
    Delta,
    /// A record that starts the page anew.
    Init,
    /// A record that changes what is below it, and creates the page if it is missing.
    Implicit,
    /// Its relation or segment was dropped: what is older is void.
    Dropped,
    /// Its relation was truncated to this many blocks: what is older is void.
    Truncated(u32),
    /// Its database was dropped: what is older is void.
    DatabaseDropped,
    /// Its database became a copy: what is older is the source's.
    DatabaseCopied,
}

impl PageVersion {
    /// Where the record starts, as far as that is known: for [`Record::parse`].
    pub fn start(&self) -> Lsn {
        match self.origin {
            Some(VersionOrigin::Wal { start, .. }) => start,
            _ => self.lsn,
        }
    }
}

impl Timeline {
    /// Shows everything that is known of a page up to `upto`, newest first, until `show` breaks. Memory is
    /// bounded, however many versions there are. A page that never existed has no history.
    ///
    /// # Errors
    /// If the store fails, or a layer or the WAL that holds a version is damaged; `show` may have seen
    /// versions before.
    pub fn page_history(
        &self,
        page: PageKey,
        upto: Lsn,
        show: &mut dyn FnMut(PageVersion) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let layers = self.shared.layers();
        let walk = Walk {
            shared: &self.shared,
            layers: &layers,
            last: self.shared.tracker.get().last_record,
        };
        let (mut page, mut upto) = (page, upto.min(walk.last));
        for _ in 0..MAX_COPY_DEPTH {
            let directory = match page {
                PageKey::Block(tag) => {
                    let id = (tag.rel.spc, tag.rel.db);
                    let known = self.shared.directories.known(id, upto);
                    known.check(None)?;
                    known.state
                }
                PageKey::Slru(_) => Default::default(),
            };
            let above = directory.barrier;
            if walk.stretch(page, above, upto, show)?.is_break() || above == Lsn::INVALID {
                break;
            }
            let kind = match directory.source {
                Some(_) => PageVersionKind::DatabaseCopied,
                None => PageVersionKind::DatabaseDropped,
            };
            if show(walk.barrier(page, above, kind)).is_break() {
                break;
            }
            upto = above;
            match (directory.source, page) {
                (Some(source), PageKey::Block(tag)) => {
                    let rel = RelFileLocator {
                        spc: source.spc,
                        db: source.db,
                        ..tag.rel
                    };
                    page = PageKey::Block(BlockTag { rel, ..tag });
                }
                // An earlier database of the same number.
                _ => upto = Lsn::new(above.get() - 1),
            }
        }
        Ok(())
    }
}

struct Walk<'a> {
    shared: &'a Arc<Shared>,
    layers: &'a LayerSet,
    last: Lsn,
}

impl Walk<'_> {
    /// What happened between two barriers of the database.
    fn stretch(
        &self,
        page: PageKey,
        above: Lsn,
        upto: Lsn,
        show: &mut dyn FnMut(PageVersion) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut versions = self.layers.versions(Key::page(page), above, upto);
        let mut cuts = Cuts::of(self.layers, page, above, upto);
        let mut cut = cuts.next()?;
        while let Some(version) = versions.next()? {
            // What a record that cuts the fork does to the page is void, too.
            while let Some((lsn, kind)) = cut.filter(|(lsn, _)| *lsn >= version.lsn) {
                if show(self.barrier(page, lsn, kind)).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                cut = cuts.next()?;
            }
            if show(self.version(page, version)?).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        while let Some((lsn, kind)) = cut {
            if show(self.barrier(page, lsn, kind)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            cut = cuts.next()?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn barrier(&self, key: PageKey, lsn: Lsn, kind: PageVersionKind) -> PageVersion {
        PageVersion {
            key,
            lsn,
            kind,
            origin: None,
            transaction: None,
            record: Vec::new(),
            version: self.shared.rules().of_record(lsn).version,
        }
    }

    fn version(&self, key: PageKey, version: Version) -> Result<PageVersion, StoreError> {
        let rules = self.shared.rules().of_record(version.lsn);
        let mut shown = PageVersion {
            key,
            lsn: version.lsn,
            kind: match version.kind {
                EntryKind::Image | EntryKind::Value => PageVersionKind::Image,
                EntryKind::Delta => PageVersionKind::Delta,
                EntryKind::Init => PageVersionKind::Init,
                EntryKind::Implicit => PageVersionKind::Implicit,
            },
            origin: Some(version.origin),
            transaction: None,
            record: version.bytes,
            version: rules.version,
        };
        if let VersionOrigin::Wal { start, ancestors } = version.origin {
            let mut records = RecordFetcher::new(self.shared);
            shown.record = records.fetch(start, ancestors)?.to_vec();
        }
        if shown.kind == PageVersionKind::Image {
            shown.record = Vec::new();
            return Ok(shown);
        }
        let parsed = Record::parse(rules.version, shown.start(), shown.lsn, &shown.record);
        let xid = parsed.map(|record| record.header.xid);
        let xid = xid.map_err(|source| StoreError::BadRecord {
            start: shown.start(),
            end: shown.lsn,
            source: Box::new(source),
        })?;
        if xid != 0 {
            shown.transaction = commit_times::end_of(self.layers, xid, shown.lsn, self.last)?;
        }
        Ok(shown)
    }
}

/// Barriers of the page's fork or segment, newest first.
struct Cuts<'a> {
    states: Versions<'a>,
    /// What the states are of.
    key: Key,
    /// The page's number in it.
    index: u32,
}

impl<'a> Cuts<'a> {
    fn of(layers: &'a LayerSet, page: PageKey, above: Lsn, upto: Lsn) -> Cuts<'a> {
        let (key, index) = match page {
            PageKey::Block(tag) => (Key::relation(tag.rel, tag.fork), tag.block),
            PageKey::Slru(page) => (
                Key::slru_segment(page.kind, page.segment()),
                page.page % SLRU_PAGES_PER_SEGMENT,
            ),
        };
        Cuts {
            states: layers.versions(key, above, upto),
            key,
            index,
        }
    }

    fn next(&mut self) -> Result<Option<(Lsn, PageVersionKind)>, StoreError> {
        while let Some(version) = self.states.next()? {
            let state = ForkState::decode(&version.bytes).map_err(|source| StoreError::Meta {
                key: self.key.to_string(),
                lsn: version.lsn,
                source,
            })?;
            // The state behind a cut is stored where it was made.
            if state.floor(self.index) == version.lsn {
                let kind = match state.blocks {
                    Some(blocks) => PageVersionKind::Truncated(blocks),
                    None => PageVersionKind::Dropped,
                };
                return Ok(Some((version.lsn, kind)));
            }
        }
        Ok(None)
    }
}
