//! Names in a data directory, written rather than read.

use walrecord::{DEFAULT_TABLESPACE, GLOBAL_TABLESPACE, Oid, PgVersion, Xid};

use crate::path::tablespace_directory;

/// The control file.
pub(super) const CONTROL_FILE: &str = "global/pg_control";

/// Where tablespaces go that are not mapped elsewhere.
pub(super) const INSIDE: &str = "tablespaces";

/// Directories that every data directory has (`subdirs` in initdb.c).
const DIRECTORIES: [&str; 23] = [
    "global",
    "pg_wal/archive_status",
    "pg_commit_ts",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_subtrans",
    "pg_twophase",
    "pg_multixact",
    "pg_multixact/members",
    "pg_multixact/offsets",
    "base",
    "pg_replslot",
    "pg_tblspc",
    "pg_stat",
    "pg_stat_tmp",
    "pg_xact",
    "pg_logical",
    "pg_logical/snapshots",
    "pg_logical/mappings",
    "pg_wal",
    "pg_wal/summaries",
];

/// The directories that a data directory of this version has.
pub(super) fn directories(version: PgVersion) -> impl Iterator<Item = &'static str> {
    DIRECTORIES
        .into_iter()
        .filter(move |name| *name != "pg_wal/summaries" || version >= PgVersion::V17)
}

/// The directory of a database's relations in a tablespace, or of the shared ones.
pub(super) fn relation_directory(spc: Oid, db: Oid, version: PgVersion) -> String {
    match spc {
        GLOBAL_TABLESPACE => "global".to_owned(),
        DEFAULT_TABLESPACE => format!("base/{db}"),
        spc => format!("{}/{db}", tablespace_root(spc, version)),
    }
}

/// The directory of one version in a tablespace.
pub(super) fn tablespace_root(spc: Oid, version: PgVersion) -> String {
    format!("pg_tblspc/{spc}/{}", tablespace_directory(version))
}

/// The content of a `PG_VERSION` file.
pub(super) fn version_file(version: PgVersion) -> String {
    format!("{}\n", version.major())
}

/// The two-phase file of a transaction. From 17 on its name has the epoch, told from the next id, which is
/// above the transaction's (`TwoPhaseFilePath`, access/transam/twophase.c).
pub(super) fn two_phase_name(xid: Xid, next_full_xid: u64, version: PgVersion) -> String {
    if version < PgVersion::V17 {
        return format!("pg_twophase/{xid:08X}");
    }
    let back = (next_full_xid as u32).wrapping_sub(xid);
    let full = next_full_xid.saturating_sub(u64::from(back));
    format!("pg_twophase/{full:016X}")
}

/// The next transaction id, above that of every prepared transaction: the server discards those that it
/// finds at or above (`ProcessTwoPhaseBuffer`, access/transam/twophase.c).
pub(super) fn next_xid_above(next_full_xid: u64, prepared: impl Iterator<Item = Xid>) -> u64 {
    const FIRST_NORMAL: u64 = 3;
    let next = prepared.fold(next_full_xid, |next, xid| {
        // An id is within 2^31 of the next one.
        let ahead = xid.wrapping_sub(next as u32) as i32;
        u64::try_from(ahead).map_or(next, |ahead| next + ahead + 1)
    });
    match next & u64::from(u32::MAX) {
        special if special < FIRST_NORMAL => next - special + FIRST_NORMAL,
        _ => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_phase_names_have_the_epoch_from_17_on() {
        let next = (2 << 32) + 5;
        assert_eq!(
            two_phase_name(4, next, PgVersion::V16),
            "pg_twophase/00000004"
        );
        assert_eq!(
            two_phase_name(4, next, PgVersion::V17),
            "pg_twophase/0000000200000004"
        );
        assert_eq!(
            two_phase_name(0xFFFF_FFF0, next, PgVersion::V18),
            "pg_twophase/00000001FFFFFFF0"
        );
    }

    #[test]
    fn the_next_id_is_above_prepared_transactions() {
        assert_eq!(next_xid_above(700, [650, 699].into_iter()), 700);
        assert_eq!(next_xid_above(700, [700].into_iter()), 701);
        assert_eq!(next_xid_above(700, [710, 705].into_iter()), 711);
        let end_of_epoch = 0xFFFF_FFF0;
        assert_eq!(
            next_xid_above(end_of_epoch, [0xFFFF_FFFF].into_iter()),
            (1 << 32) + 3,
            "the special ids are passed over"
        );
        assert_eq!(
            next_xid_above((1 << 32) + 9, [0xFFFF_FFFF].into_iter()),
            (1 << 32) + 9
        );
    }

    #[test]
    fn summaries_came_with_17() {
        assert!(directories(PgVersion::V17).any(|name| name == "pg_wal/summaries"));
        assert!(!directories(PgVersion::V16).any(|name| name == "pg_wal/summaries"));
    }
}
