//! Resource managers: their numbers here, their record bodies one module each
//! (access/rmgrlist.h; the same list in 14 to 18).
//!
//! Each module has an enum of its records, whose `decode` reads a record's **main data**, and types
//! for the **data of its blocks**, which are read only when redo asks for them: a block restored from
//! an image, or left out of a trimmed record, has none. All of it borrows from the record, nothing is
//! allocated, and lists are checked when they are made, so that walking them cannot fail. What a
//! version changed is told, and decided, where the structure is read.

mod any;
mod body;
pub mod brin;
pub mod btree;
pub mod clog;
pub mod commit_ts;
pub mod database;
pub mod generic;
pub mod gin;
pub mod gist;
pub mod hash;
pub mod heap;
pub mod heap2;
mod index_tuple;
pub mod message;
pub mod multixact;
mod names;
pub mod origin;
pub mod relmap;
pub mod sequence;
pub mod spgist;
pub mod standby;
pub mod storage;
pub mod tablespace;
pub mod visibility;
pub mod xact;
pub mod xlog;

pub use any::RecordBody;
pub use body::{BodyError, ItemPointer, LeArray, LeItem, LeIter};
pub use index_tuple::IndexTuples;
pub use names::{opcode_name, record_name};

use std::fmt;
use std::str::FromStr;

/// A resource manager of Postgres itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are Postgres's own")]
pub enum Rmgr {
    Xlog = 0,
    Transaction = 1,
    Storage = 2,
    Clog = 3,
    Database = 4,
    Tablespace = 5,
    MultiXact = 6,
    RelMap = 7,
    Standby = 8,
    Heap2 = 9,
    Heap = 10,
    Btree = 11,
    Hash = 12,
    Gin = 13,
    Gist = 14,
    Sequence = 15,
    SpGist = 16,
    Brin = 17,
    CommitTs = 18,
    ReplicationOrigin = 19,
    Generic = 20,
    LogicalMessage = 21,
}

/// A resource manager by number: one of Postgres's own, or an extension's (128 to 255, 15 and newer).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RmgrId {
    /// One of Postgres's own.
    BuiltIn(Rmgr),
    /// An extension's.
    Custom(u8),
}

impl Rmgr {
    /// All of them, in the order of their numbers.
    pub const ALL: [Rmgr; 22] = [
        Rmgr::Xlog,
        Rmgr::Transaction,
        Rmgr::Storage,
        Rmgr::Clog,
        Rmgr::Database,
        Rmgr::Tablespace,
        Rmgr::MultiXact,
        Rmgr::RelMap,
        Rmgr::Standby,
        Rmgr::Heap2,
        Rmgr::Heap,
        Rmgr::Btree,
        Rmgr::Hash,
        Rmgr::Gin,
        Rmgr::Gist,
        Rmgr::Sequence,
        Rmgr::SpGist,
        Rmgr::Brin,
        Rmgr::CommitTs,
        Rmgr::ReplicationOrigin,
        Rmgr::Generic,
        Rmgr::LogicalMessage,
    ];

    /// The name, as `pg_waldump` prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Rmgr::Xlog => "XLOG",
            Rmgr::Transaction => "Transaction",
            Rmgr::Storage => "Storage",
            Rmgr::Clog => "CLOG",
            Rmgr::Database => "Database",
            Rmgr::Tablespace => "Tablespace",
            Rmgr::MultiXact => "MultiXact",
            Rmgr::RelMap => "RelMap",
            Rmgr::Standby => "Standby",
            Rmgr::Heap2 => "Heap2",
            Rmgr::Heap => "Heap",
            Rmgr::Btree => "Btree",
            Rmgr::Hash => "Hash",
            Rmgr::Gin => "Gin",
            Rmgr::Gist => "Gist",
            Rmgr::Sequence => "Sequence",
            Rmgr::SpGist => "SPGist",
            Rmgr::Brin => "BRIN",
            Rmgr::CommitTs => "CommitTs",
            Rmgr::ReplicationOrigin => "ReplicationOrigin",
            Rmgr::Generic => "Generic",
            Rmgr::LogicalMessage => "LogicalMessage",
        }
    }
}

impl RmgrId {
    /// The resource manager with this number; none for 22 to 127, which nobody owns.
    pub const fn from_u8(value: u8) -> Option<RmgrId> {
        match value {
            0..=21 => Some(RmgrId::BuiltIn(Rmgr::ALL[value as usize])),
            128..=255 => Some(RmgrId::Custom(value)),
            _ => None,
        }
    }

    /// The number.
    pub const fn to_u8(self) -> u8 {
        match self {
            RmgrId::BuiltIn(rmgr) => rmgr as u8,
            RmgrId::Custom(value) => value,
        }
    }
}

impl fmt::Display for RmgrId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RmgrId::BuiltIn(rmgr) => f.write_str(rmgr.name()),
            RmgrId::Custom(value) => write!(f, "custom{value:03}"),
        }
    }
}

/// A text that names no resource manager.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no resource manager; expected one of Postgres's own, or custom128 to custom255"
)]
pub struct RmgrNameError(String);

impl FromStr for RmgrId {
    type Err = RmgrNameError;

    /// Takes the names that [`RmgrId`] is printed with; those of Postgres's own in any case.
    fn from_str(text: &str) -> Result<RmgrId, RmgrNameError> {
        let own = Rmgr::ALL
            .into_iter()
            .find(|rmgr| rmgr.name().eq_ignore_ascii_case(text))
            .map(RmgrId::BuiltIn);
        let custom = || {
            let number: u8 = text.strip_prefix("custom")?.parse().ok()?;
            RmgrId::from_u8(number).filter(|id| matches!(id, RmgrId::Custom(_)))
        };
        own.or_else(custom)
            .ok_or_else(|| RmgrNameError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_manager_is_found_by_the_name_that_it_is_printed_with() {
        for id in (0..=255).filter_map(RmgrId::from_u8) {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!("heap2".parse(), Ok(RmgrId::BuiltIn(Rmgr::Heap2)));
        for name in ["", "heap3", "custom", "custom127", "custom256", "128"] {
            let error = name.parse::<RmgrId>().unwrap_err();
            assert!(error.to_string().contains(&format!("{name:?}")));
        }
    }
}
