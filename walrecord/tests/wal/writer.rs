//! Writes WAL as a server does, for the cases that real WAL shows too rarely.

use walrecord::{
    LONG_PAGE_HEADER_SIZE, Lsn, PgVersion, RecordHeader, Rmgr, RmgrId, SHORT_PAGE_HEADER_SIZE,
    WAL_PAGE_SIZE,
};

pub(crate) const CONTINUES: u16 = 1;
pub(crate) const LONG: u16 = 2;
pub(crate) const OVERWRITES: u16 = 8;

/// Writes records into pages, from a page boundary on. The fields may be changed in between.
pub(crate) struct Writer {
    pub(crate) start: Lsn,
    pub(crate) bytes: Vec<u8>,
    pub(crate) version: PgVersion,
    pub(crate) timeline: u32,
    pub(crate) system_identifier: u64,
    pub(crate) segment_size: u32,
    /// Where the last record starts.
    pub(crate) previous: Lsn,
    /// Flags added to the pages that are begun.
    pub(crate) flags: u16,
}

impl Writer {
    pub(crate) fn new(start: Lsn) -> Writer {
        assert_eq!(start.page_offset(), 0);
        Writer {
            start,
            bytes: Vec::new(),
            version: PgVersion::V15,
            timeline: 1,
            system_identifier: 7_000_000_000_000_000_001,
            segment_size: 1 << 20,
            previous: Lsn::new(start.get().saturating_sub(64)),
            flags: 0,
        }
    }

    pub(crate) fn end(&self) -> Lsn {
        self.start + self.bytes.len() as u64
    }

    /// The bytes at `lsn`, to change them.
    pub(crate) fn at(&mut self, lsn: Lsn) -> &mut [u8] {
        let offset = (lsn - self.start) as usize;
        &mut self.bytes[offset..]
    }

    /// Begins a page in which `left` bytes of an open record follow.
    pub(crate) fn page_header(&mut self, left: u32) {
        let at = self.end();
        let long = at.segment_offset(self.segment_size) == 0;
        let mut info = self.flags;
        info |= if left > 0 { CONTINUES } else { 0 };
        info |= if long { LONG } else { 0 };
        let mut header = Vec::with_capacity(LONG_PAGE_HEADER_SIZE);
        header.extend_from_slice(&self.version.wal_magic().to_le_bytes());
        header.extend_from_slice(&info.to_le_bytes());
        header.extend_from_slice(&self.timeline.to_le_bytes());
        header.extend_from_slice(&at.get().to_le_bytes());
        header.extend_from_slice(&left.to_le_bytes());
        header.resize(SHORT_PAGE_HEADER_SIZE, 0);
        if long {
            header.extend_from_slice(&self.system_identifier.to_le_bytes());
            header.extend_from_slice(&self.segment_size.to_le_bytes());
            header.extend_from_slice(&(WAL_PAGE_SIZE as u32).to_le_bytes());
        }
        self.bytes.extend_from_slice(&header);
    }

    /// Writes a record with this main data (at most 255 bytes of it, or none; else of any length)
    /// and gives its start.
    pub(crate) fn record(&mut self, rmgr: RmgrId, info: u8, main_data: &[u8]) -> Lsn {
        let mut body = Vec::new();
        match main_data.len() {
            0 => {}
            length @ 1..256 => body.extend_from_slice(&[255, length as u8]),
            length => {
                body.push(254);
                body.extend_from_slice(&(length as u32).to_le_bytes());
            }
        }
        body.extend_from_slice(main_data);
        if self.bytes.len().is_multiple_of(WAL_PAGE_SIZE) {
            self.page_header(0);
        }
        let start = self.end();
        let mut header = RecordHeader {
            total_length: 24 + body.len() as u32,
            xid: 0,
            prev: self.previous,
            info,
            rmgr,
            crc: 0,
        };
        let crc = crc32c::crc32c(&body);
        header.crc = crc32c::crc32c_append(crc, &header.encode()[..20]);
        self.previous = start;
        self.raw(&[&header.encode()[..], &body].concat());
        start
    }

    /// Writes a record of exactly `total` bytes.
    pub(crate) fn message(&mut self, total: usize) -> Lsn {
        let main = match total {
            26..282 => total - 26,
            _ => total - 29,
        };
        let data: Vec<u8> = (0..main).map(|i| i as u8).collect();
        let start = self.record(RmgrId::BuiltIn(Rmgr::LogicalMessage), 0, &data);
        let said = self.at(start).first_chunk::<4>().copied();
        assert_eq!(said, Some((total as u32).to_le_bytes()));
        start
    }

    /// Fills up to `left` bytes before the end of the page. They must be enough for a record.
    pub(crate) fn fill_page_but(&mut self, left: usize) {
        if self.bytes.len().is_multiple_of(WAL_PAGE_SIZE) {
            self.page_header(0);
        }
        let room = WAL_PAGE_SIZE - self.bytes.len() % WAL_PAGE_SIZE;
        self.message(room - left);
    }

    /// Lays bytes into pages and pads to a multiple of 8.
    fn raw(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.bytes.len().is_multiple_of(WAL_PAGE_SIZE) {
                self.page_header(bytes.len() as u32);
            }
            let room = WAL_PAGE_SIZE - self.bytes.len() % WAL_PAGE_SIZE;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.bytes.extend_from_slice(now);
            bytes = later;
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }
}
