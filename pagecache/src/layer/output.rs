//! Blocks on their way into a layer file. Serves the writer: compressing and writing take as much time as
//! gathering the entries, so that a thread of their own halves the time for a layer.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::Compression;
use super::block::{BlockType, write_frame};
use super::format::Position;
use super::index::IndexEntry;
use crate::storage::StorageFile;

/// Bytes that are collected before the file is written to.
const WRITE_SIZE: usize = 1 << 20;

/// Blocks that are handed over together, each of little more than the block size: to wake a thread for each takes as
/// long as to look into it.
const BATCH: usize = 8;

/// Batches that wait for the thread.
const QUEUE: usize = 2;

/// The file behind its data blocks, and where they are.
type Written = io::Result<(Output, Vec<IndexEntry>)>;

/// Compresses and writes data blocks in a thread, in order. Dropping it waits for the thread: nothing is
/// written afterwards.
#[derive(Debug)]
pub(super) struct BlockThread {
    /// None once the last block was handed over.
    queue: Option<SyncSender<Vec<Block>>>,
    /// What is to be handed over next.
    batch: Vec<Block>,
    used: Receiver<Vec<Block>>,
    /// Of blocks that were written, for their memory.
    spares: Vec<Block>,
    /// None once it was waited for.
    thread: Option<JoinHandle<Written>>,
}

/// A data block.
#[derive(Debug)]
struct Block {
    first: Position,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Not compressed yet.
    Payload(Vec<u8>),
    /// As it goes into the file.
    Frame(Vec<u8>),
}

impl BlockThread {
    /// Goes on where `out` stands.
    pub(super) fn start(out: Output, compression: Compression) -> io::Result<BlockThread> {
        let (queue, blocks) = sync_channel(QUEUE);
        let (gives_back, used) = channel();
        let thread = Builder::new()
            .name("layer-blocks".to_owned())
            .spawn(move || write_blocks(out, compression, &blocks, &gives_back))?;
        Ok(BlockThread {
            queue: Some(queue),
            batch: Vec::with_capacity(BATCH),
            used,
            spares: Vec::new(),
            thread: Some(thread),
        })
    }

    /// Memory for a payload.
    pub(super) fn spare(&mut self) -> Vec<u8> {
        if self.spares.is_empty() {
            self.spares = self.used.try_recv().unwrap_or_default();
        }
        match self.spares.pop().map(|block| block.content) {
            Some(Content::Payload(memory)) => memory,
            Some(Content::Frame(_)) | None => Vec::new(),
        }
    }

    /// Hands over the next block.
    pub(super) fn push(&mut self, first: Position, payload: Vec<u8>) -> io::Result<()> {
        self.take(first, Content::Payload(payload))
    }

    /// The same, of one that has its header and is compressed.
    pub(super) fn push_frame(&mut self, first: Position, frame: Vec<u8>) -> io::Result<()> {
        self.take(first, Content::Frame(frame))
    }

    fn take(&mut self, first: Position, content: Content) -> io::Result<()> {
        self.batch.push(Block { first, content });
        match self.batch.len() < BATCH {
            true => Ok(()),
            false => self.send(),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        let taken = self
            .queue
            .as_ref()
            .is_some_and(|queue| queue.send(batch).is_ok());
        if taken {
            return Ok(());
        }
        // The thread has ended, which it does early only if the file cannot be written.
        self.join().map(|_| ())
    }

    /// Waits until all blocks are written or pending; gives the file and where they are.
    pub(super) fn finish(mut self) -> Written {
        self.send()?;
        self.join()
    }

    fn join(&mut self) -> Written {
        self.queue = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(written)) => written,
            Some(Err(_)) => Err(io::Error::other("the layer's writer panicked")),
            None => Err(io::Error::other("the layer's writer has failed before")),
        }
    }
}

impl Drop for BlockThread {
    fn drop(&mut self) {
        // Whoever drops it without asking has no use for the result.
        let _ = self.join();
    }
}

fn write_blocks(
    mut out: Output,
    compression: Compression,
    blocks: &Receiver<Vec<Block>>,
    gives_back: &Sender<Vec<Block>>,
) -> Written {
    let mut index = Vec::new();
    for mut batch in blocks {
        for Block { first, content } in &batch {
            let entry = match content {
                Content::Payload(payload) => {
                    out.write_block(*first, BlockType::Data, compression, payload)
                }
                Content::Frame(frame) => out.write_frame(*first, frame),
            }?;
            index.push(entry);
        }
        // What is taken over needs no memory: nobody would ask for that of frames.
        batch.retain(|block| matches!(block.content, Content::Payload(_)));
        // Nobody waits for it at the end.
        let _ = gives_back.send(batch);
    }
    Ok((out, index))
}

/// The file, written in large pieces, and the checksum of it.
#[derive(Debug)]
pub(super) struct Output {
    file: Arc<dyn StorageFile>,
    written: u64,
    /// Of what is written.
    checksum: u32,
    pending: Vec<u8>,
}

impl Output {
    pub(super) fn new(file: Arc<dyn StorageFile>) -> Output {
        Output {
            file,
            written: 0,
            checksum: 0,
            pending: Vec::new(),
        }
    }

    pub(super) fn offset(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    pub(super) fn write_block(
        &mut self,
        first: Position,
        block_type: BlockType,
        compression: Compression,
        payload: &[u8],
    ) -> io::Result<IndexEntry> {
        let start = self.pending.len();
        write_frame(&mut self.pending, block_type, compression, payload);
        self.end_block(first, start)
    }

    /// Writes a block that has its header already.
    fn write_frame(&mut self, first: Position, frame: &[u8]) -> io::Result<IndexEntry> {
        let start = self.pending.len();
        self.pending.extend_from_slice(frame);
        self.end_block(first, start)
    }

    /// Gives where the block is that begins at `start` of what is pending.
    fn end_block(&mut self, first: Position, start: usize) -> io::Result<IndexEntry> {
        let offset = self.written + start as u64;
        let len = u32::try_from(self.pending.len() - start).expect("a payload is bounded");
        if self.pending.len() >= WRITE_SIZE {
            self.flush()?;
        }
        Ok(IndexEntry { first, offset, len })
    }

    /// Appends bytes that are no block.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Writes what is pending; gives the checksum of the whole file.
    pub(super) fn flush(&mut self) -> io::Result<u32> {
        self.checksum = crc32c::crc32c_append(self.checksum, &self.pending);
        self.file.write_all_at(&self.pending, self.written)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(self.checksum)
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}
