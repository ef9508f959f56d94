//! What a restart finds in a directory of segment files.

use std::collections::BTreeMap;
use std::path::Path;

use walrecord::{Lsn, SegmentId};

use super::error::WalStoreError;
use super::history::Layout;
use crate::storage::Storage;

/// What the name of a segment file that is out of reach gets behind it.
pub(super) const ORPHAN_SUFFIX: &str = ".orphan";

/// The segment files of a directory, sorted out.
#[derive(Debug)]
pub(super) struct Found {
    /// The end of the bytes that hang together from the start on.
    pub(super) end: Lsn,
    /// The segments that hold them.
    pub(super) segments: Vec<SegmentId>,
    /// Segments behind a gap, or behind the end of their timeline. A crash leaves such files when a segment
    /// was lost that was not synced; none of their bytes was ever acknowledged, since syncs go in order.
    pub(super) orphans: Vec<SegmentId>,
}

impl Layout {
    /// Looks at the files of `dir`. Names of no segment are passed over, as are segments below the
    /// start.
    pub(super) fn scan(&self, storage: &dyn Storage, dir: &Path) -> Result<Found, WalStoreError> {
        let entries = storage
            .list(dir)
            .map_err(WalStoreError::io("list the directory", dir))?;
        let first = self.start.segment_number(self.segment_size);
        let mut there = BTreeMap::new();
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let name = entry.name.to_str();
            let Some(id) = name.and_then(|name| SegmentId::parse(name, self.segment_size).ok())
            else {
                continue;
            };
            if !self.knows(id.timeline) {
                return Err(WalStoreError::OtherTimeline {
                    path: dir.join(&entry.name),
                    found: id.timeline,
                    expected: self.last().timeline,
                });
            }
            if entry.len > u64::from(self.segment_size) {
                return Err(WalStoreError::Oversized {
                    path: dir.join(&entry.name),
                    length: entry.len,
                    segment_size: self.segment_size,
                });
            }
            if id.number >= first {
                there.insert(id, entry.len);
            }
        }
        Ok(self.sort_out(there))
    }

    fn sort_out(&self, mut there: BTreeMap<SegmentId, u64>) -> Found {
        let mut found = Found {
            end: self.start,
            segments: Vec::new(),
            orphans: Vec::new(),
        };
        loop {
            let place = self.place(found.end);
            let Some(len) = there.remove(&place.segment) else {
                break;
            };
            found.segments.push(place.segment);
            let held = len.saturating_sub(place.offset).min(place.room);
            found.end = found.end + held;
            if held < place.room {
                break;
            }
        }
        // In the order in which they were written.
        found.orphans = there.into_keys().collect();
        found
    }
}
