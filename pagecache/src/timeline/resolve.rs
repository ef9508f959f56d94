//! Metadata at an LSN: which forks exist, how large they are, and where a block's past ends. Knows of
//! barriers and of databases that are copies of others.

use std::collections::BTreeSet;
use std::ops::Range;

use walrecord::{BlockTag, ForkNumber, Lsn, Oid, PageKey, RelFileLocator, SlruPage};

use super::directories::{Directories, Lost};
use super::layers::LayerSet;
use crate::error::StoreError;
use crate::key::{Key, KeyKind};
use crate::meta::{CopySource, ForkState, Tombstoned};

/// Copies of copies are followed this far. Each level takes a CREATE DATABASE of its own; past this
/// the chain can only be a loop made by damage.
const MAX_COPY_DEPTH: usize = 64;

/// Layers and directory history, for looking up metadata.
pub(crate) struct Resolver<'a> {
    pub(crate) layers: &'a LayerSet,
    pub(crate) directories: &'a Directories,
}

/// Where versions of a page are looked for: under this key, in this LSN range, then in the next step.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) key: PageKey,
    pub(crate) above: Lsn,
    pub(crate) upto: Lsn,
    /// Older versions may be void, and nobody knows: only what stands alone above that counts.
    pub(crate) doubt: Option<Lost>,
}

/// What is known of a page before its versions are looked at.
pub(crate) enum Place {
    /// The fork or segment does not exist.
    NoFork,
    /// It exists, with this many blocks, and the page is not among them.
    PastEnd(u32),
    /// The page exists; its versions are found along these steps, newest first. None at all: zeros.
    Steps(Vec<Step>),
}

impl Resolver<'_> {
    /// The state of a fork at `at`; the default (nothing) if it was never heard of.
    pub(crate) fn fork(
        &self,
        rel: RelFileLocator,
        fork: ForkNumber,
        at: Lsn,
    ) -> Result<ForkState, StoreError> {
        let mut place = (rel, at);
        for depth in 0..MAX_COPY_DEPTH {
            let (rel, at) = place;
            let known = self.directories.known((rel.spc, rel.db), at);
            let directory = known.state;
            let key = Key::relation(rel, fork);
            let found = self
                .layers
                .value(&key, directory.barrier, at, ForkState::decode)?;
            known.check(found.as_ref().map(|(lsn, _)| *lsn))?;
            if let Some((_, state)) = found {
                // Barriers of the source lie below the copy and do not concern its own versions.
                return Ok(match (depth, state.blocks) {
                    (0, _) => state,
                    (_, Some(blocks)) => ForkState::of_size(blocks),
                    (_, None) => ForkState::default(),
                });
            }
            match directory.source {
                Some(source) => place = (source.apply(rel), directory.barrier),
                None => break,
            }
        }
        Ok(ForkState::default())
    }

    /// The state of an SLRU segment at `at`.
    pub(crate) fn slru_segment(&self, page: SlruPage, at: Lsn) -> Result<ForkState, StoreError> {
        let key = Key::slru_segment(page.kind, page.segment());
        let found = self
            .layers
            .value(&key, Lsn::INVALID, at, ForkState::decode)?;
        Ok(found.map(|(_, state)| state).unwrap_or_default())
    }

    /// Where the versions of a page at `at` are.
    pub(crate) fn place(&self, key: PageKey, at: Lsn) -> Result<Place, StoreError> {
        match key {
            PageKey::Block(tag) => self.place_block(tag, at),
            PageKey::Slru(page) => self.place_slru(page, at),
        }
    }

    fn place_slru(&self, page: SlruPage, at: Lsn) -> Result<Place, StoreError> {
        let state = self.slru_segment(page, at)?;
        let index = page.page % walrecord::SLRU_PAGES_PER_SEGMENT;
        Ok(match state.blocks {
            None => Place::NoFork,
            Some(blocks) if index >= blocks => Place::PastEnd(blocks),
            Some(_) => Place::Steps(vec![Step {
                key: page.into(),
                above: state.floor(index),
                upto: at,
                doubt: None,
            }]),
        })
    }

    fn place_block(&self, tag: BlockTag, at: Lsn) -> Result<Place, StoreError> {
        let mut steps = Vec::new();
        let (mut tag, mut at) = (tag, at);
        for depth in 0..MAX_COPY_DEPTH {
            let known = self.directories.known((tag.rel.spc, tag.rel.db), at);
            let directory = known.state;
            let key = Key::relation(tag.rel, tag.fork);
            let own = self
                .layers
                .value(&key, directory.barrier, at, ForkState::decode)?;
            known.check(own.as_ref().map(|(lsn, _)| *lsn))?;
            let own = own.map(|(_, state)| state);
            let mut above = directory.barrier;
            let mut goes_on = true;
            if let Some(state) = &own {
                match state.blocks {
                    None if depth == 0 => return Ok(Place::NoFork),
                    Some(blocks) if depth == 0 && tag.block >= blocks => {
                        return Ok(Place::PastEnd(blocks));
                    }
                    Some(blocks) if tag.block < blocks => {}
                    _ => break,
                }
                let floor = state.floor(tag.block);
                goes_on = floor <= above;
                above = above.max(floor);
            } else if depth == 0 {
                // Nothing of its own: size and existence are the source's.
                match self.fork(tag.rel, tag.fork, at)?.blocks {
                    None => return Ok(Place::NoFork),
                    Some(blocks) if tag.block >= blocks => return Ok(Place::PastEnd(blocks)),
                    Some(_) => {}
                }
            }
            steps.push(Step {
                key: tag.into(),
                above,
                upto: at,
                doubt: known.doubt.filter(|lost| lost.upto > above),
            });
            match directory.source {
                Some(source) if goes_on => {
                    tag.rel = source.apply(tag.rel);
                    at = directory.barrier;
                }
                _ => break,
            }
        }
        Ok(Place::Steps(steps))
    }

    /// Relations with a fork of their own, or one of a copied database's source, that exist at `at`
    /// in the directory, ascending, with their sizes in blocks.
    pub(crate) fn relations(
        &self,
        spc: Oid,
        db: Oid,
        at: Lsn,
    ) -> Result<Vec<(RelFileLocator, ForkNumber, u32)>, StoreError> {
        let mut names = BTreeSet::new();
        let mut place = (spc, db, at);
        for _ in 0..MAX_COPY_DEPTH {
            let (from_spc, from_db, at) = place;
            let range: Range<Key> = Key::relations_of_database(from_spc, from_db);
            for key in self.layers.keys_in(&range, at)? {
                if let KeyKind::Relation(rel, fork) = key.decode() {
                    names.insert((rel.rel, fork));
                }
            }
            let directory = self.directories.at((from_spc, from_db), at);
            match directory.source {
                Some(source) => place = (source.spc, source.db, directory.barrier),
                None => break,
            }
        }
        let mut relations = Vec::with_capacity(names.len());
        for (number, fork) in names {
            let rel = RelFileLocator {
                spc,
                db,
                rel: number,
            };
            if let Some(blocks) = self.fork(rel, fork, at)?.blocks {
                relations.push((rel, fork, blocks));
            }
        }
        Ok(relations)
    }

    /// The relation map of a directory at `at`.
    pub(crate) fn relation_map(
        &self,
        spc: Oid,
        db: Oid,
        at: Lsn,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut place = (spc, db, at);
        for _ in 0..MAX_COPY_DEPTH {
            let (spc, db, at) = place;
            let known = self.directories.known((spc, db), at);
            known.check(None)?;
            let directory = known.state;
            let key = Key::relation_map(spc, db);
            if let Some(content) = self.file_value(&key, directory.barrier, at)? {
                return Ok(content);
            }
            match directory.source {
                Some(source) => place = (source.spc, source.db, directory.barrier),
                None => break,
            }
        }
        Ok(None)
    }

    /// The newest value of a key that holds a file's content or nothing: outer none if it was never
    /// set, inner none if it is gone.
    pub(crate) fn file_value(
        &self,
        key: &Key,
        above: Lsn,
        at: Lsn,
    ) -> Result<Option<Option<Vec<u8>>>, StoreError> {
        let found = self.layers.value(key, above, at, |bytes| {
            Tombstoned::decode(bytes).map(|value| value.0.map(<[u8]>::to_vec))
        })?;
        Ok(found.map(|(_, content)| content))
    }
}

impl CopySource {
    fn apply(self, rel: RelFileLocator) -> RelFileLocator {
        RelFileLocator {
            spc: self.spc,
            db: self.db,
            rel: rel.rel,
        }
    }
}
