//! What `pageserver walverify` found, as text and as JSON.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use walredo::{BlockCounts, Difference, Disagreement, RecordKind};

/// The findings on one stretch of WAL.
#[derive(Serialize, Deserialize)]
pub(super) struct Report {
    /// Major version of the server that wrote the WAL.
    pub(super) version: u32,
    /// The minor release whose rules were followed; none: the newest.
    pub(super) minor: Option<u16>,
    /// Hint bits were taken to be WAL-logged.
    pub(super) hint_bits_logged: bool,
    /// Each record was applied to the version expected before it, not to the page that redo made.
    pub(super) reseeded: bool,
    /// Where the WAL begins.
    pub(super) start: String,
    /// Where its last whole record ends.
    pub(super) end: String,
    /// Records read.
    pub(super) records: u64,
    /// Time taken.
    pub(super) seconds: f64,
    /// Counts by resource manager and record.
    pub(super) kinds: Vec<Kind>,
    /// Pages that redo made as expected.
    pub(super) equal: u64,
    /// Pages that redo made otherwise, or not at all.
    pub(super) different: u64,
    /// Pages of records that redo does not know.
    pub(super) refused: u64,
    /// Pages of visibility maps with other bits than expected, of heap blocks that records do not name.
    pub(super) maps_with_other_bits: u64,
    /// Pages forgotten for want of memory.
    pub(super) pages_dropped: u64,
    /// The first differences.
    pub(super) differences: Vec<String>,
    /// The first things that are no differences but worth knowing.
    pub(super) notes: Vec<String>,
}

/// Counts of one kind of record: records, then what became of the pages that they touch.
#[derive(Serialize, Deserialize)]
pub(super) struct Kind {
    pub(super) rmgr: u8,
    pub(super) record: String,
    pub(super) records: u64,
    pub(super) equal: u64,
    pub(super) different: u64,
    pub(super) failed: u64,
    pub(super) refused: u64,
    pub(super) unchecked: u64,
    pub(super) seeded: u64,
    pub(super) unknown: u64,
}

impl Kind {
    pub(super) fn new(kind: &RecordKind, counts: &BlockCounts) -> Kind {
        Kind {
            rmgr: kind.rmgr.to_u8(),
            record: kind.to_string(),
            records: counts.records,
            equal: counts.equal,
            different: counts.different,
            failed: counts.failed,
            refused: counts.refused,
            unchecked: counts.unchecked,
            seeded: counts.seeded,
            unknown: counts.unknown,
        }
    }

    const fn columns(&self) -> [u64; 8] {
        [
            self.records,
            self.equal,
            self.different,
            self.failed,
            self.refused,
            self.unchecked,
            self.seeded,
            self.unknown,
        ]
    }
}

impl Report {
    /// For people.
    pub(super) fn text(&self) -> String {
        let minor = match self.minor {
            Some(minor) => format!("PostgreSQL {}.{minor}", self.version),
            None => format!("the newest minor release of PostgreSQL {}", self.version),
        };
        let hints = if self.hint_bits_logged { "" } else { "not " };
        let base = if self.reseeded {
            "each record is applied to the version expected before it"
        } else {
            "pages are carried through the whole history"
        };
        let mut text = format!(
            "Assumed: rules of {minor}, hint bits {hints}logged; {base}.\n\n{:32}{:>11}{:>11}{:>10}{:>8}{:>8}{:>10}{:>8}{:>8}\n",
            "",
            "records",
            "equal",
            "different",
            "failed",
            "refused",
            "unchecked",
            "seeded",
            "unknown",
        );
        let mut row = |name: &str, columns: [u64; 8]| {
            let _ = write!(text, "{name:32}");
            for (value, width) in columns.into_iter().zip([11, 11, 10, 8, 8, 10, 8, 8]) {
                let _ = write!(text, "{value:>width$}");
            }
            text.push('\n');
        };
        let mut total = [0; 8];
        for kind in &self.kinds {
            row(&kind.record, kind.columns());
            for (sum, value) in total.iter_mut().zip(kind.columns()) {
                *sum += value;
            }
        }
        row("all", total);
        self.lists(&mut text);
        let _ = write!(
            text,
            "\n{} records from {} to {} in {:.1} s: {} pages equal, {} not",
            self.records, self.start, self.end, self.seconds, self.equal, self.different
        );
        text
    }

    fn lists(&self, text: &mut String) {
        for (title, list) in [("Differences", &self.differences), ("Notes", &self.notes)] {
            if !list.is_empty() {
                let _ = writeln!(text, "\n{title} (the first {}):", list.len());
            }
            for line in list {
                let _ = writeln!(text, "  {line}");
            }
        }
        if self.maps_with_other_bits > 0 {
            let _ = writeln!(
                text,
                "\n{} pages of visibility maps have other bits than expected, of heap blocks that the record does not name: no difference, a change may be logged later than made",
                self.maps_with_other_bits
            );
        }
        if self.pages_dropped > 0 {
            let _ = writeln!(
                text,
                "\n{} pages were forgotten to stay within --memory-mb and began anew",
                self.pages_dropped
            );
        }
    }
}

/// One difference in a line: page, record, what.
pub(super) fn line(difference: &Difference) -> String {
    let record = &difference.record;
    let place = match &difference.key {
        Some(key) => format!("{key}: after {record}"),
        None => record.to_string(),
    };
    match &difference.what {
        Disagreement::Bytes { first, count } => {
            let mut text = format!("{place}: {count} bytes differ; offset redo/expected:");
            for (at, actual, expected) in first {
                let _ = write!(text, " {at} {actual:02x}/{expected:02x}");
            }
            text
        }
        Disagreement::Failed(error) | Disagreement::Refused(error) => error.to_string(),
        Disagreement::Undecodable(error) => format!("{place}: {error}"),
        Disagreement::OtherBits { surplus, missing } => format!(
            "{place}: bits of other heap blocks differ, {surplus} are set here only and {missing} there only"
        ),
    }
}
