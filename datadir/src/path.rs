//! What the files of a data directory are, by their paths.

use walrecord::{
    DEFAULT_TABLESPACE, ForkNumber, GLOBAL_TABLESPACE, Oid, PgVersion, RelFileLocator, SlruKind,
};

/// What a file of a data directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataFile {
    /// A segment of a relation fork.
    Relation {
        /// The relation.
        rel: RelFileLocator,
        /// The fork.
        fork: ForkNumber,
        /// The segment: blocks from 131,072 times this on.
        segment: u32,
    },
    /// A segment of an SLRU.
    Slru {
        /// Which SLRU.
        kind: SlruKind,
        /// The segment.
        segment: u32,
    },
    /// A relation map.
    RelationMap {
        /// The database's tablespace, 1664 for the shared map.
        spc: Oid,
        /// The database, 0 for the shared map.
        db: Oid,
    },
    /// The version file of a database: its directory exists.
    DatabaseVersion {
        /// The tablespace.
        spc: Oid,
        /// The database.
        db: Oid,
    },
    /// The version file of the data directory.
    ClusterVersion,
    /// `global/pg_control`.
    Control,
    /// `backup_label`.
    BackupLabel,
    /// `tablespace_map`.
    TablespaceMap,
    /// The state of a prepared transaction, by its (16 hexadecimal digits: full) id.
    TwoPhase {
        /// The transaction id, the epoch above it from 17 on.
        xid: u64,
    },
    /// `pg_logical/replorigin_checkpoint`.
    Origins,
    /// A segment of WAL.
    Wal,
    /// A configuration file, kept as it is.
    Config,
    /// A file that is not kept, and why.
    Skipped(Skipped),
}

/// Why a file of a data directory is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skipped {
    /// It belongs to the running server: locks, statistics, snapshots, temporary files.
    RunTime,
    /// It is made anew from other files.
    Derived,
    /// It may hold a secret: keys and certificates are never copied.
    Secret,
    /// It belongs to replication slots or logical decoding, which a clone must not take over.
    Replication,
    /// Nothing is known of it.
    Unknown,
}

impl DataFile {
    /// What the file at `path` (relative to the data directory, `/` between its parts, tablespaces
    /// under `pg_tblspc/OID`) of a cluster of this version is.
    pub fn at(path: &str, version: PgVersion) -> DataFile {
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            ["PG_VERSION"] => DataFile::ClusterVersion,
            ["backup_label"] => DataFile::BackupLabel,
            ["tablespace_map"] => DataFile::TablespaceMap,
            ["global", "pg_control"] => DataFile::Control,
            ["global", name] => in_directory(GLOBAL_TABLESPACE, 0, name),
            ["base", db, name] => match oid(db) {
                Some(db) => in_directory(DEFAULT_TABLESPACE, db, name),
                None => DataFile::Skipped(temporary_or_unknown(db)),
            },
            ["pg_tblspc", spc, dir, db, name] if dir == tablespace_directory(version) => {
                match (oid(spc), oid(db)) {
                    (Some(spc), Some(db)) => in_directory(spc, db, name),
                    _ => DataFile::Skipped(temporary_or_unknown(db)),
                }
            }
            ["pg_twophase", name] => two_phase(name, version),
            ["pg_logical", "replorigin_checkpoint"] => DataFile::Origins,
            ["pg_wal", name] if is_wal_name(name) => DataFile::Wal,
            [name] if is_config(name) => DataFile::Config,
            ["conf.d", name] if is_config(name) => DataFile::Config,
            _ => slru(&parts).unwrap_or_else(|| DataFile::Skipped(skipped(&parts))),
        }
    }
}

/// The directory inside a tablespace that belongs to one version: `PG_15_202209061`.
pub fn tablespace_directory(version: PgVersion) -> String {
    format!("PG_{}_{}", version.major(), version.catalog_version())
}

fn oid(text: &str) -> Option<Oid> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn in_directory(spc: Oid, db: Oid, name: &str) -> DataFile {
    match name {
        "pg_filenode.map" => DataFile::RelationMap { spc, db },
        "PG_VERSION" => DataFile::DatabaseVersion { spc, db },
        "pg_internal.init" => DataFile::Skipped(Skipped::Derived),
        _ => {
            relation(spc, db, name).unwrap_or_else(|| DataFile::Skipped(temporary_or_unknown(name)))
        }
    }
}

/// `NUMBER[_fork][.segment]`, as `GetRelationPath` and `_mdfd_segpath` make it.
fn relation(spc: Oid, db: Oid, name: &str) -> Option<DataFile> {
    let (name, segment) = match name.split_once('.') {
        Some((name, segment)) => (name, oid(segment)?),
        None => (name, 0),
    };
    let (number, fork) = match name.split_once('_') {
        Some((number, fork)) => (number, fork.parse().ok()?),
        None => (name, ForkNumber::Main),
    };
    let rel = RelFileLocator {
        spc,
        db,
        rel: oid(number)?,
    };
    Some(DataFile::Relation { rel, fork, segment })
}

fn two_phase(name: &str, version: PgVersion) -> DataFile {
    let digits = if version >= PgVersion::V17 { 16 } else { 8 };
    let sound = name.len() == digits && name.bytes().all(|b| b.is_ascii_hexdigit());
    match u64::from_str_radix(name, 16) {
        Ok(xid) if sound => DataFile::TwoPhase { xid },
        _ => DataFile::Skipped(Skipped::Unknown),
    }
}

fn slru(parts: &[&str]) -> Option<DataFile> {
    let (name, directory) = parts.split_last()?;
    let directory = directory.join("/");
    let kind = SlruKind::ALL
        .into_iter()
        .find(|kind| kind.directory() == directory)?;
    let sound = (4..=6).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit());
    let segment = u32::from_str_radix(name, 16).ok().filter(|_| sound)?;
    Some(DataFile::Slru { kind, segment })
}

fn is_wal_name(name: &str) -> bool {
    name.len() == 24 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Configuration that a clone is useful with. Never anything that looks like a key.
fn is_config(name: &str) -> bool {
    name.ends_with(".conf")
}

fn temporary_or_unknown(name: &str) -> Skipped {
    // `t3_16384`: a temporary relation of backend 3.
    let temporary = name.starts_with("pgsql_tmp")
        || name.strip_prefix('t').is_some_and(|rest| {
            let backend = rest.split('_').next().unwrap_or("");
            oid(backend).is_some()
        });
    if temporary {
        Skipped::RunTime
    } else {
        Skipped::Unknown
    }
}

fn skipped(parts: &[&str]) -> Skipped {
    let secret = |name: &str| {
        [".key", ".crt", ".pem", ".p12", ".crl"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
    };
    match parts {
        [.., name] if secret(name) => Skipped::Secret,
        ["pg_replslot" | "pg_logical", ..] => Skipped::Replication,
        [
            "pg_subtrans" | "pg_notify" | "pg_serial" | "pg_snapshots" | "pg_stat" | "pg_stat_tmp"
            | "pg_dynshmem" | "pg_wal" | "log",
            ..,
        ] => Skipped::RunTime,
        [
            "postmaster.pid" | "postmaster.opts" | "current_logfiles" | "backup_manifest"
            | "standby.signal" | "recovery.signal",
        ] => Skipped::RunTime,
        _ => Skipped::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> DataFile {
        DataFile::at(path, PgVersion::V15)
    }

    #[test]
    fn relation_files_are_told_by_their_names() {
        let relation = |spc, db, rel, fork, segment| DataFile::Relation {
            rel: RelFileLocator { spc, db, rel },
            fork,
            segment,
        };
        let main = ForkNumber::Main;
        assert_eq!(at("base/5/16384"), relation(1663, 5, 16384, main, 0));
        assert_eq!(at("base/5/16384.2"), relation(1663, 5, 16384, main, 2));
        assert_eq!(
            at("base/5/16384_vm"),
            relation(1663, 5, 16384, ForkNumber::Vm, 0)
        );
        assert_eq!(
            at("base/5/16384_fsm.1"),
            relation(1663, 5, 16384, ForkNumber::Fsm, 1)
        );
        assert_eq!(at("global/1262"), relation(1664, 0, 1262, main, 0));
        assert_eq!(
            at("pg_tblspc/16400/PG_15_202209061/5/16401"),
            relation(16400, 5, 16401, main, 0)
        );
    }

    #[test]
    fn another_versions_tablespace_directory_is_not_ours() {
        assert_eq!(
            at("pg_tblspc/16400/PG_14_202107181/5/16401"),
            DataFile::Skipped(Skipped::Unknown)
        );
    }

    #[test]
    fn status_logs_and_state_are_kept() {
        assert_eq!(
            at("pg_multixact/members/00AF"),
            DataFile::Slru {
                kind: SlruKind::MultiXactMembers,
                segment: 0xAF
            }
        );
        assert_eq!(
            at("pg_twophase/000002F1"),
            DataFile::TwoPhase { xid: 0x2F1 }
        );
        assert_eq!(
            at("base/5/PG_VERSION"),
            DataFile::DatabaseVersion { spc: 1663, db: 5 }
        );
        assert_eq!(
            at("global/pg_filenode.map"),
            DataFile::RelationMap { spc: 1664, db: 0 }
        );
    }

    #[test]
    fn keys_and_temporary_files_are_never_kept() {
        for (path, why) in [
            ("server.key", Skipped::Secret),
            ("base/5/t3_16384", Skipped::RunTime),
            ("base/pgsql_tmp/pgsql_tmp12.0", Skipped::RunTime),
            ("pg_replslot/s/state", Skipped::Replication),
            ("base/5/pg_internal.init", Skipped::Derived),
            ("pg_stat/pgstat.stat", Skipped::RunTime),
            ("elsewhere/thing", Skipped::Unknown),
        ] {
            assert_eq!(at(path), DataFile::Skipped(why), "{path}");
        }
    }
}
