//! CPU time to decode WAL and check its CRCs, ours against `pg_waldump --quiet`, on the same files.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use stockpg::{Cluster, StopMode};
use walrecord::{DecoderOptions, PageHeader, Record, StreamDecoder};

use crate::Bench;
use crate::measure::{Round, cpu_time_of, report};
use crate::wal::{self, Sort};

/// Read at a time. What was read should still be in the processor's cache when it is decoded.
const CHUNK: usize = 64 << 10;

const SEGMENT: u32 = 16 << 20;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// MiB of WAL to write and decode, of each sort.
    #[arg(long, default_value_t = 512)]
    megabytes: u64,
}

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<()> {
    for sort in [Sort::Small, Sort::Images] {
        let written = Written::new(bench, sort, options.megabytes << 20)?;
        let rounds = (0..bench.rounds)
            .map(|_| round(bench, &written))
            .collect::<Result<Vec<_>>>()?;
        report(
            &format!("decode, {sort:?}, CPU time"),
            &rounds,
            written.bytes(),
        );
    }
    Ok(())
}

/// WAL of a cluster that is stopped, in whole segments. The files go with the value.
pub(crate) struct Written {
    pub(crate) files: Vec<PathBuf>,
    _cluster: Cluster,
}

impl Written {
    /// Has a new cluster write about this many bytes of WAL.
    pub(crate) fn new(bench: &Bench, sort: Sort, bytes: u64) -> Result<Written> {
        let mut cluster = wal::primary(bench, &["wal_keep_size = 100GB"])?;
        wal::prepare(&cluster)?;
        cluster
            .client("postgres")?
            .batch_execute("SELECT pg_switch_wal()")?;
        let start = cluster.insert_lsn()?;
        let end = wal::write(&cluster, sort, bytes)?;
        cluster.stop(StopMode::Fast)?;
        let first = start.segment_number(SEGMENT) + 1;
        let files = segments(
            &cluster.data_dir().join("pg_wal"),
            first,
            end.segment_number(SEGMENT),
        )?;
        Ok(Written {
            files,
            _cluster: cluster,
        })
    }

    /// Bytes of the files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.len() as u64 * u64::from(SEGMENT)
    }

    /// The first and the last file.
    pub(crate) fn ends(&self) -> Result<(&Path, &Path)> {
        let ends = self.files.first().zip(self.files.last());
        let (first, last) = ends.context("too little WAL for a whole segment")?;
        Ok((first, last))
    }
}

/// The whole segments with these numbers.
fn segments(pg_wal: &Path, first: u64, behind: u64) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(pg_wal)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let number = u64::from_str_radix(name.get(16..24).unwrap_or_default(), 16);
        if name.len() == 24 && number.is_ok_and(|number| (first..behind).contains(&number)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn round(bench: &Bench, written: &Written) -> Result<Round> {
    let (first, last) = written.ends()?;
    let mut dump = bench.install.command("pg_waldump");
    dump.arg("--quiet").arg(first).arg(last);
    let mut ours = Command::new(std::env::current_exe()?);
    ours.arg("decode-files").args(&written.files);
    Ok(Round {
        ours: cpu_time_of(&mut ours)?,
        stock: cpu_time_of(&mut dump)?,
    })
}

/// Decodes all records of consecutive segment files.
///
/// # Errors
/// If one cannot be read or decoded.
pub(crate) fn decode_files(files: &[PathBuf]) -> Result<()> {
    let first = files.first().context("no files")?;
    let mut header = [0; walrecord::LONG_PAGE_HEADER_SIZE];
    File::open(first)?.read_exact_at(&mut header, 0)?;
    let start = PageHeader::parse(&header)?.address;
    let mut decoder = StreamDecoder::new(start, DecoderOptions::default());
    let mut records = 0u64;
    for path in files {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let begins = decoder.received().max(decoder.position());
        while decoder.fill(CHUNK, |at, buf| {
            file.read_at(buf, at.saturating_sub(begins))
        })? > 0
        {
            while let Some(raw) = decoder.next_record()? {
                let mut record = Record::default();
                raw.decode_into(&mut record)?;
                std::hint::black_box(&record);
                records += 1;
            }
        }
    }
    println!("{records} records");
    Ok(())
}
