//! Reads a layer file: opening, and point reads.

use std::ops::ControlFlow;
use std::sync::Arc;

use walrecord::Lsn;

use super::block::{BlockType, DataBlock, FRAME_HEADER, PageBuffer, check_frame, open_frame};
use super::filter::Filter;
use super::footer::{FOOTER_SIZE, Footer, HEADER_SIZE};
use super::format::{Position, bytes_at};
use super::index::{Index, IndexEntry};
use super::{Compression, Damage, EntryRef, LayerError, LayerId, LayerSummary};
use crate::block_cache::{BlockCache, Owner};
use crate::key::Key;
use crate::storage::StorageFile;

/// Bytes at the end of a file that opening it reads at once: footer, filter and top index of most
/// layers.
const TAIL: usize = 64 * 1024;

/// An open layer file. Any number of threads may read it at once.
///
/// In memory are the filter and the top index ([`Layer::memory`]); index and data blocks are in the
/// [`BlockCache`], or read when needed. A point read that finds nothing cached reads one index
/// block and one data block.
#[derive(Debug)]
pub struct Layer {
    pub(super) file: LayerFile,
    cache: Arc<BlockCache>,
    /// What its blocks are kept under in the cache.
    owner: Owner,
    pub(super) footer: Footer,
    summary: LayerSummary,
    /// Passed [`Index::check`].
    pub(super) top: Arc<[u8]>,
    pub(super) filter: Option<Filter>,
}

/// What becomes of a block that was not in the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Caching {
    /// It goes there: a neighbour is likely to be read soon.
    Keep,
    /// It does not: it is read in passing, and would displace others.
    Pass,
}

/// A data block in the order of the file, found through its index block.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The number of the index block in the top index.
    top: usize,
    /// Its payload. Passed [`Index::check`].
    index: Arc<[u8]>,
    /// The number of the data block in it.
    number: usize,
}

impl Layer {
    /// Opens a layer file: reads footer, top index and filter.
    ///
    /// # Errors
    /// If the file cannot be read, or one of these is damaged.
    pub fn open(
        file: Arc<dyn StorageFile>,
        id: LayerId,
        cache: Arc<BlockCache>,
    ) -> Result<Layer, LayerError> {
        let mut file = LayerFile { file, id, len: 0 };
        file.len = file.file.len().map_err(|source| LayerError::Io {
            layer: id,
            offset: 0,
            len: 0,
            source,
        })?;
        let least = (HEADER_SIZE + FOOTER_SIZE) as u64;
        Damage::unless_within("length of the file", least..=u64::MAX, file.len)
            .map_err(|damage| file.damaged(0, damage))?;
        let mut tail = Tail::read(&file, file.len.min(TAIL as u64))?;
        let footer_offset = file.len - FOOTER_SIZE as u64;
        let footer_bytes = bytes_at(tail.get(footer_offset, FOOTER_SIZE), 0);
        let footer = Footer::decode(&footer_bytes, file.len)
            .map_err(|damage| file.damaged(footer_offset, damage))?;
        if footer.top_offset < tail.offset {
            tail = Tail::read(&file, file.len - footer.top_offset)?;
        }
        let top = tail.get(footer.top_offset, footer.top_len as usize);
        let index_area = footer.index_offset..footer.top_offset;
        let top = open_frame(top, BlockType::TopIndex)
            .and_then(|top| Index::check(&top, &index_area).map(|_| Arc::clone(&top)))
            .map_err(|damage| file.damaged(footer.top_offset, damage))?;
        let filter_offset = footer.top_offset + u64::from(footer.top_len);
        let filter = match footer.filter_len as usize {
            0 => None,
            len => Some(
                open_frame(tail.get(filter_offset, len), BlockType::Filter)
                    .and_then(Filter::check)
                    .map_err(|damage| file.damaged(filter_offset, damage))?,
            ),
        };
        Ok(Layer {
            summary: footer.summary(&footer_bytes, file.len),
            file,
            owner: cache.new_owner(),
            cache,
            footer,
            top,
            filter,
        })
    }

    /// The name.
    pub fn id(&self) -> LayerId {
        self.file.id
    }

    /// What a manifest needs to know of the layer. The checksum is computed from the footer, which
    /// has that of everything before: it is the file's if the file is as it was written, which
    /// [`Layer::verify`] finds out.
    pub fn summary(&self) -> &LayerSummary {
        &self.summary
    }

    /// Bytes of memory that the layer takes while it is open, cached blocks aside.
    pub fn memory(&self) -> usize {
        size_of::<Layer>() + self.top.len() + self.filter.as_ref().map_or(0, Filter::memory)
    }

    /// Whether it was written as one that stays, by [`LayerOptions::compact`](super::LayerOptions::compact).
    pub fn is_compact(&self) -> bool {
        self.footer.version >= Compression::Zstd.format_version()
    }

    /// Whether the layer may have a version of `key`: false is certain. Touches memory only. In a
    /// delta layer, one key in a hundred that has none is taken for one that may (a filter of ten
    /// bits a key); in a layer of images, any between the first and the last.
    pub fn may_contain(&self, key: &Key) -> bool {
        (self.footer.first_key..=self.footer.last_key).contains(key)
            && self
                .filter
                .as_ref()
                .is_none_or(|filter| filter.may_contain(key))
    }

    /// Shows the versions of `key` above `above` and not above `upto`, newest first, until `f`
    /// breaks.
    ///
    /// # Errors
    /// If a block cannot be read or is damaged; `f` may have seen versions before.
    pub fn visit(
        &self,
        key: &Key,
        above: Lsn,
        upto: Lsn,
        f: &mut dyn FnMut(EntryRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), LayerError> {
        if above >= upto || !self.may_contain(key) {
            return Ok(());
        }
        let mut place = self.seek(key, upto, Caching::Keep)?;
        let mut buffer = PageBuffer::default();
        while let Some(here) = place {
            let payload = self.data(&here.entry(), Caching::Keep)?;
            let block = DataBlock::trusted(&payload);
            let (index, true) = block.search(key) else {
                return Ok(());
            };
            for row in block.rows_upto(index, upto).rev() {
                if block.lsn(row) <= above || f(block.entry(*key, row, &mut buffer)).is_break() {
                    return Ok(());
                }
            }
            if index > 0 || !block.continued() {
                return Ok(());
            }
            place = self.before(here, Caching::Keep)?;
        }
        Ok(())
    }

    /// The last block that starts at or below (key, LSN), or none if all start above.
    pub(super) fn seek(
        &self,
        key: &Key,
        lsn: Lsn,
        caching: Caching,
    ) -> Result<Option<Place>, LayerError> {
        let Some(top) = self.top().search(key, lsn) else {
            return Ok(None);
        };
        let index = self.index(top, caching)?;
        // The block starts at or below, since its first entry is what the top index says.
        let number = Index::trusted(&index).search(key, lsn).unwrap_or(0);
        Ok(Some(Place { top, index, number }))
    }

    /// The first block.
    pub(super) fn first_place(&self, caching: Caching) -> Result<Place, LayerError> {
        Ok(Place {
            top: 0,
            index: self.index(0, caching)?,
            number: 0,
        })
    }

    /// The block before, or none before the first.
    fn before(&self, place: Place, caching: Caching) -> Result<Option<Place>, LayerError> {
        if let Some(number) = place.number.checked_sub(1) {
            return Ok(Some(Place { number, ..place }));
        }
        let Some(top) = place.top.checked_sub(1) else {
            return Ok(None);
        };
        let index = self.index(top, caching)?;
        let number = Index::trusted(&index).len() - 1;
        Ok(Some(Place { top, index, number }))
    }

    /// The block behind, or none behind the last.
    pub(super) fn after(
        &self,
        place: Place,
        caching: Caching,
    ) -> Result<Option<Place>, LayerError> {
        let number = place.number + 1;
        if number < Index::trusted(&place.index).len() {
            return Ok(Some(Place { number, ..place }));
        }
        let top = place.top + 1;
        if top == self.top().len() {
            return Ok(None);
        }
        let index = self.index(top, caching)?;
        Ok(Some(Place {
            top,
            index,
            number: 0,
        }))
    }

    pub(super) fn top(&self) -> Index<'_> {
        Index::trusted(&self.top)
    }

    /// The payload of an index block, checked.
    pub(super) fn index(&self, top: usize, caching: Caching) -> Result<Arc<[u8]>, LayerError> {
        let data_area = HEADER_SIZE as u64..self.footer.index_offset;
        self.block(
            &self.top().entry(top),
            BlockType::Index,
            caching,
            |payload| Ok(Index::check(payload, &data_area)?.entry(0).first),
        )
    }

    /// The payload of a data block, checked.
    pub(super) fn data(
        &self,
        entry: &IndexEntry,
        caching: Caching,
    ) -> Result<Arc<[u8]>, LayerError> {
        self.block(entry, BlockType::Data, caching, |payload| {
            Ok(DataBlock::check(payload)?.first())
        })
    }

    /// A block with its header, as it is in the file, its checksum found right.
    pub(super) fn frame(&self, entry: &IndexEntry) -> Result<Vec<u8>, LayerError> {
        let frame = self.file.read(entry.offset, entry.len as usize)?;
        check_frame(&frame).map_err(|damage| self.file.damaged(entry.offset, damage))?;
        Ok(frame)
    }

    /// The payload of a block. What is in the cache has passed `check`: index blocks and data
    /// blocks lie in areas of their own, so that one is never taken for the other.
    fn block(
        &self,
        entry: &IndexEntry,
        block_type: BlockType,
        caching: Caching,
        check: impl FnOnce(&[u8]) -> Result<Position, Damage>,
    ) -> Result<Arc<[u8]>, LayerError> {
        if let Some(payload) = self.cache.get(self.owner, entry.offset) {
            return Ok(payload);
        }
        let frame = self.file.read(entry.offset, entry.len as usize)?;
        let payload = open_frame(&frame, block_type)
            .and_then(|payload| {
                let first = check(&payload)?;
                entry.first.expect("first version of a block", first)?;
                Ok(payload)
            })
            .map_err(|damage| self.file.damaged(entry.offset, damage))?;
        if caching == Caching::Keep {
            self.cache
                .insert(self.owner, entry.offset, Arc::clone(&payload));
        }
        Ok(payload)
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        self.cache.remove_all(self.owner);
    }
}

impl Place {
    /// Where the data block is.
    pub(super) fn entry(&self) -> IndexEntry {
        Index::trusted(&self.index).entry(self.number)
    }
}

/// A file, and what to call it in errors.
#[derive(Debug)]
pub(super) struct LayerFile {
    file: Arc<dyn StorageFile>,
    pub(super) id: LayerId,
    pub(super) len: u64,
}

impl LayerFile {
    /// Reads `len` bytes. Only lengths that have been checked against the length of the file.
    pub(super) fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, LayerError> {
        let mut bytes = vec![0; len];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|source| LayerError::Io {
                layer: self.id,
                offset,
                len,
                source,
            })?;
        Ok(bytes)
    }

    pub(super) fn damaged(&self, offset: u64, damage: Damage) -> LayerError {
        LayerError::Damaged {
            layer: self.id,
            offset,
            damage,
        }
    }
}

/// The last bytes of a file.
struct Tail {
    offset: u64,
    bytes: Vec<u8>,
}

impl Tail {
    fn read(file: &LayerFile, len: u64) -> Result<Tail, LayerError> {
        let offset = file.len - len;
        let len = usize::try_from(len).expect("a file is smaller than the address space");
        let bytes = file.read(offset, len)?;
        Ok(Tail { offset, bytes })
    }

    /// Bytes that lie in the tail.
    fn get(&self, offset: u64, len: usize) -> &[u8] {
        let start = (offset - self.offset) as usize;
        &self.bytes[start..start + len]
    }
}

const _: () = assert!(TAIL > HEADER_SIZE + FOOTER_SIZE + FRAME_HEADER);
