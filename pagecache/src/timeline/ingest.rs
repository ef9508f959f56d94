//! From records to index: decodes WAL in order, turns each record's effects into index entries and
//! metadata values, and hands them over in batches.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;
use walrecord::rmgr::xlog::ParameterChange;
use walrecord::{
    BlockNumber, BlockTag, Effect, EffectContext, ForkNumber, Lsn, MetaEffect, PageKey, PageTouch,
    PgTime, PgVersion, Record, RelFileLocator, Rmgr, RmgrId, SLRU_PAGES_PER_SEGMENT, SlruKind,
    SlruPage,
};

use super::directories::DirectoryId;
use super::resolve::Resolver;
use super::slru_order;
use crate::error::StoreError;
use crate::key::{Key, KeyKind};
use crate::layer::EntryKind;
use crate::meta::{
    ControlState, CopySource, DirectoryState, ForkState, Tombstoned, TransactionEnd,
};

/// Fork states kept at hand. Each takes about 100 bytes; past this the map starts anew.
const MAX_CACHED_FORKS: usize = 200_000;

/// `wal_level = minimal` as PARAMETER_CHANGE numbers it.
const WAL_LEVEL_MINIMAL: i32 = 0;

/// `XLOG_SMGR_CREATE` (catalog/storage_xlog.h), in the bits of the header that are the resource manager's.
const SMGR_CREATE: u8 = 0x10;
const RMGR_INFO: u8 = 0xF0;

/// The index entries and values of some records, in order.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) touches: Vec<Touch>,
    pub(crate) values: Vec<ValueAt>,
    pub(crate) bytes: Vec<u8>,
    /// Whether hint bits are logged, from where on.
    pub(crate) hints: Vec<(Lsn, bool)>,
    /// Transactions that ended, each with the largest time of all that ended before.
    pub(crate) ends: Vec<(PgTime, TransactionEnd)>,
    /// End of the last record.
    pub(crate) end: Lsn,
    /// What comes next reads what is in the batch: it has to be taken now.
    pub(crate) full: bool,
}

/// A record's touch of a page.
pub(crate) struct Touch {
    pub(crate) key: Key,
    pub(crate) start: Lsn,
    pub(crate) end: Lsn,
    pub(crate) kind: EntryKind,
}

/// A metadata value; its bytes are `offset..offset + length` of the batch's.
pub(crate) struct ValueAt {
    pub(crate) key: Key,
    pub(crate) lsn: Lsn,
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.touches.clear();
        self.values.clear();
        self.bytes.clear();
        self.hints.clear();
        self.ends.clear();
        self.full = false;
    }

    fn mark(&self) -> [usize; 5] {
        [
            self.touches.len(),
            self.values.len(),
            self.bytes.len(),
            self.hints.len(),
            self.ends.len(),
        ]
    }

    fn back_to(&mut self, mark: [usize; 5]) {
        let [touches, values, bytes, hints, ends] = mark;
        self.touches.truncate(touches);
        self.values.truncate(values);
        self.bytes.truncate(bytes);
        self.hints.truncate(hints);
        self.ends.truncate(ends);
    }

    fn value(&mut self, key: Key, lsn: Lsn, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut value = Vec::new();
        encode(&mut value);
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(&value);
        self.values.push(ValueAt {
            key,
            lsn,
            offset,
            length: value.len(),
        });
    }
}

/// What ingest keeps between records.
pub(crate) struct Ingest {
    pub(crate) context: EffectContext,
    pub(crate) control: ControlState,
    pub(crate) import_stop: Lsn,
    /// The cluster has data checksums.
    checksums: bool,
    pub(crate) batch: Batch,
    forks: FxHashMap<Key, ForkState>,
    /// Positions of replication origins that records moved; at most one for each of the 65,536.
    origins: FxHashMap<u16, Lsn>,
    /// Forks whose state the record at hand changed.
    dirty: Vec<Key>,
    control_dirty: bool,
    /// The largest time of a commit or abort so far.
    newest_time: PgTime,
}

/// What ingest starts from.
pub(crate) struct IngestStart {
    /// End of the last record before.
    pub(crate) position: Lsn,
    /// The largest time of a commit or abort up to there.
    pub(crate) newest_time: PgTime,
    pub(crate) context: EffectContext,
    pub(crate) control: ControlState,
    pub(crate) import_stop: Lsn,
    pub(crate) checksums: bool,
}

/// The record at hand.
#[derive(Clone, Copy)]
struct At {
    start: Lsn,
    end: Lsn,
    /// It tells of a file that a server has just made.
    makes_file: bool,
}

impl Ingest {
    pub(crate) fn new(start: &IngestStart) -> Ingest {
        Ingest {
            context: start.context,
            control: start.control,
            import_stop: start.import_stop,
            checksums: start.checksums,
            batch: Batch {
                end: start.position,
                ..Batch::default()
            },
            forks: FxHashMap::default(),
            origins: FxHashMap::default(),
            dirty: Vec::new(),
            control_dirty: false,
            newest_time: start.newest_time,
        }
    }

    /// Adds a record's effects to the batch. `resolver` sees everything before the batch. After an
    /// error the batch holds the records before, and this is of no further use.
    pub(crate) fn record(
        &mut self,
        record: &Record<'_>,
        resolver: &Resolver<'_>,
    ) -> Result<(), StoreError> {
        let mark = self.batch.mark();
        let result = self.effects(record, resolver);
        if result.is_err() {
            self.batch.back_to(mark);
        }
        result
    }

    fn effects(&mut self, record: &Record<'_>, resolver: &Resolver<'_>) -> Result<(), StoreError> {
        let at = At {
            start: record.start,
            end: record.end,
            makes_file: record.header.rmgr == RmgrId::BuiltIn(Rmgr::Storage)
                && record.header.info & RMGR_INFO == SMGR_CREATE
                && record.end > self.import_stop,
        };
        let mut failure = None;
        let context = self.context;
        walrecord::effects(record, &context, &mut |effect| {
            if failure.is_none() {
                failure = self.effect(effect, at, resolver).err();
            }
        })
        .map_err(|source| StoreError::BadRecord {
            start: at.start,
            end: at.end,
            source: Box::new(source),
        })?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.emit_changed(at.end);
        self.batch.end = at.end;
        Ok(())
    }

    /// To be called when the batch has become visible to resolvers.
    pub(crate) fn batch_taken(&mut self) {
        self.batch.clear();
        if self.forks.len() > MAX_CACHED_FORKS {
            self.forks.clear();
        }
    }

    fn emit_changed(&mut self, end: Lsn) {
        for key in self.dirty.drain(..) {
            let state = &self.forks[&key];
            self.batch.value(key, end, |out| state.encode(out));
        }
        if std::mem::take(&mut self.control_dirty) {
            let control = self.control;
            self.batch
                .value(Key::control(), end, |out| control.encode(out));
        }
    }

    fn effect(
        &mut self,
        effect: Effect<'_>,
        at: At,
        resolver: &Resolver<'_>,
    ) -> Result<(), StoreError> {
        match effect {
            Effect::Page { key, touch } => match key {
                PageKey::Block(tag) => self.touch_block(tag, touch, at, resolver),
                PageKey::Slru(page) => self.touch_slru(page, touch, at, resolver),
            },
            Effect::Meta(meta) => self.meta(meta, at, resolver),
        }
    }

    fn push(&mut self, key: Key, kind: EntryKind, at: At) {
        self.batch.touches.push(Touch {
            key,
            start: at.start,
            end: at.end,
            kind,
        });
    }

    fn touch_block(
        &mut self,
        tag: BlockTag,
        touch: PageTouch,
        at: At,
        resolver: &Resolver<'_>,
    ) -> Result<(), StoreError> {
        let key = Key::block(tag);
        match touch {
            PageTouch::Delta => {
                if at.end <= self.import_stop {
                    // Recovery creates the file of any block that a record names; with a complete
                    // history it is there already.
                    self.change_fork(tag.rel, tag.fork, resolver, |fork| fork.extend(0))?;
                }
                self.push(key, EntryKind::Delta, at);
            }
            PageTouch::Init | PageTouch::Image => {
                self.change_fork(tag.rel, tag.fork, resolver, |fork| {
                    fork.extend(tag.block.saturating_add(1))
                })?;
                self.push(key, EntryKind::Init, at);
            }
            PageTouch::Implicit => {
                let mut from = tag.block;
                self.change_fork(tag.rel, tag.fork, resolver, |fork| {
                    from = fork.blocks.unwrap_or(0).min(tag.block);
                    fork.extend(tag.block.saturating_add(1))
                })?;
                if self.context.rules.version <= PgVersion::V15 {
                    // `vm_extend` of 14 and 15 initialises the pages it skips.
                    for block in from..tag.block {
                        let skipped = BlockTag { block, ..tag };
                        self.push(Key::block(skipped), EntryKind::Implicit, at);
                    }
                }
                self.push(key, EntryKind::Implicit, at);
            }
            PageTouch::IfPresent => {
                let mut present = false;
                self.change_fork(tag.rel, tag.fork, resolver, |fork| {
                    present =
                        fork.is_lost() || fork.blocks.is_some_and(|blocks| tag.block < blocks);
                    false
                })?;
                if present {
                    self.push(key, EntryKind::Delta, at);
                }
            }
        }
        Ok(())
    }

    fn touch_slru(
        &mut self,
        page: SlruPage,
        touch: PageTouch,
        at: At,
        resolver: &Resolver<'_>,
    ) -> Result<(), StoreError> {
        let kind = match touch {
            PageTouch::Init | PageTouch::Image => EntryKind::Init,
            PageTouch::Delta | PageTouch::Implicit | PageTouch::IfPresent => EntryKind::Implicit,
        };
        self.change_segment(page, resolver, |segment| {
            segment.extend(page.page % SLRU_PAGES_PER_SEGMENT + 1)
        })?;
        self.push(Key::slru(page), kind, at);
        Ok(())
    }

    /// Changes a fork's state; `change` says whether it did.
    fn change_fork(
        &mut self,
        rel: RelFileLocator,
        fork: ForkNumber,
        resolver: &Resolver<'_>,
        change: impl FnOnce(&mut ForkState) -> bool,
    ) -> Result<(), StoreError> {
        let key = Key::relation(rel, fork);
        let mut is_news = false;
        let state = match self.forks.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let state = unless_lost(resolver.fork(rel, fork, Lsn::MAX))?;
                is_news = state.is_lost();
                entry.insert(state)
            }
        };
        if change(state) || is_news {
            self.note_dirty(key);
        }
        Ok(())
    }

    fn change_segment(
        &mut self,
        page: SlruPage,
        resolver: &Resolver<'_>,
        change: impl FnOnce(&mut ForkState) -> bool,
    ) -> Result<(), StoreError> {
        let key = Key::slru_segment(page.kind, page.segment());
        let mut is_news = false;
        let state = match self.forks.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let state = unless_lost(resolver.slru_segment(page, Lsn::MAX))?;
                is_news = state.is_lost();
                entry.insert(state)
            }
        };
        if change(state) || is_news {
            self.note_dirty(key);
        }
        Ok(())
    }

    fn note_dirty(&mut self, key: Key) {
        if !self.dirty.contains(&key) {
            self.dirty.push(key);
        }
    }

    fn meta(
        &mut self,
        meta: MetaEffect<'_>,
        at: At,
        resolver: &Resolver<'_>,
    ) -> Result<(), StoreError> {
        match meta {
            MetaEffect::RelationCreate { rel, fork } => {
                self.change_fork(rel, fork, resolver, |state| {
                    // Postgres gives a new relation a number that no file has. (Other records create what
                    // is there in all likelihood.)
                    let is_anew = at.makes_file && state.is_lost() && state.remove(at.end);
                    state.extend(0) || is_anew
                })
            }
            MetaEffect::RelationTruncate { rel, fork, blocks } => {
                self.truncate(rel, fork, blocks, at, resolver)
            }
            MetaEffect::RelationDrop { rel } => {
                for fork in ForkNumber::ALL {
                    self.change_fork(rel, fork, resolver, |state| {
                        (state.blocks.is_some() || state.is_lost()) && state.remove(at.end)
                    })?;
                }
                Ok(())
            }
            MetaEffect::SlruTruncate { kind, cutoff } => {
                self.remove_segments(kind, at, resolver, |segment| {
                    slru_order::wholly_before(kind, segment, cutoff)
                })
            }
            MetaEffect::MembersTruncate { first, end } => {
                let kind = SlruKind::MultiXactMembers;
                self.remove_segments(kind, at, resolver, |segment| {
                    slru_order::in_circle(first, end, segment)
                })
            }
            MetaEffect::SlruRemove { kind } => self.remove_segments(kind, at, resolver, |_| true),
            MetaEffect::DatabaseCreate { spc, db } => {
                let known = resolver.directories.known((spc, db), Lsn::MAX);
                let state = match known.doubt {
                    // Postgres gives a new database a number that no directory has.
                    Some(_) => DirectoryState {
                        exists: true,
                        barrier: at.end,
                        source: None,
                    },
                    None => DirectoryState {
                        exists: true,
                        ..known.state
                    },
                };
                self.set_directory((spc, db), at, state, resolver);
                Ok(())
            }
            MetaEffect::DatabaseCopy {
                spc,
                db,
                from_spc,
                from_db,
            } => {
                let source = Some(CopySource {
                    spc: from_spc,
                    db: from_db,
                });
                self.replace_directory((spc, db), at, source, resolver);
                Ok(())
            }
            MetaEffect::DatabaseDrop { spc, db } => {
                self.replace_directory((spc, db), at, None, resolver);
                Ok(())
            }
            MetaEffect::OriginAdvance {
                origin,
                remote,
                force,
            } => self.advance_origin(origin, remote, force, at, resolver),
            MetaEffect::OriginDrop { origin } => {
                self.origins.insert(origin, Lsn::INVALID);
                self.batch.value(Key::origin(origin), at.end, |out| {
                    Tombstoned(None).encode(out);
                });
                Ok(())
            }
            other => self.value(other, at),
        }
    }

    fn truncate(
        &mut self,
        rel: RelFileLocator,
        fork: ForkNumber,
        blocks: BlockNumber,
        at: At,
        resolver: &Resolver<'_>,
    ) -> Result<(), StoreError> {
        let mut refused = None;
        self.change_fork(rel, fork, resolver, |state| {
            // Recovery creates the main fork of what it truncates.
            let created = fork == ForkNumber::Main && state.extend(0);
            match state.truncate(at.end, blocks) {
                Ok(truncated) => truncated || created,
                Err(error) => {
                    refused = Some(error);
                    false
                }
            }
        })?;
        match refused {
            None => Ok(()),
            Some(error) => Err(StoreError::BadRecord {
                start: at.start,
                end: at.end,
                source: Box::new(error),
            }),
        }
    }

    fn remove_segments(
        &mut self,
        kind: SlruKind,
        at: At,
        resolver: &Resolver<'_>,
        remove: impl Fn(u32) -> bool,
    ) -> Result<(), StoreError> {
        let listed = resolver.layers.keys_in(&Key::slru_segments(kind), Lsn::MAX);
        let mut keys = match listed {
            // Whoever asks for the list fails on the same damage.
            Err(error) if error.is_damage() => Vec::new(),
            listed => listed?,
        };
        // Segments that the batch at hand made are not in the layers yet.
        let fresh = |key: &&Key| matches!(key.decode(), KeyKind::SlruSegment(k, _) if k == kind);
        keys.extend(self.forks.keys().filter(fresh));
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            if let KeyKind::SlruSegment(_, segment) = key.decode()
                && remove(segment)
            {
                let page = SlruPage {
                    kind,
                    page: segment * SLRU_PAGES_PER_SEGMENT,
                };
                self.change_segment(page, resolver, |state| {
                    (state.blocks.is_some() || state.is_lost()) && state.remove(at.end)
                })?;
            }
        }
        Ok(())
    }

    fn set_directory(
        &mut self,
        id: DirectoryId,
        at: At,
        state: DirectoryState,
        resolver: &Resolver<'_>,
    ) {
        self.batch
            .value(Key::database(id.0, id.1), at.end, |out| state.encode(out));
        // Reads at or below the last published record do not see it yet.
        resolver.directories.push(id, at.end, state);
        self.batch.full = true;
    }

    /// The directory starts anew: all that was known of its relations is void.
    fn replace_directory(
        &mut self,
        id: DirectoryId,
        at: At,
        source: Option<CopySource>,
        resolver: &Resolver<'_>,
    ) {
        self.forks.retain(|key, _| match key.decode() {
            KeyKind::Relation(rel, _) => (rel.spc, rel.db) != id,
            _ => true,
        });
        // What the same record changed before is void with the rest.
        self.dirty.retain(|key| self.forks.contains_key(key));
        let state = DirectoryState {
            exists: source.is_some(),
            barrier: at.end,
            source,
        };
        self.set_directory(id, at, state, resolver);
    }

    /// An origin goes back only if the record insists (`replorigin_advance`, replication/logical/origin.c).
    fn advance_origin(
        &mut self,
        origin: u16,
        remote: Lsn,
        force: bool,
        at: At,
        resolver: &Resolver<'_>,
    ) -> Result<(), StoreError> {
        let key = Key::origin(origin);
        let known = match self.origins.get(&origin) {
            Some(known) => *known,
            None => {
                let stored = match resolver.file_value(&key, Lsn::INVALID, Lsn::MAX) {
                    // Origins go ahead: what comes is newer.
                    Err(error) if error.is_damage() => None,
                    stored => stored?.flatten(),
                };
                let bytes = stored.and_then(|bytes| bytes.try_into().ok());
                Lsn::new(bytes.map_or(0, u64::from_le_bytes))
            }
        };
        if force || remote > known {
            let bytes = remote.get().to_le_bytes();
            self.batch
                .value(key, at.end, |out| Tombstoned(Some(&bytes)).encode(out));
            self.origins.insert(origin, remote);
        } else {
            self.origins.insert(origin, known);
        }
        Ok(())
    }

    fn value(&mut self, meta: MetaEffect<'_>, at: At) -> Result<(), StoreError> {
        let mut put = |key: Key, content: Option<&[u8]>| {
            self.batch
                .value(key, at.end, |out| Tombstoned(content).encode(out));
        };
        match meta {
            MetaEffect::RelationMap { spc, db, content } => {
                put(Key::relation_map(spc, db), Some(content));
            }
            MetaEffect::TablespaceCreate { spc, path } => put(Key::tablespace(spc), Some(path)),
            MetaEffect::TablespaceDrop { spc } => put(Key::tablespace(spc), None),
            MetaEffect::Prepare { xid, state } => put(Key::two_phase(xid), Some(state)),
            MetaEffect::PrepareEnd { xid } => put(Key::two_phase(xid), None),
            other => return self.control(other, at),
        }
        Ok(())
    }

    fn control(&mut self, meta: MetaEffect<'_>, at: At) -> Result<(), StoreError> {
        let control = &mut self.control;
        match meta {
            MetaEffect::XidUsed { xid } => self.control_dirty |= control.xid_used(xid),
            MetaEffect::TransactionEnd {
                xid,
                committed,
                time,
            } => {
                control.last_end_time = time;
                let end = TransactionEnd {
                    stop: self.batch.end,
                    end: at.end,
                    time,
                    xid,
                    committed,
                };
                self.batch.ends.push((self.newest_time, end));
                self.newest_time = self.newest_time.max(time);
            }
            other => {
                match other {
                    MetaEffect::MultiXactUsed {
                        next, next_offset, ..
                    } => control.multixact(next, next_offset),
                    MetaEffect::OldestMultiXact { oldest, db } => {
                        (control.oldest_multi, control.oldest_multi_db) = (oldest, db);
                    }
                    MetaEffect::OldestXid { oldest, db } => {
                        (control.oldest_xid, control.oldest_xid_db) = (oldest, db);
                    }
                    MetaEffect::OldestCommitTsXid { oldest } => {
                        control.oldest_commit_ts_xid = oldest;
                    }
                    MetaEffect::NextOid { next } => control.next_oid = next,
                    MetaEffect::Checkpoint {
                        checkpoint,
                        shutdown,
                    } => control.checkpoint(&checkpoint, shutdown),
                    MetaEffect::EndOfRecovery { this, .. } => control.tli = this,
                    MetaEffect::Parameters(parameters) => return self.parameters(parameters, at),
                    _ => {}
                }
                self.control_dirty = true;
            }
        }
        Ok(())
    }

    fn parameters(&mut self, parameters: ParameterChange, at: At) -> Result<(), StoreError> {
        if parameters.wal_level <= WAL_LEVEL_MINIMAL {
            return Err(StoreError::WalLevelMinimal { at: at.start });
        }
        let hinted_before = self.control.parameters.wal_log_hints;
        self.control.parameters = parameters;
        self.control_dirty = true;
        self.context.track_commit_timestamp = parameters.track_commit_timestamp;
        if hinted_before != parameters.wal_log_hints && !self.checksums {
            self.batch.hints.push((at.end, parameters.wal_log_hints));
            // The rules for the next record are looked up.
            self.batch.full = true;
        }
        Ok(())
    }
}

/// A fork as it was found; damage is no reason to stop: who asks for the fork is told.
fn unless_lost(found: Result<ForkState, StoreError>) -> Result<ForkState, StoreError> {
    match found {
        Err(error) if error.is_damage() => Ok(ForkState::lost()),
        found => found,
    }
}
