//! What redo depends on besides page and record: version, minor release, cluster settings.

use crate::types::PgVersion;

/// The rule set that stock recovery of one particular server follows. Stored with the history, so
/// that a page is rebuilt the same way for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RedoRules {
    /// Major version.
    pub version: PgVersion,
    /// Minor release, the `18` of 15.18.
    pub minor: u16,
    /// Hint bits are WAL-logged: data checksums are on, or `wal_log_hints` is (`XLogHintBitIsNeeded`).
    pub hint_bits_logged: bool,
}

impl RedoRules {
    /// HEAP2/VISIBLE stores the record's LSN in the heap page if hint bits are logged
    /// (14.7, 15.2 and newer).
    pub const fn visible_sets_heap_lsn(&self) -> bool {
        self.hint_bits_logged
            && match self.version {
                PgVersion::V14 => self.minor >= 7,
                PgVersion::V15 => self.minor >= 2,
                _ => true,
            }
    }

    /// MULTIXACT/CREATE_ID also writes the next multixact's offset (14.21, 15.16, 16.12, 17.8,
    /// 18.2 and newer).
    pub const fn multixact_writes_next_offset(&self) -> bool {
        self.minor
            >= match self.version {
                PgVersion::V14 => 21,
                PgVersion::V15 => 16,
                PgVersion::V16 => 12,
                PgVersion::V17 => 8,
                PgVersion::V18 => 2,
            }
    }

    /// Compacting a heap page cuts unused line pointers off its end (15 and newer).
    pub const fn repair_truncates_line_pointers(&self) -> bool {
        !matches!(self.version, PgVersion::V14)
    }

    /// GiST pages are marked when tuples are deleted from them (`F_TUPLES_DELETED`, access/gist.h).
    /// No release reads the mark. 15.20 and what was released with it stopped making it.
    pub const fn gist_marks_deleted_tuples(&self) -> bool {
        self.minor
            < match self.version {
                PgVersion::V14 => 25,
                PgVersion::V15 => 20,
                PgVersion::V16 => 16,
                PgVersion::V17 => 12,
                PgVersion::V18 => 7,
            }
    }
}
