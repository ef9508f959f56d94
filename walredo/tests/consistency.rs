//! Replays a directory of WAL that carries the expected version of every page it changes, and
//! demands that redo makes just these. Ignored, since the WAL must be made first:
//!
//! 1. A throw-away cluster of stock PostgreSQL with `wal_consistency_checking = 'all'`,
//!    `full_page_writes = off`, `wal_level = logical`, `wal_log_hints = on`, `wal_keep_size` above all
//!    WAL to come, `autovacuum_naptime = 5s`, `max_prepared_transactions = 20`.
//! 2. Any workload: the regression suites, pgbench with a small fill factor, vacuum and freeze, row
//!    locks by several sessions, `COPY`, `INSERT ... ON CONFLICT`. Then stop it.
//! 3. `ZENITH_WAL_DIR=<data directory>/pg_wal cargo test -p walredo --test consistency -- --ignored
//!    --nocapture`. `ZENITH_PG_MINOR` is the minor release that wrote it (default 18),
//!    `ZENITH_NO_HINTS=1` says that hint bits were not logged.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use walrecord::{DecoderOptions, Lsn, PgVersion, RecordReader, RedoRules, SegmentId, WalSource};
use walredo::Verifier;

const SEGMENT_SIZE: u32 = 16 << 20;

/// The segments of one timeline in a directory.
struct Directory {
    path: PathBuf,
}

impl WalSource for Directory {
    type Error = std::io::Error;

    fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> std::io::Result<usize> {
        let name = SegmentId::of(1, lsn, SEGMENT_SIZE).file_name(SEGMENT_SIZE);
        match File::open(self.path.join(name)) {
            Ok(file) => file.read_at(buf, u64::from(lsn.segment_offset(SEGMENT_SIZE))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// The first segment in the directory.
fn first_segment(path: &PathBuf) -> Result<Lsn, Box<dyn Error>> {
    std::fs::read_dir(path)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| SegmentId::parse(&name, SEGMENT_SIZE).ok())
        .filter_map(|segment| segment.start(SEGMENT_SIZE))
        .min()
        .ok_or_else(|| "no WAL segment in ZENITH_WAL_DIR".into())
}

#[test]
#[ignore = "needs WAL made with wal_consistency_checking, see the module"]
fn redo_makes_the_pages_that_the_wal_expects() -> Result<(), Box<dyn Error>> {
    let path = PathBuf::from(std::env::var("ZENITH_WAL_DIR")?);
    let minor = std::env::var("ZENITH_PG_MINOR").map_or(Ok(18), |text| text.parse())?;
    let start = first_segment(&path)?;
    let mut reader = RecordReader::new(Directory { path }, DecoderOptions::default());
    reader.seek(start)?;
    let mut verifier: Option<Verifier> = None;
    let mut records = 0u64;
    // Behind the end there may be a recycled segment: what stands there is no WAL of here.
    while let Ok(Some(raw)) = reader.next_record() {
        let version: PgVersion = raw.version;
        let verifier = verifier.get_or_insert_with(|| {
            Verifier::new(RedoRules {
                version,
                minor,
                hint_bits_logged: std::env::var("ZENITH_NO_HINTS").is_err(),
            })
        });
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
