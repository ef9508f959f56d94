//! Why a record cannot be applied to a page.

use std::fmt;

use walrecord::rmgr::{BodyError, record_name};
use walrecord::{ImageError, Lsn, PageKey, Record, RmgrId};

/// A record that cannot be applied to a page. The page's bytes are unspecified afterwards.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedoError {
    /// Nothing here knows what the record does to the page: the resource manager is an
    /// extension's, or not implemented.
    #[error("{key}: redo of {record} is not supported")]
    Unsupported {
        /// The page.
        key: PageKey,
        /// The record.
        record: RecordId,
    },
    /// The record touches this page in no way. A store that asks has a wrong index.
    #[error("{key}: {record} does not touch this page")]
    Untouched {
        /// The page.
        key: PageKey,
        /// The record.
        record: RecordId,
    },
    /// Page and record contradict each other, or themselves: one of them is damaged, or an earlier
    /// version of the page was rebuilt wrongly.
    #[error("{key}: {record} does not fit: {fault}")]
    Mismatch {
        /// The page.
        key: PageKey,
        /// The record.
        record: RecordId,
        /// What was found.
        #[source]
        fault: Fault,
    },
}

impl RedoError {
    pub(crate) fn unsupported(record: &Record<'_>, key: PageKey) -> RedoError {
        let record = RecordId::of(record);
        RedoError::Unsupported { key, record }
    }
}

/// Names a record in messages: its kind, where it starts and ends. Printed
/// `Heap/UPDATE at 0/16E2408 (ends 0/16E2448)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordId {
    /// What it is.
    pub kind: RecordKind,
    /// Where it starts.
    pub start: Lsn,
    /// Where it ends.
    pub end: Lsn,
}

/// The kind of a record. Printed `Heap/INSERT+INIT`, or `Heap/0x80` if the opcode has no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordKind {
    /// The resource manager.
    pub rmgr: RmgrId,
    /// The opcode: the high four bits of the flag byte.
    pub info: u8,
    /// The opcode's name, as `pg_waldump` of the version prints it.
    pub name: Option<&'static str>,
}

impl RecordId {
    pub(crate) fn of(record: &Record<'_>) -> RecordId {
        RecordId {
            kind: RecordKind::of(record),
            start: record.start,
            end: record.end,
        }
    }
}

impl RecordKind {
    /// The kind of a record.
    pub fn of(record: &Record<'_>) -> RecordKind {
        RecordKind {
            rmgr: record.header.rmgr,
            info: record.info(),
            name: record_name(record),
        }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} (ends {})", self.kind, self.start, self.end)
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "{}/{name}", self.rmgr),
            None => write!(f, "{}/{:#04x}", self.rmgr, self.info),
        }
    }
}

/// What was found in a page or a record that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The bounds in the page header are out of order.
    #[error("page header has lower {lower}, upper {upper}, special {special}")]
    Header {
        /// `pd_lower`.
        lower: u16,
        /// `pd_upper`.
        upper: u16,
        /// `pd_special`.
        special: u16,
    },
    /// The access method's area is too small.
    #[error("the special area starts at {special}, it needs {needed} bytes")]
    Special {
        /// `pd_special`.
        special: u16,
        /// Bytes it must have.
        needed: u16,
    },
    /// There is no such line pointer.
    #[error("line pointer {offset} is not among the page's {max}")]
    Offset {
        /// Its number, counted from 1.
        offset: u16,
        /// How many there are.
        max: u16,
    },
    /// A line pointer is not of the kind that the record expects, or points outside the item area.
    #[error("line pointer {offset} has flag {flag} and {length} bytes at {at}")]
    Item {
        /// Its number, counted from 1.
        offset: u16,
        /// Where its item lies.
        at: u16,
        /// The item's length.
        length: u16,
        /// 0 unused, 1 normal, 2 redirect, 3 dead.
        flag: u8,
    },
    /// An item cannot be added.
    #[error(
        "no room for item {offset} of {size} bytes: next is {next}, lower {lower}, upper {upper}"
    )]
    AddItem {
        /// The line pointer asked for.
        offset: u16,
        /// The item's length.
        size: usize,
        /// The first line pointer past the array.
        next: u16,
        /// `pd_lower`.
        lower: u16,
        /// `pd_upper`.
        upper: u16,
    },
    /// The items' lengths add up to more than the page has room for.
    #[error("items add up to {total} bytes, there is room for {room}")]
    ItemTotal {
        /// Sum of the aligned lengths.
        total: usize,
        /// Bytes between line pointers and special area.
        room: u16,
    },
    /// A number in the record or on the page is not what the other asks for.
    #[error("{what} is {found}, expected {expected}")]
    Value {
        /// What it is, as a noun.
        what: &'static str,
        /// The value found.
        found: u64,
        /// The value expected, or the bound that it breaks.
        expected: u64,
    },
    /// The record lacks a part that redo of this page needs.
    #[error("the record has no {0}")]
    Missing(&'static str),
    /// The record's body is not what its resource manager writes.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The image gives no page.
    #[error(transparent)]
    Image(#[from] ImageError),
}
