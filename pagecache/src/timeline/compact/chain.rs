//! The versions of one page up to a point at which it stays readable, made one image if that can be.

use walrecord::{Lsn, PAGE_SIZE, Page, PageKey, Record, ZERO_PAGE};
use walredo::Applied;

use super::merge::Version;
use super::output::Outputs;
use crate::error::StoreError;
use crate::key::Key;
use crate::layer::EntryKind;
use crate::timeline::read::RulesHistory;

/// Bytes of versions that are held before they are applied, or written as they are: this bounds the memory.
const MAX_HELD: usize = 256 << 10;

/// What the page at the next point rests on: the newest version that stands alone, and the changes above it.
#[derive(Default)]
pub(super) struct Chain {
    versions: Vec<Held>,
    bytes: Vec<u8>,
    /// The first of `versions` stands alone, or the page begins with it.
    is_whole: bool,
    /// Redo refused a change: versions are kept as they are from there on.
    is_stuck: bool,
    /// So many of the first versions have been written.
    written: usize,
}

#[derive(Clone, Copy)]
struct Held {
    lsn: Lsn,
    kind: EntryKind,
    /// Where its bytes begin; they end where the next's begin.
    offset: usize,
}

impl Chain {
    /// Forgets everything; for the next page.
    pub(super) fn reset(&mut self) {
        self.forget();
        self.is_stuck = false;
    }

    /// Forgets the versions: nobody can see them at the points to come.
    pub(super) fn forget(&mut self) {
        self.versions.clear();
        self.bytes.clear();
        self.is_whole = false;
        self.written = 0;
    }

    /// The newest version that is held.
    pub(super) fn newest(&self) -> Option<Lsn> {
        self.versions.last().map(|held| held.lsn)
    }

    /// Redo refused a change of the page, or something else keeps it from being known: it stays as it is until a
    /// version comes that stands alone.
    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    /// The page is not known from here on.
    pub(super) fn stick(&mut self) {
        self.keep_newest();
        self.is_stuck = true;
    }

    /// Whether the page can be told from what is held, all of it above `lsn`.
    pub(super) fn begins_above(&self, lsn: Lsn) -> bool {
        self.is_whole && self.versions.first().is_some_and(|first| first.lsn > lsn)
    }

    /// Forgets all but the newest version, which is not written yet: the page cannot be told from it alone.
    pub(super) fn keep_newest(&mut self) {
        let Some(newest) = self.versions.pop() else {
            return;
        };
        self.bytes.drain(..newest.offset);
        self.versions.clear();
        self.versions.push(Held {
            offset: 0,
            ..newest
        });
        self.is_whole = !newest.kind.needs_older();
        self.written = 0;
    }

    /// The page as it is at the newest version takes the place of all.
    pub(super) fn rest_on(&mut self, lsn: Lsn, image: &Page) {
        self.forget();
        self.is_whole = true;
        self.versions.push(Held {
            lsn,
            kind: EntryKind::Image,
            offset: 0,
        });
        self.bytes.extend_from_slice(image);
    }

    /// Writes the newest version; the others were.
    pub(super) fn write_newest(
        &mut self,
        key: &Key,
        out: &mut Outputs<'_>,
    ) -> Result<(), StoreError> {
        self.written = self.versions.len().saturating_sub(1);
        self.write(key, out)
    }

    /// Adds a version. `begins_as_zeros`: nothing is below the first one.
    pub(super) fn push(&mut self, version: Version<'_>, begins_as_zeros: bool) {
        if !version.kind.needs_older() {
            self.reset();
            self.is_whole = true;
        } else if self.versions.is_empty() && self.written == 0 {
            self.is_whole = begins_as_zeros;
        }
        self.versions.push(Held {
            lsn: version.lsn,
            kind: version.kind,
            offset: self.bytes.len(),
        });
        self.bytes.extend_from_slice(version.value);
    }

    /// Keeps what is held small.
    pub(super) fn bound(
        &mut self,
        key: &Key,
        page: PageKey,
        rules: &RulesHistory,
        out: &mut Outputs<'_>,
    ) -> Result<(), StoreError> {
        if self.bytes.len() <= MAX_HELD {
            return Ok(());
        }
        if self.is_whole && !self.is_stuck && self.fold(page, rules) {
            return Ok(());
        }
        self.write(key, out)?;
        // What comes now rests on what is written.
        self.forget();
        self.is_stuck = true;
        Ok(())
    }

    /// Writes what a reader at the point needs that was not written for an earlier one.
    pub(super) fn settle(
        &mut self,
        key: &Key,
        page: PageKey,
        rules: &RulesHistory,
        out: &mut Outputs<'_>,
    ) -> Result<(), StoreError> {
        let fresh = self.versions.len() - self.written;
        if fresh == 0 {
            return Ok(());
        }
        let can_fold = self.is_whole && !self.is_stuck && self.versions.len() > 1;
        if can_fold && !self.fold(page, rules) {
            self.is_stuck = true;
        }
        self.write(key, out)
    }

    fn write(&mut self, key: &Key, out: &mut Outputs<'_>) -> Result<(), StoreError> {
        for index in self.written..self.versions.len() {
            let held = self.versions[index];
            out.add(key, held.lsn, held.kind, self.value(index))?;
        }
        self.written = self.versions.len();
        Ok(())
    }

    fn value(&self, index: usize) -> &[u8] {
        let end = self.versions.get(index + 1).map(|next| next.offset);
        &self.bytes[self.versions[index].offset..end.unwrap_or(self.bytes.len())]
    }

    /// Makes the versions one image, of the newest one's LSN. Returns whether redo could.
    pub(super) fn fold(&mut self, page: PageKey, rules: &RulesHistory) -> bool {
        let Some(last) = self.newest() else {
            return true;
        };
        let mut content = ZERO_PAGE;
        for index in 0..self.versions.len() {
            if !self.apply(index, page, rules, &mut content) {
                return false;
            }
        }
        self.rest_on(last, &content);
        true
    }

    fn apply(&self, index: usize, page: PageKey, rules: &RulesHistory, content: &mut Page) -> bool {
        let Held { lsn, kind, .. } = self.versions[index];
        let value = self.value(index);
        if kind == EntryKind::Image {
            let image = value.first_chunk::<PAGE_SIZE>();
            return image.map(|image| *content = *image).is_some();
        }
        let rules = rules.of_record(lsn);
        let Ok(record) = Record::parse(rules.version, lsn, lsn, value) else {
            return false;
        };
        matches!(
            walredo::redo(content, &record, &page, &rules),
            Ok(Applied::Changed | Applied::Skipped)
        )
    }
}
