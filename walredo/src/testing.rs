//! What unit tests share: records built field by field, and a small random generator.

use walrecord::{
    BlockTag, ForkNumber, Lsn, Page, PgVersion, Record, RedoRules, RelFileLocator, Rmgr,
};

/// The rule set of the server that the expected bytes in tests come from.
pub(crate) const RULES: RedoRules = RedoRules {
    version: PgVersion::V15,
    minor: 18,
    hint_bits_logged: true,
};

/// Where test records end.
pub(crate) const END: Lsn = Lsn::new(0x1_0000_2000);

/// A xorshift generator: tests must repeat.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Random {
        Random(0x9E37_79B9_7F4A_7C15 ^ seed)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// A line pointer number from 1 to `max`.
    pub(crate) fn offset(&mut self, max: u16) -> u16 {
        1 + self.below(usize::from(max)) as u16
    }
}

/// Block `block` of the fork of one relation.
pub(crate) fn tag(fork: ForkNumber, block: u32) -> BlockTag {
    let rel = RelFileLocator {
        spc: 1663,
        db: 5,
        rel: 16384,
    };
    BlockTag { rel, fork, block }
}

/// A record in the making.
pub(crate) struct RecordBuilder {
    rmgr: u8,
    info: u8,
    xid: u32,
    headers: Vec<u8>,
    payload: Vec<u8>,
    main: Vec<u8>,
}

impl RecordBuilder {
    pub(crate) fn new(rmgr: Rmgr, info: u8, main: &[u8]) -> RecordBuilder {
        RecordBuilder {
            rmgr: rmgr as u8,
            info,
            xid: 700,
            headers: Vec::new(),
            payload: Vec::new(),
            main: main.to_vec(),
        }
    }

    /// Makes the record an extension's.
    pub(crate) const fn custom(mut self, rmgr: u8) -> Self {
        self.rmgr = rmgr;
        self
    }

    /// The transaction that writes the record, 700 unless told.
    pub(crate) const fn xid(mut self, xid: u32) -> Self {
        self.xid = xid;
        self
    }

    /// The replication origin that the record carries.
    pub(crate) fn origin(mut self, origin: u16) -> Self {
        self.headers.push(253);
        self.headers.extend_from_slice(&origin.to_le_bytes());
        self
    }

    /// Adds a reference; flag 0x40 is "will init".
    pub(crate) fn block(mut self, id: u8, flags: u8, tag: BlockTag, data: &[u8]) -> Self {
        let has_data = if data.is_empty() { 0 } else { 0x20 };
        self.headers
            .extend_from_slice(&[id, flags | has_data | tag.fork as u8]);
        self.headers
            .extend_from_slice(&(data.len() as u16).to_le_bytes());
        self.push_tag(tag);
        self.payload.extend_from_slice(data);
        self
    }

    /// Adds a reference with an uncompressed image without a hole that redo restores.
    pub(crate) fn image(mut self, id: u8, tag: BlockTag, page: &Page) -> Self {
        self.headers
            .extend_from_slice(&[id, 0x10 | tag.fork as u8, 0, 0]);
        self.headers.extend_from_slice(&[0, 0x20, 0, 0, 0x02]);
        self.push_tag(tag);
        self.payload.extend_from_slice(page);
        self
    }

    /// Adds a reference with an uncompressed image of the version that is expected after the record.
    pub(crate) fn expect(
        mut self,
        id: u8,
        flags: u8,
        tag: BlockTag,
        data: &[u8],
        page: &Page,
    ) -> Self {
        let has_data = if data.is_empty() { 0 } else { 0x20 };
        self.headers
            .extend_from_slice(&[id, flags | 0x10 | has_data | tag.fork as u8]);
        self.headers
            .extend_from_slice(&(data.len() as u16).to_le_bytes());
        self.headers.extend_from_slice(&[0, 0x20, 0, 0, 0]);
        self.push_tag(tag);
        self.payload.extend_from_slice(page);
        self.payload.extend_from_slice(data);
        self
    }

    fn push_tag(&mut self, tag: BlockTag) {
        for word in [tag.rel.spc, tag.rel.db, tag.rel.rel, tag.block] {
            self.headers.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// The record's bytes, for [`parse`].
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = self.headers.clone();
        body.extend_from_slice(&[255, self.main.len() as u8]);
        body.extend_from_slice(&self.payload);
        body.extend_from_slice(&self.main);
        let mut out = ((24 + body.len()) as u32).to_le_bytes().to_vec();
        out.extend_from_slice(&self.xid.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&[self.info, self.rmgr, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&body);
        out
    }
}

/// A record of 15 that ends at [`END`].
pub(crate) fn parse(bytes: &[u8]) -> Record<'_> {
    Record::parse(PgVersion::V15, Lsn::new(END.get() - 0x100), END, bytes)
        .expect("tests build sound records")
}
