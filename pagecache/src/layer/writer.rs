//! Writes a layer file, front to back.

use std::io;
use std::sync::Arc;

use walrecord::{Lsn, PAGE_SIZE};

use super::block::{BlockType, DataBuilder, FRAME_HEADER};
use super::filter;
use super::footer::{Footer, HEADER_SIZE, encode_header};
use super::format::{MAX_BLOCK_SIZE, MAX_VALUE, Position};
use super::index::{self, IndexEntry};
use super::output::{BlockThread, Output};
use super::whole_block::WholeBlock;
use super::{Compression, EntryKind, KeyVersions, LayerKind, LayerOptions, LayerSummary};
use crate::key::Key;
use crate::storage::StorageFile;

/// Writes a layer file, front to back.
///
/// A file whose writer was dropped, or failed, is no layer: it has no footer. The caller removes it.
#[derive(Debug)]
pub struct LayerWriter {
    blocks: BlockThread,
    options: LayerOptions,
    block: DataBuilder,
    /// Of the distinct keys, if the layer gets a filter.
    hashes: Vec<u64>,
    first: Option<Position>,
    last: Option<Position>,
    min_lsn: Lsn,
    max_lsn: Lsn,
    entries: u64,
    keys: u64,
}

impl LayerWriter {
    /// Starts a layer in an empty file, and a thread that compresses and writes its blocks. What cannot
    /// be written is reported by the calls that follow.
    ///
    /// # Errors
    /// If there can be no more threads.
    ///
    /// # Panics
    /// If the block size is zero or above 16 MiB.
    pub fn create(file: Arc<dyn StorageFile>, options: LayerOptions) -> io::Result<LayerWriter> {
        assert!(
            (1..=MAX_BLOCK_SIZE).contains(&options.block_size),
            "block size {} is not in 1..={MAX_BLOCK_SIZE}",
            options.block_size
        );
        let mut out = Output::new(file);
        out.push(&encode_header(
            options.kind,
            options.compression.format_version(),
        ));
        Ok(LayerWriter {
            blocks: BlockThread::start(out, options.compression)?,
            options,
            block: DataBuilder::default(),
            hashes: Vec::new(),
            first: None,
            last: None,
            min_lsn: Lsn::MAX,
            max_lsn: Lsn::INVALID,
            entries: 0,
            keys: 0,
        })
    }

    /// Appends a version.
    ///
    /// # Errors
    /// If the file cannot be written. The writer is of no use then.
    ///
    /// # Panics
    /// If (key, LSN) is not above the one before; if an image is not 8192 bytes long, or any value
    /// above 1 GiB; if a layer of images gets anything but images and values.
    pub fn add(&mut self, key: &Key, lsn: Lsn, kind: EntryKind, value: &[u8]) -> io::Result<()> {
        let position = Position { key: *key, lsn };
        self.check(position, kind, value);
        self.make_room(position)?;
        self.block.push(lsn, kind, value);
        self.note(position, position, 1);
        Ok(())
    }

    /// Appends versions of one key as another layer has them.
    ///
    /// # Errors
    /// As [`LayerWriter::add`].
    ///
    /// # Panics
    /// If the first is not above all before, or one is not what the layer holds.
    pub fn add_versions(&mut self, versions: &KeyVersions<'_>) -> io::Result<()> {
        let allowed = |kind| matches!(kind, EntryKind::Image | EntryKind::Value);
        assert!(
            self.options.kind == LayerKind::Delta || !versions.has(|kind| !allowed(kind)),
            "changes in a layer of images"
        );
        let mut rest = versions.clone();
        while let Some((first, _)) = rest.ends() {
            self.make_room(first)?;
            let size = self.options.block_size as usize;
            let count = self.block.push_rows(rest.block(), rest.rows(), size);
            if let Some((first, last)) = rest.first(count).ends() {
                self.note(first, last, count);
            }
            rest = rest.behind(count);
        }
        Ok(())
    }

    /// Makes sure that there is room in the block for one more version, which must be above all others, and that the
    /// block has its key.
    fn make_room(&mut self, position: Position) -> io::Result<()> {
        let Position { key, lsn } = position;
        let (same_key, is_above) = match self.last {
            Some(last) if last.key == key => (true, last.lsn < lsn),
            Some(last) => (false, last.key < key),
            None => (false, true),
        };
        assert!(is_above, "{key} at {lsn} is added behind {:?}", self.last);
        if self.block.size() >= self.options.block_size as usize && self.block.first().is_some() {
            self.close_block()?;
        }
        if !same_key {
            self.keys += 1;
            if self.options.kind == LayerKind::Delta {
                self.hashes.push(key.stable_hash());
            }
        }
        if !same_key || self.block.first().is_none() {
            self.block.begin_key(position, same_key);
        }
        Ok(())
    }

    /// Takes note of so many versions of one key that were added, from `first` to `last`.
    fn note(&mut self, first: Position, last: Position, count: usize) {
        self.first.get_or_insert(first);
        self.last = Some(last);
        self.min_lsn = self.min_lsn.min(first.lsn);
        self.max_lsn = self.max_lsn.max(last.lsn);
        self.entries += count as u64;
    }

    /// Appends a block of another layer as it is. Blocks whose keys have versions in the block before come behind that.
    ///
    /// # Errors
    /// As [`LayerWriter::add`].
    ///
    /// # Panics
    /// If its versions are not above all before; if its first key has versions in the block before and that is not what
    /// was added last, or the other way round; if the layer is one of images, or of a format that does not have the block's
    /// compression.
    pub fn add_block(&mut self, block: WholeBlock) -> io::Result<()> {
        let data = block.data();
        let first = data.first();
        let continues = self.last.is_some_and(|last| last.key == first.key);
        assert!(
            self.last.is_none_or(|last| last < first) && continues == data.continued(),
            "a block that begins with {first:?} is added behind {:?}",
            self.last
        );
        assert!(
            self.options.kind == LayerKind::Delta
                && block.compression().format_version()
                    <= self.options.compression.format_version(),
            "a block for another layer than {:?}",
            self.options
        );
        if self.block.first().is_some() {
            self.close_block()?;
        }
        let new_keys = usize::from(continues)..data.key_count();
        self.keys += new_keys.len() as u64;
        let hashes = new_keys.map(|index| data.key(index).stable_hash());
        self.hashes.extend(hashes);
        for row in 0..data.row_count() {
            self.min_lsn = self.min_lsn.min(data.lsn(row));
            self.max_lsn = self.max_lsn.max(data.lsn(row));
        }
        self.entries += data.row_count() as u64;
        self.first.get_or_insert(first);
        self.last = Some(data.last());
        self.blocks.push_frame(first, block.into_frame())
    }

    fn check(&self, Position { key, lsn }: Position, kind: EntryKind, value: &[u8]) {
        assert!(value.len() <= MAX_VALUE, "{key} at {lsn}: value too long");
        assert!(
            kind != EntryKind::Image || value.len() == PAGE_SIZE,
            "{key} at {lsn}: an image of {} bytes",
            value.len()
        );
        assert!(
            self.options.kind == LayerKind::Delta
                || matches!(kind, EntryKind::Image | EntryKind::Value),
            "{key} at {lsn}: {kind:?} in a layer of images"
        );
    }

    /// Writes what is left, index, filter and footer, and makes the content of the file durable
    /// (not its name).
    ///
    /// # Errors
    /// If the file cannot be written or synced.
    ///
    /// # Panics
    /// If nothing was added.
    pub fn finish(mut self) -> io::Result<LayerSummary> {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            panic!("a layer with nothing in it");
        };
        if self.block.first().is_some() {
            self.close_block()?;
        }
        let (mut out, index) = self.blocks.finish()?;
        let index_offset = out.offset();
        let top = write_index(&mut out, &index, &self.options)?;
        let top_offset = out.offset();
        // Tables are found from the footer, and kept in memory.
        let mut write_table = |block_type, payload: &[u8]| {
            out.write_block(first, block_type, Compression::None, payload)
                .map(|entry| entry.len)
        };
        let top_len = write_table(BlockType::TopIndex, &index::encode(&top))?;
        let filter_len = match self.options.kind {
            LayerKind::Delta => write_table(BlockType::Filter, &filter::encode(&self.hashes))?,
            LayerKind::Image => 0,
        };
        let body_checksum = out.flush()?;
        let footer = Footer {
            index_offset,
            top_offset,
            top_len,
            filter_len,
            entries: self.entries,
            keys: self.keys,
            data_blocks: index.len() as u64,
            min_lsn: self.min_lsn,
            max_lsn: self.max_lsn,
            first_key: first.key,
            last_key: last.key,
            block_size: self.options.block_size,
            body_checksum,
            kind: self.options.kind,
            version: self.options.compression.format_version(),
        };
        let bytes = footer.encode();
        out.push(&bytes);
        out.flush()?;
        out.sync()?;
        Ok(footer.summary(&bytes, out.offset()))
    }

    /// Hands over the data block.
    fn close_block(&mut self) -> io::Result<()> {
        let first = self.block.first().expect("only full blocks are closed");
        let spare = self.blocks.spare();
        let payload = self.block.finish(spare);
        self.blocks.push(first, payload)
    }
}

/// Writes the index blocks and gives the entries of the top index.
fn write_index(
    out: &mut Output,
    index: &[IndexEntry],
    options: &LayerOptions,
) -> io::Result<Vec<IndexEntry>> {
    let write = |entries: &[IndexEntry]| {
        let payload = index::encode(entries);
        let first = entries[0].first;
        out.write_block(first, BlockType::Index, options.compression, &payload)
    };
    let per_block = index::entries_per_block(options.block_size);
    index.chunks(per_block).map(write).collect()
}

const _: () = assert!(
    HEADER_SIZE == FRAME_HEADER,
    "the first block starts aligned"
);
