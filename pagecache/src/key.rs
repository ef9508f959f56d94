//! The ordered key under which everything in the store is versioned: pages and metadata.
//!
//! The open layer, the layer files and the read path are all written in terms of it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use walrecord::{
    BlockTag, ForkNumber, Lsn, Oid, PageKey, RelFileLocator, SLRU_PAGES_PER_SEGMENT, SlruKind,
    SlruPage, Xid,
};

/// Bytes of a key in a file.
pub const KEY_SIZE: usize = 18;

/// Names a page or a piece of metadata. Copied freely; compared and hashed as three integers.
///
/// Order: pages of relations, pages of SLRUs, then the metadata, one kind after the other. Pages
/// sort by tablespace, database, relation number, fork, block, so that a fork is adjacent, and so
/// are the forks of a relation and the relations of a database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key {
    kind: u8,
    fork: u8,
    /// The tablespace, or the number of the SLRU area.
    spc: u32,
    db: u32,
    rel: u32,
    /// The last, fastest changing part: block, page, segment, transaction or index.
    item: u32,
}

/// What a [`Key`] names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyKind {
    /// A page of a relation or of an SLRU.
    Page(PageKey),
    /// The size and the barriers of a fork.
    Relation(RelFileLocator, ForkNumber),
    /// Whether a segment of an SLRU exists.
    SlruSegment(SlruKind, u32),
    /// The directory of a database in a tablespace.
    Database {
        /// The tablespace.
        spc: Oid,
        /// The database.
        db: Oid,
    },
    /// A relation map (`pg_filenode.map`).
    RelationMap {
        /// The database's tablespace, or 1664.
        spc: Oid,
        /// The database, or 0 for the shared map.
        db: Oid,
    },
    /// A tablespace.
    Tablespace(Oid),
    /// The state of a prepared transaction.
    TwoPhase(Xid),
    /// What the control file carries.
    Control,
    /// A replication origin.
    Origin(u16),
    /// A configuration file, by a small number.
    File(u32),
    /// When transactions ended, in WAL whose positions have this upper half.
    CommitTimes(u32),
    /// Nothing: the bound above every key, which only the ends of ranges carry.
    Bound,
}

const BLOCK: u8 = 1;
const SLRU: u8 = 2;
const RELATION: u8 = 3;
const SLRU_SEGMENT: u8 = 4;
const DATABASE: u8 = 5;
const RELATION_MAP: u8 = 6;
const TABLESPACE: u8 = 7;
const TWO_PHASE: u8 = 8;
const CONTROL: u8 = 9;
const ORIGIN: u8 = 10;
const FILE: u8 = 11;
const COMMIT_TIMES: u8 = 12;
const BOUND: u8 = 13;

/// The first kind of metadata; everything below is a page.
const FIRST_METADATA: u8 = RELATION;

impl Key {
    /// The key of a page.
    #[inline]
    pub const fn page(page: PageKey) -> Key {
        match page {
            PageKey::Block(tag) => Key::block(tag),
            PageKey::Slru(page) => Key::slru(page),
        }
    }

    /// The key of a block of a relation.
    #[inline]
    pub const fn block(tag: BlockTag) -> Key {
        Key {
            kind: BLOCK,
            fork: tag.fork as u8,
            spc: tag.rel.spc,
            db: tag.rel.db,
            rel: tag.rel.rel,
            item: tag.block,
        }
    }

    /// The key of a page of an SLRU.
    #[inline]
    pub const fn slru(page: SlruPage) -> Key {
        Key::of(SLRU, page.kind as u32, 0, page.page)
    }

    /// The key of the metadata of a fork: its size and its barriers.
    #[inline]
    pub const fn relation(rel: RelFileLocator, fork: ForkNumber) -> Key {
        Key {
            kind: RELATION,
            fork: fork as u8,
            spc: rel.spc,
            db: rel.db,
            rel: rel.rel,
            item: 0,
        }
    }

    /// The key of a segment of an SLRU.
    pub const fn slru_segment(kind: SlruKind, segment: u32) -> Key {
        Key::of(SLRU_SEGMENT, kind as u32, 0, segment)
    }

    /// The key of the directory of a database in a tablespace.
    pub const fn database(spc: Oid, db: Oid) -> Key {
        Key::of(DATABASE, spc, db, 0)
    }

    /// The key of the relation map of a database; of the shared one for `1664, 0`.
    pub const fn relation_map(spc: Oid, db: Oid) -> Key {
        Key::of(RELATION_MAP, spc, db, 0)
    }

    /// The key of a tablespace.
    pub const fn tablespace(spc: Oid) -> Key {
        Key::of(TABLESPACE, spc, 0, 0)
    }

    /// The key of the state of a prepared transaction.
    pub const fn two_phase(xid: Xid) -> Key {
        Key::of(TWO_PHASE, 0, 0, xid)
    }

    /// The key of what the control file carries.
    pub const fn control() -> Key {
        Key::of(CONTROL, 0, 0, 0)
    }

    /// The key of a replication origin.
    pub const fn origin(origin: u16) -> Key {
        Key::of(ORIGIN, 0, 0, origin as u32)
    }

    /// The key of a configuration file; who stores it chooses the number.
    pub const fn file(index: u32) -> Key {
        Key::of(FILE, 0, 0, index)
    }

    /// The key of the times of the commits and aborts whose records end in the 4 GiB of WAL around `lsn`.
    pub const fn commit_times(lsn: Lsn) -> Key {
        Key::of(COMMIT_TIMES, 0, 0, (lsn.get() >> 32) as u32)
    }

    const fn of(kind: u8, spc: u32, db: u32, item: u32) -> Key {
        Key {
            kind,
            fork: 0,
            spc,
            db,
            rel: 0,
            item,
        }
    }

    /// What the key names.
    pub fn decode(&self) -> KeyKind {
        self.checked_decode()
            .unwrap_or_else(|error| unreachable!("a constructed key decodes: {error}"))
    }

    /// The page that the key names, or none if it names metadata.
    #[inline]
    pub fn as_page(&self) -> Option<PageKey> {
        match self.is_page().then(|| self.decode())? {
            KeyKind::Page(page) => Some(page),
            _ => None,
        }
    }

    /// Whether the key names a page, rather than metadata.
    #[inline]
    pub const fn is_page(&self) -> bool {
        self.kind < FIRST_METADATA
    }

    /// The form that files carry: kind, tablespace, database, relation, fork, item; integers are
    /// big-endian, so that the order of the bytes is the order of the keys.
    #[inline]
    pub fn to_bytes(&self) -> [u8; KEY_SIZE] {
        let mut bytes = [0; KEY_SIZE];
        bytes[0] = self.kind;
        bytes[1..5].copy_from_slice(&self.spc.to_be_bytes());
        bytes[5..9].copy_from_slice(&self.db.to_be_bytes());
        bytes[9..13].copy_from_slice(&self.rel.to_be_bytes());
        bytes[13] = self.fork;
        bytes[14..18].copy_from_slice(&self.item.to_be_bytes());
        bytes
    }

    /// The key that these bytes stand for.
    ///
    /// # Errors
    /// If no constructor makes such a key: unknown kind, fork or SLRU area, or a part that the kind
    /// does not use is not zero.
    pub fn from_bytes(bytes: &[u8; KEY_SIZE]) -> Result<Key, KeyError> {
        let key = Key::from_raw(bytes);
        match key.checked_decode() {
            Ok(KeyKind::Bound) | Err(KeyError { .. }) => Err(KeyError { bytes: *bytes }),
            Ok(_) => Ok(key),
        }
    }

    /// The key that these bytes stand for, unchecked: only for bytes that [`Key::from_bytes`] has
    /// accepted before.
    #[inline]
    pub(crate) fn from_raw(bytes: &[u8; KEY_SIZE]) -> Key {
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Key {
            kind: bytes[0],
            spc: word(1),
            db: word(5),
            rel: word(9),
            fork: bytes[13],
            item: word(14),
        }
    }

    fn checked_decode(&self) -> Result<KeyKind, KeyError> {
        let error = KeyError {
            bytes: self.to_bytes(),
        };
        let rel = RelFileLocator {
            spc: self.spc,
            db: self.db,
            rel: self.rel,
        };
        let fork = ForkNumber::from_u8(self.fork).ok_or(error);
        let slru = u8::try_from(self.spc)
            .ok()
            .and_then(SlruKind::from_u8)
            .ok_or(error);
        let kind = match self.kind {
            BLOCK => KeyKind::Page(PageKey::Block(BlockTag {
                rel,
                fork: fork?,
                block: self.item,
            })),
            SLRU => KeyKind::Page(PageKey::Slru(SlruPage {
                kind: slru?,
                page: self.item,
            })),
            RELATION => KeyKind::Relation(rel, fork?),
            SLRU_SEGMENT => KeyKind::SlruSegment(slru?, self.item),
            DATABASE => KeyKind::Database {
                spc: self.spc,
                db: self.db,
            },
            RELATION_MAP => KeyKind::RelationMap {
                spc: self.spc,
                db: self.db,
            },
            TABLESPACE => KeyKind::Tablespace(self.spc),
            TWO_PHASE => KeyKind::TwoPhase(self.item),
            CONTROL => KeyKind::Control,
            ORIGIN => KeyKind::Origin(u16::try_from(self.item).map_err(|_| error)?),
            FILE => KeyKind::File(self.item),
            COMMIT_TIMES => KeyKind::CommitTimes(self.item),
            BOUND => KeyKind::Bound,
            _ => return Err(error),
        };
        // Encoding again shows parts that the kind does not use.
        if Key::from(kind) == *self {
            Ok(kind)
        } else {
            Err(error)
        }
    }

    /// The three integers that order and hash a key.
    #[inline]
    const fn words(&self) -> [u64; 3] {
        [
            (self.kind as u64) << 32 | self.spc as u64,
            (self.db as u64) << 32 | self.rel as u64,
            (self.fork as u64) << 32 | self.item as u64,
        ]
    }

    /// A 64-bit hash that files may rely on: it never changes.
    #[inline]
    pub(crate) const fn stable_hash(&self) -> u64 {
        let words = self.words();
        let mut hash = 0;
        let mut i = 0;
        while i < words.len() {
            hash = mix(hash ^ words[i]);
            i += 1;
        }
        hash
    }
}

/// The finaliser of SplitMix64: every bit of the input changes every bit of the output.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// Ranges of adjacent keys.
impl Key {
    /// The blocks of a fork.
    pub const fn relation_blocks(rel: RelFileLocator, fork: ForkNumber) -> Range<Key> {
        let first = Key::block(BlockTag {
            rel,
            fork,
            block: 0,
        });
        first..first.after_fork()
    }

    /// The blocks of all relations of a database in a tablespace.
    pub const fn blocks_of_database(spc: Oid, db: Oid) -> Range<Key> {
        let first = Key::of(BLOCK, spc, db, 0);
        first..first.after_database()
    }

    /// The pages of an SLRU.
    pub const fn slru_pages(kind: SlruKind) -> Range<Key> {
        let first = Key::of(SLRU, kind as u32, 0, 0);
        first..first.after_tablespace()
    }

    /// The pages of one segment of an SLRU.
    pub fn slru_segment_pages(kind: SlruKind, segment: u32) -> Range<Key> {
        let pages = Key::slru_pages(kind);
        let bound = |segment: u64| {
            let first = segment * u64::from(SLRU_PAGES_PER_SEGMENT);
            u32::try_from(first).map_or(pages.end, |item| Key {
                item,
                ..pages.start
            })
        };
        bound(segment.into())..bound(u64::from(segment) + 1)
    }

    /// The metadata of all forks of all relations.
    pub const fn all_relations() -> Range<Key> {
        Key::kind_range(RELATION)
    }

    /// The metadata of all forks of all relations of a database in a tablespace.
    pub const fn relations_of_database(spc: Oid, db: Oid) -> Range<Key> {
        let first = Key::of(RELATION, spc, db, 0);
        first..first.after_database()
    }

    /// The segments of an SLRU.
    pub const fn slru_segments(kind: SlruKind) -> Range<Key> {
        let first = Key::of(SLRU_SEGMENT, kind as u32, 0, 0);
        first..first.after_tablespace()
    }

    /// All databases, in every tablespace.
    pub const fn all_databases() -> Range<Key> {
        Key::kind_range(DATABASE)
    }

    /// All relation maps.
    pub const fn all_relation_maps() -> Range<Key> {
        Key::kind_range(RELATION_MAP)
    }

    /// All tablespaces.
    pub const fn all_tablespaces() -> Range<Key> {
        Key::kind_range(TABLESPACE)
    }

    /// All prepared transactions.
    pub const fn all_two_phase() -> Range<Key> {
        Key::kind_range(TWO_PHASE)
    }

    /// All replication origins.
    pub const fn all_origins() -> Range<Key> {
        Key::kind_range(ORIGIN)
    }

    /// All configuration files.
    pub const fn all_files() -> Range<Key> {
        Key::kind_range(FILE)
    }

    /// All times of commits and aborts.
    pub const fn all_commit_times() -> Range<Key> {
        Key::kind_range(COMMIT_TIMES)
    }

    /// Every page.
    pub const fn all_pages() -> Range<Key> {
        Key::of(BLOCK, 0, 0, 0)..Key::of(FIRST_METADATA, 0, 0, 0)
    }

    /// Everything that is not a page.
    pub const fn all_metadata() -> Range<Key> {
        Key::of(FIRST_METADATA, 0, 0, 0)..Key::of(BOUND, 0, 0, 0)
    }

    /// Everything.
    pub const fn all() -> Range<Key> {
        Key::of(BLOCK, 0, 0, 0)..Key::of(BOUND, 0, 0, 0)
    }

    const fn kind_range(kind: u8) -> Range<Key> {
        Key::of(kind, 0, 0, 0)..Key::of(kind + 1, 0, 0, 0)
    }

    const fn after_fork(self) -> Key {
        if self.fork < ForkNumber::Init as u8 {
            return Key {
                fork: self.fork + 1,
                item: 0,
                ..self
            };
        }
        match self.rel.checked_add(1) {
            Some(rel) => Key {
                fork: 0,
                item: 0,
                rel,
                ..self
            },
            None => self.after_database(),
        }
    }

    const fn after_database(self) -> Key {
        match self.db.checked_add(1) {
            Some(db) => Key::of(self.kind, self.spc, db, 0),
            None => self.after_tablespace(),
        }
    }

    const fn after_tablespace(self) -> Key {
        // The first key of the kind behind, where there is no next tablespace or SLRU area.
        let last = match self.kind {
            SLRU | SLRU_SEGMENT => SlruKind::CommitTs as u32,
            _ => u32::MAX,
        };
        if self.spc < last {
            Key::of(self.kind, self.spc + 1, 0, 0)
        } else {
            Key::of(self.kind + 1, 0, 0, 0)
        }
    }
}

impl From<KeyKind> for Key {
    fn from(kind: KeyKind) -> Key {
        match kind {
            KeyKind::Page(page) => Key::page(page),
            KeyKind::Relation(rel, fork) => Key::relation(rel, fork),
            KeyKind::SlruSegment(kind, segment) => Key::slru_segment(kind, segment),
            KeyKind::Database { spc, db } => Key::database(spc, db),
            KeyKind::RelationMap { spc, db } => Key::relation_map(spc, db),
            KeyKind::Tablespace(spc) => Key::tablespace(spc),
            KeyKind::TwoPhase(xid) => Key::two_phase(xid),
            KeyKind::Control => Key::control(),
            KeyKind::Origin(origin) => Key::origin(origin),
            KeyKind::File(index) => Key::file(index),
            KeyKind::CommitTimes(high) => Key::of(COMMIT_TIMES, 0, 0, high),
            KeyKind::Bound => Key::all().end,
        }
    }
}

impl From<PageKey> for Key {
    #[inline]
    fn from(page: PageKey) -> Key {
        Key::page(page)
    }
}

impl Ord for Key {
    #[inline]
    fn cmp(&self, other: &Key) -> std::cmp::Ordering {
        self.words().cmp(&other.words())
    }
}

impl PartialOrd for Key {
    #[inline]
    fn partial_cmp(&self, other: &Key) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in self.words() {
            state.write_u64(word);
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decode() {
            KeyKind::Page(page) => page.fmt(f),
            KeyKind::Relation(rel, fork) => write!(f, "relation {rel}.{fork}"),
            KeyKind::SlruSegment(kind, segment) => {
                write!(f, "segment {}/{segment:04X}", kind.directory())
            }
            KeyKind::Database { spc, db } => write!(f, "database {spc}/{db}"),
            KeyKind::RelationMap { spc, db } => write!(f, "relation map {spc}/{db}"),
            KeyKind::Tablespace(spc) => write!(f, "tablespace {spc}"),
            KeyKind::TwoPhase(xid) => write!(f, "prepared transaction {xid}"),
            KeyKind::Control => f.write_str("control file"),
            KeyKind::Origin(origin) => write!(f, "replication origin {origin}"),
            KeyKind::File(index) => write!(f, "file {index}"),
            KeyKind::CommitTimes(high) => write!(f, "commit times {high:X}/"),
            KeyKind::Bound => f.write_str("end of keys"),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes that are no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{bytes:02x?} is no key")]
pub struct KeyError {
    /// The bytes.
    pub bytes: [u8; KEY_SIZE],
}
