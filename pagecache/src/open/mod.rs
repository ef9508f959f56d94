//! The open layer: an index in memory over the newest WAL, which is already on disk.
//!
//! For each key it lists the records that touched it; the records themselves stay in the WAL. Only
//! metadata values, which no record carries as they stand, are kept here whole. The ingest fills
//! it, reads look into it first, and a flush writes it out as a layer file and drops it.

mod arena;
mod sorted;
#[cfg(test)]
mod tests;
mod times;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{ControlFlow, Range};

use rustc_hash::FxHashMap;
use walrecord::Lsn;

use crate::key::Key;
use crate::layer::EntryKind;
use crate::meta::CommitTimesWriter;
use arena::{Arena, Handle};

pub use sorted::{KeyGroup, OpenEntries, Sorted};

/// Every how many entries of one key a milestone is kept. A read far below the newest entry of a
/// hot key starts at a milestone, and so skips at most this many entries.
const MILESTONE: u32 = 64;

/// An index over the WAL behind `start`, or a frozen one.
pub struct OpenLayer {
    start: Lsn,
    pages: FxHashMap<Key, Chain>,
    /// Metadata keys are few, and asked for by range.
    metadata: BTreeMap<Key, Chain>,
    /// Every [`MILESTONE`]th entry of the keys that have so many, oldest first.
    milestones: FxHashMap<Key, Vec<Handle>>,
    arena: Arena,
    /// The newest run of commit times, which still grows.
    times: Option<CommitTimesWriter>,
}

/// The entries of one key, linked from the newest to the oldest.
#[derive(Clone, Copy, Default)]
struct Chain {
    /// None only in passing.
    newest: Option<Handle>,
    len: u32,
}

/// One version of a key in an [`OpenLayer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenEntry<'a> {
    /// The version: the end of the record that made it.
    pub lsn: Lsn,
    /// What it is, and so whether older versions matter.
    pub kind: EntryKind,
    /// Where its content is.
    pub body: OpenBody<'a>,
}

/// Where the content of an [`OpenEntry`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenBody<'a> {
    /// In the WAL.
    Record {
        /// Where the record starts.
        start: Lsn,
    },
    /// Here.
    Value(&'a [u8]),
}

impl OpenLayer {
    /// The most WAL, in bytes, that one open layer can index: positions in it take 32 bits.
    pub const MAX_SPAN: u64 = u32::MAX as u64;

    /// An empty index over the WAL from `start` on.
    pub fn new(start: Lsn) -> OpenLayer {
        OpenLayer {
            start,
            pages: FxHashMap::default(),
            metadata: BTreeMap::new(),
            milestones: FxHashMap::default(),
            arena: Arena::new(start),
            times: None,
        }
    }

    /// Where the indexed WAL starts; every entry is above (or, of the first values, at) it.
    pub fn start(&self) -> Lsn {
        self.start
    }

    /// Notes that a record from `start` to `end` makes a new version of `key`.
    ///
    /// # Panics
    /// If `key` has a version at or above `end`, if the record is outside the WAL that this layer
    /// indexes, or if `kind` is a value.
    #[inline]
    pub fn insert_record(&mut self, key: Key, start: Lsn, end: Lsn, kind: EntryKind) {
        assert!(
            kind != EntryKind::Value,
            "{key}: a record's entry is no value"
        );
        self.insert(key, end, |arena, below| {
            arena.push_record(end, start, kind, below)
        });
    }

    /// Keeps a new version of a metadata value. One of the same LSN is replaced: a record that
    /// changes a value twice (two blocks that extend one fork) makes one version.
    ///
    /// # Panics
    /// If `key` has a version above `lsn`, or a record's at it, or if `lsn` is outside the WAL that
    /// this layer indexes.
    pub fn insert_value(&mut self, key: Key, lsn: Lsn, value: &[u8]) {
        if let Some(newest) = self.chain(&key).newest {
            let entry = self.arena.entry(newest);
            if entry.lsn == lsn && entry.kind == EntryKind::Value {
                self.arena.replace_value(newest, value);
                return;
            }
        }
        self.insert(key, lsn, |arena, below| arena.push_value(lsn, value, below));
    }

    #[inline]
    fn insert(
        &mut self,
        key: Key,
        lsn: Lsn,
        push: impl FnOnce(&mut Arena, Option<Handle>) -> Handle,
    ) {
        let chain = if key.is_page() {
            self.pages.entry(key).or_default()
        } else {
            self.metadata.entry(key).or_default()
        };
        if let Some(newest) = chain.newest.map(|handle| self.arena.lsn(handle)) {
            assert!(newest < lsn, "{key} at {lsn} is inserted after {newest}");
        }
        let handle = push(&mut self.arena, chain.newest);
        chain.newest = Some(handle);
        chain.len += 1;
        if chain.len % MILESTONE == 0 {
            self.milestones.entry(key).or_default().push(handle);
        }
    }

    /// Shows the versions of `key` above `above` and not above `upto`, newest first, until `f`
    /// breaks.
    pub fn visit(
        &self,
        key: &Key,
        above: Lsn,
        upto: Lsn,
        f: &mut dyn FnMut(OpenEntry<'_>) -> ControlFlow<()>,
    ) {
        if self.visit_times(key, above, upto, f).is_break() {
            return;
        }
        let mut next = self.first_candidate(key, upto);
        while let Some(handle) = next {
            let lsn = self.arena.lsn(handle);
            if lsn <= above {
                return;
            }
            if lsn <= upto && f(self.arena.entry(handle)).is_break() {
                return;
            }
            next = self.arena.below(handle);
        }
    }

    /// An entry from which it is a short way down to the newest not above `upto`.
    fn first_candidate(&self, key: &Key, upto: Lsn) -> Option<Handle> {
        let chain = self.chain(key);
        let newest = chain.newest?;
        if chain.len < MILESTONE || self.arena.lsn(newest) <= upto {
            return Some(newest);
        }
        let milestones = self.milestones.get(key).map_or(&[][..], Vec::as_slice);
        let above = milestones.partition_point(|&handle| self.arena.lsn(handle) <= upto);
        Some(milestones.get(above).copied().unwrap_or(newest))
    }

    /// The keys in `range` that have an entry, in order. Quick for metadata; a range of pages looks
    /// at every page that the layer knows.
    pub fn keys_in(&self, range: &Range<Key>) -> Vec<Key> {
        let mut keys = Vec::new();
        if range.start.is_page() {
            keys.extend(self.pages.keys().filter(|key| range.contains(key)));
            keys.sort_unstable();
        }
        if range.start < range.end {
            keys.extend(self.metadata.range(range.clone()).map(|(key, _)| *key));
            let growing = self.times_key().filter(|key| range.contains(key));
            keys.extend(growing.filter(|key| !self.metadata.contains_key(key)));
        }
        keys
    }

    /// Everything: keys in order, the versions of each oldest first, a group of keys at a time. For the flush, of a
    /// layer that is frozen: commit times that were not closed are left out.
    pub fn sorted(&self) -> Sorted<'_> {
        Sorted::new(self)
    }

    /// Keys that have an entry.
    pub fn keys(&self) -> usize {
        self.pages.len() + self.metadata.len()
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.arena.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.times.is_none()
    }

    /// Bytes of memory that the layer takes, near enough to bound it by.
    pub fn memory(&self) -> usize {
        // A hash table keeps an eighth of its slots free and a control byte for each.
        let page = size_of::<(Key, Chain)>() + 1;
        // A node of the tree is at least half full, most are fuller.
        let metadata = size_of::<(Key, Chain)>() * 3 / 2;
        let milestone = size_of::<(Key, Vec<Handle>)>() + 1;
        self.pages.capacity() * 8 / 7 * page
            + self.metadata.len() * metadata
            + self.milestones.capacity() * 8 / 7 * milestone
            + self.arena.len() / MILESTONE as usize * size_of::<Handle>()
            + self.arena.memory()
            + self.times.as_ref().map_or(0, CommitTimesWriter::memory)
    }

    fn chain(&self, key: &Key) -> Chain {
        let chain = if key.is_page() {
            self.pages.get(key)
        } else {
            self.metadata.get(key)
        };
        chain.copied().unwrap_or_default()
    }
}

impl fmt::Debug for OpenLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenLayer")
            .field("start", &self.start)
            .field("pages", &self.pages.len())
            .field("metadata", &self.metadata.len())
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}
