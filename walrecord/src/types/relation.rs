//! Relations, forks and blocks.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// An object id.
pub type Oid = u32;

/// The number of a block in a fork, counted from zero across segment files.
pub type BlockNumber = u32;

/// Blocks in one segment file of a relation (1 GiB), which is also one chunk.
pub const RELSEG_BLOCKS: u32 = 131_072;

/// The object id of tablespace `pg_default`.
pub const DEFAULT_TABLESPACE: Oid = 1663;

/// The object id of tablespace `pg_global`.
pub const GLOBAL_TABLESPACE: Oid = 1664;

/// Names the storage of a relation: tablespace, database, relation number. Printed `1663/5/16384`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RelFileLocator {
    /// The tablespace.
    pub spc: Oid,
    /// The database; zero for shared relations.
    pub db: Oid,
    /// The relation number (`pg_class.relfilenode`), not the relation's object id.
    pub rel: Oid,
}

/// One of the four files that make a relation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ForkNumber {
    /// The data itself.
    Main = 0,
    /// The free space map.
    Fsm = 1,
    /// The visibility map.
    Vm = 2,
    /// The initial content of an unlogged relation.
    Init = 3,
}

/// One block of one fork. Printed `1663/5/1259.main:7`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockTag {
    /// The relation.
    pub rel: RelFileLocator,
    /// The fork.
    pub fork: ForkNumber,
    /// The block in the fork.
    pub block: BlockNumber,
}

impl ForkNumber {
    /// All forks, in the order of their numbers.
    pub const ALL: [ForkNumber; 4] = [
        ForkNumber::Main,
        ForkNumber::Fsm,
        ForkNumber::Vm,
        ForkNumber::Init,
    ];

    /// The fork with this number.
    pub const fn from_u8(value: u8) -> Option<ForkNumber> {
        match value {
            0 => Some(ForkNumber::Main),
            1 => Some(ForkNumber::Fsm),
            2 => Some(ForkNumber::Vm),
            3 => Some(ForkNumber::Init),
            _ => None,
        }
    }

    /// The name, as Postgres's functions take it.
    pub const fn name(self) -> &'static str {
        match self {
            ForkNumber::Main => "main",
            ForkNumber::Fsm => "fsm",
            ForkNumber::Vm => "vm",
            ForkNumber::Init => "init",
        }
    }

    /// What the file name carries behind the relation number: nothing, `_fsm`, `_vm` or `_init`.
    pub const fn suffix(self) -> &'static str {
        match self {
            ForkNumber::Main => "",
            ForkNumber::Fsm => "_fsm",
            ForkNumber::Vm => "_vm",
            ForkNumber::Init => "_init",
        }
    }
}

/// A text that names no relation or fork.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} names no relation; expected SPC/DB/REL as in 1663/5/16384, or a file path as in base/5/16384"
)]
pub struct RelPathError(String);

impl FromStr for ForkNumber {
    type Err = RelPathError;

    fn from_str(text: &str) -> Result<ForkNumber, RelPathError> {
        ForkNumber::ALL
            .into_iter()
            .find(|fork| fork.name() == text)
            .ok_or_else(|| RelPathError(text.to_owned()))
    }
}

impl FromStr for RelFileLocator {
    type Err = RelPathError;

    /// Takes `SPC/DB/REL`, and the paths that `pg_relation_filepath` prints: `base/DB/REL`,
    /// `global/REL`, `pg_tblspc/SPC/PG_15_202209061/DB/REL`.
    fn from_str(text: &str) -> Result<RelFileLocator, RelPathError> {
        let error = || RelPathError(text.to_owned());
        let oid = |part: &str| {
            let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            plain
                .then(|| part.parse::<Oid>().ok())
                .flatten()
                .ok_or_else(error)
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (spc, db, rel) = match parts[..] {
            ["global", rel] => (GLOBAL_TABLESPACE, 0, oid(rel)?),
            ["base", db, rel] => (DEFAULT_TABLESPACE, oid(db)?, oid(rel)?),
            ["pg_tblspc", spc, dir, db, rel] if dir.starts_with("PG_") => {
                (oid(spc)?, oid(db)?, oid(rel)?)
            }
            [spc, db, rel] => (oid(spc)?, oid(db)?, oid(rel)?),
            _ => return Err(error()),
        };
        Ok(RelFileLocator { spc, db, rel })
    }
}

impl fmt::Display for RelFileLocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.spc, self.db, self.rel)
    }
}

impl fmt::Debug for RelFileLocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ForkNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for BlockTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}:{}", self.rel, self.fork, self.block)
    }
}

impl fmt::Debug for BlockTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_locators_and_file_paths() {
        let rel = |spc, db, rel| RelFileLocator { spc, db, rel };
        for (text, expected) in [
            ("1663/5/16384", rel(1663, 5, 16384)),
            ("base/5/16384", rel(1663, 5, 16384)),
            ("global/1262", rel(1664, 0, 1262)),
            (
                "pg_tblspc/16400/PG_15_202209061/5/16401",
                rel(16400, 5, 16401),
            ),
        ] {
            assert_eq!(text.parse::<RelFileLocator>().unwrap(), expected);
        }
        for text in ["", "5/16384", "base/x/1", "1663/5/+1", "1663/5/99999999999"] {
            assert!(
                text.parse::<RelFileLocator>()
                    .unwrap_err()
                    .to_string()
                    .contains(text)
            );
        }
    }

    #[test]
    fn prints_a_block_compactly() {
        let tag = BlockTag {
            rel: "base/5/1259".parse().unwrap(),
            fork: ForkNumber::Vm,
            block: 7,
        };
        assert_eq!(tag.to_string(), "1663/5/1259.vm:7");
    }
}
