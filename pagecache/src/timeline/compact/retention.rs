//! Which LSNs stay readable: everything above the cutoff, and single points below it.

use std::collections::BTreeMap;

use walrecord::Lsn;

use crate::key::{Key, KeyKind};
use crate::timeline::directories::{Directories, DirectoryId};

/// What a compaction keeps. Of the versions of a key at or below a point only the newest counts.
pub(super) struct Retention {
    /// Ascending; the last is the cutoff. Empty: everything is kept.
    points: Vec<Lsn>,
    /// Where databases were copied from these, and the copy still reads them.
    copied: BTreeMap<DirectoryId, Vec<Lsn>>,
}

impl Retention {
    /// `points` are ascending and below `cutoff`; a cutoff of zero keeps everything.
    pub(super) fn new(cutoff: Lsn, points: &[Lsn], directories: &Directories) -> Retention {
        let mut retention = Retention {
            points: Vec::new(),
            copied: BTreeMap::new(),
        };
        if cutoff == Lsn::INVALID {
            return retention;
        }
        retention.points.extend(points);
        retention.points.push(cutoff);
        retention.keep_sources(directories);
        retention
    }

    /// A copy that is seen at a kept LSN reads its source at the LSN at which it was made; that may in turn
    /// be a copy.
    fn keep_sources(&mut self, directories: &Directories) {
        let copies = directories.copies();
        let cutoff = self.cutoff();
        let mut kept = self.points.clone();
        let mut known = vec![false; copies.len()];
        loop {
            let before = kept.len();
            for (copy, known) in copies.iter().zip(&mut known) {
                let seen =
                    copy.until > cutoff || kept.iter().any(|at| (copy.at..copy.until).contains(at));
                if seen && !std::mem::replace(known, true) {
                    self.copied.entry(copy.source).or_default().push(copy.at);
                    kept.push(copy.at);
                }
            }
            if kept.len() == before {
                return;
            }
        }
    }

    /// Versions above it are all kept.
    pub(super) fn cutoff(&self) -> Lsn {
        self.points.last().copied().unwrap_or_default()
    }

    /// The points at which `key` is read, ascending up to the cutoff.
    pub(super) fn points_of(&self, key: &Key, points: &mut Vec<Lsn>) {
        points.clear();
        points.extend(&self.points);
        let directory = match key.decode() {
            KeyKind::Page(walrecord::PageKey::Block(tag)) => (tag.rel.spc, tag.rel.db),
            KeyKind::Relation(rel, _) => (rel.spc, rel.db),
            KeyKind::Database { spc, db } | KeyKind::RelationMap { spc, db } => (spc, db),
            _ => return,
        };
        if let Some(copied) = self.copied.get(&directory) {
            let cutoff = self.cutoff();
            points.extend(copied.iter().filter(|at| **at < cutoff));
            points.sort_unstable();
            points.dedup();
        }
    }
}
