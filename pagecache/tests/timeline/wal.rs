//! Writes WAL of PostgreSQL 15 as a server does: records into pages, pages into segments.

use walrecord::{
    BlockTag, LONG_PAGE_HEADER_SIZE, Lsn, Page, PgTimelineId, PgVersion, RecordHeader, Rmgr,
    RmgrId, SHORT_PAGE_HEADER_SIZE, WAL_PAGE_SIZE,
};

pub(crate) const SEGMENT_SIZE: u32 = 1 << 20;
pub(crate) const SYSTEM_IDENTIFIER: u64 = 7_000_000_000_000_000_001;

/// A record in the making.
pub(crate) struct NewRecord {
    rmgr: Rmgr,
    info: u8,
    xid: u32,
    headers: Vec<u8>,
    payload: Vec<u8>,
    main: Vec<u8>,
}

impl NewRecord {
    pub(crate) fn new(rmgr: Rmgr, info: u8, main: &[u8]) -> NewRecord {
        NewRecord {
            rmgr,
            info,
            xid: 0,
            headers: Vec::new(),
            payload: Vec::new(),
            main: main.to_vec(),
        }
    }

    pub(crate) fn xid(mut self, xid: u32) -> NewRecord {
        self.xid = xid;
        self
    }

    /// Refers to a block; flag 0x40 is "will init".
    pub(crate) fn block(mut self, flags: u8, tag: BlockTag, data: &[u8]) -> NewRecord {
        let has_data = if data.is_empty() { 0 } else { 0x20 };
        self.headers
            .extend_from_slice(&[0, flags | has_data | tag.fork as u8]);
        self.headers
            .extend_from_slice(&(data.len() as u16).to_le_bytes());
        self.push_tag(tag);
        self.payload.extend_from_slice(data);
        self
    }

    /// Refers to a block that the record replaces by an image without a hole.
    pub(crate) fn image(mut self, tag: BlockTag, page: &Page) -> NewRecord {
        self.headers
            .extend_from_slice(&[0, 0x10 | tag.fork as u8, 0, 0]);
        self.headers.extend_from_slice(&[0, 0x20, 0, 0, 0x02]);
        self.push_tag(tag);
        self.payload.extend_from_slice(page);
        self
    }

    fn push_tag(&mut self, tag: BlockTag) {
        for word in [tag.rel.spc, tag.rel.db, tag.rel.rel, tag.block] {
            self.headers.extend_from_slice(&word.to_le_bytes());
        }
    }

    fn body(&self) -> Vec<u8> {
        let mut body = self.headers.clone();
        match self.main.len() {
            0 => {}
            length @ 1..256 => body.extend_from_slice(&[255, length as u8]),
            length => {
                body.push(254);
                body.extend_from_slice(&(length as u32).to_le_bytes());
            }
        }
        body.extend_from_slice(&self.payload);
        body.extend_from_slice(&self.main);
        body
    }
}

/// WAL from the start of a segment on.
pub(crate) struct Writer {
    pub(crate) start: Lsn,
    pub(crate) bytes: Vec<u8>,
    pub(crate) timeline: PgTimelineId,
    previous: Lsn,
    /// The next page says that the record before it was abandoned.
    overwrites: bool,
}

impl Writer {
    pub(crate) fn new(start: Lsn) -> Writer {
        assert_eq!(start.segment_offset(SEGMENT_SIZE), 0);
        Writer {
            start,
            bytes: Vec::new(),
            timeline: 1,
            previous: Lsn::new(start.get() - 64),
            overwrites: false,
        }
    }

    pub(crate) fn end(&self) -> Lsn {
        self.start + self.bytes.len() as u64
    }

    /// Writes a record and gives its start.
    pub(crate) fn write(&mut self, record: &NewRecord) -> Lsn {
        let body = record.body();
        if self.bytes.len().is_multiple_of(WAL_PAGE_SIZE) {
            self.page_header(0);
        }
        let start = self.end();
        let mut header = RecordHeader {
            total_length: 24 + body.len() as u32,
            xid: record.xid,
            prev: self.previous,
            info: record.info,
            rmgr: RmgrId::BuiltIn(record.rmgr),
            crc: 0,
        };
        header.crc = crc32c::crc32c_append(crc32c::crc32c(&body), &header.encode()[..20]);
        self.previous = start;
        self.lay(&[&header.encode()[..], &body].concat());
        start
    }

    /// Writes a record and cuts it off where its first page ends. Gives its start.
    ///
    /// The record has to reach beyond that page.
    pub(crate) fn write_cut(&mut self, record: &NewRecord) -> Lsn {
        let (before, begin) = (self.previous, self.bytes.len());
        let start = self.write(record);
        let in_page = (start.page_start() - self.start) as usize + WAL_PAGE_SIZE;
        assert!(in_page > begin && in_page < self.bytes.len());
        self.bytes.truncate(in_page);
        self.previous = before;
        self.overwrites = true;
        start
    }

    /// Begins a page in which `left` bytes of an open record follow.
    fn page_header(&mut self, left: u32) {
        let at = self.end();
        let long = at.segment_offset(SEGMENT_SIZE) == 0;
        let overwrites = std::mem::take(&mut self.overwrites);
        let info = u16::from(left > 0) | if long { 2 } else { 0 } | if overwrites { 8 } else { 0 };
        let mut header = Vec::with_capacity(LONG_PAGE_HEADER_SIZE);
        header.extend_from_slice(&PgVersion::V15.wal_magic().to_le_bytes());
        header.extend_from_slice(&info.to_le_bytes());
        header.extend_from_slice(&self.timeline.to_le_bytes());
        header.extend_from_slice(&at.get().to_le_bytes());
        header.extend_from_slice(&left.to_le_bytes());
        header.resize(SHORT_PAGE_HEADER_SIZE, 0);
        if long {
            header.extend_from_slice(&SYSTEM_IDENTIFIER.to_le_bytes());
            header.extend_from_slice(&SEGMENT_SIZE.to_le_bytes());
            header.extend_from_slice(&(WAL_PAGE_SIZE as u32).to_le_bytes());
        }
        self.bytes.extend_from_slice(&header);
    }

    fn lay(&mut self, mut bytes: &[u8]) {
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
