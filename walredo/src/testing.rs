//! What unit tests share: records built field by field, and a small random generator.

use walrecord::{
    BlockTag, ForkNumber, Lsn, Page, PageKey, PgVersion, Record, RedoRules, RelFileLocator, Rmgr,
};

use crate::error::{Fault, RedoError};
use crate::page::{HEADER_SIZE, item_range, max_offset, page_lsn, special};
use crate::redo::{Applied, redo};

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
        match u8::try_from(self.main.len()) {
            Ok(length) => body.extend_from_slice(&[255, length]),
            Err(_) => {
                body.push(254);
                body.extend_from_slice(&(self.main.len() as u32).to_le_bytes());
            }
        }
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

/// Applies a record of 15 to block `block` of [`tag`]'s main fork and returns what becomes of `page`.
pub(crate) fn applied(mut page: Page, builder: &RecordBuilder, block: u32) -> Page {
    let key = PageKey::Block(tag(ForkNumber::Main, block));
    let result = redo(&mut page, &parse(&builder.bytes()), &key, &RULES);
    assert_eq!(result, Ok(Applied::Changed));
    assert_eq!(page_lsn(&page), END);
    page
}

/// Applies a record of 15 that must not fit its page, and returns why.
pub(crate) fn refused(mut page: Page, builder: &RecordBuilder, block: u32) -> Fault {
    let key = PageKey::Block(tag(ForkNumber::Main, block));
    match redo(&mut page, &parse(&builder.bytes()), &key, &RULES) {
        Err(RedoError::Mismatch { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

/// The items of a page in the order of their line pointers.
pub(crate) fn items(page: &Page) -> Vec<Vec<u8>> {
    let range = |n| item_range(page, n).expect("tests look at sound pages");
    (1..=max_offset(page))
        .map(|n| page[range(n)].to_vec())
        .collect()
}

/// Bytes of 16-bit fields.
pub(crate) fn u16s(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Bytes of 32-bit fields.
pub(crate) fn u32s(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Applies records to pages that they fit, some bytes of either changed, and returns how often redo
/// refused. Each case is a page, a record, and the page's block. What matters is that redo returns.
pub(crate) fn refusals_of_damaged(cases: &[(Page, RecordBuilder, u32)], rounds: usize) -> usize {
    let mut random = Random::new(rounds as u64);
    let mut refused = 0;
    for round in 0..rounds {
        let (page, builder, block) = &cases[round % cases.len()];
        let (mut page, mut bytes) = (*page, builder.bytes());
        let items_at = page.len() - 400;
        for _ in 0..random.below(4) {
            let at = match random.below(4) {
                0 => 8 + random.below(HEADER_SIZE),
                1 => HEADER_SIZE + random.below(60),
                2 => items_at + random.below(400),
                _ => usize::from(special(&page)).min(8176) + random.below(16),
            };
            page[at] = random.below(256) as u8;
        }
        for _ in 0..random.below(4) {
            // Behind the record's header: block headers, their data, main data.
            let at = 24 + random.below(bytes.len() - 24);
            bytes[at] = random.below(256) as u8;
        }
        let version = PgVersion::ALL[random.below(PgVersion::ALL.len())];
        let Ok(record) = Record::parse(version, Lsn::new(8), END, &bytes) else {
            continue;
        };
        let key = PageKey::Block(tag(ForkNumber::Main, *block));
        refused += usize::from(redo(&mut page, &record, &key, &RULES).is_err());
    }
    refused
}
