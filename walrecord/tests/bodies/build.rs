//! Makes a record from its parts, as bytes.

use walrecord::{
    BlockTag, Effect, EffectContext, EffectError, ForkNumber, Lsn, MetaEffect, PageKey, PageTouch,
    PgVersion, RECORD_HEADER_SIZE, Record, RecordHeader, RedoRules, RelFileLocator, Rmgr, RmgrId,
    SlruKind, SlruPage, Xid, effects,
};

pub(crate) const REL: RelFileLocator = RelFileLocator {
    spc: 1663,
    db: 5,
    rel: 16384,
};

/// A record to be. All integers of its main data are little-endian.
#[derive(Clone)]
pub(crate) struct Build {
    pub(crate) version: PgVersion,
    pub(crate) rmgr: Rmgr,
    pub(crate) info: u8,
    pub(crate) xid: Xid,
    pub(crate) origin: Option<u16>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) main: Vec<u8>,
}

/// A block reference to be.
#[derive(Clone)]
pub(crate) struct Block {
    pub(crate) id: u8,
    pub(crate) tag: BlockTag,
    pub(crate) init: bool,
    /// A full page image without compression or hole, to be applied or not.
    pub(crate) image: Option<bool>,
    pub(crate) data: Vec<u8>,
}

pub(crate) fn main_block(id: u8, block: u32) -> Block {
    fork_block(id, ForkNumber::Main, block)
}

pub(crate) fn fork_block(id: u8, fork: ForkNumber, block: u32) -> Block {
    Block {
        id,
        tag: BlockTag {
            rel: REL,
            fork,
            block,
        },
        init: false,
        image: None,
        data: Vec::new(),
    }
}

impl Build {
    pub(crate) fn new(rmgr: Rmgr, info: u8) -> Build {
        Build {
            version: PgVersion::V15,
            rmgr,
            info,
            xid: 0,
            origin: None,
            blocks: Vec::new(),
            main: Vec::new(),
        }
    }

    pub(crate) fn version(mut self, version: PgVersion) -> Build {
        self.version = version;
        self
    }

    pub(crate) fn xid(mut self, xid: Xid) -> Build {
        self.xid = xid;
        self
    }

    pub(crate) fn origin(mut self, origin: u16) -> Build {
        self.origin = Some(origin);
        self
    }

    pub(crate) fn block(mut self, block: Block) -> Build {
        self.blocks.push(block);
        self
    }

    pub(crate) fn u8(mut self, value: u8) -> Build {
        self.main.push(value);
        self
    }

    pub(crate) fn u16(mut self, value: u16) -> Build {
        self.main.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Build {
        self.main.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Build {
        self.main.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Build {
        self.main.extend_from_slice(bytes);
        self
    }

    pub(crate) fn rel(self) -> Build {
        self.u32(REL.spc).u32(REL.db).u32(REL.rel)
    }

    /// The record's bytes. Only 15's image flags are known here.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut head = Vec::new();
        let mut payload = Vec::new();
        for block in &self.blocks {
            let mut flags = block.tag.fork as u8;
            flags |= if block.image.is_some() { 0x10 } else { 0 };
            flags |= if block.data.is_empty() { 0 } else { 0x20 };
            flags |= if block.init { 0x40 } else { 0 };
            head.extend_from_slice(&[block.id, flags]);
            head.extend_from_slice(&(block.data.len() as u16).to_le_bytes());
            if let Some(apply) = block.image {
                assert_ne!(self.version, PgVersion::V14);
                head.extend_from_slice(&8192u16.to_le_bytes());
                head.extend_from_slice(&[0, 0, if apply { 0x02 } else { 0 }]);
                payload.resize(payload.len() + 8192, 0);
            }
            let rel = block.tag.rel;
            for number in [rel.spc, rel.db, rel.rel, block.tag.block] {
                head.extend_from_slice(&number.to_le_bytes());
            }
            payload.extend_from_slice(&block.data);
        }
        if let Some(origin) = self.origin {
            head.push(253);
            head.extend_from_slice(&origin.to_le_bytes());
        }
        if !self.main.is_empty() {
            head.push(254);
            head.extend_from_slice(&(self.main.len() as u32).to_le_bytes());
        }
        let header = RecordHeader {
            total_length: (RECORD_HEADER_SIZE + head.len() + payload.len() + self.main.len())
                as u32,
            xid: self.xid,
            prev: Lsn::new(0x100_0000),
            info: self.info,
            rmgr: RmgrId::BuiltIn(self.rmgr),
            crc: 0,
        };
        [&header.encode()[..], &head, &payload, &self.main].concat()
    }

    /// Does something with the decoded record.
    pub(crate) fn with<T>(&self, what: impl FnOnce(&Record<'_>) -> T) -> T {
        let bytes = self.encode();
        let (start, end) = (Lsn::new(0x100_0100), Lsn::new(0x100_0200));
        what(&Record::parse(self.version, start, end, &bytes).expect("a record"))
    }

    /// Its effects, printed.
    pub(crate) fn try_effects(&self, context: &EffectContext) -> Result<Vec<String>, EffectError> {
        self.with(|record| {
            let mut told = Vec::new();
            effects(record, context, &mut |effect| told.push(print(&effect)))?;
            Ok(told)
        })
    }

    /// Its effects on a cluster of its version's newest minor, without commit times.
    pub(crate) fn effects(&self) -> Vec<String> {
        self.try_effects(&context(self.version)).expect("effects")
    }
}

/// A cluster of a version's newest minor, with logged hint bits and without commit times.
pub(crate) fn context(version: PgVersion) -> EffectContext {
    EffectContext {
        rules: RedoRules {
            version,
            minor: 99,
            hint_bits_logged: true,
        },
        track_commit_timestamp: false,
    }
}

fn print(effect: &Effect<'_>) -> String {
    match effect {
        Effect::Page { key, touch } => format!("{touch:?} {key}"),
        Effect::Meta(meta) => format!("{meta:?}"),
    }
}

/// How [`Build::effects`] prints a page effect.
pub(crate) fn page(touch: PageTouch, key: impl Into<PageKey>) -> String {
    let key = key.into();
    print(&Effect::Page { key, touch })
}

/// How [`Build::effects`] prints an effect on a page of an SLRU.
pub(crate) fn slru(touch: PageTouch, kind: SlruKind, number: u32) -> String {
    page(touch, SlruPage { kind, page: number })
}

/// How [`Build::effects`] prints an effect on other state.
pub(crate) fn meta(effect: MetaEffect<'_>) -> String {
    print(&Effect::Meta(effect))
}
