//! The same in a hurry: versions stay as they are and where they are, but for images where changes are very many.

use walrecord::PageKey;

use super::super::effort::Effort;
use super::super::merge::Merge;
use super::super::output::Outputs;
use super::Rewriter;
use crate::error::StoreError;
use crate::key::Key;
use crate::layer::{BlockEdges, KeyVersions};
use crate::timeline::chain_bound::ChainLength;

impl Rewriter<'_> {
    /// The versions above the cutoff: all of them as they are, but where changes are very many an image. If one layer has
    /// all of them, this ends where a block begins that can be taken over whole.
    pub(super) fn page_above_quickly(
        &mut self,
        key: &Key,
        page: PageKey,
        merge: &mut Merge<'_>,
        out: &mut Outputs<'_>,
    ) -> Result<(), StoreError> {
        let is_alone = merge.is_in_one(key)?;
        let (last, length) = self.length;
        let mut length = match last == *key {
            true => length,
            false => ChainLength::default(),
        };
        while let Some(versions) = merge.side_by_side(key)? {
            let max_deltas = out.effort().max_deltas(&self.shared.config);
            let count = self.count_until_due(&versions, &mut length, max_deltas);
            let before = count.checked_sub(1).and_then(|last| versions.lsn(last));
            let due = versions.lsn(count);
            if let Some(before) = before {
                out.add_versions(&versions.first(count))?;
                merge.leave(count, before)?;
            }
            let Some(due) = due else {
                self.length = (*key, length);
                if is_alone && self.kept_quickly(merge)?.is_some() {
                    return Ok(());
                }
                continue;
            };
            // What is held of the page has a gap.
            self.chain.forget();
            if self.make_image(page, due)? {
                self.chain.write_newest(key, out)?;
            } else if let Some(versions) = merge.side_by_side(key)? {
                out.add_versions(&versions.first(1))?;
            }
            merge.leave(1, due)?;
            length = ChainLength::based();
        }
        Ok(())
    }

    /// How many of the versions come before one that is due to be an image; all, if none is. `length` is that of the
    /// changes before.
    fn count_until_due(
        &mut self,
        versions: &KeyVersions<'_>,
        length: &mut ChainLength,
        max_deltas: usize,
    ) -> usize {
        for (number, version) in versions.iter().enumerate() {
            let bytes = version.stored_len as u64;
            let needs_older = version.kind.needs_older();
            if !needs_older {
                // Whatever kept the page from being known.
                self.chain.reset();
            }
            length.add(needs_older, bytes);
            if needs_older && length.is_due(max_deltas) {
                return number;
            }
        }
        versions.len()
    }

    /// Whether the block that comes next comes out as it is in a hurry: all versions stay, none is fuzzy, and none is due
    /// to be an image. Gives the last key, and the length of its changes then.
    pub(super) fn kept_quickly(
        &self,
        merge: &mut Merge<'_>,
    ) -> Result<Option<(Key, ChainLength)>, StoreError> {
        let Some(block) =
            merge.block_ahead(BlockEdges::Open, Effort::Quick.options().compression)?
        else {
            return Ok(None);
        };
        let max_deltas = Effort::Quick.max_deltas(&self.shared.config);
        let (mut key, mut length) = self.length;
        for version in block.versions() {
            if version.key != key {
                (key, length) = (version.key, ChainLength::default());
            }
            let needs_older = version.kind.needs_older();
            length.add(needs_older, version.stored_len as u64);
            let stays = version.lsn > self.retention.cutoff() && version.lsn >= self.import_stop;
            if !stays || (needs_older && length.is_due(max_deltas)) {
                return Ok(None);
            }
        }
        Ok(Some((key, length)))
    }
}
