//! The thread that writes frozen layers out as delta layer files, oldest first.

use std::sync::Arc;
use std::time::Duration;

use slog::{debug, warn};
use walrecord::{BlockTag, Lsn, Page, PageKey, Record, ZERO_PAGE};
use walredo::Applied;

use super::chain_bound::ChainLength;
use super::layer_file::LayerFile;
use super::layers::{Frozen, LayerSet};
use super::progress::News;
use super::read::RulesHistory;
use super::resolve::Place;
use super::shared::Shared;
use super::snapshot::Snapshot;
use super::stored_layer::StoredLayer;
use super::wal_window::{WalWindow, WindowRecords};
use crate::error::{ReadError, StoreError};
use crate::key::Key;
use crate::layer::{EntryKind, LayerKind, LayerOptions, RunId};
use crate::open::{OpenBody, OpenEntries, OpenEntry};

/// How far the thread stands back behind those that take WAL in and serve pages (the system's nice value;
/// threads that it starts have the same).
const NICE: i32 = 5;

/// Records that are fetched at a time. With the two lines of each they fit the smallest of caches.
const AHEAD: usize = 128;

/// Pause before a failed flush is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Writes frozen layers until the timeline stops. A failure (a full disk, say) is logged and tried
/// again: the positions do not move until the layer is durable.
pub(crate) fn run(shared: &Arc<Shared>) {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        debug!(shared.log, "layers are written at full priority"; "error" => %error);
    }
    let mut written = None;
    let mut memory = Vec::new();
    loop {
        if shared.layers().frozen.is_empty() {
            memory = Vec::new();
        }
        let waited = shared
            .tracker
            .wait_while(News::Layers, |_| shared.layers().frozen.is_empty());
        if waited.is_none() {
            return;
        }
        let layers = shared.layers();
        let Some(frozen) = layers.frozen.last() else {
            continue;
        };
        if let Err(error) = flush(shared, &layers, frozen, &mut written, &mut memory) {
            warn!(shared.log, "writing a layer failed, will try again"; "error" => %error);
            shared.tracker.set_flush_failure(Some(Arc::new(error)));
            if shared.tracker.pause(RETRY) {
                return;
            }
        }
    }
}

/// Writes the oldest frozen layer. `written` keeps its file from one attempt to the next: if only the
/// manifest could not be written, the file is not written again. `memory` is where WAL is read to.
fn flush(
    shared: &Arc<Shared>,
    layers: &LayerSet,
    frozen: &Frozen,
    written: &mut Option<Arc<StoredLayer>>,
    memory: &mut Vec<u8>,
) -> Result<(), StoreError> {
    // A layer file must never be ahead of the WAL that a crash leaves. (Asked of the WAL: before the
    // tail is settled the positions that are told say less.)
    if shared.wal.synced() < frozen.end {
        shared.wal.sync()?;
    }
    if written.is_none() && !frozen.layer.read().is_empty() {
        let file = LayerFile::create(shared, LayerOptions::new(LayerKind::Delta))?;
        *written = Some(Arc::new(
            Writer::new(shared, layers, frozen).write(file, memory)?,
        ));
    }
    shared.change_manifest(|manifest| {
        if let Some(layer) = written {
            manifest.layers.push(layer.manifest_record(own_run(layer)));
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
        if let Some(layer) = written {
            layers.add_newest(own_run(&layer), layer);
        }
    });
    // Pages are rebuilt from the layer from now on.
    shared.wal.uncache(frozen.layer.read().start(), frozen.end);
    shared.tracker.set_flush_failure(None);
    shared.tracker.update(&[News::Records], |progress| {
        progress.disk_consistent = frozen.end;
        // Records up to there were checked, and the files synced.
        progress.synced = progress.synced.max(frozen.end);
    });
    Ok(())
}

/// The run that a layer just written is, alone.
fn own_run(layer: &StoredLayer) -> RunId {
    RunId::new(layer.id().get())
}

/// Writes one frozen layer.
struct Writer<'a> {
    shared: &'a Arc<Shared>,
    frozen: &'a Frozen,
    /// What lies below the frozen layer, for the base of pages that get images.
    below: Arc<LayerSet>,
    rules: Arc<RulesHistory>,
    start: Lsn,
    max_deltas: usize,
    value: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(shared: &'a Arc<Shared>, layers: &LayerSet, frozen: &'a Frozen) -> Writer<'a> {
        let start = frozen.layer.read().start();
        Writer {
            shared,
            frozen,
            below: Arc::new(layers.files_only(start)),
            rules: shared.rules(),
            start,
            max_deltas: shared.config.max_deltas,
            value: Vec::new(),
        }
    }

    fn write(
        &mut self,
        mut file: LayerFile,
        memory: &mut Vec<u8>,
    ) -> Result<StoredLayer, StoreError> {
        let index = self.frozen.layer.read();
        let bytes = std::mem::take(memory);
        let window = WalWindow::load(&self.shared.wal, self.start, self.frozen.end, bytes)?;
        let mut records = window.records(
            self.rules.after(self.start).version,
            self.shared.decoder_options(),
        );
        let mut sorted = index.sorted();
        let mut group = sorted.group();
        while sorted.next_group(&mut group) {
            let mut ahead = Ahead::new(group.entries());
            for (key, entries) in group.keys() {
                if let Some(page) = key.as_page() {
                    self.add_page(&mut file, &key, page, entries, &mut records, &mut ahead)?;
                    continue;
                }
                for entry in entries {
                    if let OpenBody::Value(bytes) = entry.body {
                        file.add(&key, entry.lsn, entry.kind, bytes)?;
                    }
                }
            }
        }
        *memory = window.into_bytes();
        file.finish(self.shared)
    }

    fn add_page(
        &mut self,
        file: &mut LayerFile,
        key: &Key,
        page: PageKey,
        entries: OpenEntries<'_>,
        records: &mut WindowRecords<'_>,
        ahead: &mut Ahead<'_>,
    ) -> Result<(), StoreError> {
        let mut images = if needs_image(&entries, self.max_deltas) {
            self.images(page)?
        } else {
            None
        };
        let keep = kept_block(&page);
        for entry in entries {
            let OpenBody::Record { start } = entry.body else {
                continue;
            };
            ahead.step(records);
            let raw = records.read(start).map_err(|source| bad(&entry, source))?;
            self.value.clear();
            let is_trimmed = keep.is_some_and(|tag| raw.encode_trimmed(tag, &mut self.value));
            if is_trimmed && images.is_none() {
                file.add(key, entry.lsn, entry.kind, &self.value)?;
                continue;
            }
            let mut record = Record::default();
            raw.decode_into(&mut record)
                .map_err(|source| bad(&entry, source))?;
            let image = images
                .as_mut()
                .and_then(|images| images.step(&entry, &record, page, &self.rules));
            if let Some(image) = image {
                file.add(key, entry.lsn, EntryKind::Image, image)?;
            } else {
                if !is_trimmed {
                    record.encode_trimmed(keep, &mut self.value);
                }
                file.add(key, entry.lsn, entry.kind, &self.value)?;
            }
        }
        Ok(())
    }

    /// What carries the page forward from where the layer begins; none if that cannot be told: below
    /// an import's stop position, where pages are fuzzy, or if its past ends inside the layer.
    fn images(&self, page: PageKey) -> Result<Option<Images>, StoreError> {
        if self.start < self.shared.import_stop() || self.has_barrier(page)? {
            return Ok(None);
        }
        let snapshot = Snapshot::over(self.shared, Arc::clone(&self.below), self.start);
        let bytes = match snapshot.stored_page(page) {
            Ok((bytes, _)) => bytes,
            // It begins its life in this layer.
            Err(ReadError::PastEnd { .. } | ReadError::NoRelation { .. }) => ZERO_PAGE,
            // A page that redo refuses stays as it is: changes that say so when it is read.
            Err(
                ReadError::Redo { .. } | ReadError::NoBase { .. } | ReadError::Implausible { .. },
            ) => return Ok(None),
            // What it rests on is damaged: changes stay changes.
            Err(ReadError::Store(error)) if error.is_damage() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(Some(Images {
            page: Box::new(bytes),
            length: ChainLength::default(),
            max_deltas: self.max_deltas,
            lost: false,
        }))
    }

    /// Whether the page's past ends inside the layer, or may: its relation was truncated or dropped there.
    fn has_barrier(&self, page: PageKey) -> Result<bool, StoreError> {
        let layers = self.shared.layers();
        let place = match self.shared.resolver(&layers).place(page, self.frozen.end) {
            Err(error) if error.is_damage() => return Ok(true),
            place => place?,
        };
        Ok(match place {
            Place::Steps(steps) => steps.first().is_none_or(|step| step.above > self.start),
            Place::PastEnd(_) | Place::NoFork => true,
        })
    }
}

/// Has records fetched shortly before they are read.
struct Ahead<'a> {
    /// Those not fetched yet.
    rest: OpenEntries<'a>,
    /// How many are fetched and not read.
    fetched: usize,
}

impl<'a> Ahead<'a> {
    fn new(entries: OpenEntries<'a>) -> Ahead<'a> {
        Ahead {
            rest: entries,
            fetched: 0,
        }
    }

    /// To be called before each record is read.
    #[inline]
    fn step(&mut self, records: &WindowRecords<'_>) {
        if self.fetched == 0 {
            let next = self.rest.by_ref().filter_map(|entry| match entry.body {
                OpenBody::Record { start } => Some(start),
                OpenBody::Value(_) => None,
            });
            let mut fetched = 0;
            records.fetch(next.take(AHEAD).inspect(|_| fetched += 1));
            self.fetched = fetched;
        }
        self.fetched -= 1;
    }
}

/// The block whose payload a trimmed record for `page` keeps.
fn kept_block(page: &PageKey) -> Option<&BlockTag> {
    match page {
        PageKey::Block(tag) => Some(tag),
        PageKey::Slru(_) => None,
    }
}

/// Whether some of the versions, all of one page, are due to be images.
fn needs_image(entries: &OpenEntries<'_>, max_deltas: usize) -> bool {
    let mut length = ChainLength::default();
    entries.clone().any(|entry| {
        count(&mut length, &entry);
        length.is_due(max_deltas)
    })
}

fn count(length: &mut ChainLength, entry: &OpenEntry<'_>) {
    let bytes = match entry.body {
        OpenBody::Record { start } => entry.lsn - start,
        OpenBody::Value(_) => 0,
    };
    length.add(entry.kind.needs_older(), bytes);
}

/// Carries a page forward through its changes, to store it whole now and then.
struct Images {
    page: Box<Page>,
    length: ChainLength,
    max_deltas: usize,
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
        count(&mut self.length, entry);
        if !self.length.is_due(self.max_deltas) {
            return None;
        }
        self.length = ChainLength::based();
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
