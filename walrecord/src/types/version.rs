//! Major versions of Postgres.

use std::fmt;

use thiserror::Error;

/// A supported major version of Postgres.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum PgVersion {
    /// PostgreSQL 14.
    V14 = 14,
    /// PostgreSQL 15.
    V15 = 15,
    /// PostgreSQL 16.
    V16 = 16,
    /// PostgreSQL 17.
    V17 = 17,
    /// PostgreSQL 18.
    V18 = 18,
}

/// A version of Postgres (or a format that belongs to one) that is not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{what} {value:#x} belongs to no supported PostgreSQL version (14 to 18)")]
pub struct UnknownVersion {
    /// What was looked at, as a noun.
    pub what: &'static str,
    /// Its value.
    pub value: u32,
}

impl PgVersion {
    /// All versions, oldest first.
    pub const ALL: [PgVersion; 5] = [
        PgVersion::V14,
        PgVersion::V15,
        PgVersion::V16,
        PgVersion::V17,
        PgVersion::V18,
    ];

    /// The major version number.
    pub const fn major(self) -> u32 {
        self as u32
    }

    /// The magic number of its WAL pages (`XLOG_PAGE_MAGIC`, access/xlog_internal.h).
    pub const fn wal_magic(self) -> u16 {
        match self {
            PgVersion::V14 => 0xD10D,
            PgVersion::V15 => 0xD110,
            PgVersion::V16 => 0xD113,
            PgVersion::V17 => 0xD116,
            PgVersion::V18 => 0xD118,
        }
    }

    /// The version of its control file (`PG_CONTROL_VERSION`, catalog/pg_control.h).
    pub const fn control_version(self) -> u32 {
        match self {
            PgVersion::V14 | PgVersion::V15 | PgVersion::V16 => 1300,
            PgVersion::V17 => 1700,
            PgVersion::V18 => 1800,
        }
    }

    /// The catalog version of its releases (`CATALOG_VERSION_NO`), which names tablespace directories.
    pub const fn catalog_version(self) -> u32 {
        match self {
            PgVersion::V14 => 202_107_181,
            PgVersion::V15 => 202_209_061,
            PgVersion::V16 => 202_307_071,
            PgVersion::V17 => 202_406_281,
            PgVersion::V18 => 202_506_291,
        }
    }

    /// The version with this major number.
    ///
    /// # Errors
    /// If it is not supported.
    pub fn from_major(major: u32) -> Result<PgVersion, UnknownVersion> {
        PgVersion::find("major version", major, PgVersion::major)
    }

    /// The version whose WAL pages carry this magic.
    ///
    /// # Errors
    /// If no supported version's do.
    pub fn from_wal_magic(magic: u16) -> Result<PgVersion, UnknownVersion> {
        PgVersion::find("WAL page magic", u32::from(magic), |v| {
            u32::from(v.wal_magic())
        })
    }

    /// The version whose releases have this catalog version.
    ///
    /// # Errors
    /// If no supported version's do.
    pub fn from_catalog_version(value: u32) -> Result<PgVersion, UnknownVersion> {
        PgVersion::find("catalog version", value, PgVersion::catalog_version)
    }

    fn find(
        what: &'static str,
        value: u32,
        of: impl Fn(PgVersion) -> u32,
    ) -> Result<PgVersion, UnknownVersion> {
        PgVersion::ALL
            .into_iter()
            .find(|version| of(*version) == value)
            .ok_or(UnknownVersion { what, value })
    }
}

impl fmt::Display for PgVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.major())
    }
}
