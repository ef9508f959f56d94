//! The names of WAL segment files (`XLogFileName`, `XLogFromFileName` in access/xlog_internal.h).

use walrecord::{Lsn, PgTimelineId};

/// Names one segment of WAL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct SegmentId {
    pub(super) timeline: PgTimelineId,
    pub(super) number: u64,
}

impl SegmentId {
    /// The file name: timeline, then the position's high and low part, 8 digits each.
    pub(super) fn file_name(self, segment_size: u32) -> String {
        let per_high = segments_per_high(segment_size);
        format!(
            "{:08X}{:08X}{:08X}",
            self.timeline,
            self.number / per_high,
            self.number % per_high
        )
    }

    /// Reads a file name; none if it names no segment of that size.
    pub(super) fn parse(name: &str, segment_size: u32) -> Option<SegmentId> {
        let digit = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
        if name.len() != 24 || !name.bytes().all(digit) {
            return None;
        }
        let part = |range| u32::from_str_radix(&name[range], 16).ok();
        let (timeline, high, low) = (part(0..8)?, part(8..16)?, u64::from(part(16..24)?));
        let per_high = segments_per_high(segment_size);
        (low < per_high).then_some(SegmentId {
            timeline,
            number: u64::from(high) * per_high + low,
        })
    }
}

/// Segments in 4 GiB of WAL, the span of a name's middle part.
const fn segments_per_high(segment_size: u32) -> u64 {
    (1 << 32) / segment_size as u64
}

/// Whether WAL segments can have that size (`IsValidWalSegSize`).
pub(super) const fn is_segment_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && bytes >= 1 << 20 && bytes <= 1 << 30
}
