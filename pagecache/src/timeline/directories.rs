//! The history of database directories, held in memory whole: databases come and go rarely, and every
//! read asks.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use walrecord::{Lsn, Oid};

use super::ancestor::Ancestor;
use crate::error::StoreError;
use crate::meta::DirectoryState;

/// A database's directory in one tablespace.
pub(crate) type DirectoryId = (Oid, Oid);

/// A directory that is a copy of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copied {
    /// What it is a copy of.
    pub(crate) source: DirectoryId,
    /// Where it was made, and where it reads its source.
    pub(crate) at: Lsn,
    /// Where its next state begins.
    pub(crate) until: Lsn,
}

/// A stretch of history of which not all states are known.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    /// The smallest LSN that a state may have.
    pub(crate) from: Lsn,
    /// The largest.
    pub(crate) upto: Lsn,
    /// The damage.
    pub(crate) source: Arc<StoreError>,
}

impl Lost {
    pub(crate) fn error(&self) -> StoreError {
        StoreError::DirectoriesLost {
            from: self.from,
            upto: self.upto,
            source: Arc::clone(&self.source),
        }
    }
}

/// What is known of a directory at an LSN.
pub(crate) struct Known {
    /// The newest state that is known.
    pub(crate) state: DirectoryState,
    /// There may have been others since, if so.
    pub(crate) doubt: Option<Lost>,
}

impl Known {
    /// That the state is right for whoever rests on a version of this LSN (none: on there being none): no state
    /// that is not known voids it.
    ///
    /// # Errors
    /// What was lost.
    pub(crate) fn check(&self, rests_on: Option<Lsn>) -> Result<(), StoreError> {
        match &self.doubt {
            Some(lost) if rests_on.is_none_or(|lsn| lsn <= lost.upto) => Err(lost.error()),
            _ => Ok(()),
        }
    }
}

/// Every state of every directory, by LSN.
#[derive(Default)]
pub(crate) struct Directories {
    states: RwLock<BTreeMap<DirectoryId, Vec<(Lsn, DirectoryState)>>>,
    lost: RwLock<Vec<Lost>>,
    /// Whose states count where there are none, if the timeline is a branch.
    ancestor: Option<Ancestor>,
}

impl Directories {
    /// None yet but the ancestor's.
    pub(crate) fn new(ancestor: Option<Ancestor>) -> Directories {
        Directories {
            ancestor,
            ..Directories::default()
        }
    }

    /// Adds a state. States of one directory come in ascending order of LSN.
    pub(crate) fn push(&self, id: DirectoryId, lsn: Lsn, state: DirectoryState) {
        let mut states = self.states.write().unwrap_or_else(PoisonError::into_inner);
        let history = states.entry(id).or_default();
        assert!(
            history.last().is_none_or(|(last, _)| *last <= lsn),
            "directory states out of order"
        );
        if history.last().is_some_and(|(last, _)| *last == lsn) {
            history.pop();
        }
        history.push((lsn, state));
    }

    /// Forgets the states above `lsn`: the records that made them were never published.
    pub(crate) fn forget_above(&self, lsn: Lsn) {
        let mut states = self.states.write().unwrap_or_else(PoisonError::into_inner);
        states.retain(|_, history| {
            history.retain(|(at, _)| *at <= lsn);
            !history.is_empty()
        });
    }

    /// The state at `lsn`; the default for a directory never heard of.
    pub(crate) fn at(&self, id: DirectoryId, lsn: Lsn) -> DirectoryState {
        self.known(id, lsn).state
    }

    /// Notes that states are not known.
    pub(crate) fn lose(&self, lost: Lost) {
        let mut all = self.lost.write().unwrap_or_else(PoisonError::into_inner);
        all.push(lost);
    }

    /// The state at `lsn`, and whether others may have come after it. (Shared relations lie in no directory that
    /// comes and goes.)
    pub(crate) fn known(&self, id: DirectoryId, lsn: Lsn) -> Known {
        let own = self.own(id, lsn);
        let since = own.map_or(Lsn::INVALID, |(at, _)| at);
        let mut doubt = match id.1 {
            0 => None,
            _ => self.lost_between(since, lsn),
        };
        let state = match (own, &self.ancestor) {
            (Some((_, state)), _) => state,
            (None, Some(below)) => {
                let below = below.shared.directories.known(id, lsn.min(below.lsn));
                doubt = doubt.or(below.doubt);
                below.state
            }
            (None, None) => DirectoryState::default(),
        };
        Known { state, doubt }
    }

    /// That all states up to `lsn` are known.
    ///
    /// # Errors
    /// What was lost.
    pub(crate) fn check_all(&self, lsn: Lsn) -> Result<(), StoreError> {
        if let Some(lost) = self.lost_between(Lsn::INVALID, lsn) {
            return Err(lost.error());
        }
        match &self.ancestor {
            Some(below) => below.shared.directories.check_all(lsn.min(below.lsn)),
            None => Ok(()),
        }
    }

    /// The newest loss that touches LSNs above `since`, up to `upto`.
    fn lost_between(&self, since: Lsn, upto: Lsn) -> Option<Lost> {
        let all = self.lost.read().unwrap_or_else(PoisonError::into_inner);
        let touching = all
            .iter()
            .filter(|lost| lost.upto > since && lost.from <= upto);
        touching.max_by_key(|lost| lost.upto).cloned()
    }

    fn own(&self, id: DirectoryId, lsn: Lsn) -> Option<(Lsn, DirectoryState)> {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        let history = states.get(&id)?;
        let upto = history.partition_point(|(at, _)| *at <= lsn);
        history[..upto].last().copied()
    }

    /// Every directory that was made as a copy of another, and as long as it was one.
    pub(crate) fn copies(&self) -> Vec<Copied> {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        let mut copies = Vec::new();
        for history in states.values() {
            let mut later = history.iter().skip(1).map(|(lsn, _)| *lsn);
            for (_, state) in history {
                let until = later.next().unwrap_or(Lsn::MAX);
                copies.extend(state.source.map(|source| Copied {
                    source: (source.spc, source.db),
                    at: state.barrier,
                    until,
                }));
            }
        }
        copies
    }

    /// The directories that exist at `lsn`, ascending.
    pub(crate) fn existing(&self, lsn: Lsn) -> Vec<DirectoryId> {
        let mut ids: Vec<DirectoryId> = {
            let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
            states.keys().copied().collect()
        };
        if let Some(Ancestor {
            shared,
            lsn: branch,
        }) = &self.ancestor
        {
            ids.extend(shared.directories.existing(lsn.min(*branch)));
            ids.sort_unstable();
            ids.dedup();
        }
        ids.into_iter()
            .filter(|id| self.at(*id, lsn).exists)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_were_never_published_are_forgotten_and_may_come_again_earlier() {
        let directories = Directories::default();
        let here = DirectoryState {
            exists: true,
            ..DirectoryState::default()
        };
        directories.push((1, 2), Lsn::new(8), here);
        directories.push((1, 2), Lsn::new(40), DirectoryState::default());
        directories.push((1, 3), Lsn::new(40), here);
        directories.forget_above(Lsn::new(16));
        assert_eq!(directories.existing(Lsn::MAX), [(1, 2)]);
        directories.push((1, 2), Lsn::new(24), DirectoryState::default());
        assert!(directories.existing(Lsn::MAX).is_empty());
        assert_eq!(directories.existing(Lsn::new(16)), [(1, 2)]);
    }
}
