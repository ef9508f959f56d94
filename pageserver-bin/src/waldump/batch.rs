//! Records on their way from the thread that reads them to the one that shows them: either takes about as
//! long as the other.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context, Result};
use walrecord::{Lsn, PgVersion, RawRecord};

use super::dump::Dump;

/// Bytes after which a batch goes off. It should still be in the processor's cache when it arrives.
const BATCH: usize = 128 << 10;

/// Batches on the way. Memory is bounded by that and the largest records.
const ON_THE_WAY: usize = 4;

/// Consecutive records.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    records: Vec<Place>,
    /// No more may come for a while.
    flush: bool,
}

/// A record, and where its bytes end.
struct Place {
    start: Lsn,
    end: Lsn,
    version: PgVersion,
    bytes_end: usize,
}

/// The end at which records go in.
pub(super) struct Feed {
    batch: Batch,
    full: SyncSender<Batch>,
    empty: Receiver<Batch>,
}

/// The other end takes no more: it has all that was wanted, or it failed.
pub(super) struct Done;

impl Feed {
    /// Hands on a record. It may lie here until the batch is full.
    #[inline]
    pub(super) fn put(&mut self, raw: &RawRecord<'_>) -> Result<(), Done> {
        let batch = &mut self.batch;
        batch.bytes.extend_from_slice(raw.bytes);
        batch.records.push(Place {
            start: raw.start,
            end: raw.end,
            version: raw.version,
            bytes_end: batch.bytes.len(),
        });
        if batch.bytes.len() < BATCH {
            return Ok(());
        }
        self.send()
    }

    /// Has everything shown that was handed on.
    pub(super) fn flush(&mut self) -> Result<(), Done> {
        self.batch.flush = true;
        self.send()
    }

    /// Whether the next record will be alone here: whoever looks at something now and then, looks now.
    pub(super) const fn is_empty(&self) -> bool {
        self.batch.records.is_empty()
    }

    fn send(&mut self) -> Result<(), Done> {
        let next = self.empty.try_recv().unwrap_or_default();
        let full = std::mem::replace(&mut self.batch, next);
        self.full.send(full).map_err(|_| Done)
    }
}

/// Runs `read`, which hands records on, and at the same time `dump` on those. Gives the dump, and what
/// `read` gave unless the dump had enough before.
///
/// # Errors
/// If the dump failed.
pub(super) fn run<T>(
    mut dump: Dump,
    read: impl FnOnce(&mut Feed) -> Result<T, Done>,
) -> Result<(Dump, Option<T>)> {
    thread::scope(|scope| {
        let (full, batches) = sync_channel(ON_THE_WAY);
        let (used, empty) = sync_channel(ON_THE_WAY);
        let worker: ScopedJoinHandle<'_, Result<(Dump, ControlFlow<()>)>> = thread::Builder::new()
            .name("waldump".to_owned())
            .spawn_scoped(scope, move || {
                let ended = take_all(&mut dump, &batches, &used)?;
                Ok((dump, ended))
            })
            .context("starting a thread")?;
        let batch = Batch::default();
        let mut feed = Feed { batch, full, empty };
        let result = read(&mut feed).and_then(|result| feed.send().map(|()| result));
        drop(feed);
        let worker = worker.join();
        let (dump, ended) = worker.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let wanted = result.ok().filter(|_| ended.is_continue());
        Ok((dump, wanted))
    })
}

/// Takes records until there are no more, or no more are wanted.
fn take_all(
    dump: &mut Dump,
    batches: &Receiver<Batch>,
    used: &SyncSender<Batch>,
) -> Result<ControlFlow<()>> {
    for mut batch in batches {
        let mut from = 0;
        for place in &batch.records {
            let bytes = &batch.bytes[from..place.bytes_end];
            let raw = RawRecord::new(place.version, place.start, place.end, bytes)?;
            if dump.take(&raw)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            from = place.bytes_end;
        }
        if batch.flush {
            dump.flush()?;
        }
        batch.bytes.clear();
        batch.bytes.shrink_to(2 * BATCH);
        batch.records.clear();
        batch.flush = false;
        // Not taken back if the other end has no room for it, or is gone.
        let _ = used.try_send(batch);
    }
    Ok(ControlFlow::Continue(()))
}
