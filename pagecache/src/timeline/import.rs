//! Import of a base backup: pages into image layers as they arrive, in bounded memory; then the WAL that
//! was written meanwhile; then, and only then, a manifest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use slog::{info, warn};
use walrecord::{
    BlockNumber, BlockTag, ForkNumber, Lsn, Oid, PAGE_SIZE, Page, PageKey, PgTimelineId, RedoRules,
    RelFileLocator, SLRU_PAGES_PER_SEGMENT, SlruKind, SlruPage, TenantId, TimelineId, Xid,
};

use super::layer_file::LayerFile;
use super::layers::LayerSet;
use super::open::{Surroundings, load_directories, start_indexing};
use super::progress::Progress;
use super::shared::{Shared, SharedParts};
use super::stored_layer::StoredLayer;
use super::timeline_dir::TimelineDir;
use super::{Timeline, sync_wal};
use crate::error::StoreError;
use crate::key::Key;
use crate::layer::{EntryKind, LayerKind, LayerOptions, RunId};
use crate::manifest::{Manifest, ManifestFile, TimelinePaths};
use crate::meta::{ControlState, DirectoryState, FileValue, ForkState, Tombstoned};
use crate::wal::WalStore;

/// Pages with a wrong checksum that are remembered until WAL has healed them. A backup with more is
/// refused at once: the disk below it is broken.
const MAX_SUSPECTS: usize = 10_000;

/// The run of the layers that an import makes.
const IMPORT_RUN: RunId = RunId::new(0);

/// What an import is told before the first file.
#[derive(Clone, Debug)]
pub struct ImportParams {
    /// The tenant, made if it is new.
    pub tenant: TenantId,
    /// The timeline's id.
    pub timeline: TimelineId,
    /// The timeline's name.
    pub name: String,
    /// The cluster's system identifier.
    pub system_identifier: u64,
    /// The rules that redo follows: version, minor release, hint bits.
    pub rules: RedoRules,
    /// Bytes of a WAL segment.
    pub segment_size: u32,
    /// The Postgres timeline of the backup.
    pub pg_timeline: PgTimelineId,
    /// Where WAL has to be applied from: the redo position of the backup's checkpoint.
    pub start: Lsn,
    /// The cluster has data checksums.
    pub data_checksums: bool,
}

/// A page whose checksum is wrong. If no WAL up to the stop position replaces it, the backup is corrupt.
#[derive(Clone, Copy)]
struct Suspect {
    tag: BlockTag,
    found: u16,
    computed: u16,
}

type Batch = Vec<(Key, Page)>;

/// Takes the parts of a base backup in any order. Dropped without [`ImportWriter::finish`], it removes
/// everything that it wrote.
pub struct ImportWriter {
    timeline: Timeline,
    dir: TimelineDir,
    params: ImportParams,
    batch: Batch,
    batch_pages: usize,
    layer_writer: Option<LayerWriterThread>,
    forks: BTreeMap<Key, u32>,
    values: BTreeMap<Key, Vec<u8>>,
    suspects: Vec<Suspect>,
    files: u32,
}

/// Writes batches as image layers, beside the thread that receives pages.
struct LayerWriterThread {
    batches: SyncSender<Batch>,
    handle: JoinHandle<Result<Vec<StoredLayer>, StoreError>>,
}

impl ImportWriter {
    pub(crate) fn begin(
        around: Surroundings,
        params: ImportParams,
    ) -> Result<ImportWriter, StoreError> {
        let paths = TimelinePaths::new(params.tenant, params.timeline);
        let wal_start = params.start.segment_start(params.segment_size);
        let manifest = Manifest::for_import(&params, wal_start);
        // What cannot be a timeline is refused now, not after the last file.
        manifest.check_for(&paths.manifest())?;
        let dir = TimelineDir::make(
            &around,
            params.tenant,
            params.timeline,
            params.system_identifier,
        )?;
        let wal = WalStore::open(
            Arc::clone(&around.storage),
            &paths.wal(),
            params.segment_size,
            &manifest.history,
            wal_start,
        )?;
        let progress = Progress {
            written: wal.end(),
            synced: wal.end(),
            last_record: params.start,
            readable_from: Lsn::MAX,
            disk_consistent: params.start,
        };
        let batch_pages = (around.config.import_batch / PAGE_SIZE).max(1);
        let shared = Shared::new(
            SharedParts {
                config: around.config,
                storage: around.storage,
                clock: around.clock,
                paths,
                log: around.log,
                cache: around.cache,
                wal,
                manifest,
                progress,
                import_stop: Lsn::MAX,
                ancestor: None,
                branches: BTreeMap::new(),
            },
            LayerSet::new(params.start, None),
        );
        shared.settle_tail();
        let timeline = Timeline::new(shared);
        timeline.spawn("wal-sync", sync_wal)?;
        let layer_writer = Some(LayerWriterThread::start(
            Arc::clone(&timeline.shared),
            params.start,
        )?);
        Ok(ImportWriter {
            timeline,
            dir,
            params,
            batch: Vec::with_capacity(batch_pages),
            batch_pages,
            layer_writer,
            forks: BTreeMap::new(),
            values: BTreeMap::new(),
            suspects: Vec::new(),
            files: 0,
        })
    }

    /// The timeline in the making: WAL is appended to it while pages arrive. Nothing of it is readable.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Takes pages of a fork from `first` on: `bytes` are whole pages.
    ///
    /// # Errors
    /// If a layer cannot be written, or too many checksums are wrong.
    ///
    /// # Panics
    /// If `bytes` are not whole pages.
    pub fn relation_pages(
        &mut self,
        rel: RelFileLocator,
        fork: ForkNumber,
        first: BlockNumber,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let pages = whole_pages(bytes);
        let count = pages.len() as u32;
        for (block, page) in (first..).zip(pages) {
            let tag = BlockTag { rel, fork, block };
            self.relation_page(tag, page)?;
        }
        self.relation_blocks(rel, fork, first.saturating_add(count));
        Ok(())
    }

    /// Notes that a fork has at least this many blocks. An empty file is told of with 0.
    pub fn relation_blocks(&mut self, rel: RelFileLocator, fork: ForkNumber, blocks: BlockNumber) {
        let known = self.forks.entry(Key::relation(rel, fork)).or_default();
        *known = blocks.max(*known);
    }

    fn relation_page(&mut self, tag: BlockTag, page: &Page) -> Result<(), StoreError> {
        // A block inside the fork without a version is a zero page.
        if walredo::is_zero(page) {
            return Ok(());
        }
        let map = matches!(tag.fork, ForkNumber::Vm | ForkNumber::Fsm);
        if self.params.data_checksums && walredo::page_lsn(page) < self.params.start {
            let computed = walredo::page_checksum(page, tag.block);
            let found = walredo::stored_checksum(page);
            if computed != found && !walredo::is_new(page) {
                if map {
                    // A torn map page: recovery reads it as zeros.
                    return Ok(());
                }
                self.suspect(Suspect {
                    tag,
                    found,
                    computed,
                })?;
            }
        }
        self.push(Key::block(tag), page)
    }

    fn suspect(&mut self, suspect: Suspect) -> Result<(), StoreError> {
        if self.suspects.len() == MAX_SUSPECTS {
            return Err(suspect.error(Lsn::INVALID));
        }
        self.suspects.push(suspect);
        Ok(())
    }

    fn push(&mut self, key: Key, page: &Page) -> Result<(), StoreError> {
        self.batch.push((key, *page));
        if self.batch.len() >= self.batch_pages {
            let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(self.batch_pages));
            self.send(batch)?;
        }
        Ok(())
    }

    fn send(&mut self, batch: Batch) -> Result<(), StoreError> {
        let sent = match &self.layer_writer {
            Some(writer) => writer.batches.send(batch).is_ok(),
            None => false,
        };
        if sent {
            return Ok(());
        }
        // The thread ended before us: it has an error to tell.
        match self.layer_writer.take().map(LayerWriterThread::join) {
            Some(Err(error)) => Err(error),
            _ => Err(StoreError::ThreadPanicked("import".to_owned())),
        }
    }

    /// Takes an SLRU segment, whole pages of it.
    ///
    /// # Errors
    /// If a layer cannot be written.
    ///
    /// # Panics
    /// If `bytes` are not at most 32 whole pages.
    pub fn slru_segment(
        &mut self,
        kind: SlruKind,
        segment: u32,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let pages = whole_pages(bytes);
        let count = pages.len() as u32;
        assert!(count <= SLRU_PAGES_PER_SEGMENT, "{count} pages");
        self.forks.insert(Key::slru_segment(kind, segment), count);
        for (index, page) in (0..).zip(pages) {
            let page_number = segment * SLRU_PAGES_PER_SEGMENT + index;
            let key = SlruPage {
                kind,
                page: page_number,
            };
            self.push(Key::slru(key), page)?;
        }
        Ok(())
    }

    fn value(&mut self, key: Key, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        self.values.insert(key, bytes);
    }

    /// Notes the directory of a database in a tablespace.
    pub fn database_directory(&mut self, spc: Oid, db: Oid) {
        let state = DirectoryState {
            exists: true,
            ..DirectoryState::default()
        };
        self.value(Key::database(spc, db), |out| state.encode(out));
    }

    /// Takes a relation map.
    pub fn relation_map(&mut self, spc: Oid, db: Oid, content: &[u8]) {
        self.value(Key::relation_map(spc, db), |out| {
            Tombstoned(Some(content)).encode(out);
        });
    }

    /// Notes a tablespace and its path on the primary.
    pub fn tablespace(&mut self, spc: Oid, path: &[u8]) {
        self.value(Key::tablespace(spc), |out| {
            Tombstoned(Some(path)).encode(out);
        });
    }

    /// Takes the content of a two-phase file, CRC left out.
    pub fn two_phase(&mut self, xid: Xid, state: &[u8]) {
        self.value(Key::two_phase(xid), |out| {
            Tombstoned(Some(state)).encode(out);
        });
    }

    /// Notes how far a replication origin is.
    pub fn origin(&mut self, origin: u16, remote: Lsn) {
        let bytes = remote.get().to_le_bytes();
        self.value(Key::origin(origin), |out| {
            Tombstoned(Some(&bytes)).encode(out);
        });
    }

    /// Takes a configuration file: its path below the data directory, and its content.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        let file = FileValue {
            path: path.to_owned(),
            content: content.to_vec(),
        };
        let key = Key::file(self.files);
        self.files += 1;
        self.value(key, |out| file.encode(out));
    }

    /// Takes the control state that the backup began with.
    pub fn control(&mut self, control: &ControlState) {
        self.value(Key::control(), |out| control.encode(out));
    }

    /// Ends the import. WAL up to `stop`, the backup's end, has been appended or is about to arrive;
    /// this waits for it, as long as some arrives within each `patience`. From then on the timeline is
    /// there, and readable from `stop` on.
    ///
    /// # Errors
    /// If the WAL does not reach `stop`, if it is damaged, or if a page's checksum is wrong and no WAL
    /// up to `stop` replaces it. Nothing is left of the import then.
    pub fn finish(mut self, stop: Lsn, patience: Duration) -> Result<Timeline, StoreError> {
        self.write_layers(stop)?;
        let shared = Arc::clone(&self.timeline.shared);
        start_indexing(&self.timeline)?;
        self.wait_for_wal(stop, patience)?;
        self.judge_suspects(stop)?;
        // Pages are fuzzy up to here: layers that begin above can hold images of them.
        shared.request_freeze();
        shared.complete(|manifest| manifest.import_stop = stop)?;
        self.dir.keep = true;
        info!(shared.log, "import complete"; "start" => %self.params.start, "stop" => %stop);
        Ok(self.timeline.clone())
    }

    fn write_layers(&mut self, stop: Lsn) -> Result<(), StoreError> {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.send(batch)?;
        }
        let writer = self.layer_writer.take();
        let mut images = writer.map_or(Ok(Vec::new()), LayerWriterThread::join)?;
        images.push(self.write_metadata()?);
        let shared = &self.timeline.shared;
        {
            let mut manifest = shared.manifest();
            let records = images.iter().map(|layer| layer.manifest_record(IMPORT_RUN));
            manifest.layers = records.collect();
            manifest.layers.sort_by_key(|layer| layer.id);
            manifest.import_stop = stop;
        }
        let files = images
            .into_iter()
            .map(|layer| (IMPORT_RUN, Arc::new(layer)));
        shared.change_layers(|layers| layers.set_files(files, None));
        load_directories(shared)?;
        shared.set_import_stop(stop);
        Ok(())
    }

    fn write_metadata(&mut self) -> Result<StoredLayer, StoreError> {
        let mut bytes = Vec::new();
        for (key, blocks) in std::mem::take(&mut self.forks) {
            ForkState::of_size(blocks).encode(&mut bytes);
            self.values.insert(key, bytes.clone());
        }
        let shared = &self.timeline.shared;
        let mut file = LayerFile::create(shared, LayerOptions::compact(LayerKind::Image))?;
        for (key, value) in std::mem::take(&mut self.values) {
            file.add(&key, self.params.start, EntryKind::Value, &value)?;
        }
        file.finish(shared)
    }

    fn wait_for_wal(&self, stop: Lsn, patience: Duration) -> Result<(), StoreError> {
        let timeline = &self.timeline;
        loop {
            let before = timeline.progress();
            match timeline.wait_for(stop, patience) {
                Ok(_) => break,
                Err(super::WaitError::Failed { reason, .. }) => {
                    return Err(StoreError::Failed(reason));
                }
                Err(super::WaitError::Stopping) => return Err(StoreError::Stopping),
                Err(super::WaitError::Timeout { .. }) => {
                    let now = timeline.progress();
                    if (now.written, now.last_record) == (before.written, before.last_record) {
                        return Err(StoreError::ImportWal {
                            end: now.last_record,
                            stop,
                        });
                    }
                }
            }
        }
        timeline.shared.wal.sync()?;
        timeline.shared.tell_synced();
        Ok(())
    }

    /// A wrong checksum is forgiven if WAL up to `stop` replaced the page, or took it away.
    fn judge_suspects(&self, stop: Lsn) -> Result<(), StoreError> {
        let snapshot = super::Snapshot::at(&self.timeline.shared, stop);
        for suspect in &self.suspects {
            if snapshot.rests_on_image(PageKey::Block(suspect.tag))? {
                return Err(suspect.error(stop));
            }
            warn!(self.timeline.shared.log, "a page of the backup was torn; WAL replaces it";
                "page" => %suspect.tag);
        }
        Ok(())
    }
}

impl Drop for ImportWriter {
    fn drop(&mut self) {
        if self.dir.keep {
            return;
        }
        if let Some(writer) = self.layer_writer.take() {
            let _ = writer.join();
        }
        // No thread may write where the directory is removed.
        self.timeline.close();
    }
}

/// The pages in `bytes`.
fn whole_pages(bytes: &[u8]) -> impl ExactSizeIterator<Item = &Page> {
    assert_eq!(bytes.len() % PAGE_SIZE, 0, "pages come whole");
    bytes
        .chunks_exact(PAGE_SIZE)
        .map(|chunk| chunk.try_into().expect("a chunk is a page"))
}

impl Suspect {
    fn error(&self, stop: Lsn) -> StoreError {
        StoreError::ImportChecksum {
            page: self.tag.into(),
            found: self.found,
            computed: self.computed,
            stop,
        }
    }
}

impl LayerWriterThread {
    fn start(shared: Arc<Shared>, lsn: Lsn) -> Result<LayerWriterThread, StoreError> {
        // One batch waits while another is written and a third fills.
        let (batches, queue) = sync_channel::<Batch>(1);
        let handle = std::thread::Builder::new()
            .name("import".to_owned())
            .spawn(move || write_batches(&shared, lsn, &queue))
            .map_err(StoreError::io("starting thread", "import"))?;
        Ok(LayerWriterThread { batches, handle })
    }

    fn join(self) -> Result<Vec<StoredLayer>, StoreError> {
        drop(self.batches);
        self.handle
            .join()
            .unwrap_or_else(|_| Err(StoreError::ThreadPanicked("import".to_owned())))
    }
}

fn write_batches(
    shared: &Shared,
    lsn: Lsn,
    queue: &Receiver<Batch>,
) -> Result<Vec<StoredLayer>, StoreError> {
    let mut layers = Vec::new();
    for mut batch in queue {
        if !batch.is_sorted_by_key(|(key, _)| *key) {
            batch.sort_unstable_by_key(|(key, _)| *key);
        }
        let mut file = LayerFile::create(shared, LayerOptions::compact(LayerKind::Image))?;
        for (key, page) in &batch {
            file.add(key, lsn, EntryKind::Image, page)?;
        }
        layers.push(file.finish(shared)?);
    }
    Ok(layers)
}
