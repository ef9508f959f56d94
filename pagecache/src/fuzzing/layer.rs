//! Layer files for fuzzing: checksums would refuse nearly everything, so they are made right first; what is
//! tested is what stands behind them.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use walrecord::Lsn;

use crate::storage::StorageFile;
use crate::{BlockCache, Key, Layer, LayerError, LayerId};

const HEADER: usize = 16;
const FRAME: usize = 16;
const FOOTER: usize = 124;
const BODY_CHECKSUM: usize = 104;

/// Sets every checksum, as far as the structure can be followed.
pub(super) fn set_checksums(bytes: &mut [u8]) {
    let Some(footer) = bytes.len().checked_sub(FOOTER) else {
        return;
    };
    let mut at = HEADER;
    while at + FRAME <= footer {
        let stored = [8, 9, 10, 11].map(|i| bytes[at + i]);
        let end = at + FRAME + u32::from_le_bytes(stored) as usize;
        if end > footer {
            break;
        }
        let checksum = crc32c::crc32c(&bytes[at + 4..end]);
        bytes[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
        at = end;
    }
    if footer >= HEADER {
        let checksum = crc32c::crc32c(&bytes[..12]);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    }
    let body = crc32c::crc32c(&bytes[..footer]);
    bytes[footer + BODY_CHECKSUM..][..4].copy_from_slice(&body.to_le_bytes());
    let end = bytes.len() - 4;
    let checksum = crc32c::crc32c(&bytes[footer..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
}

pub(super) fn read_all(bytes: Vec<u8>) -> Result<(), LayerError> {
    let cache = Arc::new(BlockCache::new(1 << 20));
    let layer = Layer::open(Arc::new(Bytes(bytes)), LayerId::new(1), cache)?;
    let mut keys = vec![layer.summary().first_key, layer.summary().last_key];
    let scanned = scan(&layer, &mut keys);
    for key in &keys {
        for upto in [layer.summary().min_lsn, Lsn::MAX] {
            // One key that cannot be read leaves others that can.
            let _ = layer.visit(key, Lsn::INVALID, upto, &mut |_| ControlFlow::Continue(()));
        }
    }
    scanned?;
    layer.verify()
}

fn scan(layer: &Layer, keys: &mut Vec<Key>) -> Result<(), LayerError> {
    let mut scan = layer.scan(Key::all(), Lsn::MAX);
    while let Some(entry) = scan.next()? {
        if keys.len() < 100 {
            keys.push(entry.key);
        }
    }
    Ok(())
}

/// A file that is only read.
#[derive(Debug)]
struct Bytes(Vec<u8>);

impl StorageFile for Bytes {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let left = self.0.get(start..).unwrap_or_default();
        let len = left.len().min(buf.len());
        buf[..len].copy_from_slice(&left[..len]);
        Ok(len)
    }

    fn write_all_at(&self, _buf: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
