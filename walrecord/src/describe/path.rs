//! The path of a relation's file, for the modules that name one (`GetRelationPath`,
//! common/relpath.c).

use super::Text;
use crate::types::{DEFAULT_TABLESPACE, ForkNumber, GLOBAL_TABLESPACE, PgVersion, RelFileLocator};

/// Appends the path, relative to the data directory.
pub(super) fn path(out: &mut Text, rel: RelFileLocator, fork: ForkNumber, version: PgVersion) {
    match rel.spc {
        GLOBAL_TABLESPACE => out.str("global"),
        DEFAULT_TABLESPACE => out.str("base/").dec(rel.db),
        spc => {
            out.str("pg_tblspc/").dec(spc).str("/PG_");
            out.dec(version.major()).byte(b'_');
            out.dec(version.catalog_version()).byte(b'/').dec(rel.db)
        }
    };
    out.byte(b'/').dec(rel.rel).str(fork.suffix());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_pg_relation_filepath() {
        for (rel, fork, version, expected) in [
            (
                "1664/0/1262",
                ForkNumber::Main,
                PgVersion::V15,
                "global/1262",
            ),
            (
                "1663/5/1259",
                ForkNumber::Vm,
                PgVersion::V15,
                "base/5/1259_vm",
            ),
            (
                "16400/5/16401",
                ForkNumber::Init,
                PgVersion::V18,
                "pg_tblspc/16400/PG_18_202506291/5/16401_init",
            ),
        ] {
            let mut out = Text::new();
            path(&mut out, rel.parse().unwrap(), fork, version);
            assert_eq!(out.as_bytes(), expected.as_bytes());
        }
    }
}
