//! The thread that writes frozen layers out as delta layer files, oldest first.

use std::sync::Arc;
use std::time::Duration;

use slog::{debug, warn};
use walrecord::{Lsn, PAGE_SIZE, PageKey, Record, RecordReader, ZERO_PAGE};
use walredo::Applied;

use super::layers::{Frozen, LayerSet};
use super::read::RulesHistory;
use super::shared::Shared;
use super::snapshot::Snapshot;
use super::wal_window::WalWindow;
use crate::error::{ReadError, StoreError};
use crate::key::{Key, KeyKind};
use crate::layer::{EntryKind, Layer, LayerFile, LayerKind};
use crate::open::{OpenBody, OpenEntry};

/// A page with this many changes in one layer gets an image after each so many: a read of it applies
/// no more than this many records of the layer.
const IMAGE_EVERY: usize = 32;

/// Pause before a failed flush is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Writes frozen layers until the timeline stops. A failure (a full disk, say) is logged and tried
/// again: the positions do not move until the layer is durable.
pub(crate) fn run(shared: &Arc<Shared>) {
    loop {
        let waited = shared
            .tracker
            .wait_while(|_| shared.layers().frozen.is_empty());
        if waited.is_none() {
            return;
        }
        let layers = shared.layers();
        let Some(frozen) = layers.frozen.last() else {
            continue;
        };
        if let Err(error) = flush(shared, &layers, frozen) {
            warn!(shared.log, "writing a layer failed, will try again"; "error" => %error);
            if shared.tracker.pause(RETRY) {
                return;
            }
        }
    }
}

fn flush(shared: &Arc<Shared>, layers: &LayerSet, frozen: &Frozen) -> Result<(), StoreError> {
    // A layer file must never be ahead of the WAL that a crash leaves.
    if shared.tracker.get().synced < frozen.end {
        let synced = shared.wal.sync()?;
        shared.tracker.update(|progress| progress.synced = progress.synced.max(synced));
    }
    let file = LayerFile::create(shared, LayerKind::Delta)?;
    let layer = Writer::new(shared, layers, frozen)?.write(file)?;
    let entry = layer.manifest_entry();
    let layer = Arc::new(layer);
    {
        let mut manifest = shared.manifest();
        let mut next = manifest.clone();
        next.layers.push(entry);
        next.disk_consistent_lsn = frozen.end;
        next.set_rules(&shared.rules().0);
        next.write(&*shared.storage, &shared.dir)?;
        *manifest = next;
    }
    debug!(shared.log, "layer written"; "layer" => layer.id(), "end" => %frozen.end,
        "entries" => layer.summary().entries, "bytes" => layer.summary().file_size);
    shared.change_layers(|layers| {
        layers.frozen.pop();
        layers.deltas.insert(0, layer);
    });
    shared
        .tracker
        .update(|progress| progress.disk_consistent = frozen.end);
    Ok(())
}

/// Writes one frozen layer.
struct Writer<'a> {
    shared: &'a Arc<Shared>,
    frozen: &'a Frozen,
    /// What lies below the frozen layer, for the base of pages that get images.
    below: Arc<LayerSet>,
    rules: Arc<RulesHistory>,
    window: WalWindow,
    start: Lsn,
    value: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(
        shared: &'a Arc<Shared>,
        layers: &LayerSet,
        frozen: &'a Frozen,
    ) -> Result<Writer<'a>, StoreError> {
        let start = frozen.layer.read().start();
        let mut below = layers.clone();
        below.open = Arc::new(super::layers::MemoryLayer::new(start));
        below.frozen.clear();
        // The first record may start before the layer does: after a page header.
        Ok(Writer {
            shared,
            frozen,
            below: Arc::new(below),
            rules: shared.rules(),
            window: WalWindow::load(&shared.wal, start, frozen.end)?,
            start,
            value: Vec::new(),
        })
    }

    fn write(&mut self, mut file: LayerFile) -> Result<Layer, StoreError> {
        let index = self.frozen.layer.read();
        let window = std::mem::take(&mut self.window);
        let mut records = RecordReader::new(&window, self.shared.wal.segment_size());
        for (key, entries) in index.sorted() {
            let page = match key.decode() {
                KeyKind::Page(page) => Some(page),
                _ => None,
            };
            let mut image = match page {
                Some(page) if entries.len() > IMAGE_EVERY => self.base(page)?,
                _ => None,
            };
            let mut since = 0;
            for entry in entries {
                match (&entry.body, page) {
                    (OpenBody::Value(bytes), _) => {
                        file.add(&key, entry.lsn, entry.kind, bytes)?;
                    }
                    (OpenBody::Record { start }, Some(page)) => {
                        let raw = records.read(*start).map_err(|source| bad(&entry, source))?;
                        let record = raw.decode().map_err(|source| bad(&entry, source))?;
                        since = if entry.kind == EntryKind::Init { 0 } else { since + 1 };
                        if let Some(bytes) = &mut image {
                            image_step(bytes, &record, page, &self.rules)?;
                            if since == IMAGE_EVERY {
                                since = 0;
                                file.add(&key, entry.lsn, EntryKind::Image, bytes)?;
                                continue;
                            }
                        }
                        self.value.clear();
                        let keep = match &page {
                            PageKey::Block(tag) => Some(tag),
                            PageKey::Slru(_) => None,
                        };
                        record.encode_trimmed(keep, &mut self.value);
                        file.add(&key, entry.lsn, entry.kind, &self.value)?;
                    }
                    (OpenBody::Record { .. }, None) => unreachable!("records only touch pages"),
                }
            }
        }
        file.finish(self.shared)
    }

    /// The page as it stands where the layer begins, if it can be told: not below an import's stop
    /// position, where pages are fuzzy.
    fn base(&self, page: PageKey) -> Result<Option<Box<[u8; PAGE_SIZE]>>, StoreError> {
        let readable_from = self.shared.tracker.get().readable_from;
        if self.start < readable_from {
            return Ok(None);
        }
        let snapshot = Snapshot::over(self.shared, Arc::clone(&self.below), self.start);
        match snapshot.page(page) {
            Ok((bytes, _)) => Ok(Some(Box::new(bytes))),
            // It begins its life in this layer.
            Err(ReadError::PastEnd { .. } | ReadError::NoRelation { .. }) => {
                Ok(Some(Box::new(ZERO_PAGE)))
            }
            // A page that redo refuses stays as it is: deltas that say so when it is read.
            Err(ReadError::Redo { .. } | ReadError::NoBase { .. } | ReadError::Implausible { .. }) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn image_step(
    page: &mut Box<[u8; PAGE_SIZE]>,
    record: &Record<'_>,
    key: PageKey,
    rules: &RulesHistory,
) -> Result<(), StoreError> {
    let _: Applied = walredo::redo(page, record, &key, &rules.at(record.end)).map_err(|source| {
        StoreError::BadRecord {
            start: record.start,
            end: record.end,
            source: Box::new(source),
        }
    })?;
    Ok(())
}

fn bad(
    entry: &OpenEntry<'_>,
    source: impl std::error::Error + Send + Sync + 'static,
) -> StoreError {
    let start = match entry.body {
        OpenBody::Record { start } => start,
        OpenBody::Value(_) => entry.lsn,
    };
    StoreError::BadRecord {
        start,
        end: entry.lsn,
        source: Box::new(source),
    }
}
