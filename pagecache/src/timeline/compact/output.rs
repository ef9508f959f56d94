//! The layer files that a compaction writes, cut where they are large enough.

use std::sync::Arc;

use walrecord::Lsn;

use super::effort::Effort;
use crate::error::StoreError;
use crate::key::{Key, KeyKind};
use crate::layer::{EntryKind, KeyVersions, WholeBlock};
use crate::timeline::layer_file::LayerFile;
use crate::timeline::shared::Shared;
use crate::timeline::stored_layer::StoredLayer;

/// Blocks of a relation that are stored and moved as one: a segment file of Postgres, 1 GiB.
const CHUNK_BLOCKS: u32 = 1 << 17;

/// Takes versions in ascending order.
pub(super) struct Outputs<'a> {
    shared: &'a Arc<Shared>,
    /// For the file that is begun next.
    effort: Effort,
    file: Option<LayerFile>,
    /// Of versions in the file, before compression.
    bytes: u64,
    last: Option<Key>,
}

impl<'a> Outputs<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, effort: Effort) -> Outputs<'a> {
        Outputs {
            shared,
            effort,
            file: None,
            bytes: 0,
            last: None,
        }
    }

    /// How versions are written at present.
    pub(super) fn effort(&self) -> Effort {
        self.effort
    }

    pub(super) fn add(
        &mut self,
        key: &Key,
        lsn: Lsn,
        kind: EntryKind,
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.file()?.add(key, lsn, kind, value)?;
        self.bytes += value.len() as u64;
        self.last = Some(*key);
        Ok(())
    }

    /// Adds versions of one key as one of the files has them that are compacted.
    pub(super) fn add_versions(&mut self, versions: &KeyVersions<'_>) -> Result<(), StoreError> {
        let Some(last) = versions.iter().last() else {
            return Ok(());
        };
        self.file()?.add_versions(versions)?;
        self.bytes += versions.stored_bytes();
        self.last = Some(last.key);
        Ok(())
    }

    /// Adds a block of one of the files that are compacted, as it is.
    pub(super) fn add_block(&mut self, block: WholeBlock) -> Result<(), StoreError> {
        self.bytes += block.payload_len();
        self.last = Some(block.last_key());
        self.file()?.add_block(block)
    }

    fn file(&mut self) -> Result<&mut LayerFile, StoreError> {
        Ok(match &mut self.file {
            Some(file) => file,
            none => none.insert(LayerFile::create(self.shared, self.effort.options())?),
        })
    }

    /// Whether the file is large enough to end before `next`: sooner where a chunk ends, and never among the versions of
    /// one key.
    pub(super) fn is_due(&self, next: &Key) -> bool {
        if self.last == Some(*next) {
            return false;
        }
        let target = self.shared.config.compacted_layer;
        let at_chunk = self.last.is_some_and(|last| chunk(&last) != chunk(next));
        self.bytes >= target || (at_chunk && self.bytes >= target / 2)
    }

    /// Ends the file, if there is one: it is durable then, and nobody knows of it. The next one is written by `effort`.
    pub(super) fn finish_file(
        &mut self,
        effort: Effort,
    ) -> Result<Option<Arc<StoredLayer>>, StoreError> {
        self.effort = effort;
        self.bytes = 0;
        let finished = self.file.take().map(|file| file.finish(self.shared));
        Ok(finished.transpose()?.map(Arc::new))
    }
}

/// What of the key tells its chunk.
fn chunk(key: &Key) -> (Key, u32) {
    match key.decode() {
        KeyKind::Page(walrecord::PageKey::Block(tag)) => {
            (Key::relation(tag.rel, tag.fork), tag.block / CHUNK_BLOCKS)
        }
        _ => (*key, 0),
    }
}
