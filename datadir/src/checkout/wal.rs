//! The WAL that a clone starts with: the parent's up to X, and at X the shutdown checkpoint that the control
//! file points at. Formats after access/xlog_internal.h and access/xlogrecord.h.

use walrecord::rmgr::xlog::CheckPoint;
use walrecord::{
    LONG_PAGE_HEADER_SIZE, Lsn, PgTimelineId, PgVersion, RECORD_HEADER_SIZE, Rmgr,
    SHORT_PAGE_HEADER_SIZE, WAL_PAGE_SIZE,
};

/// `XLOG_CHECKPOINT_SHUTDOWN`.
const CHECKPOINT_SHUTDOWN: u8 = 0x00;

/// Marks main data of up to 255 bytes (`XLR_BLOCK_ID_DATA_SHORT`).
const ID_DATA_SHORT: u8 = 255;

/// Page flags: the page begins inside a record; the page begins a segment.
const CONTINUES: u16 = 0x1;
const LONG: u16 = 0x2;

/// What the pages of a clone's WAL carry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WalLayout {
    /// The version.
    pub(crate) version: PgVersion,
    /// The timeline of new pages.
    pub(crate) timeline: PgTimelineId,
    /// The cluster.
    pub(crate) system_identifier: u64,
    /// Bytes of a segment.
    pub(crate) segment_size: u32,
}

impl WalLayout {
    /// Where a record begins that is written at the boundary `at`: behind the page header if that is a page
    /// boundary. None if no record can begin or end there.
    pub(crate) fn record_start(&self, at: Lsn) -> Option<Lsn> {
        let header = self.header_size(at.page_start());
        let aligned = at.is_valid() && at.align_up() == at;
        match at.page_offset() {
            _ if !aligned => None,
            0 => at.checked_add(header),
            offset => (offset >= header).then_some(at),
        }
    }

    /// The bytes from `at` on that put `record` there: its page headers included, nothing behind it.
    ///
    /// # Panics
    /// If the record reaches beyond the last possible position.
    pub(crate) fn frame(&self, at: Lsn, record: &[u8]) -> Vec<u8> {
        let position = |out: &Vec<u8>| {
            at.checked_add(out.len() as u64)
                .expect("WAL positions do not run out")
        };
        let mut out = Vec::with_capacity(record.len() + 2 * LONG_PAGE_HEADER_SIZE);
        let mut left = record;
        while !left.is_empty() {
            if position(&out).page_offset() == 0 {
                let continues = (left.len() < record.len()).then_some(left.len() as u32);
                self.page_header(position(&out), continues, &mut out);
            }
            let room = WAL_PAGE_SIZE - position(&out).page_offset() as usize;
            let (here, rest) = left.split_at(left.len().min(room));
            out.extend_from_slice(here);
            left = rest;
        }
        out
    }

    fn header_size(&self, page: Lsn) -> u64 {
        match page.segment_offset(self.segment_size) {
            0 => LONG_PAGE_HEADER_SIZE as u64,
            _ => SHORT_PAGE_HEADER_SIZE as u64,
        }
    }

    fn page_header(&self, page: Lsn, continues: Option<u32>, out: &mut Vec<u8>) {
        let long = page.segment_offset(self.segment_size) == 0;
        let mut flags = 0;
        if continues.is_some() {
            flags |= CONTINUES;
        }
        if long {
            flags |= LONG;
        }
        out.extend_from_slice(&self.version.wal_magic().to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&self.timeline.to_le_bytes());
        out.extend_from_slice(&page.get().to_le_bytes());
        out.extend_from_slice(&continues.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        if long {
            out.extend_from_slice(&self.system_identifier.to_le_bytes());
            out.extend_from_slice(&self.segment_size.to_le_bytes());
            out.extend_from_slice(&(WAL_PAGE_SIZE as u32).to_le_bytes());
        }
    }
}

/// A shutdown checkpoint as a record. `prev` is where the record before it starts.
pub(crate) fn checkpoint_record(checkpoint: &CheckPoint, prev: Lsn) -> Vec<u8> {
    const LENGTH: usize = RECORD_HEADER_SIZE + 2 + CheckPoint::SIZE;
    let mut record = Vec::with_capacity(LENGTH);
    record.extend_from_slice(&(LENGTH as u32).to_le_bytes());
    record.extend_from_slice(&[0; 4]); // no transaction
    record.extend_from_slice(&prev.get().to_le_bytes());
    record.extend_from_slice(&[CHECKPOINT_SHUTDOWN, Rmgr::Xlog as u8, 0, 0]);
    record.extend_from_slice(&[0; 4]); // the CRC, below
    record.extend_from_slice(&[ID_DATA_SHORT, CheckPoint::SIZE as u8]);
    record.extend_from_slice(&checkpoint.encode());
    // Over the body first, then over the header up to the CRC itself.
    let crc = crc32c::crc32c(&record[RECORD_HEADER_SIZE..]);
    let crc = crc32c::crc32c_append(crc, &record[..RECORD_HEADER_SIZE - 4]);
    record[RECORD_HEADER_SIZE - 4..RECORD_HEADER_SIZE].copy_from_slice(&crc.to_le_bytes());
    record
}

/// The history file of the clone's timeline: the parent's, then the parent itself with the point where
/// the clone leaves it (`writeTimeLineHistory`, access/transam/timeline.c).
pub(crate) fn history_file(parent_history: &[u8], parent: PgTimelineId, at: Lsn) -> Vec<u8> {
    let mut content = parent_history.to_vec();
    if content.last().is_some_and(|byte| *byte != b'\n') {
        content.push(b'\n');
    }
    content.extend_from_slice(format!("{parent}\t{at}\tcheckout by the page server\n").as_bytes());
    content
}

/// The name of a timeline's history file.
pub(crate) fn history_file_name(timeline: PgTimelineId) -> String {
    format!("{timeline:08X}.history")
}

#[cfg(test)]
mod tests {
    use walrecord::rmgr::xlog::XlogRecord;
    use walrecord::{DecoderOptions, RecordReader, WalSlice, record_boundary};

    use super::*;

    const MIB: u64 = 1 << 20;

    fn layout(version: PgVersion) -> WalLayout {
        WalLayout {
            version,
            timeline: 0x1000_0000,
            system_identifier: 0x1234_5678_9ABC_DEF0,
            segment_size: MIB as u32,
        }
    }

    fn checkpoint(layout: &WalLayout, redo: Lsn) -> CheckPoint {
        CheckPoint {
            redo,
            this_tli: layout.timeline,
            prev_tli: layout.timeline,
            full_page_writes: true,
            next_full_xid: (3 << 32) + 700,
            next_oid: 16_500,
            next_multi: 1,
            oldest_xid: 3,
            time: 1_700_000_000,
            ..CheckPoint::default()
        }
    }

    /// Writes a checkpoint at `at`, reads it back, and gives the framed bytes.
    fn round_trip(version: PgVersion, at: u64) -> (Lsn, Vec<u8>) {
        let layout = layout(version);
        let at = Lsn::new(at);
        let start = layout.record_start(at).unwrap();
        let prev = Lsn::new(at.get() - 256);
        let expected = checkpoint(&layout, start);
        let tail = layout.frame(at, &checkpoint_record(&expected, prev));
        // The page in which it begins, with a header if it begins inside of one.
        let mut bytes = vec![0; at.page_offset() as usize];
        if at.page_offset() > 0 {
            let mut header = Vec::new();
            layout.page_header(at.page_start(), None, &mut header);
            bytes[..header.len()].copy_from_slice(&header);
        }
        bytes.extend_from_slice(&tail);
        bytes.resize(bytes.len().next_multiple_of(WAL_PAGE_SIZE), 0);
        let wal = WalSlice {
            start: at.page_start(),
            bytes: &bytes,
        };
        let options = DecoderOptions {
            segment_size: Some(layout.segment_size),
            system_identifier: Some(layout.system_identifier),
            ..DecoderOptions::default()
        };
        let mut reader = RecordReader::new(wal, options);
        let raw = reader.read(at).unwrap();
        let record = raw.decode().unwrap();
        assert_eq!(record.start, start);
        assert_eq!(record.header.prev, prev);
        assert_eq!(
            XlogRecord::decode(&record).unwrap(),
            XlogRecord::CheckpointShutdown(expected)
        );
        let end = raw.end;
        drop(record);
        assert!(reader.next_record().unwrap().is_none());
        (end, tail)
    }

    #[test]
    fn a_checkpoint_fits_anywhere_in_a_page() {
        for version in PgVersion::ALL {
            let (end, tail) = round_trip(version, 5 * MIB + 8192 + 512);
            assert_eq!(end, Lsn::new(5 * MIB + 8192 + 512 + 120));
            assert_eq!(tail.len(), 114, "no header was needed");
        }
    }

    #[test]
    fn at_a_page_boundary_the_page_header_comes_first() {
        let (end, tail) = round_trip(PgVersion::V15, 5 * MIB + 3 * 8192);
        assert_eq!(end, Lsn::new(5 * MIB + 3 * 8192 + 24 + 120));
        assert_eq!(tail.len(), 24 + 114);
    }

    #[test]
    fn at_a_segment_boundary_the_long_header_comes_first() {
        let (end, tail) = round_trip(PgVersion::V15, 6 * MIB);
        assert_eq!(end, Lsn::new(6 * MIB + 40 + 120));
        assert_eq!(tail.len(), 40 + 114);
    }

    #[test]
    fn a_checkpoint_continues_on_the_next_page_wherever_it_is_cut() {
        for left in (8..=120).step_by(8) {
            let page = 5 * MIB + 8192;
            let (end, tail) = round_trip(PgVersion::V15, page - left);
            let crosses = left < 114;
            assert_eq!(tail.len(), if crosses { 114 + 24 } else { 114 });
            let expected = match left {
                120 => page,
                _ => page + 24 + (114 - left).next_multiple_of(8),
            };
            assert_eq!(end, Lsn::new(expected), "{left} bytes left");
        }
    }

    #[test]
    fn a_checkpoint_continues_in_the_next_segment() {
        let (end, tail) = round_trip(PgVersion::V15, 6 * MIB - 16);
        assert_eq!(tail.len(), 114 + 40);
        assert_eq!(end, Lsn::new(6 * MIB + 40 + 104));
    }

    #[test]
    fn no_record_begins_inside_a_page_header_or_unaligned() {
        let layout = layout(PgVersion::V15);
        for at in [0, MIB + 4, MIB + 24, MIB + 32, MIB + 8192 + 16] {
            assert_eq!(layout.record_start(Lsn::new(at)), None, "{at:#x}");
        }
        for at in [MIB + 40, MIB + 8192 + 24] {
            assert_eq!(layout.record_start(Lsn::new(at)), Some(Lsn::new(at)));
        }
    }

    #[test]
    fn the_end_of_a_checkpoint_is_a_boundary() {
        let (end, tail) = round_trip(PgVersion::V15, 6 * MIB);
        let wal = WalSlice {
            start: Lsn::new(6 * MIB),
            bytes: &tail,
        };
        let boundary = record_boundary(wal, MIB as u32, end);
        assert_eq!(boundary.unwrap().last_start, Lsn::new(6 * MIB + 40));
    }

    #[test]
    fn a_history_ends_with_the_parent() {
        let at = Lsn::new(0x1_0000_0028);
        assert_eq!(
            history_file(b"", 1, at),
            b"1\t1/28\tcheckout by the page server\n"
        );
        assert_eq!(
            history_file(b"1\t0/3000000\tno recovery target specified", 2, at),
            b"1\t0/3000000\tno recovery target specified\n2\t1/28\tcheckout by the page server\n"
        );
        assert_eq!(history_file_name(0x1000_0000), "10000000.history");
    }
}
