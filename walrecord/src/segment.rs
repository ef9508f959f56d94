//! WAL segments as files: their names, and a stretch of WAL in memory as a source of records
//! (`XLogFileName`, `XLogFromFileName`, `IsXLogFileName` in access/xlog_internal.h).

use std::convert::Infallible;

use crate::error::WalError;
use crate::page::{SHORT_PAGE_HEADER_SIZE, WAL_PAGE_SIZE, is_segment_size};
use crate::record::{RECORD_HEADER_SIZE, RawRecord, RecordHeader};
use crate::source::WalSource;
use crate::types::{Lsn, PgTimelineId, PgVersion};

/// Names one segment of WAL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentId {
    /// The Postgres timeline that wrote it.
    pub timeline: PgTimelineId,
    /// Its number: position divided by segment size.
    pub number: u64,
}

/// A text that names no segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} names no WAL segment of {segment_size} bytes; expected 24 upper-case hexadecimal digits as in 000000010000000000000001"
)]
pub struct SegmentNameError {
    /// The text.
    pub name: String,
    /// The segment size for which it was read, bytes.
    pub segment_size: u32,
}

impl SegmentId {
    /// The segment that holds the byte at `lsn`.
    ///
    /// # Panics
    /// If `segment_size` is zero.
    pub const fn of(timeline: PgTimelineId, lsn: Lsn, segment_size: u32) -> SegmentId {
        SegmentId {
            timeline,
            number: lsn.segment_number(segment_size),
        }
    }

    /// The file name: timeline, then the position's high and low part, 8 digits each.
    ///
    /// # Panics
    /// If `segment_size` is zero.
    pub fn file_name(&self, segment_size: u32) -> String {
        let per_high = segments_per_high(segment_size);
        format!(
            "{:08X}{:08X}{:08X}",
            self.timeline,
            self.number / per_high,
            self.number % per_high
        )
    }

    /// Reads a file name.
    ///
    /// # Errors
    /// If it is not 24 upper-case hexadecimal digits, if the low part is too large for the segment
    /// size, or if segments cannot have that size.
    pub fn parse(name: &str, segment_size: u32) -> Result<SegmentId, SegmentNameError> {
        let digit = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
        let part = |range| u32::from_str_radix(&name[range], 16).ok();
        let read = || {
            let shaped = name.len() == 24 && name.bytes().all(digit);
            if !shaped || !is_segment_size(segment_size) {
                return None;
            }
            let (timeline, high, low) = (part(0..8)?, part(8..16)?, u64::from(part(16..24)?));
            let per_high = segments_per_high(segment_size);
            (low < per_high).then_some(SegmentId {
                timeline,
                number: u64::from(high) * per_high + low,
            })
        };
        read().ok_or_else(|| SegmentNameError {
            name: name.to_owned(),
            segment_size,
        })
    }

    /// The position of its first byte; none if that leaves the 64-bit range.
    pub const fn start(&self, segment_size: u32) -> Option<Lsn> {
        match self.number.checked_mul(segment_size as u64) {
            Some(start) => Some(Lsn::new(start)),
            None => None,
        }
    }
}

/// Segments in 4 GiB of WAL, the span of a name's middle part.
const fn segments_per_high(segment_size: u32) -> u64 {
    (1 << 32) / segment_size as u64
}

/// A stretch of WAL in memory: a segment file, say, or several in a row.
#[derive(Clone, Copy, Debug)]
pub struct WalSlice<'a> {
    /// The position of the first byte.
    pub start: Lsn,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl<'a> WalSlice<'a> {
    /// The record of `version` that starts at `start`, not copied, if it lies in one page of this
    /// stretch; none if it does not, or if something other than a record's first bytes may stand there:
    /// [`RecordReader`](crate::RecordReader) tells. Its length and CRC are checked, its link to the
    /// record before only for direction.
    ///
    /// # Errors
    /// If the record is damaged.
    pub fn record_in_page(
        &self,
        start: Lsn,
        version: PgVersion,
    ) -> Result<Option<RawRecord<'a>>, WalError> {
        let in_page = WAL_PAGE_SIZE - start.page_offset() as usize;
        let whole = start
            .checked_sub(self.start)
            .and_then(|offset| self.bytes.get(usize::try_from(offset).ok()?..))
            .filter(|_| start.page_offset() >= SHORT_PAGE_HEADER_SIZE as u64)
            .and_then(|rest| {
                let length = u32::from_le_bytes(*rest.first_chunk()?) as usize;
                rest[..rest.len().min(in_page)].get(..length)
            });
        let Some(bytes) = whole.filter(|bytes| bytes.len() >= RECORD_HEADER_SIZE) else {
            return Ok(None);
        };
        let header =
            RecordHeader::parse(bytes).map_err(|error| WalError::Record { at: start, error })?;
        if header.is_switch() {
            // Its end is that of the segment.
            return Ok(None);
        }
        if header.prev >= start {
            let found = header.prev;
            return Err(WalError::PrevNotBefore { at: start, found });
        }
        header.check_crc(start, bytes)?;
        Ok(Some(RawRecord {
            start,
            end: (start + bytes.len() as u64).align_up(),
            version,
            bytes,
        }))
    }
}

impl WalSource for WalSlice<'_> {
    type Error = Infallible;

    fn read_at(&self, lsn: Lsn, buf: &mut [u8]) -> Result<usize, Infallible> {
        let there = lsn
            .checked_sub(self.start)
            .and_then(|offset| usize::try_from(offset).ok())
            .and_then(|offset| self.bytes.get(offset..))
            .unwrap_or(&[]);
        let count = there.len().min(buf.len());
        buf[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u32 = 1 << 20;

    #[test]
    fn file_names_are_those_of_postgres() {
        // From `pg_walfile_name` of servers with these segment sizes.
        for (lsn, size, name) in [
            ("0/16B3748", 16 * MIB, "000000010000000000000001"),
            ("1/0", 16 * MIB, "000000010000000100000000"),
            ("1/FF000000", 16 * MIB, "0000000100000001000000FF"),
            ("0/FFFFFFFF", MIB, "000000010000000000000FFF"),
            ("A/40000000", 1024 * MIB, "000000010000000A00000001"),
        ] {
            let lsn: Lsn = lsn.parse().unwrap();
            let id = SegmentId::of(1, lsn, size);
            assert_eq!(id.file_name(size), name);
            assert_eq!(SegmentId::parse(name, size), Ok(id));
            assert_eq!(id.start(size), Some(lsn.segment_start(size)));
        }
    }

    #[test]
    fn rejects_names_of_other_files_and_other_segment_sizes() {
        for name in [
            "",
            "00000001000000000000000",
            "000000010000000000000001.partial",
            "00000002.history",
            "00000001000000000000000a",
            "+00000010000000000000001",
            // There are 256 segments of 16 MiB in 4 GiB.
            "000000010000000000000100",
        ] {
            let error = SegmentId::parse(name, 16 * MIB).unwrap_err();
            assert!(error.to_string().contains(&format!("{name:?}")));
        }
        assert!(SegmentId::parse("000000010000000000000100", MIB).is_ok());
        assert!(SegmentId::parse("000000010000000000000001", 12345).is_err());
        assert!(SegmentId::parse("000000010000000000000001", 0).is_err());
    }
}
