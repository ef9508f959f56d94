//! The store of one timeline's WAL.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use walrecord::{Lsn, PgTimelineId, SegmentId, WalSource, is_segment_size};

use super::error::WalStoreError;
use super::handles::Handles;
use super::history::Layout;
use super::scan::ORPHAN_SUFFIX;
use crate::manifest::HistoryEntry;
use crate::storage::{Access, Storage, StorageFile, create_dirs_durably, replace_file_with};

/// Segments that may wait for a sync. An append that would begin one more syncs first, so that
/// neither open files nor the time a sync takes grow without bound.
pub(super) const MAX_DIRTY: usize = 32;

/// Bytes copied at a time into the first segment of a Postgres timeline.
const COPY_PIECE: usize = 1 << 20;

/// The WAL of one timeline, as segment files named and filled as in `pg_wal`.
///
/// A file holds exactly the bytes that were appended: the last one grows with each append. (Space
/// is not reserved: on ext4 that made no append-and-sync pattern reliably faster.)
///
/// The WAL may go through several Postgres timelines. Each has files of its own; the first of one that
/// begins inside a segment begins with a copy of what the timeline before has there, as in `pg_wal`.
///
/// One thread appends, one syncs, any number read; none of them waits for another's disk.
///
/// # What a crash leaves
///
/// Every byte below an LSN that [`WalStore::sync`] returned is intact. Beyond it anything may be
/// there: nothing, a part of what was appended, zeros. [`WalStore::end`] of a store just opened is
/// where the bytes found end; none of them counts as synced. Whoever opens it decodes them and then
/// calls [`WalStore::rewind`] once, before anything is appended or acknowledged: that cuts off what is
/// no WAL, and makes the rest durable.
#[derive(Debug)]
pub struct WalStore {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    /// Changes while `writer` is held, and only for positions at or above the end: whoever asks for the
    /// end first never reads by a layout that is too old for it.
    layout: RwLock<Arc<Layout>>,
    /// Held while files are written, made, cut or removed. Locks are taken in the order of the
    /// fields: `writer`, `syncing`, `progress`.
    writer: Mutex<Writer>,
    /// Held during a sync, so that syncs follow each other and those that wait share one.
    syncing: Mutex<()>,
    /// Held for moments only.
    progress: Mutex<Progress>,
    handles: Handles,
}

/// What only the thread that changes files needs.
#[derive(Debug)]
struct Writer {
    /// The segment that is written, once it is open and cut to the end of the WAL.
    current: Option<(SegmentId, Arc<dyn StorageFile>)>,
    /// Segments behind a gap, found when the store was opened. They are looked at by nobody, and set
    /// aside, not deleted, when something is about to be written: should they be there because a
    /// file was damaged from outside, a person may want them.
    orphans: Vec<SegmentId>,
}

/// How far the WAL reaches.
#[derive(Debug)]
struct Progress {
    end: Lsn,
    /// At most `end`.
    synced: Lsn,
    /// Segments with bytes between `synced` and `end`. The file is missing where it is not open.
    dirty: BTreeMap<SegmentId, Option<Arc<dyn StorageFile>>>,
    /// Names in the directory have changed since it was synced.
    names_dirty: bool,
    /// A sync failed.
    broken: bool,
    /// A rewind failed half way: files may hold bytes beyond `end` that must not come back.
    cut_unfinished: bool,
}

/// One segment file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentInfo {
    /// The file's name.
    pub name: String,
    /// The first byte in it that is part of the store.
    pub start: Lsn,
    /// The byte after the last.
    pub end: Lsn,
}

impl WalStore {
    /// Opens the WAL in the directory `dir`, which is made if it is not there.
    ///
    /// `start` is the first byte that the store has or will have; it may be in the middle of a
    /// segment. `history` are the Postgres timelines that its WAL goes through; what is below the second
    /// is of the first. Nothing that is found counts as synced.
    ///
    /// # Errors
    /// If the segment size is none, if a file is too long or of another Postgres timeline, or if the
    /// file system refuses.
    ///
    /// # Panics
    /// If `history` is empty.
    pub fn open(
        storage: Arc<dyn Storage>,
        dir: &Path,
        segment_size: u32,
        history: &[HistoryEntry],
        start: Lsn,
    ) -> Result<WalStore, WalStoreError> {
        if !is_segment_size(segment_size) {
            return Err(WalStoreError::SegmentSize(segment_size));
        }
        let layout = Layout::new(segment_size, start, history);
        create_dirs_durably(&*storage, dir)
            .map_err(WalStoreError::io("make the directory", dir))?;
        let found = layout.scan(&*storage, dir)?;
        Ok(WalStore {
            storage,
            dir: dir.to_owned(),
            layout: RwLock::new(Arc::new(layout)),
            writer: Mutex::new(Writer {
                current: None,
                orphans: found.orphans,
            }),
            syncing: Mutex::new(()),
            progress: Mutex::new(Progress {
                end: found.end,
                synced: start,
                // A process that was killed leaves bytes that are written and not synced.
                dirty: found
                    .segments
                    .iter()
                    .map(|segment| (*segment, None))
                    .collect(),
                names_dirty: true,
                broken: false,
                cut_unfinished: false,
            }),
            handles: Handles::default(),
        })
    }

    /// The first byte of the store.
    pub fn start(&self) -> Lsn {
        self.layout().start
    }

    /// The lowest position that [`WalStore::rewind`] takes: where the Postgres timeline begins that is
    /// written, for what is below was settled when it began.
    pub fn floor(&self) -> Lsn {
        self.layout().floor()
    }

    /// The end of what was appended, durable or not. Reads go this far.
    pub fn end(&self) -> Lsn {
        locked(&self.progress).end
    }

    /// The end of what is durable.
    pub fn synced(&self) -> Lsn {
        locked(&self.progress).synced
    }

    /// The Postgres timeline whose segments are written.
    pub fn timeline(&self) -> PgTimelineId {
        self.layout().last().timeline
    }

    /// The Postgres timelines that the WAL goes through, in order, each with where it begins.
    pub fn history(&self) -> Vec<HistoryEntry> {
        self.layout().history().to_vec()
    }

    /// Goes over to the next Postgres timeline where the WAL ends: what is appended from now on goes to files
    /// of `to`. Changes no file. Whoever opens the store has to know of it before anything is appended.
    ///
    /// # Errors
    /// If the WAL does not end at `at`, or not all of it is durable.
    ///
    /// # Panics
    /// If `to` is not above the timeline that is written.
    pub fn switch_timeline(&self, to: PgTimelineId, at: Lsn) -> Result<(), WalStoreError> {
        let _writer = locked(&self.writer);
        assert!(to > self.timeline(), "Postgres timelines ascend");
        {
            let progress = locked(&self.progress);
            self.check_not_broken(&progress)?;
            let end = progress.end;
            if at != end || progress.synced != end || progress.cut_unfinished {
                return Err(WalStoreError::SwitchElsewhere {
                    at,
                    end,
                    synced: progress.synced,
                });
            }
        }
        let next = self.layout().with_timeline(HistoryEntry {
            timeline: to,
            start: at,
        });
        *self.layout.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }

    /// Bytes of a whole segment.
    pub fn segment_size(&self) -> u32 {
        self.layout().segment_size
    }

    fn layout(&self) -> Arc<Layout> {
        Arc::clone(&self.layout.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The segment files that hold the WAL, in order. Copies of an earlier timeline's bytes do not count.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let end = self.end();
        let layout = self.layout();
        let mut segments = Vec::new();
        let mut at = layout.start;
        while at < end {
            let place = layout.place(at);
            let next = at + place.room.min(end - at);
            segments.push(SegmentInfo {
                name: layout.file_name(place.segment),
                start: at,
                end: next,
            });
            at = next;
        }
        segments
    }

    /// Appends the bytes at `lsn`, which must be [`WalStore::end`].
    ///
    /// # Errors
    /// If `lsn` is not the end, if a sync has failed before, or if the file system refuses. Nothing
    /// of the call counts then; when the reason is gone (a full disk, say), it may be repeated.
    pub fn append(&self, lsn: Lsn, bytes: &[u8]) -> Result<(), WalStoreError> {
        let mut writer = locked(&self.writer);
        self.check_append(lsn, bytes.len())?;
        self.set_orphans_aside(&mut writer)?;
        if self.is_dirt_full(lsn, bytes.len()) {
            self.sync()?;
        }
        let mut touched = Vec::new();
        if let Err(error) = self.write(&mut writer, lsn, bytes, &mut touched) {
            self.take_back(&mut writer, lsn, &touched);
            return Err(error);
        }
        // Only now: a sync that looked before would clear the marks, for an end without these bytes.
        let mut progress = locked(&self.progress);
        for Touched {
            segment,
            file,
            made,
        } in touched
        {
            progress.dirty.insert(segment, Some(file));
            progress.names_dirty |= made;
        }
        progress.end = lsn + bytes.len() as u64;
        Ok(())
    }

    /// Makes everything durable that was appended before the call, and gives the end of what is
    /// durable now. Appends go on meanwhile; calls that come during a sync share the next one.
    ///
    /// # Errors
    /// If a sync fails, and from then on always ([`WalStoreError::Broken`]); by default the
    /// process does not live to see it, see [`crate::storage::FatalHandler`].
    pub fn sync(&self) -> Result<Lsn, WalStoreError> {
        let asked = self.end();
        let _turn = locked(&self.syncing);
        {
            let progress = locked(&self.progress);
            self.check_not_broken(&progress)?;
            if progress.synced >= asked {
                return Ok(progress.synced);
            }
        }
        self.sync_all()
    }

    /// Discards everything from `to` on, durably; what is below is durable afterwards too.
    ///
    /// # Errors
    /// If `to` is not between [`WalStore::floor`] and end, if a sync has failed before, or if the file system
    /// refuses. In the last case the end is at `to` already, but what was discarded may come back
    /// after a crash: nothing can be appended until a call succeeds.
    pub fn rewind(&self, to: Lsn) -> Result<(), WalStoreError> {
        let mut writer = locked(&self.writer);
        let _turn = locked(&self.syncing);
        {
            let mut progress = locked(&self.progress);
            self.check_not_broken(&progress)?;
            let floor = self.floor();
            if to < floor || to > progress.end {
                return Err(WalStoreError::CutOutside {
                    to,
                    floor,
                    end: progress.end,
                });
            }
            progress.end = to;
            progress.synced = progress.synced.min(to);
            progress.names_dirty = true;
            progress.cut_unfinished = true;
        }
        self.set_orphans_aside(&mut writer)?;
        self.remove_from(&mut writer, to)?;
        self.sync_all()?;
        locked(&self.progress).cut_unfinished = false;
        Ok(())
    }

    /// Removes the segment files that end at or below `start`, where a segment begins; the store begins there
    /// from now on. Files that an earlier call did not get to remove go too. Returns how many bytes went. Whoever
    /// opens the store has to know of `start` before.
    ///
    /// # Errors
    /// If the file system refuses; the store begins at `start` all the same.
    ///
    /// # Panics
    /// If no segment begins at `start`, or not everything below is durable.
    pub fn remove_below(&self, start: Lsn) -> Result<u64, WalStoreError> {
        let writer = locked(&self.writer);
        let layout = self.layout();
        let segment_size = layout.segment_size;
        assert_eq!(start.segment_offset(segment_size), 0, "a segment begins");
        assert!(start <= self.synced(), "only what is durable is let go");
        if start > layout.start {
            *self.layout.write().unwrap_or_else(PoisonError::into_inner) =
                Arc::new(layout.begun_at(start));
        }
        let entries = self
            .storage
            .list(&self.dir)
            .map_err(WalStoreError::io("list the directory", &self.dir))?;
        let mut removed = 0;
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let name = entry.name.to_str();
            let id = name.and_then(|name| SegmentId::parse(name, segment_size).ok());
            let first = start.segment_number(segment_size);
            if id.is_some_and(|id| id.number < first) {
                let path = self.dir.join(&entry.name);
                self.storage
                    .remove_file(&path)
                    .map_err(WalStoreError::io("remove", &path))?;
                removed += entry.len;
            }
        }
        self.handles.clear();
        drop(writer);
        Ok(removed)
    }

    /// Tells the file system that nobody will read the segments soon that end above `from` and not above `to`.
    pub fn uncache(&self, from: Lsn, to: Lsn) {
        let layout = self.layout();
        let mut at = from.max(layout.start);
        while at < to {
            let place = layout.place(at);
            at = at + place.room;
            if at > to {
                return;
            }
            let path = self.path(place.segment);
            let open = || self.storage.open(&path, Access::Read);
            if let Ok(file) = self.handles.get(place.segment, open) {
                file.uncache();
            }
        }
    }

    /// Fills the front of `buf` with the bytes at `lsn` and gives their number: fewer than asked for
    /// only where the WAL ends.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] below the start; else if the file system refuses, or a file
    /// is shorter than it was left.
    pub fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> io::Result<usize> {
        if lsn < self.start() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the WAL here starts at {}, not at {lsn}", self.start()),
            ));
        }
        let there = self.end().saturating_sub(lsn);
        let layout = self.layout();
        let wanted = usize::try_from(there).map_or(buf.len(), |there| there.min(buf.len()));
        let mut filled = 0;
        while filled < wanted {
            let at = lsn + filled as u64;
            let place = layout.place(at);
            let piece = clamp(place.room).min(wanted - filled);
            let buf = &mut buf[filled..filled + piece];
            match self.read_segment(place.segment, place.offset, buf) {
                Ok(()) => filled += piece,
                // A rewind came since the end was looked at.
                Err(_) if self.end() < at + piece as u64 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn read_segment(&self, segment: SegmentId, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let file = self.handles.get(segment, || {
            self.storage.open(&self.path(segment), Access::Read)
        })?;
        file.read_exact_at(buf, offset)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    let path = self.path(segment);
                    io::Error::new(error.kind(), format!("{} is cut short", path.display()))
                }
                _ => error,
            })
    }

    fn check_append(&self, lsn: Lsn, length: usize) -> Result<(), WalStoreError> {
        let progress = locked(&self.progress);
        self.check_not_broken(&progress)?;
        let end = progress.end;
        if progress.cut_unfinished {
            return Err(WalStoreError::CutUnfinished { to: end });
        }
        if lsn > end {
            return Err(WalStoreError::Gap { end, lsn });
        }
        if lsn < end {
            return Err(WalStoreError::Overlap { end, lsn });
        }
        match lsn.checked_add(length as u64) {
            Some(_) => Ok(()),
            None => Err(WalStoreError::TooFar { lsn, length }),
        }
    }

    fn check_not_broken(&self, progress: &Progress) -> Result<(), WalStoreError> {
        if progress.broken {
            return Err(WalStoreError::Broken {
                dir: self.dir.clone(),
            });
        }
        Ok(())
    }

    /// Writes bytes and notes the files they went to, also when it fails.
    fn write(
        &self,
        writer: &mut Writer,
        mut at: Lsn,
        mut bytes: &[u8],
        touched: &mut Vec<Touched>,
    ) -> Result<(), WalStoreError> {
        let layout = self.layout();
        while !bytes.is_empty() {
            let place = layout.place(at);
            let segment = place.segment;
            let (piece, rest) = bytes.split_at(clamp(place.room).min(bytes.len()));
            let (file, made) = self.segment_to_write(writer, segment, place.offset)?;
            touched.push(Touched {
                segment,
                file: Arc::clone(&file),
                made,
            });
            file.write_all_at(piece, place.offset)
                .map_err(WalStoreError::io("write to", &self.path(segment)))?;
            at = at + piece.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// The file of a segment that is about to be written at `offset`, and whether it was made now.
    fn segment_to_write(
        &self,
        writer: &mut Writer,
        segment: SegmentId,
        offset: u64,
    ) -> Result<(Arc<dyn StorageFile>, bool), WalStoreError> {
        match &writer.current {
            Some((current, file)) if *current == segment => return Ok((Arc::clone(file), false)),
            _ => writer.current = None,
        }
        self.inherit(segment)?;
        let path = self.path(segment);
        let (file, made) = match self.storage.open(&path, Access::ReadWrite) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = self.storage.create(&path);
                (file.map_err(WalStoreError::io("make", &path))?, true)
            }
            Err(error) => return Err(WalStoreError::io("open", &path)(error)),
        };
        // What an append left behind that failed and could not be taken back.
        let len = file.len().map_err(WalStoreError::io("measure", &path))?;
        if len > offset {
            file.set_len(offset)
                .map_err(WalStoreError::io("cut", &path))?;
        }
        writer.current = Some((segment, Arc::clone(&file)));
        Ok((file, made))
    }

    /// Makes the file of a segment in which its timeline begins, if it is not there: with what the timelines
    /// before have in that segment, durable, so that the copy is whole whatever a crash leaves of the rest.
    fn inherit(&self, segment: SegmentId) -> Result<(), WalStoreError> {
        let layout = self.layout();
        let path = self.path(segment);
        let Some((from, to)) = layout.inherited(segment) else {
            return Ok(());
        };
        if self
            .storage
            .exists(&path)
            .map_err(WalStoreError::io("look for", &path))?
        {
            return Ok(());
        }
        replace_file_with(&*self.storage, &path, |file| self.copy(from, to, file))
            .map_err(WalStoreError::io("copy WAL to", &path))
    }

    /// Copies WAL to where it lies in its segment.
    fn copy(&self, from: Lsn, to: Lsn, file: &dyn StorageFile) -> io::Result<()> {
        self.pieces(from, to, |at, piece| {
            let offset = at.segment_offset(self.segment_size());
            file.write_all_at(piece, u64::from(offset))
        })
    }

    /// Reads `[from, to)` in pieces, each with where it lies, for `take`.
    fn pieces<E: From<io::Error>>(
        &self,
        from: Lsn,
        to: Lsn,
        mut take: impl FnMut(Lsn, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = vec![0; COPY_PIECE.min(clamp(to - from))];
        let mut at = from;
        while at < to {
            let want = buffer.len().min(clamp(to - at));
            let piece = &mut buffer[..want];
            if self.read_at(at, piece)? < want {
                return Err(E::from(io::ErrorKind::UnexpectedEof.into()));
            }
            take(at, piece)?;
            at = at + want as u64;
        }
        Ok(())
    }

    /// Appends what `source` has from the end of this store up to `to`, and makes it durable.
    ///
    /// # Errors
    /// As [`WalStore::append`] and [`WalStore::sync`], or if `source` cannot be read that far.
    pub fn append_from(&self, source: &WalStore, to: Lsn) -> Result<(), WalStoreError> {
        let layout = self.layout();
        let mut begin = self.end();
        while begin < to {
            // A Postgres timeline begins with a copy of what is there before it.
            let mut starts = layout.history().iter().map(|entry| entry.start);
            let end = starts.find(|start| *start > begin);
            let end = end.unwrap_or(to).min(to);
            let copied = source.pieces(begin, end, |at, piece| {
                self.append(at, piece).map_err(CopyFailure::Writing)
            });
            copied.map_err(|failure| match failure {
                CopyFailure::Reading(error) => WalStoreError::io("read WAL in", &source.dir)(error),
                CopyFailure::Writing(error) => error,
            })?;
            begin = end;
        }
        self.sync()?;
        Ok(())
    }

    /// Removes what a failed append wrote, as far as that works: nothing counts beyond the end, and
    /// whatever stays is cut off before it is written over.
    fn take_back(&self, writer: &mut Writer, to: Lsn, touched: &[Touched]) {
        writer.current = None;
        let first = self.layout().place(to);
        for Touched {
            segment,
            file,
            made,
        } in touched
        {
            let keep = if *segment == first.segment {
                first.offset
            } else {
                0
            };
            let cut = file.set_len(keep);
            if cut.is_ok() && *made {
                // A leftover empty file does no harm.
                let _ = self.storage.remove_file(&self.path(*segment));
            }
        }
    }

    /// Syncs everything up to the end. The caller holds `syncing`.
    fn sync_all(&self) -> Result<Lsn, WalStoreError> {
        let (target, dirty, names_dirty) = {
            let mut progress = locked(&self.progress);
            self.check_not_broken(&progress)?;
            let names_dirty = std::mem::take(&mut progress.names_dirty);
            (
                progress.end,
                std::mem::take(&mut progress.dirty),
                names_dirty,
            )
        };
        let result = self.sync_files(&dirty, names_dirty);
        let mut progress = locked(&self.progress);
        match result {
            Ok(()) => {
                progress.synced = target;
                Ok(target)
            }
            Err(SyncFailure::Opening(error)) => {
                // Nothing is lost; the next sync does all of it.
                progress.names_dirty |= names_dirty;
                for (segment, file) in dirty {
                    progress.dirty.entry(segment).or_insert(file);
                }
                Err(error)
            }
            Err(SyncFailure::Syncing(error)) => {
                progress.broken = true;
                Err(error)
            }
        }
    }

    /// Content first, in order, then the names: a name in the directory is never durable before the
    /// bytes that an earlier sync promised.
    fn sync_files(
        &self,
        dirty: &BTreeMap<SegmentId, Option<Arc<dyn StorageFile>>>,
        names_dirty: bool,
    ) -> Result<(), SyncFailure> {
        for (segment, file) in dirty {
            let path = self.path(*segment);
            let file = match file {
                Some(file) => Arc::clone(file),
                None => self
                    .storage
                    .open(&path, Access::ReadWrite)
                    .map_err(WalStoreError::io("open", &path))
                    .map_err(SyncFailure::Opening)?,
            };
            file.sync()
                .map_err(WalStoreError::io("sync", &path))
                .map_err(SyncFailure::Syncing)?;
        }
        if names_dirty {
            self.storage
                .sync_dir(&self.dir)
                .map_err(WalStoreError::io("sync the directory", &self.dir))
                .map_err(SyncFailure::Syncing)?;
        }
        Ok(())
    }

    /// Removes the segments above `to`, the last first, and cuts the one that holds it.
    fn remove_from(&self, writer: &mut Writer, to: Lsn) -> Result<(), WalStoreError> {
        writer.current = None;
        let layout = self.layout();
        let last = layout.place(to);
        // A file that begins with a copy keeps that.
        let goes = |segment: &SegmentId| {
            *segment > last.segment || (*segment == last.segment && last.offset == 0)
        };
        locked(&self.progress)
            .dirty
            .retain(|segment, _| !goes(segment));
        // The directory is asked, not memory: an append that failed may have left files.
        let found = layout.scan(&*self.storage, &self.dir)?;
        let there = found.segments.iter().chain(&found.orphans);
        for segment in there.rev().filter(|segment| goes(segment)) {
            let path = self.path(*segment);
            self.storage
                .remove_file(&path)
                .map_err(WalStoreError::io("remove", &path))?;
        }
        // After the removals: before, a reader with an old end in mind could open such a file again,
        // and later readers would take it for the one that is made in its place.
        self.handles.clear();
        if last.offset > 0 && found.segments.contains(&last.segment) {
            let path = self.path(last.segment);
            let file = self
                .storage
                .open(&path, Access::ReadWrite)
                .map_err(WalStoreError::io("open", &path))?;
            let len = file.len().map_err(WalStoreError::io("measure", &path))?;
            if len > last.offset {
                file.set_len(last.offset)
                    .map_err(WalStoreError::io("cut", &path))?;
            }
            locked(&self.progress)
                .dirty
                .insert(last.segment, Some(file));
        }
        Ok(())
    }

    fn set_orphans_aside(&self, writer: &mut Writer) -> Result<(), WalStoreError> {
        if writer.orphans.is_empty() {
            return Ok(());
        }
        while let Some(segment) = writer.orphans.last() {
            let path = self.path(*segment);
            let mut aside = path.clone().into_os_string();
            aside.push(ORPHAN_SUFFIX);
            self.storage
                .rename(&path, Path::new(&aside))
                .map_err(WalStoreError::io("set aside", &path))?;
            writer.orphans.pop();
        }
        // At once: else a crash could bring a file back behind a gap that has been filled by then.
        self.storage.sync_dir(&self.dir).map_err(|error| {
            locked(&self.progress).broken = true;
            WalStoreError::io("sync the directory", &self.dir)(error)
        })
    }

    /// Whether an append would make one segment too many wait for a sync.
    fn is_dirt_full(&self, lsn: Lsn, length: usize) -> bool {
        let last = lsn + (length as u64).saturating_sub(1);
        let last = self.layout().place(last).segment;
        let progress = locked(&self.progress);
        progress.dirty.len() >= MAX_DIRTY && !progress.dirty.contains_key(&last)
    }

    fn path(&self, segment: SegmentId) -> PathBuf {
        self.dir.join(self.layout().file_name(segment))
    }
}

impl WalSource for WalStore {
    type Error = io::Error;

    fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> io::Result<usize> {
        WalStore::read_at(self, lsn, buf)
    }
}

/// A file that an append wrote to.
struct Touched {
    segment: SegmentId,
    file: Arc<dyn StorageFile>,
    /// It was made by that append.
    made: bool,
}

/// Which half of a copy from another store failed.
enum CopyFailure {
    Reading(io::Error),
    Writing(WalStoreError),
}

impl From<io::Error> for CopyFailure {
    fn from(error: io::Error) -> CopyFailure {
        CopyFailure::Reading(error)
    }
}

/// Which half of a sync failed.
enum SyncFailure {
    /// A file could not be opened: nothing is lost.
    Opening(WalStoreError),
    /// A sync failed: writes may be lost.
    Syncing(WalStoreError),
}

/// Takes a lock. A thread that panicked while it held one may have left the state half changed, so
/// the panic spreads.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("a thread panicked while it changed the WAL")
}

/// As many bytes as memory can hold.
fn clamp(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
