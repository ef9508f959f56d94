//! A timeline at one LSN: everything in it, read consistently.

use std::collections::BTreeSet;
use std::sync::Arc;

use walrecord::{
    ForkNumber, Lsn, Oid, Page, PageKey, RedoRules, RelFileLocator, SLRU_PAGES_PER_SEGMENT,
    SlruKind, SlruPage, Xid,
};

use super::hot_pages::HotPages;
use super::layer_file::reopened;
use super::layers::LayerSet;
use super::pins::Pin;
use super::read::{self, PageBuilder, ReadStats};
use super::resolve::Resolver;
use super::shared::Shared;
use super::wal_window::RecordFetcher;
use crate::error::{ReadError, StoreError};
use crate::key::{Key, KeyKind};
use crate::meta::{ControlState, FileValue};

/// A timeline at one LSN. Holds the layers it reads alive; cheap to make and to clone.
#[derive(Clone)]
pub struct Snapshot {
    shared: Arc<Shared>,
    layers: Arc<LayerSet>,
    lsn: Lsn,
    /// They keep the LSN readable.
    pins: Arc<[Pin]>,
}

/// A fork of a relation and its size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ForkSize {
    /// The relation.
    pub rel: RelFileLocator,
    /// The fork.
    pub fork: ForkNumber,
    /// Its length in blocks.
    pub blocks: u32,
}

impl Snapshot {
    /// The timeline at `lsn` as its present layers tell it. The caller has checked the LSN.
    pub(crate) fn at(shared: &Arc<Shared>, lsn: Lsn) -> Snapshot {
        Snapshot::over(shared, shared.layers(), lsn)
    }

    /// The timeline at `lsn`, which stays readable as long as this is there. Below where it branches from
    /// another, that one.
    pub(crate) fn readable(shared: &Arc<Shared>, lsn: Lsn) -> Result<Snapshot, ReadError> {
        let shared = shared.holding(lsn);
        // Held before it is looked whether it is there: what is there then stays.
        let mut pin = shared.pins.hold(lsn);
        let progress = shared.tracker.get();
        let (from, to) = (progress.readable_from, progress.last_record);
        if lsn > to || (lsn < from && !shared.is_leased(lsn)) {
            return Err(ReadError::NotReadable { lsn, from, to });
        }
        let mut pins = Vec::new();
        if let Some(ancestor) = &shared.ancestor {
            ancestor.check_ready()?;
            pins = ancestor.hold_wal();
        }
        let mut snapshot = Snapshot::at(shared, lsn);
        pin.needs_wal_from(snapshot.layers.memory_start());
        pins.push(pin);
        snapshot.pins = pins.into();
        Ok(snapshot)
    }

    /// The timeline at `lsn` as these layers tell it.
    pub(crate) fn over(shared: &Arc<Shared>, layers: Arc<LayerSet>, lsn: Lsn) -> Snapshot {
        Snapshot {
            shared: Arc::clone(shared),
            layers,
            lsn,
            pins: Arc::new([]),
        }
    }

    /// The LSN.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    fn resolver(&self) -> Resolver<'_> {
        self.shared.resolver(&self.layers)
    }

    /// A page, with its checksum computed if the cluster has checksums and zero if it has none; pages
    /// that are all zero, and pages of SLRUs, have none.
    ///
    /// # Errors
    /// If the page does not exist at this LSN, or cannot be rebuilt.
    pub fn page(&self, key: PageKey) -> Result<(Page, ReadStats), ReadError> {
        self.build(key, Some(&self.shared.hot_pages))
    }

    /// The same page, from what is stored alone.
    pub(crate) fn stored_page(&self, key: PageKey) -> Result<(Page, ReadStats), ReadError> {
        self.build(key, None)
    }

    fn build(&self, key: PageKey, hot: Option<&HotPages>) -> Result<(Page, ReadStats), ReadError> {
        let rules = self.shared.rules();
        let mut builder = PageBuilder {
            resolver: self.resolver(),
            rules: &rules,
            records: RecordFetcher::new(&self.shared),
            import_stop: self.shared.import_stop(),
            hot,
            hot_changes: self.shared.config.hot_changes,
        };
        let (mut page, stats) = builder.page(key, self.lsn)?;
        self.shared.read_counters.add(&stats);
        if let PageKey::Block(tag) = key {
            if self.shared.checksums {
                walredo::set_checksum(&mut page, tag.block);
            } else {
                walredo::clear_checksum(&mut page);
            }
        }
        Ok((page, stats))
    }

    /// Whether the page begins with an image that is stored whole, rather than with a record or zeros.
    pub(crate) fn rests_on_image(&self, key: PageKey) -> Result<bool, ReadError> {
        Ok(read::rests_on_image(&self.resolver(), key, self.lsn)?)
    }

    /// The same page, from layer files opened anew, past the block cache: a check on the first way.
    ///
    /// # Errors
    /// As [`Snapshot::page`].
    pub fn page_uncached(&self, key: PageKey) -> Result<(Page, ReadStats), ReadError> {
        let layers = reopened(&self.shared)?;
        let snapshot = Snapshot {
            layers: Arc::new(layers),
            ..self.clone()
        };
        snapshot.stored_page(key)
    }

    /// The length of a fork in blocks, none if it does not exist.
    ///
    /// # Errors
    /// If the store fails.
    pub fn fork_blocks(
        &self,
        rel: RelFileLocator,
        fork: ForkNumber,
    ) -> Result<Option<u32>, ReadError> {
        Ok(self.resolver().fork(rel, fork, self.lsn)?.blocks)
    }

    /// All forks of the relations of one database in one tablespace, ascending.
    ///
    /// # Errors
    /// If the store fails.
    pub fn forks_in(&self, spc: Oid, db: Oid) -> Result<Vec<ForkSize>, ReadError> {
        let found = self.resolver().relations(spc, db, self.lsn)?;
        Ok(found
            .into_iter()
            .map(|(rel, fork, blocks)| ForkSize { rel, fork, blocks })
            .collect())
    }

    /// All forks of all relations, ascending.
    ///
    /// # Errors
    /// If the store fails.
    pub fn forks(&self) -> Result<Vec<ForkSize>, ReadError> {
        self.shared.directories.check_all(self.lsn)?;
        let mut directories: BTreeSet<(Oid, Oid)> = self
            .shared
            .directories
            .existing(self.lsn)
            .into_iter()
            .collect();
        for key in self.layers.keys_in(&Key::all_relations(), self.lsn)? {
            if let KeyKind::Relation(rel, _) = key.decode() {
                directories.insert((rel.spc, rel.db));
            }
        }
        let mut forks = Vec::new();
        for (spc, db) in directories {
            forks.extend(self.forks_in(spc, db)?);
        }
        Ok(forks)
    }

    /// The segments of an SLRU with their lengths in pages, ascending.
    ///
    /// # Errors
    /// If the store fails.
    pub fn slru_segments(&self, kind: SlruKind) -> Result<Vec<(u32, u32)>, ReadError> {
        let resolver = self.resolver();
        let mut segments = Vec::new();
        for key in self.layers.keys_in(&Key::slru_segments(kind), self.lsn)? {
            if let KeyKind::SlruSegment(_, segment) = key.decode() {
                let page = SlruPage {
                    kind,
                    page: segment * SLRU_PAGES_PER_SEGMENT,
                };
                if let Some(pages) = resolver.slru_segment(page, self.lsn)?.blocks {
                    segments.push((segment, pages));
                }
            }
        }
        Ok(segments)
    }

    /// Directories of databases that exist, as (tablespace, database), ascending.
    pub fn database_directories(&self) -> Vec<(Oid, Oid)> {
        self.shared.directories.existing(self.lsn)
    }

    /// The relation map of a database (or of the shared relations: 1664, 0).
    ///
    /// # Errors
    /// If the store fails.
    pub fn relation_map(&self, spc: Oid, db: Oid) -> Result<Option<Vec<u8>>, ReadError> {
        Ok(self.resolver().relation_map(spc, db, self.lsn)?)
    }

    /// Tablespaces with the paths they have on the primary, ascending.
    ///
    /// # Errors
    /// If the store fails.
    pub fn tablespaces(&self) -> Result<Vec<(Oid, Vec<u8>)>, ReadError> {
        self.files_in(&Key::all_tablespaces(), |key| match key {
            KeyKind::Tablespace(spc) => Some(spc),
            _ => None,
        })
    }

    /// Prepared transactions with the content of their two-phase files, CRC left out, ascending.
    ///
    /// # Errors
    /// If the store fails.
    pub fn two_phase(&self) -> Result<Vec<(Xid, Vec<u8>)>, ReadError> {
        self.files_in(&Key::all_two_phase(), |key| match key {
            KeyKind::TwoPhase(xid) => Some(xid),
            _ => None,
        })
    }

    /// Replication origins and how far they are, ascending.
    ///
    /// # Errors
    /// If the store fails.
    pub fn origins(&self) -> Result<Vec<(u16, Lsn)>, ReadError> {
        let found = self.files_in(&Key::all_origins(), |key| match key {
            KeyKind::Origin(origin) => Some(origin),
            _ => None,
        })?;
        let position = |bytes: Vec<u8>| bytes.try_into().map_or(0, u64::from_le_bytes);
        Ok(found
            .into_iter()
            .map(|(origin, bytes)| (origin, Lsn::new(position(bytes))))
            .collect())
    }

    /// Configuration files kept from the import: path below the data directory, and content.
    ///
    /// # Errors
    /// If the store fails.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
        let mut files = Vec::new();
        for key in self.layers.keys_in(&Key::all_files(), self.lsn)? {
            let found = self
                .layers
                .value(&key, Lsn::INVALID, self.lsn, FileValue::decode)?;
            files.extend(found.map(|(_, file)| (file.path, file.content)));
        }
        Ok(files)
    }

    /// The control state.
    ///
    /// # Errors
    /// If the store fails.
    pub fn control(&self) -> Result<ControlState, ReadError> {
        Ok(self.shared.control_at(&self.layers, self.lsn)?)
    }

    /// The rules that redo follows here.
    pub fn rules(&self) -> RedoRules {
        self.shared.rules().after(self.lsn)
    }

    fn files_in<T>(
        &self,
        range: &std::ops::Range<Key>,
        name: impl Fn(KeyKind) -> Option<T>,
    ) -> Result<Vec<(T, Vec<u8>)>, ReadError> {
        let resolver = self.resolver();
        let mut files = Vec::new();
        for key in self.layers.keys_in(range, self.lsn)? {
            let content: Result<_, StoreError> = resolver.file_value(&key, Lsn::INVALID, self.lsn);
            if let (Some(Some(content)), Some(name)) = (content?, name(key.decode())) {
                files.push((name, content));
            }
        }
        Ok(files)
    }
}
