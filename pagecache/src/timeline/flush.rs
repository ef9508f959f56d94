//! The thread that writes frozen layers out as delta layer files, oldest first.

use std::sync::Arc;
use std::time::Duration;

use slog::{debug, warn};
use walrecord::{BlockTag, Lsn, Page, PageKey, Record, RecordReader, ZERO_PAGE};
use walredo::Applied;

use super::layer_file::LayerFile;
use super::layers::{Frozen, LayerSet, MemoryLayer};
use super::read::RulesHistory;
use super::resolve::Place;
use super::shared::Shared;
use super::snapshot::Snapshot;
use super::wal_window::WalWindow;
use crate::error::{ReadError, StoreError};
use crate::layer::{EntryKind, Layer, LayerKind};
use crate::open::{OpenBody, OpenEntry};

/// A page with this many changes in one layer gets an image after each so many: a read of it applies
/// no more than this many records of the layer.
const IMAGE_EVERY: usize = 32;

/// Pause before a failed flush is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Writes frozen layers until the timeline stops. A failure (a full disk, say) is logged and tried
/// again: the positions do not move until the layer is durable.
pub(crate) fn run(shared: &Arc<Shared>) {
    let mut written = None;
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
        if let Err(error) = flush(shared, &layers, frozen, &mut written) {
            warn!(shared.log, "writing a layer failed, will try again"; "error" => %error);
            shared.tracker.set_flush_failure(Some(Arc::new(error)));
            if shared.tracker.pause(RETRY) {
                return;
            }
        }
    }
}

/// Writes the oldest frozen layer. `written` keeps its file from one attempt to the next: if only the
/// manifest could not be written, the file is not written again.
fn flush(
    shared: &Arc<Shared>,
    layers: &LayerSet,
    frozen: &Frozen,
    written: &mut Option<Arc<Layer>>,
) -> Result<(), StoreError> {
    // A layer file must never be ahead of the WAL that a crash leaves. (Asked of the WAL: before the
    // tail is settled the positions that are told say less.)
    if shared.wal.synced() < frozen.end {
        shared.wal.sync()?;
    }
    if written.is_none() && !frozen.layer.read().is_empty() {
        let file = LayerFile::create(shared, LayerKind::Delta)?;
        *written = Some(Arc::new(Writer::new(shared, layers, frozen).write(file)?));
    }
    shared.change_manifest(|manifest| {
        if let Some(layer) = written {
            manifest.layers.push(layer.manifest_record());
            manifest.layers.sort_by_key(|layer| layer.id);
        }
        manifest.disk_consistent_lsn = frozen.end;
    })?;
    let written = written.take();
    if let Some(layer) = &written {
        debug!(shared.log, "layer written"; "layer" => %layer.id(), "end" => %frozen.end,
            "entries" => layer.summary().entries, "bytes" => layer.summary().file_size);
    }
    shared.change_layers(|layers| {
        layers.frozen.pop();
        layers.deltas.splice(0..0, written);
    });
    shared.tracker.set_flush_failure(None);
    shared.tracker.update(|progress| {
        progress.disk_consistent = frozen.end;
        // Records up to there were checked, and the files synced.
        progress.synced = progress.synced.max(frozen.end);
    });
    Ok(())
}

/// Writes one frozen layer.
struct Writer<'a> {
    shared: &'a Arc<Shared>,
    frozen: &'a Frozen,
    /// What lies below the frozen layer, for the base of pages that get images.
    below: Arc<LayerSet>,
    rules: Arc<RulesHistory>,
    start: Lsn,
    value: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(shared: &'a Arc<Shared>, layers: &LayerSet, frozen: &'a Frozen) -> Writer<'a> {
        let start = frozen.layer.read().start();
        let mut below = layers.clone();
        below.open = Arc::new(MemoryLayer::new(start));
        below.frozen.clear();
        Writer {
            shared,
            frozen,
            below: Arc::new(below),
            rules: shared.rules(),
            start,
            value: Vec::new(),
        }
    }

    fn write(&mut self, mut file: LayerFile) -> Result<Layer, StoreError> {
        let index = self.frozen.layer.read();
        let window = WalWindow::load(&self.shared.wal, self.start, self.frozen.end)?;
        let mut records = RecordReader::new(window.slice(), self.shared.decoder_options());
        for (key, entries) in index.sorted() {
            let Some(page) = key.as_page() else {
                for entry in entries {
                    if let OpenBody::Value(bytes) = entry.body {
                        file.add(&key, entry.lsn, entry.kind, bytes)?;
                    }
                }
                continue;
            };
            let mut images = if entries.len() > IMAGE_EVERY {
                self.images(page)?
            } else {
                None
            };
            for entry in entries {
                let OpenBody::Record { start } = entry.body else {
                    continue;
                };
                let raw = records.read(start).map_err(|source| bad(&entry, source))?;
                let mut record = Record::default();
                raw.decode_into(&mut record)
                    .map_err(|source| bad(&entry, source))?;
                let image = images
                    .as_mut()
                    .and_then(|images| images.step(&entry, &record, page, &self.rules));
                match image {
                    Some(image) => file.add(&key, entry.lsn, EntryKind::Image, image)?,
                    None => {
                        self.value.clear();
                        record.encode_trimmed(kept_block(&page), &mut self.value);
                        file.add(&key, entry.lsn, entry.kind, &self.value)?;
                    }
                }
            }
        }
        file.finish(self.shared)
    }

    /// What carries the page forward from where the layer begins; none if that cannot be told: below
    /// an import's stop position, where pages are fuzzy, or if its past ends inside the layer.
    fn images(&self, page: PageKey) -> Result<Option<Images>, StoreError> {
        let readable_from = self.shared.tracker.get().readable_from;
        if self.start < readable_from || self.has_barrier(page)? {
            return Ok(None);
        }
        let snapshot = Snapshot::over(self.shared, Arc::clone(&self.below), self.start);
        let bytes = match snapshot.page(page) {
            Ok((bytes, _)) => bytes,
            // It begins its life in this layer.
            Err(ReadError::PastEnd { .. } | ReadError::NoRelation { .. }) => ZERO_PAGE,
            // A page that redo refuses stays as it is: changes that say so when it is read.
            Err(
                ReadError::Redo { .. } | ReadError::NoBase { .. } | ReadError::Implausible { .. },
            ) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(Images {
            page: Box::new(bytes),
            since: 0,
            lost: false,
        }))
    }

    /// Whether the page's past ends inside the layer: its relation was truncated or dropped there.
    fn has_barrier(&self, page: PageKey) -> Result<bool, StoreError> {
        let layers = self.shared.layers();
        let place = self.shared.resolver(&layers).place(page, self.frozen.end)?;
        Ok(match place {
            Place::Steps(steps) => steps.first().is_none_or(|step| step.above > self.start),
            Place::PastEnd(_) | Place::NoFork => true,
        })
    }
}

/// The block whose payload a trimmed record for `page` keeps.
fn kept_block(page: &PageKey) -> Option<&BlockTag> {
    match page {
        PageKey::Block(tag) => Some(tag),
        PageKey::Slru(_) => None,
    }
}

/// Carries a page forward through its changes, to store it whole now and then.
struct Images {
    page: Box<Page>,
    /// Changes since the page was last stored whole, or began anew.
    since: usize,
    /// Redo refused a change: from there on the page is not known.
    lost: bool,
}

impl Images {
    /// Takes one change. Gives the page as it then stands if it is due to be stored instead of the
    /// change.
    fn step(
        &mut self,
        entry: &OpenEntry<'_>,
        record: &Record<'_>,
        page: PageKey,
        rules: &RulesHistory,
    ) -> Option<&Page> {
        if self.lost {
            return None;
        }
        match walredo::redo(&mut self.page, record, &page, &rules.of_record(record.end)) {
            Ok(Applied::Changed | Applied::Skipped) => {}
            Ok(Applied::NoBase) | Err(_) => {
                self.lost = true;
                return None;
            }
        }
        self.since = if entry.kind.needs_older() {
            self.since + 1
        } else {
            0
        };
        if self.since < IMAGE_EVERY {
            return None;
        }
        self.since = 0;
        Some(&self.page)
    }
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
