//! Reads WAL once and hands it to verifiers, each of which looks after a share of the pages.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use anyhow::{Context, Result, anyhow, bail};
use walrecord::{DecoderOptions, Lsn, PgVersion, RawRecord, RecordError, RecordReader};
use walredo::{Findings, Share, Verifier, VerifyOptions};

use super::directory::Directory;
use super::progress::Progress;

/// Bytes of records that are handed over at a time.
const BATCH: usize = 1 << 20;
/// Batches that wait for each verifier at most.
const QUEUE: usize = 4;

/// What was read, and what became of it.
pub(super) struct Outcome {
    /// Where the WAL begins and where its last whole record ends.
    pub(super) range: (Lsn, Lsn),
    pub(super) records: u64,
    pub(super) findings: Findings,
    /// What stands behind the end; none if there is nothing.
    pub(super) end_reason: Option<String>,
}

/// Whole records, copied out of the reader's buffer.
struct Batch {
    version: PgVersion,
    bytes: Vec<u8>,
    /// Start, end and length of each.
    records: Vec<(Lsn, Lsn, usize)>,
}

impl Batch {
    fn new(version: PgVersion) -> Batch {
        Batch {
            version,
            bytes: Vec::with_capacity(BATCH + BATCH / 8),
            records: Vec::new(),
        }
    }

    fn push(&mut self, raw: &RawRecord<'_>) {
        self.bytes.extend_from_slice(raw.bytes);
        self.records.push((raw.start, raw.end, raw.bytes.len()));
    }

    fn iter(&self) -> impl Iterator<Item = Result<RawRecord<'_>, RecordError>> {
        let mut rest = &self.bytes[..];
        self.records.iter().map(move |(start, end, length)| {
            let (bytes, behind) = rest.split_at(*length);
            rest = behind;
            RawRecord::new(self.version, *start, *end, bytes)
        })
    }
}

/// Replays everything in the directory with `jobs` verifiers at a time.
///
/// # Errors
/// If the WAL is damaged before its end.
pub(super) fn run(directory: Directory, options: &VerifyOptions, jobs: u32) -> Result<Outcome> {
    std::thread::scope(|scope| {
        let workers: Vec<Worker<'_>> = (0..jobs)
            .map(|index| Worker::start(scope, *options, Share { index, count: jobs }))
            .collect();
        let read = read(directory, &workers);
        let mut findings = Findings::default();
        for worker in workers {
            findings.merge(worker.finish()?);
        }
        let (range, records, end_reason) = read?;
        Ok(Outcome {
            range,
            records,
            findings,
            end_reason,
        })
    })
}

struct Worker<'scope> {
    batches: SyncSender<Arc<Batch>>,
    thread: ScopedJoinHandle<'scope, Result<Findings, RecordError>>,
}

impl<'scope> Worker<'scope> {
    fn start(
        scope: &'scope Scope<'scope, '_>,
        options: VerifyOptions,
        share: Share,
    ) -> Worker<'scope> {
        let (batches, received) = sync_channel(QUEUE);
        let options = VerifyOptions { share, ..options };
        let thread = scope.spawn(move || verify(options, &received));
        Worker { batches, thread }
    }

    fn finish(self) -> Result<Findings> {
        drop(self.batches);
        let findings = self.thread.join();
        let findings = findings.map_err(|_| anyhow!("a verifier panicked"))?;
        findings.context("a record cannot be decoded")
    }
}

fn verify(options: VerifyOptions, batches: &Receiver<Arc<Batch>>) -> Result<Findings, RecordError> {
    let mut verifier = Verifier::with_options(options);
    for batch in batches {
        for raw in batch.iter() {
            // A body that cannot be decoded is among the findings.
            let _ = verifier.replay(&raw?.decode()?);
        }
    }
    Ok(verifier.into_findings())
}

/// Where the WAL begins and ends, its records, and what stands behind it.
type Read = ((Lsn, Lsn), u64, Option<String>);

fn read(directory: Directory, workers: &[Worker<'_>]) -> Result<Read> {
    let (start, version, bytes) = (directory.start(), directory.version(), directory.bytes());
    let options = DecoderOptions {
        segment_size: Some(directory.segment_size()),
        version: Some(version),
        ..DecoderOptions::default()
    };
    let mut reader = RecordReader::new(directory, options);
    reader.seek(start)?;
    let mut progress = Progress::new(start, bytes);
    let (mut records, mut batch) = (0, Batch::new(version));
    let error = loop {
        match reader.next_record() {
            Ok(Some(raw)) => batch.push(&raw),
            Ok(None) => break None,
            Err(error) => break Some(anyhow::Error::new(error)),
        }
        records += 1;
        if batch.bytes.len() >= BATCH {
            if !hand_over(workers, std::mem::replace(&mut batch, Batch::new(version))) {
                break None;
            }
            progress.show(reader.position());
        }
    };
    hand_over(workers, batch);
    let end = reader.position();
    if let Some(page) = reader.source().continues_behind(end)? {
        let what = format!("no whole record at {end}, but WAL goes on at {page}");
        return Err(error
            .unwrap_or_else(|| anyhow!("only zeros stand there"))
            .context(what));
    }
    if records == 0 {
        bail!("no whole record from {start} on");
    }
    Ok(((start, end), records, error.map(|error| error.to_string())))
}

/// Gives a batch to all. False if one has given up.
fn hand_over(workers: &[Worker<'_>], batch: Batch) -> bool {
    let batch = Arc::new(batch);
    workers
        .iter()
        .all(|worker| worker.batches.send(Arc::clone(&batch)).is_ok())
}
