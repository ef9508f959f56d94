//! Replays a directory of WAL that carries the expected version of every page it changes, and
//! demands that redo makes just these. Ignored, since the WAL must be made first:
//!
//! 1. A throw-away cluster of stock PostgreSQL with `wal_consistency_checking = 'all'`,
//!    `full_page_writes = off`, `wal_level = logical`, `wal_log_hints = on`, `wal_keep_size` above all
//!    WAL to come, `autovacuum_naptime = 5s`, `max_prepared_transactions = 20`.
//! 2. Any workload: the regression suites, pgbench with a small fill factor, vacuum and freeze, row
//!    locks by several sessions, `COPY`, `INSERT ... ON CONFLICT`. Then stop it.
//! 3. `ZENITH_WAL_DIR=<data directory>/pg_wal cargo test -p walredo --test real_wal consistency --
//!    --ignored --nocapture`. `ZENITH_PG_MINOR` is the minor release that wrote it (default 18),
//!    `ZENITH_NO_HINTS=1` says that hint bits were not logged.

use std::error::Error;
use std::io::Write;

use crate::support::{Directory, rules};
use walrecord::{DecoderOptions, RecordReader};
use walredo::Verifier;

#[test]
#[ignore = "needs WAL made with wal_consistency_checking, see the module"]
fn redo_makes_the_pages_that_the_wal_expects() -> Result<(), Box<dyn Error>> {
    let directory = Directory::from_env()?;
    let start = directory.start()?;
    let mut reader = RecordReader::new(directory, DecoderOptions::default());
    reader.seek(start)?;
    let mut verifier: Option<Verifier> = None;
    let mut records = 0u64;
    // Behind the end there may be a recycled segment: what stands there is no WAL of here.
    while let Ok(Some(raw)) = reader.next_record() {
        let verifier = match &mut verifier {
            Some(verifier) => verifier,
            none => none.insert(Verifier::new(rules(raw.version)?)),
        };
        verifier.replay(&raw.decode()?)?;
        records += 1;
    }
    let end = reader.position();
    let verifier = verifier.ok_or("no record in ZENITH_WAL_DIR")?;
    let mut out = std::io::stderr().lock();
    writeln!(out, "{records} records from {start} to {end}")?;
    for (kind, counts) in verifier.counts() {
        writeln!(out, "{kind} {counts:?}")?;
    }
    for difference in verifier.differences() {
        writeln!(out, "{difference:?}")?;
    }
    let (equal, wrong) = verifier.totals();
    assert!(equal > 0, "nothing was compared");
    assert_eq!(wrong, 0, "{equal} were equal");
    Ok(())
}
