//! What a restart finds in a directory of segment files.

use std::path::Path;

use walrecord::{Lsn, PgTimelineId, SegmentId};

use super::error::WalStoreError;
use crate::storage::Storage;

/// What the name of a segment file that is out of reach gets behind it.
pub(super) const ORPHAN_SUFFIX: &str = ".orphan";

/// How the segment files of a store are laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) segment_size: u32,
    pub(super) timeline: PgTimelineId,
    pub(super) start: Lsn,
}

/// The segment files of a directory, sorted out.
#[derive(Debug)]
pub(super) struct Found {
    /// The end of the bytes that hang together from the start on.
    pub(super) end: Lsn,
    /// The numbers of the segments that hold them.
    pub(super) segments: Vec<u64>,
    /// Segments behind a gap. A crash leaves such files when a segment was lost that was not synced;
    /// none of their bytes was ever acknowledged, since syncs go in order.
    pub(super) orphans: Vec<u64>,
}

impl Layout {
    pub(super) fn file_name(&self, number: u64) -> String {
        let id = SegmentId {
            timeline: self.timeline,
            number,
        };
        id.file_name(self.segment_size)
    }

    /// Looks at the files of `dir`. Names of no segment are passed over, as are segments below the
    /// start.
    pub(super) fn scan(&self, storage: &dyn Storage, dir: &Path) -> Result<Found, WalStoreError> {
        let entries = storage
            .list(dir)
            .map_err(WalStoreError::io("list the directory", dir))?;
        let first = self.start.segment_number(self.segment_size);
        let mut there = Vec::new();
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let name = entry.name.to_str();
            let Some(id) = name.and_then(|name| SegmentId::parse(name, self.segment_size).ok())
            else {
                continue;
            };
            if id.timeline != self.timeline {
                return Err(WalStoreError::OtherTimeline {
                    path: dir.join(&entry.name),
                    found: id.timeline,
                    expected: self.timeline,
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
                there.push((id.number, entry.len));
            }
        }
        Ok(self.sort_out(there))
    }

    fn sort_out(&self, mut there: Vec<(u64, u64)>) -> Found {
        there.sort_unstable();
        let mut found = Found {
            end: self.start,
            segments: Vec::new(),
            orphans: Vec::new(),
        };
        // The number that hangs together with what was seen so far; none behind a gap.
        let mut next = Some(self.start.segment_number(self.segment_size));
        for (number, len) in there {
            if next != Some(number) {
                found.orphans.push(number);
                next = None;
                continue;
            }
            let start = number * u64::from(self.segment_size);
            found.segments.push(number);
            found.end = found.end.max(Lsn::new(start.saturating_add(len)));
            next = (len == u64::from(self.segment_size)).then_some(number + 1);
        }
        found
    }
}
