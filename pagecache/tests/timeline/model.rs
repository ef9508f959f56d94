//! What recovery would leave on disk: files that records are applied to, one after the other. It knows
//! nothing of versions, barriers or copies; it keeps every state it went through.

use std::collections::BTreeMap;
use std::sync::Arc;

use walrecord::{
    BlockTag, Effect, EffectContext, ForkNumber, Lsn, MetaEffect, Page, PageKey, PageTouch,
    PgVersion, RawRecord, RedoRules, RelFileLocator, SlruPage, ZERO_PAGE,
};

pub(crate) const RULES: RedoRules = RedoRules {
    version: PgVersion::V15,
    minor: 18,
    hint_bits_logged: false,
};

pub(crate) type Fork = (RelFileLocator, ForkNumber);

/// The files at one LSN.
#[derive(Clone, Default)]
pub(crate) struct Files {
    pub(crate) forks: BTreeMap<Fork, Vec<Arc<Page>>>,
    pub(crate) slrus: BTreeMap<SlruPage, Arc<Page>>,
}

impl Files {
    pub(crate) fn apply(&mut self, raw: &RawRecord<'_>) {
        let record = raw.decode().expect("a sound record");
        let context = EffectContext {
            rules: RULES,
            track_commit_timestamp: false,
        };
        let mut effects = Vec::new();
        walrecord::effects(&record, &context, &mut |effect| effects.push(effect))
            .expect("a sound record");
        for effect in effects {
            match effect {
                Effect::Page { key, touch } => {
                    if let Some(page) = self.touched(key, touch) {
                        let page = Arc::make_mut(page);
                        walredo::redo(page, &record, &key, &RULES).expect("redo of a sound record");
                    }
                }
                Effect::Meta(meta) => self.change(meta),
            }
        }
    }

    fn touched(&mut self, key: PageKey, touch: PageTouch) -> Option<&mut Arc<Page>> {
        match key {
            PageKey::Slru(page) => Some(
                self.slrus
                    .entry(page)
                    .or_insert_with(|| Arc::new(ZERO_PAGE)),
            ),
            PageKey::Block(BlockTag { rel, fork, block }) => {
                let block = block as usize;
                if matches!(touch, PageTouch::Delta | PageTouch::IfPresent) {
                    return self.forks.get_mut(&(rel, fork))?.get_mut(block);
                }
                let pages = self.forks.entry((rel, fork)).or_default();
                while pages.len() <= block {
                    pages.push(Arc::new(ZERO_PAGE));
                }
                pages.get_mut(block)
            }
        }
    }

    fn change(&mut self, meta: MetaEffect<'_>) {
        match meta {
            MetaEffect::RelationCreate { rel, fork } => {
                self.forks.entry((rel, fork)).or_default();
            }
            MetaEffect::RelationTruncate { rel, fork, blocks } => {
                if let Some(pages) = self.forks.get_mut(&(rel, fork)) {
                    pages.truncate(blocks as usize);
                }
            }
            MetaEffect::RelationDrop { rel } => self.forks.retain(|(there, _), _| *there != rel),
            MetaEffect::DatabaseDrop { spc, db } => self.drop_database(spc, db),
            MetaEffect::DatabaseCopy {
                spc,
                db,
                from_spc,
                from_db,
            } => {
                self.drop_database(spc, db);
                let copies: Vec<_> = self
                    .forks
                    .iter()
                    .filter(|((rel, _), _)| (rel.spc, rel.db) == (from_spc, from_db))
                    .map(|((rel, fork), pages)| {
                        let rel = RelFileLocator { spc, db, ..*rel };
                        ((rel, *fork), pages.clone())
                    })
                    .collect();
                self.forks.extend(copies);
            }
            _ => {}
        }
    }

    fn drop_database(&mut self, spc: u32, db: u32) {
        self.forks
            .retain(|(rel, _), _| (rel.spc, rel.db) != (spc, db));
    }
}

/// All states, by the LSN from which on they hold, ascending.
#[derive(Default)]
pub(crate) struct States(Vec<(Lsn, Files)>);

impl States {
    pub(crate) fn push(&mut self, lsn: Lsn, files: &Files) {
        // Pages are shared: a state costs a few words for each page.
        self.0.push((lsn, files.clone()));
    }

    pub(crate) fn at(&self, lsn: Lsn) -> &Files {
        let upto = self.0.partition_point(|(from, _)| *from <= lsn);
        &self.0[upto - 1].1
    }

    /// The LSNs of all states, ascending.
    pub(crate) fn lsns(&self) -> impl ExactSizeIterator<Item = Lsn> {
        self.0.iter().map(|(lsn, _)| *lsn)
    }
}
