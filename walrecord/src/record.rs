//! One WAL record: header, block references, payloads (access/xlogrecord.h, and
//! `DecodeXLogRecord` in access/transam/xlogreader.c).

use smallvec::SmallVec;

use crate::crc;
use crate::error::WalError;
use crate::image::{BlockImage, ImageHeader};
use crate::reader::{Reader, Truncated};
use crate::rmgr::{Rmgr, RmgrId};
use crate::types::{BlockTag, ForkNumber, Lsn, PAGE_SIZE, PgVersion, RelFileLocator, Xid};

/// Bytes of a record's fixed header (`SizeOfXLogRecord`).
pub const RECORD_HEADER_SIZE: usize = 24;

/// The largest record that is accepted, in bytes (`XLogRecordMaxSize` of 16 and newer, 1020 MiB).
/// 14 and 15 do not enforce it, but nothing in them writes more either.
pub const MAX_RECORD_SIZE: u32 = 1020 * 1024 * 1024;

/// The largest block id in a record (`XLR_MAX_BLOCK_ID`).
pub const MAX_BLOCK_ID: u8 = 32;

pub(crate) const ID_DATA_SHORT: u8 = 255;
pub(crate) const ID_DATA_LONG: u8 = 254;
pub(crate) const ID_ORIGIN: u8 = 253;
pub(crate) const ID_TOP_XID: u8 = 252;

pub(crate) const FORK_MASK: u8 = 0x0F;
pub(crate) const HAS_IMAGE: u8 = 0x10;
const HAS_DATA: u8 = 0x20;
const WILL_INIT: u8 = 0x40;
pub(crate) const SAME_REL: u8 = 0x80;

/// The fixed header of a record, fields as in `XLogRecord`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of the whole record, this header included.
    pub total_length: u32,
    /// The transaction that wrote it, or 0.
    pub xid: Xid,
    /// Where the record before it starts.
    pub prev: Lsn,
    /// The flag byte: high four bits belong to the resource manager, low four to the WAL machinery.
    pub info: u8,
    /// The resource manager.
    pub rmgr: RmgrId,
    /// CRC-32C over the body and then the first 20 bytes of this header.
    pub crc: u32,
}

impl RecordHeader {
    /// Of no record.
    pub(crate) const EMPTY: RecordHeader = RecordHeader {
        total_length: 0,
        xid: 0,
        prev: Lsn::INVALID,
        info: 0,
        rmgr: RmgrId::BuiltIn(Rmgr::Xlog),
        crc: 0,
    };

    /// Reads a header. Only the resource manager's number and the length's bounds are checked.
    ///
    /// # Errors
    /// If the bytes are too few, the length impossible, or the resource manager unknown.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<RecordHeader, RecordError> {
        // One bounds check for all fields: this runs twice for every record, which is cheaper than to
        // hand the header on.
        let fixed = Reader::new(bytes).array::<RECORD_HEADER_SIZE>("record header")?;
        let u32_at = |at: usize| {
            u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]])
        };
        let total_length = u32_at(0);
        if !(RECORD_HEADER_SIZE as u32..=MAX_RECORD_SIZE).contains(&total_length) {
            return Err(RecordError::Length(total_length));
        }
        Ok(RecordHeader {
            total_length,
            xid: u32_at(4),
            prev: Lsn::new(u64::from(u32_at(12)) << 32 | u64::from(u32_at(8))),
            info: fixed[16],
            rmgr: RmgrId::from_u8(fixed[17]).ok_or(RecordError::UnknownRmgr(fixed[17]))?,
            crc: u32_at(20),
        })
    }

    /// Whether the rest of the segment behind the record is unused (`XLOG_SWITCH`,
    /// catalog/pg_control.h).
    #[inline]
    pub(crate) fn is_switch(&self) -> bool {
        const XLOG_SWITCH: u8 = 0x40;
        self.rmgr == RmgrId::BuiltIn(Rmgr::Xlog) && self.rmgr_info() == XLOG_SWITCH
    }

    /// Checks the CRC of the whole record at `start`, whose header this is: over the body, then over
    /// the header up to the CRC itself.
    #[inline]
    pub(crate) fn check_crc(&self, start: Lsn, bytes: &[u8]) -> Result<(), WalError> {
        let computed = crc::of_record(bytes);
        if computed == self.crc {
            Ok(())
        } else {
            Err(WalError::Crc {
                at: start,
                stored: self.crc,
                computed,
            })
        }
    }

    /// Of a whole record, whose length it must tell.
    #[inline]
    fn of(record: &[u8]) -> Result<RecordHeader, RecordError> {
        let header = RecordHeader::parse(record)?;
        match header.total_length as usize == record.len() {
            true => Ok(header),
            false => Err(RecordError::LengthMismatch {
                said: header.total_length,
                found: record.len(),
            }),
        }
    }

    /// The header without what ties it to its place in the WAL.
    const fn unlinked(self) -> RecordHeader {
        RecordHeader {
            prev: Lsn::INVALID,
            crc: 0,
            ..self
        }
    }

    /// The bits of `info` that belong to the resource manager.
    pub const fn rmgr_info(&self) -> u8 {
        self.info & 0xF0
    }
}

/// A reassembled record, its CRC checked, its body not yet looked at.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RawRecord<'a> {
    // Not beside `end`: both would be copied in one load, which waits until their two stores are done.
    /// Where the record starts.
    pub start: Lsn,
    /// The record without the page headers in between, from its header to its last byte.
    pub bytes: &'a [u8],
    /// Where it ends (Postgres's `EndRecPtr`): the LSN of the page versions that it makes.
    pub end: Lsn,
    /// The version whose WAL it is part of.
    pub version: PgVersion,
}

impl<'a> RawRecord<'a> {
    /// Does what [`Record::encode_trimmed`] does for the page `keep`, without decoding, if there is nothing
    /// to leave out: the record refers to this one block, without an image. Says whether it did; it does
    /// not for records in any unusual form.
    #[inline]
    pub fn encode_trimmed(&self, keep: &BlockTag, out: &mut Vec<u8>) -> bool {
        if !self.is_trimmed(keep) {
            return false;
        }
        let Ok(header) = RecordHeader::of(self.bytes) else {
            return false;
        };
        out.extend_from_slice(&header.unlinked().encode());
        out.extend_from_slice(&self.bytes[RECORD_HEADER_SIZE..]);
        true
    }

    #[inline]
    fn is_trimmed(&self, keep: &BlockTag) -> bool {
        const BLOCK_HEADER_SIZE: usize = 20;
        let Some(headers) = self.bytes.get(RECORD_HEADER_SIZE..) else {
            return false;
        };
        let (Some(block), Some(next)) = (
            headers.first_chunk::<BLOCK_HEADER_SIZE>(),
            headers.get(BLOCK_HEADER_SIZE),
        ) else {
            return false;
        };
        let word = |at: usize| {
            u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
        };
        block[0] <= MAX_BLOCK_ID
            && block[1] & (HAS_IMAGE | SAME_REL) == 0
            && *next > MAX_BLOCK_ID
            && block[1] & FORK_MASK == keep.fork as u8
            && word(4) == keep.rel.spc
            && word(8) == keep.rel.db
            && word(12) == keep.rel.rel
            && word(16) == keep.block
    }

    /// A record from its bytes, page headers taken out. The CRC is not looked at.
    ///
    /// # Errors
    /// If its header is not sound, or says another length.
    pub fn new(
        version: PgVersion,
        start: Lsn,
        end: Lsn,
        bytes: &'a [u8],
    ) -> Result<RawRecord<'a>, RecordError> {
        RecordHeader::of(bytes)?;
        Ok(RawRecord {
            start,
            end,
            version,
            bytes,
        })
    }

    /// Decodes headers and payloads. The CRC is not looked at.
    ///
    /// # Errors
    /// If headers and payloads contradict one another.
    pub fn decode(&self) -> Result<Record<'a>, RecordError> {
        let mut record = Record::default();
        self.decode_into(&mut record)?;
        Ok(record)
    }

    /// As [`RawRecord::decode`], into a record whose content is replaced: a record is large, and who
    /// reads millions need not move each one to its place.
    ///
    /// # Errors
    /// As [`RawRecord::decode`]. The record's content is then of no meaning.
    #[inline]
    pub fn decode_into(&self, record: &mut Record<'a>) -> Result<(), RecordError> {
        record.start = self.start;
        record.end = self.end;
        record.version = self.version;
        record.header = RecordHeader::of(self.bytes)?;
        record.origin = None;
        record.top_xid = None;
        record.blocks.clear();
        let body = &self.bytes[RECORD_HEADER_SIZE..];
        match record.parse_plain(body) {
            Some(()) => Ok(()),
            None => record.parse_body(body),
        }
    }
}

impl Default for Record<'_> {
    /// A record to decode into, see [`RawRecord::decode_into`].
    #[inline]
    fn default() -> Self {
        Record {
            start: Lsn::INVALID,
            end: Lsn::INVALID,
            version: PgVersion::V15,
            header: RecordHeader::EMPTY,
            origin: None,
            top_xid: None,
            main_data: &[],
            blocks: SmallVec::new(),
        }
    }
}

/// A decoded record. Payloads are borrowed from the input.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Where the record starts.
    pub start: Lsn,
    /// Where it ends (Postgres's `EndRecPtr`): the LSN of the page versions that it makes.
    pub end: Lsn,
    /// The version whose WAL it is part of.
    pub version: PgVersion,
    /// The fixed header.
    pub header: RecordHeader,
    /// The replication origin, if the record carries one.
    pub origin: Option<u16>,
    /// The top-level transaction, if the record carries it (14 and newer, `wal_level = logical`).
    pub top_xid: Option<Xid>,
    /// Data that belongs to no block.
    pub main_data: &'a [u8],
    /// Few records refer to more than two, and a record is moved about.
    blocks: SmallVec<[BlockRef<'a>; 2]>,
}

/// One block that a record refers to.
#[derive(Clone, Copy, Debug)]
pub struct BlockRef<'a> {
    /// Its number in the record, 0 to 32; gaps occur.
    pub id: u8,
    /// Which block.
    pub tag: BlockTag,
    /// Redo starts from a zeroed page, whatever was there.
    pub will_init: bool,
    /// A full page image, for replay or for verification only.
    pub image: Option<BlockImage<'a>>,
    /// The block's own data, or none. Postgres leaves it out when an image makes it unnecessary.
    pub data: Option<&'a [u8]>,
}

impl<'a> BlockRef<'a> {
    /// Of no block.
    pub(crate) const EMPTY: BlockRef<'a> = BlockRef {
        id: 0,
        tag: BlockTag {
            rel: RelFileLocator {
                spc: 0,
                db: 0,
                rel: 0,
            },
            fork: ForkNumber::Main,
            block: 0,
        },
        will_init: false,
        image: None,
        data: None,
    };

    /// The image that redo restores; none if there is only one for verification, or none at all.
    pub fn apply_image(&self) -> Option<&BlockImage<'a>> {
        self.image.as_ref().filter(|image| image.apply)
    }
}

/// A record whose body contradicts itself or the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A field does not fit.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// The length is below a header's or above the largest.
    #[error("record length {0} is out of bounds")]
    Length(u32),
    /// The record's length differs from the bytes at hand.
    #[error("record says it has {said} bytes, {found} are there")]
    LengthMismatch {
        /// What the header says.
        said: u32,
        /// Bytes at hand.
        found: usize,
    },
    /// No such resource manager in any supported version.
    #[error("unknown resource manager {0}")]
    UnknownRmgr(u8),
    /// A block id that is not above the one before it, or above 32, or an unknown header id.
    #[error("block or header id {0} is out of place")]
    BlockId(u8),
    /// A fork number above 3.
    #[error("block {id} is of unknown fork {fork}")]
    Fork {
        /// The block.
        id: u8,
        /// The fork's number.
        fork: u8,
    },
    /// "Same relation as before" on the first block.
    #[error("block {0} refers to the relation of the block before it, and there is none")]
    NoPreviousRelation(u8),
    /// The has-data flag and the data length disagree.
    #[error("block {id}: data flag and data length {length} disagree")]
    DataFlag {
        /// The block.
        id: u8,
        /// The announced length.
        length: u16,
    },
    /// An image header's fields contradict one another.
    #[error(
        "block {id}: image of {length} bytes with hole {hole_length} at {hole_offset}, info {info:#04x}, cannot be"
    )]
    Image {
        /// The block.
        id: u8,
        /// Bytes of the image as stored.
        length: u16,
        /// Where the hole starts.
        hole_offset: u16,
        /// Bytes of the hole.
        hole_length: u16,
        /// The image's flag byte.
        info: u8,
    },
    /// Payload bytes announced and payload bytes at hand differ.
    #[error("headers announce {announced} payload bytes, {found} are there")]
    Payload {
        /// What the headers add up to.
        announced: usize,
        /// What is left.
        found: usize,
    },
}

impl<'a> Record<'a> {
    /// Decodes a whole record. The CRC is not looked at.
    ///
    /// # Errors
    /// If headers and payloads contradict one another.
    pub fn parse(
        version: PgVersion,
        start: Lsn,
        end: Lsn,
        bytes: &'a [u8],
    ) -> Result<Record<'a>, RecordError> {
        RawRecord::new(version, start, end, bytes)?.decode()
    }

    /// Apart from the common form, so that this one's size is not its burden.
    #[inline(never)]
    fn parse_body(&mut self, body: &'a [u8]) -> Result<(), RecordError> {
        let mut r = Reader::new(body);
        let mut announced = 0usize;
        let mut main_length = 0usize;
        while r.left() > announced {
            let id = r.u8("header id")?;
            match id {
                ID_DATA_SHORT | ID_DATA_LONG => {
                    main_length = if id == ID_DATA_SHORT {
                        usize::from(r.u8("main data length")?)
                    } else {
                        r.u32("main data length")? as usize
                    };
                    announced = announced.saturating_add(main_length);
                    break;
                }
                ID_ORIGIN => self.origin = Some(r.u16("origin")?),
                ID_TOP_XID => self.top_xid = Some(r.u32("top-level xid")?),
                0..=MAX_BLOCK_ID => {
                    let previous = self.blocks.last();
                    if previous.is_some_and(|previous| previous.id >= id) {
                        return Err(RecordError::BlockId(id));
                    }
                    let previous = previous.map(|previous| previous.tag.rel);
                    let version = self.version;
                    let block = self.add_block();
                    block.id = id;
                    announced += block.parse_header(version, previous, body, &mut r)?;
                }
                _ => return Err(RecordError::BlockId(id)),
            }
        }
        if r.left() != announced {
            return Err(RecordError::Payload {
                announced,
                found: r.left(),
            });
        }
        for block in &mut self.blocks {
            if let Some(image) = &mut block.image {
                image.bytes = r.take("block image", image.bytes.len())?;
            }
            if let Some(data) = &mut block.data {
                *data = r.take("block data", data.len())?;
            }
        }
        self.main_data = r.take("main data", main_length)?;
        Ok(())
    }

    /// The form of nearly all small records: one block without an image, then little main data. Gives
    /// up on anything else.
    #[inline]
    fn parse_plain(&mut self, body: &'a [u8]) -> Option<()> {
        let (headers, payload) = body.split_first_chunk::<22>()?;
        let [id, flags, low, high, .., main_id, main_length] = *headers;
        if id > MAX_BLOCK_ID || flags & (HAS_IMAGE | SAME_REL) != 0 || main_id != ID_DATA_SHORT {
            return None;
        }
        let word = |at: usize| {
            u32::from_le_bytes([
                headers[at],
                headers[at + 1],
                headers[at + 2],
                headers[at + 3],
            ])
        };
        let length = u16::from_le_bytes([low, high]);
        let (data, main_data) = payload.split_at_checked(usize::from(length))?;
        if main_data.len() != usize::from(main_length) || (flags & HAS_DATA != 0) != (length != 0) {
            return None;
        }
        self.main_data = main_data;
        let fork = ForkNumber::from_u8(flags & FORK_MASK)?;
        // Read before any is written: all four then go in one step, which a copy of them need not wait for.
        let [spc, db, rel, number] = [word(4), word(8), word(12), word(16)];
        let block = self.add_block();
        block.id = id;
        block.tag.rel = RelFileLocator { spc, db, rel };
        block.tag.block = number;
        block.tag.fork = fork;
        block.will_init = flags & WILL_INIT != 0;
        block.image = None;
        block.data = (length != 0).then_some(data);
        Some(())
    }

    /// One more block, whose fields are all for the caller to set. That way each is written where it
    /// stays: the processor cannot hand narrow stores on to the wide loads of a copy, and waiting for
    /// them would be a tenth of the cost of a small record.
    #[inline]
    fn add_block(&mut self) -> &mut BlockRef<'a> {
        let index = self.blocks.len();
        self.blocks.push(BlockRef::EMPTY);
        &mut self.blocks[index]
    }

    /// The blocks that the record refers to, in ascending order of id.
    pub fn blocks(&self) -> &[BlockRef<'a>] {
        &self.blocks
    }

    /// The block with this id, if the record refers to one.
    pub fn block(&self, id: u8) -> Option<&BlockRef<'a>> {
        // Ids are almost always dense.
        let blocks = self.blocks();
        match blocks.get(usize::from(id)) {
            Some(block) if block.id == id => Some(block),
            _ => blocks.iter().find(|block| block.id == id),
        }
    }

    /// The opcode: the bits of `info` that belong to the resource manager.
    pub const fn info(&self) -> u8 {
        self.header.rmgr_info()
    }

    /// Writes to `out` a record that holds what redo of the page `keep` needs and no more: header,
    /// origin and top-level xid, main data, the headers of all block references, and the image and
    /// data of blocks with that tag only (`None`: of no block). [`Record::parse`] reads it back;
    /// `total_length` is the new length; CRC and link to the record before are zero, since they tell
    /// nothing of the page and would only stand in the way of compression.
    pub fn encode_trimmed(&self, keep: Option<&BlockTag>, out: &mut Vec<u8>) {
        let base = out.len();
        out.extend_from_slice(&[0; RECORD_HEADER_SIZE]);
        let mut previous = None;
        for block in self.blocks() {
            block.encode_header(keep == Some(&block.tag), previous, self.version, out);
            previous = Some(block.tag.rel);
        }
        if let Some(origin) = self.origin {
            out.push(ID_ORIGIN);
            out.extend_from_slice(&origin.to_le_bytes());
        }
        if let Some(xid) = self.top_xid {
            out.push(ID_TOP_XID);
            out.extend_from_slice(&xid.to_le_bytes());
        }
        if !self.main_data.is_empty() {
            match u8::try_from(self.main_data.len()) {
                Ok(length) => out.extend_from_slice(&[ID_DATA_SHORT, length]),
                Err(_) => {
                    out.push(ID_DATA_LONG);
                    out.extend_from_slice(&(self.main_data.len() as u32).to_le_bytes());
                }
            }
        }
        for block in self
            .blocks()
            .iter()
            .filter(|block| keep == Some(&block.tag))
        {
            if let Some(image) = &block.image {
                out.extend_from_slice(image.bytes);
            }
            out.extend_from_slice(block.data.unwrap_or(&[]));
        }
        out.extend_from_slice(self.main_data);
        let header = RecordHeader {
            total_length: (out.len() - base) as u32,
            ..self.header.unlinked()
        };
        out[base..base + RECORD_HEADER_SIZE].copy_from_slice(&header.encode());
    }
}

impl RecordHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; RECORD_HEADER_SIZE] {
        let mut out = [0; RECORD_HEADER_SIZE];
        out[0..4].copy_from_slice(&self.total_length.to_le_bytes());
        out[4..8].copy_from_slice(&self.xid.to_le_bytes());
        out[8..16].copy_from_slice(&self.prev.get().to_le_bytes());
        out[16] = self.info;
        out[17] = self.rmgr.to_u8();
        out[20..24].copy_from_slice(&self.crc.to_le_bytes());
        out
    }
}

impl<'a> BlockRef<'a> {
    /// Reads a block's header, but for the id; gives how many bytes image and data have. These have the
    /// right length then, but are not at their place yet, which only the end of all headers tells:
    /// they stand at the start of `body` for now.
    #[inline]
    fn parse_header(
        &mut self,
        version: PgVersion,
        previous: Option<RelFileLocator>,
        body: &'a [u8],
        r: &mut Reader<'_>,
    ) -> Result<usize, RecordError> {
        let id = self.id;
        let [flags, low, high] = r.array("block header")?;
        let length = u16::from_le_bytes([low, high]);
        let fork = flags & FORK_MASK;
        self.tag.fork = ForkNumber::from_u8(fork).ok_or(RecordError::Fork { id, fork })?;
        if (flags & HAS_DATA != 0) != (length != 0) {
            return Err(RecordError::DataFlag { id, length });
        }
        self.data = match length {
            0 => None,
            _ => Some(Reader::new(body).take("block data", usize::from(length))?),
        };
        let mut payload = usize::from(length);
        self.image = None;
        if flags & HAS_IMAGE != 0 {
            let header = ImageHeader::parse(version, id, r)?;
            payload += usize::from(header.length);
            let bytes = Reader::new(body).take("block image", usize::from(header.length))?;
            self.image = Some(header.with_bytes(bytes));
        }
        if flags & SAME_REL != 0 {
            self.tag.rel = previous.ok_or(RecordError::NoPreviousRelation(id))?;
            self.tag.block = r.u32("block number")?;
        } else {
            let [spc, db, rel, block] = r.array::<16>("relation and block number").map(words)?;
            self.tag.rel = RelFileLocator { spc, db, rel };
            self.tag.block = block;
        }
        self.will_init = flags & WILL_INIT != 0;
        Ok(payload)
    }
}

impl BlockRef<'_> {
    fn encode_header(
        &self,
        with_payload: bool,
        previous: Option<RelFileLocator>,
        version: PgVersion,
        out: &mut Vec<u8>,
    ) {
        let image = self.image.as_ref().filter(|_| with_payload);
        let data = self.data.filter(|_| with_payload);
        let same_rel = previous == Some(self.tag.rel);
        let mut flags = self.tag.fork as u8;
        flags |= if image.is_some() { HAS_IMAGE } else { 0 };
        flags |= if data.is_some() { HAS_DATA } else { 0 };
        flags |= if self.will_init { WILL_INIT } else { 0 };
        flags |= if same_rel { SAME_REL } else { 0 };
        out.extend_from_slice(&[self.id, flags]);
        out.extend_from_slice(&(data.map_or(0, <[u8]>::len) as u16).to_le_bytes());
        if let Some(image) = image {
            image.encode_header(version, out);
        }
        if !same_rel {
            for oid in [self.tag.rel.spc, self.tag.rel.db, self.tag.rel.rel] {
                out.extend_from_slice(&oid.to_le_bytes());
            }
        }
        out.extend_from_slice(&self.tag.block.to_le_bytes());
    }
}

/// Four little-endian words.
#[inline]
fn words(bytes: [u8; 16]) -> [u32; 4] {
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    [word(0), word(4), word(8), word(12)]
}

const _: () = assert!(PAGE_SIZE <= u16::MAX as usize);
