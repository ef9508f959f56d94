//! Writes a layer file, front to back.

use std::io;
use std::sync::Arc;

use walrecord::{Lsn, PAGE_SIZE};

use super::block::{BlockType, DataBuilder, FRAME_HEADER, write_frame};
use super::filter;
use super::footer::{Footer, HEADER_SIZE, encode_header};
use super::format::{MAX_BLOCK_SIZE, MAX_VALUE, Position};
use super::index::{self, IndexEntry};
use super::{Compression, EntryKind, LayerKind, LayerOptions, LayerSummary};
use crate::key::Key;
use crate::storage::StorageFile;

/// Bytes that are collected before the file is written to.
const WRITE_SIZE: usize = 1 << 20;

/// Writes a layer file, front to back.
///
/// A file whose writer was dropped, or failed, is no layer: it has no footer. The caller removes it.
#[derive(Debug)]
pub struct LayerWriter {
    out: Output,
    options: LayerOptions,
    block: DataBuilder,
    /// Of the data blocks written.
    index: Vec<IndexEntry>,
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
    /// Starts a layer in an empty file.
    ///
    /// # Errors
    /// None yet; what cannot be written is reported by the calls that follow.
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
        out.pending.extend_from_slice(&encode_header(options.kind));
        Ok(LayerWriter {
            out,
            options,
            block: DataBuilder::default(),
            index: Vec::new(),
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
        let same_key = self.last.is_some_and(|last| last.key == *key);
        if self.block.size() >= self.options.block_size as usize && self.block.first().is_some() {
            self.close_block(same_key)?;
        }
        if !same_key {
            self.keys += 1;
            if self.options.kind == LayerKind::Delta {
                self.hashes.push(key.stable_hash());
            }
        }
        self.block.push(position, kind, value);
        self.first.get_or_insert(position);
        self.last = Some(position);
        self.min_lsn = self.min_lsn.min(lsn);
        self.max_lsn = self.max_lsn.max(lsn);
        self.entries += 1;
        Ok(())
    }

    fn check(&self, position: Position, kind: EntryKind, value: &[u8]) {
        let Position { key, lsn } = position;
        if let Some(last) = self.last {
            assert!(
                last < position,
                "{key} at {lsn} is added behind {} at {}",
                last.key,
                last.lsn
            );
        }
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

    /// Bytes of the file so far, the block that is not compressed yet included.
    pub fn bytes_written(&self) -> u64 {
        self.out.offset() + self.block.size() as u64
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
        self.close_block(false)?;
        let index_offset = self.out.offset();
        let top = self.write_index()?;
        let top_offset = self.out.offset();
        let top_len = self.write_table(BlockType::TopIndex, &index::encode(&top))?;
        let filter_len = match self.options.kind {
            LayerKind::Delta => {
                let filter = filter::encode(&self.hashes);
                self.write_table(BlockType::Filter, &filter)?
            }
            LayerKind::Image => 0,
        };
        self.out.flush()?;
        let footer = Footer {
            index_offset,
            top_offset,
            top_len,
            filter_len,
            entries: self.entries,
            keys: self.keys,
            data_blocks: self.index.len() as u64,
            min_lsn: self.min_lsn,
            max_lsn: self.max_lsn,
            first_key: first.key,
            last_key: last.key,
            block_size: self.options.block_size,
            body_checksum: self.out.checksum,
            kind: self.options.kind,
        };
        let bytes = footer.encode();
        self.out.pending.extend_from_slice(&bytes);
        self.out.flush()?;
        self.out.file.sync()?;
        Ok(footer.summary(&bytes, self.out.offset()))
    }

    /// Writes the data block. `continues`: the next one starts with the key that ends this one.
    fn close_block(&mut self, continues: bool) -> io::Result<()> {
        let first = self.block.first().expect("only full blocks are closed");
        let compression = self.options.compression;
        let entry =
            self.out
                .write_block(first, BlockType::Data, compression, self.block.finish())?;
        self.index.push(entry);
        self.block.clear(continues);
        Ok(())
    }

    /// Writes the index blocks and gives the entries of the top index.
    fn write_index(&mut self) -> io::Result<Vec<IndexEntry>> {
        let per_block = index::entries_per_block(self.options.block_size);
        let mut top = Vec::with_capacity(self.index.len().div_ceil(per_block));
        for entries in self.index.chunks(per_block) {
            let payload = index::encode(entries);
            let compression = self.options.compression;
            top.push(self.out.write_block(
                entries[0].first,
                BlockType::Index,
                compression,
                &payload,
            )?);
        }
        Ok(top)
    }

    /// Writes a block that is found from the footer and kept in memory; gives its length.
    fn write_table(&mut self, block_type: BlockType, payload: &[u8]) -> io::Result<u32> {
        let first = self.first.expect("a layer has an entry");
        let entry = self
            .out
            .write_block(first, block_type, Compression::None, payload)?;
        Ok(entry.len)
    }
}

/// The file, written in large pieces, and the checksum of it.
#[derive(Debug)]
struct Output {
    file: Arc<dyn StorageFile>,
    written: u64,
    /// Of what is written.
    checksum: u32,
    pending: Vec<u8>,
}

impl Output {
    fn new(file: Arc<dyn StorageFile>) -> Output {
        Output {
            file,
            written: 0,
            checksum: 0,
            pending: Vec::new(),
        }
    }

    fn offset(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    fn write_block(
        &mut self,
        first: Position,
        block_type: BlockType,
        compression: Compression,
        payload: &[u8],
    ) -> io::Result<IndexEntry> {
        let offset = self.offset();
        let start = self.pending.len();
        write_frame(&mut self.pending, block_type, compression, payload);
        let len = u32::try_from(self.pending.len() - start).expect("a payload is bounded");
        if self.pending.len() >= WRITE_SIZE {
            self.flush()?;
        }
        Ok(IndexEntry { first, offset, len })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.checksum = crc32c::crc32c_append(self.checksum, &self.pending);
        self.file.write_all_at(&self.pending, self.written)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

const _: () = assert!(
    HEADER_SIZE == FRAME_HEADER,
    "the first block starts aligned"
);
