//! Rebuilding a page at an LSN: collect its versions newest first down to one that stands alone, then
//! redo upward.

use std::fmt::Write as _;
use std::ops::ControlFlow;

use walrecord::{Lsn, PAGE_SIZE, Page, PageKey, Record, RedoRules, Rmgr, RmgrId, ZERO_PAGE};
use walredo::Applied;

use super::hot_pages::HotPages;
use super::layers::{FoundBody, LayerSet};
use super::resolve::{Place, Resolver, Step};
use super::wal_window::RecordFetcher;
use crate::error::{ReadError, StoreError};
use crate::layer::EntryKind;

/// What a read had to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReadStats {
    /// Records applied (those that the LSN test skipped count too).
    pub records: u32,
    /// Layer files looked into: those that hold the page, and those whose filter is wrong about that.
    pub layers: u32,
    /// The page started from a stored image.
    pub image: bool,
    /// Records applied by resource manager, indexed by [`Rmgr`]'s number; an extension's are not counted.
    pub by_rmgr: [u32; Rmgr::ALL.len()],
}

/// Rules by the LSN above which they hold, ascending. Never empty, as the manifest has it.
pub(crate) struct RulesHistory(pub(crate) Vec<(Lsn, RedoRules)>);

impl RulesHistory {
    /// The rules for a record that ends at `end`.
    pub(crate) fn of_record(&self, end: Lsn) -> RedoRules {
        self.first(self.0.partition_point(|(from, _)| *from < end))
    }

    /// The rules for records that end above `lsn`.
    pub(crate) fn after(&self, lsn: Lsn) -> RedoRules {
        self.first(self.0.partition_point(|(from, _)| *from <= lsn))
    }

    /// The last of the first `count`; the first hold for whatever is before them.
    fn first(&self, count: usize) -> RedoRules {
        self.0[count.max(1) - 1].1
    }
}

/// A page's versions, newest first, and the bytes that layers gave for them.
#[derive(Default)]
struct Chain {
    links: Vec<Link>,
    bytes: Vec<u8>,
}

struct Link {
    lsn: Lsn,
    kind: EntryKind,
    body: LinkBody,
}

enum LinkBody {
    Wal { start: Lsn, ancestors: usize },
    Bytes { offset: usize, length: usize },
}

/// Everything a page is rebuilt from.
pub(crate) struct PageBuilder<'a> {
    pub(crate) resolver: Resolver<'a>,
    pub(crate) rules: &'a RulesHistory,
    pub(crate) records: RecordFetcher<'a>,
    /// None: everything is read from where it is stored.
    pub(crate) hot: Option<&'a HotPages>,
    /// Changes of a page above which it is kept as hot.
    pub(crate) hot_changes: usize,
    /// Records up to here may change pages that an import did not find: they were dropped later.
    pub(crate) import_stop: Lsn,
}

impl PageBuilder<'_> {
    /// The page at `at`, which lies inside the readable range.
    pub(crate) fn page(&mut self, key: PageKey, at: Lsn) -> Result<(Page, ReadStats), ReadError> {
        let steps = match self.resolver.place(key, at)? {
            Place::Steps(steps) => steps,
            Place::PastEnd(blocks) => {
                return Err(ReadError::PastEnd {
                    page: key,
                    lsn: at,
                    blocks,
                });
            }
            Place::NoFork => return Err(no_fork(key, at)),
        };
        self.page_at(&steps, key, at)
    }

    fn page_at(
        &mut self,
        steps: &[Step],
        key: PageKey,
        at: Lsn,
    ) -> Result<(Page, ReadStats), ReadError> {
        let mut page = ZERO_PAGE;
        let mut stats = ReadStats::default();
        let sure = steps.first().filter(|step| step.doubt.is_none());
        let hot = sure.and_then(|step| self.hot?.get(&key, step.above, at));
        if let Some(hot) = &hot {
            page.copy_from_slice(&hot.page[..]);
            stats.image = true;
        }
        // Steps below a complete chain are not needed; upper ones apply on top of lower ones.
        let mut chains = Vec::with_capacity(1);
        for step in steps {
            let above = hot.as_ref().map_or(step.above, |hot| hot.lsn);
            let (chain, complete) = collect(self.resolver.layers, step, above, &mut stats.layers)?;
            chains.push((step.key, chain));
            if complete || hot.is_some() {
                break;
            }
        }
        for (own_key, chain) in chains.iter().rev() {
            self.apply(&mut page, *own_key, chain, &mut stats, at)?;
        }
        check(&page, key, at, &chains)?;
        if let Some(hot) = self.hot
            && stats.records as usize > self.hot_changes
            && at >= self.import_stop
        {
            hot.put(key, at, &page);
        }
        Ok((page, stats))
    }

    fn apply(
        &mut self,
        page: &mut Page,
        key: PageKey,
        chain: &Chain,
        stats: &mut ReadStats,
        at: Lsn,
    ) -> Result<(), ReadError> {
        for link in chain.links.iter().rev() {
            let bytes = match &link.body {
                LinkBody::Bytes { offset, length } => &chain.bytes[*offset..offset + length],
                LinkBody::Wal { start, ancestors } => self.records.fetch(*start, *ancestors)?,
            };
            if link.kind == EntryKind::Image {
                page.copy_from_slice(bytes);
                stats.image = true;
                continue;
            }
            stats.records += 1;
            let rules = self.rules.of_record(link.lsn);
            let start = match link.body {
                LinkBody::Wal { start, .. } => start,
                LinkBody::Bytes { .. } => link.lsn,
            };
            let record =
                Record::parse(rules.version, start, link.lsn, bytes).map_err(|source| {
                    StoreError::BadRecord {
                        start,
                        end: link.lsn,
                        source: Box::new(source),
                    }
                })?;
            if let RmgrId::BuiltIn(rmgr) = record.header.rmgr {
                stats.by_rmgr[rmgr as usize] += 1;
            }
            let applied =
                walredo::redo(page, &record, &key, &rules).map_err(|source| ReadError::Redo {
                    page: key,
                    lsn: at,
                    record: link.lsn,
                    source: Box::new(source),
                    chain: chain.describe(),
                })?;
            if applied == Applied::NoBase && link.lsn > self.import_stop {
                return Err(ReadError::NoBase {
                    page: key,
                    lsn: at,
                    record: link.lsn,
                    chain: chain.describe(),
                });
            }
        }
        Ok(())
    }
}

/// Whether the oldest version that counts for the page at `at` is an image that is stored whole.
pub(crate) fn rests_on_image(
    resolver: &Resolver<'_>,
    key: PageKey,
    at: Lsn,
) -> Result<bool, StoreError> {
    let Place::Steps(steps) = resolver.place(key, at)? else {
        return Ok(false);
    };
    for step in &steps {
        let (chain, complete) = collect(resolver.layers, step, step.above, &mut 0)?;
        if complete {
            let base = chain.links.last();
            return Ok(base.is_some_and(|link| link.kind == EntryKind::Image));
        }
    }
    Ok(false)
}

fn no_fork(key: PageKey, lsn: Lsn) -> ReadError {
    match key {
        PageKey::Block(tag) => ReadError::NoRelation {
            rel: tag.rel,
            fork: tag.fork,
            lsn,
        },
        PageKey::Slru(_) => ReadError::PastEnd {
            page: key,
            lsn,
            blocks: 0,
        },
    }
}

/// Collects the versions of one step above `above`. The second value says whether the last one stands alone. `files`
/// counts the layer files that were looked into.
fn collect(
    layers: &LayerSet,
    step: &Step,
    above: Lsn,
    files: &mut u32,
) -> Result<(Chain, bool), StoreError> {
    let mut chain = Chain::default();
    let mut complete = false;
    let key = crate::key::Key::page(step.key);
    *files += layers.visit(&key, above, step.upto, &mut |found| {
        let body = match found.body {
            FoundBody::Record { start, ancestors } => LinkBody::Wal { start, ancestors },
            FoundBody::Bytes(bytes) => {
                let offset = chain.bytes.len();
                chain.bytes.extend_from_slice(bytes);
                LinkBody::Bytes {
                    offset,
                    length: bytes.len(),
                }
            }
        };
        chain.links.push(Link {
            lsn: found.lsn,
            kind: found.kind,
            body,
        });
        complete = matches!(found.kind, EntryKind::Image | EntryKind::Init);
        if complete {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    if let Some(lost) = &step.doubt {
        let base = chain.links.last().filter(|_| complete);
        if base.is_none_or(|base| base.lsn <= lost.upto) {
            return Err(lost.error());
        }
    }
    Ok((chain, complete))
}

/// The tripwire: a page leaves only if its header is plausible and from no later than `at`.
fn check(page: &Page, key: PageKey, at: Lsn, chains: &[(PageKey, Chain)]) -> Result<(), ReadError> {
    if matches!(key, PageKey::Slru(_)) {
        return Ok(());
    }
    let problem = if !walredo::header_plausible(page) {
        "its header is damaged".to_owned()
    } else if walredo::page_lsn(page) > at {
        format!("its LSN is {}", walredo::page_lsn(page))
    } else {
        return Ok(());
    };
    Err(ReadError::Implausible {
        page: key,
        lsn: at,
        problem,
        chain: chains
            .iter()
            .map(|(_, chain)| chain.describe())
            .collect::<Vec<_>>()
            .join(" below "),
    })
}

impl Chain {
    /// The versions' LSNs, newest first, at most 20 of them.
    fn describe(&self) -> String {
        let mut text = String::new();
        for link in self.links.iter().take(20) {
            let name = match link.kind {
                EntryKind::Image => "image",
                EntryKind::Init => "init",
                _ => "delta",
            };
            let _ = write!(text, "{name}@{} ", link.lsn);
        }
        match self.links.len() {
            0 => text.push_str("empty"),
            1..=20 => {}
            more => {
                let _ = write!(text, "and {} more", more - 20);
            }
        }
        text.trim_end().to_owned()
    }
}

const _: () = assert!(PAGE_SIZE == 8192);

#[cfg(test)]
mod tests {
    use walrecord::PgVersion;

    use super::*;

    #[test]
    fn rules_hold_for_records_that_end_above_their_lsn() {
        let rules = |minor| RedoRules {
            version: PgVersion::V15,
            minor,
            hint_bits_logged: false,
        };
        let from = Lsn::new(64);
        let history = RulesHistory(vec![(Lsn::INVALID, rules(1)), (from, rules(2))]);
        assert_eq!(
            history.of_record(from),
            rules(1),
            "the record that changed them"
        );
        assert_eq!(history.of_record(from + 8), rules(2));
        assert_eq!(history.after(from), rules(2));
        assert_eq!(history.of_record(Lsn::INVALID), rules(1));
    }
}
