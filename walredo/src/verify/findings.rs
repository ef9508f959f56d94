//! What a verifier found: counts by record kind, and the first differences.

use std::collections::BTreeMap;

use walrecord::{EffectError, PageKey, Record};

use crate::error::{RecordId, RecordKind, RedoError};

/// What became of the pages that records of one kind touch, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockCounts {
    /// Records seen, whatever they touch.
    pub records: u64,
    /// Redo made what the WAL expects.
    pub equal: u64,
    /// Redo made something else.
    pub different: u64,
    /// Redo failed: page and record contradict each other, or the record's body is none.
    pub failed: u64,
    /// Replaced by an image, or changed with no version to compare with.
    pub unchecked: u64,
    /// The page's past is not known: it begins with the expected version.
    pub seeded: u64,
    /// The page's past is not known, and neither is an expected version.
    pub unknown: u64,
    /// Redo of such records is not supported: an extension's.
    pub refused: u64,
}

impl BlockCounts {
    /// All pages counted.
    pub const fn pages(&self) -> u64 {
        self.equal
            + self.different
            + self.failed
            + self.unchecked
            + self.seeded
            + self.unknown
            + self.refused
    }

    /// Adds another's numbers.
    pub const fn add(&mut self, other: &BlockCounts) {
        self.records += other.records;
        self.equal += other.equal;
        self.different += other.different;
        self.failed += other.failed;
        self.unchecked += other.unchecked;
        self.seeded += other.seeded;
        self.unknown += other.unknown;
        self.refused += other.refused;
    }
}

/// Something that is not as the WAL expects it.
#[derive(Clone, Debug)]
pub struct Difference {
    /// After which record.
    pub record: RecordId,
    /// Which page; none if the record as a whole cannot be read.
    pub key: Option<PageKey>,
    /// What is wrong.
    pub what: Disagreement,
}

/// In what way something is not as expected.
#[derive(Clone, Debug)]
pub enum Disagreement {
    /// The masked pages differ.
    Bytes {
        /// Where, by the first bytes: offset, redo's, expected.
        first: Vec<(usize, u8, u8)>,
        /// How many bytes differ.
        count: usize,
    },
    /// Redo failed.
    Failed(RedoError),
    /// Redo of the record is not supported. No difference, but a page that is not known from here on.
    Refused(RedoError),
    /// The record's body cannot be decoded.
    Undecodable(EffectError),
    /// Bits of a visibility map, of heap blocks that the record does not name. No difference: a
    /// concurrent change may be logged later, and `CREATE DATABASE` by WAL loses a map's content.
    OtherBits {
        /// Bits that redo's page has and the expected one lacks.
        surplus: u32,
        /// Bits that redo's page lacks.
        missing: u32,
    },
}

/// Differing bytes that are kept of each page.
const KEPT_BYTES: usize = 16;
/// Differences that are kept, and notes; all are counted.
const KEPT: usize = 100;

/// All that a [`crate::Verifier`] found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Counts by record kind.
    pub counts: BTreeMap<RecordKind, BlockCounts>,
    /// The first differences, in the order of the WAL. [`BlockCounts`] has the number of all.
    pub differences: Vec<Difference>,
    /// The first things worth knowing that are no differences.
    pub notes: Vec<Difference>,
    /// Pages of visibility maps found with other bits than expected, of heap blocks that the record does
    /// not name.
    pub maps_with_other_bits: u64,
    /// Pages that were dropped for want of memory, and began anew when they were touched again.
    pub pages_dropped: u64,
}

impl Findings {
    /// Pages that were found equal, and those that were not (differing or failed).
    pub fn totals(&self) -> (u64, u64) {
        let sum = |field: fn(&BlockCounts) -> u64| self.counts.values().map(field).sum();
        (sum(|c| c.equal), sum(|c| c.different + c.failed))
    }

    /// Adds what another verifier found on other pages of the same WAL.
    pub fn merge(&mut self, other: Findings) {
        for (kind, counts) in &other.counts {
            self.counts.entry(*kind).or_default().add(counts);
        }
        for (mine, more) in [
            (&mut self.differences, other.differences),
            (&mut self.notes, other.notes),
        ] {
            mine.extend(more);
            mine.sort_by_key(|difference| difference.record.start);
            mine.truncate(KEPT);
        }
        self.maps_with_other_bits += other.maps_with_other_bits;
        self.pages_dropped += other.pages_dropped;
    }

    pub(super) fn of(&mut self, record: &Record<'_>) -> &mut BlockCounts {
        self.counts.entry(RecordKind::of(record)).or_default()
    }

    pub(super) fn differ(
        &mut self,
        record: &Record<'_>,
        key: Option<PageKey>,
        what: impl FnOnce() -> Disagreement,
    ) {
        keep(&mut self.differences, record, key, what);
    }

    pub(super) fn note(
        &mut self,
        record: &Record<'_>,
        key: PageKey,
        what: impl FnOnce() -> Disagreement,
    ) {
        keep(&mut self.notes, record, Some(key), what);
    }
}

fn keep(
    list: &mut Vec<Difference>,
    record: &Record<'_>,
    key: Option<PageKey>,
    what: impl FnOnce() -> Disagreement,
) {
    if list.len() < KEPT {
        list.push(Difference {
            record: RecordId::of(record),
            key,
            what: what(),
        });
    }
}

impl Disagreement {
    /// Where two pages differ.
    pub(super) fn between(actual: &[u8], expected: &[u8]) -> Disagreement {
        let differing = || (0..actual.len()).filter(|at| actual[*at] != expected[*at]);
        Disagreement::Bytes {
            first: differing()
                .map(|at| (at, actual[at], expected[at]))
                .take(KEPT_BYTES)
                .collect(),
            count: differing().count(),
        }
    }
}
