//! Tests of whole layer files.

mod damage;
mod golden;
mod model;
mod reading;
mod side_by_side;
mod whole;

use std::collections::BTreeMap;
use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex};

use walrecord::{BlockTag, ForkNumber, Lsn, PAGE_SIZE, RelFileLocator};

use super::*;
use crate::block_cache::BlockCache;
use crate::key::Key;
use crate::storage::StorageFile;

const ID: LayerId = LayerId::new(0x2A);

/// A file in memory, whose bytes a test can look at and change. Counts what is read.
#[derive(Debug, Default)]
struct MemoryFile {
    bytes: Mutex<Vec<u8>>,
    reads: Mutex<Vec<Range<u64>>>,
}

impl MemoryFile {
    fn with(bytes: Vec<u8>) -> Arc<MemoryFile> {
        Arc::new(MemoryFile {
            bytes: Mutex::new(bytes),
            reads: Mutex::default(),
        })
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.bytes.lock().unwrap())
    }
}

impl StorageFile for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset + buf.len() as u64;
        self.reads.lock().unwrap().push(offset..end);
        let bytes = self.bytes.lock().unwrap();
        let left = bytes.get(offset as usize..).unwrap_or_default();
        let len = left.len().min(buf.len());
        buf[..len].copy_from_slice(&left[..len]);
        Ok(len)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut bytes = self.bytes.lock().unwrap();
        assert_eq!(offset, bytes.len() as u64, "a layer is written in order");
        bytes.extend_from_slice(buf);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        unreachable!("layers are never cut")
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What a layer should hold.
type Model = BTreeMap<(Key, Lsn), (EntryKind, Vec<u8>)>;

/// One version, as a reader gave it.
type Version = (Key, Lsn, EntryKind, Vec<u8>);

fn version(entry: EntryRef<'_>) -> Version {
    (entry.key, entry.lsn, entry.kind, entry.value.to_vec())
}

fn options(kind: LayerKind, compression: Compression, block_size: u32) -> LayerOptions {
    LayerOptions {
        kind,
        compression,
        block_size,
    }
}

fn write(model: &Model, options: LayerOptions) -> (Vec<u8>, LayerSummary) {
    let file = Arc::new(MemoryFile::default());
    let mut writer = LayerWriter::create(file.clone(), options).unwrap();
    for ((key, lsn), (kind, value)) in model {
        writer.add(key, *lsn, *kind, value).unwrap();
    }
    let summary = writer.finish().unwrap();
    (file.take(), summary)
}

fn open(bytes: Vec<u8>) -> Result<Layer, LayerError> {
    Layer::open(
        MemoryFile::with(bytes),
        ID,
        Arc::new(BlockCache::new(1 << 20)),
    )
}

fn visit(layer: &Layer, key: &Key, above: Lsn, upto: Lsn) -> Result<Vec<Version>, LayerError> {
    let mut versions = Vec::new();
    layer.visit(key, above, upto, &mut |entry| {
        versions.push(version(entry));
        ControlFlow::Continue(())
    })?;
    Ok(versions)
}

fn scan(layer: &Layer, range: Range<Key>, upto: Lsn) -> Result<Vec<Version>, LayerError> {
    let mut scan = layer.scan(range, upto);
    let mut versions = Vec::new();
    while let Some(entry) = scan.next()? {
        versions.push(version(entry));
    }
    Ok(versions)
}

/// The versions of the model in a range, ascending.
fn expected(model: &Model, range: &Range<Key>, upto: Lsn) -> Vec<Version> {
    model
        .iter()
        .filter(|((key, lsn), _)| range.contains(key) && *lsn <= upto)
        .map(|((key, lsn), (kind, value))| (*key, *lsn, *kind, value.clone()))
        .collect()
}

fn page_key(rel: u32, block: u32) -> Key {
    Key::block(BlockTag {
        rel: RelFileLocator {
            spc: 1663,
            db: 5,
            rel,
        },
        fork: ForkNumber::Main,
        block,
    })
}

/// A page with a hole from `lower` to `upper`, and `fill` elsewhere.
fn page(lower: u16, upper: u16, fill: u8) -> Vec<u8> {
    let mut page = vec![fill; PAGE_SIZE];
    page[12..14].copy_from_slice(&lower.to_le_bytes());
    page[14..16].copy_from_slice(&upper.to_le_bytes());
    page[usize::from(lower)..usize::from(upper)].fill(0);
    page
}

/// A generator that a printed seed repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = crate::key::mix(self.0);
        (self.0 >> 32) % bound
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        // Few distinct bytes, so that some of it compresses.
        (0..len).map(|_| self.below(4) as u8).collect()
    }
}

/// What a copy has in common with its original, whatever its blocks are.
fn sizeless(summary: &LayerSummary) -> LayerSummary {
    LayerSummary {
        file_size: 0,
        checksum: 0,
        ..*summary
    }
}
