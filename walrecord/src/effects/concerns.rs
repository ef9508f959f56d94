//! Whether a record does anything to some pages, told from its headers alone. Serves those who divide pages
//! among themselves and each read all WAL: most of it is then somebody else's, and need not be decoded.

use crate::image::ImageHeader;
use crate::reader::Reader;
use crate::record::{
    FORK_MASK, HAS_IMAGE, ID_DATA_LONG, ID_DATA_SHORT, ID_ORIGIN, ID_TOP_XID, MAX_BLOCK_ID,
    RECORD_HEADER_SIZE, RawRecord, SAME_REL,
};
use crate::rmgr::heap::OPCODE_MASK;
use crate::rmgr::{Rmgr, RmgrId};
use crate::types::{BlockTag, ForkNumber, RelFileLocator};

/// Whether the record may do more than change blocks that are not `wanted`. If not, [`effects`] would tell
/// of it, besides pages that are not wanted, no more than [`XidUsed`].
///
/// It costs a fraction of decoding and errs on the safe side: `true` is said of any record whose effects go
/// beyond the blocks that it names (or may, by a flag), that names none, or whose headers are not sound. So
/// if every block is wanted by somebody, every record concerns somebody, who will find what is wrong with it.
/// `wanted` may be asked about some of the blocks only.
///
/// [`effects`]: super::effects
/// [`XidUsed`]: super::MetaEffect::XidUsed
#[inline]
pub fn concerns(raw: &RawRecord<'_>, mut wanted: impl FnMut(&BlockTag) -> bool) -> bool {
    match one_block(raw.bytes) {
        Some((tag, main_data)) => wanted(&tag) || !names_all(raw.bytes, main_data),
        None => any_blocks(raw, wanted).unwrap_or(true),
    }
}

/// The block and the main data of a record in the form of nearly all small ones: one block without an image,
/// then little main data.
#[inline]
fn one_block(record: &[u8]) -> Option<(BlockTag, &[u8])> {
    let body = record.get(RECORD_HEADER_SIZE..)?;
    let headers = body.first_chunk::<22>()?;
    let [id, flags, .., main_id, main_length] = *headers;
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
    let tag = BlockTag {
        rel: RelFileLocator {
            spc: word(4),
            db: word(8),
            rel: word(12),
        },
        fork: ForkNumber::from_u8(flags & FORK_MASK)?,
        block: word(16),
    };
    let payload = &body[headers.len()..];
    let main_data = payload.len().checked_sub(usize::from(main_length))?;
    Some((tag, &payload[main_data..]))
}

/// As [`concerns`], for records of any form; nothing of those that are not sound.
#[inline(never)]
fn any_blocks(raw: &RawRecord<'_>, mut wanted: impl FnMut(&BlockTag) -> bool) -> Option<bool> {
    let mut r = Reader::new(raw.bytes.get(RECORD_HEADER_SIZE..)?);
    let mut previous: Option<(u8, RelFileLocator)> = None;
    // Bytes of images and data of blocks, and of main data, which follow the headers.
    let (mut announced, mut main_length) = (0usize, 0usize);
    while r.left() > announced {
        let id = r.u8("header id").ok()?;
        match id {
            0..=MAX_BLOCK_ID => {
                let [flags, low, high] = r.array("block header").ok()?;
                announced += usize::from(u16::from_le_bytes([low, high]));
                if flags & HAS_IMAGE != 0 {
                    let image = ImageHeader::parse(raw.version, id, &mut r).ok()?;
                    announced += usize::from(image.length);
                }
                if previous.is_some_and(|(before, _)| before >= id) {
                    return None;
                }
                let rel = match flags & SAME_REL != 0 {
                    true => previous?.1,
                    false => locator(r.array("relation").ok()?),
                };
                let fork = ForkNumber::from_u8(flags & FORK_MASK)?;
                let block = r.u32("block number").ok()?;
                if wanted(&BlockTag { rel, fork, block }) {
                    return Some(true);
                }
                previous = Some((id, rel));
            }
            ID_ORIGIN => _ = r.u16("origin").ok()?,
            ID_TOP_XID => _ = r.u32("top-level xid").ok()?,
            ID_DATA_SHORT => {
                main_length = r.u8("main data length").ok()?.into();
                break;
            }
            ID_DATA_LONG => {
                main_length = r.u32("main data length").ok()? as usize;
                break;
            }
            _ => return None,
        }
    }
    previous?;
    let payload = r.peek();
    let main_data = payload.len().checked_sub(main_length)?;
    Some(!names_all(raw.bytes, &payload[main_data..]))
}

#[inline]
fn locator(bytes: [u8; 12]) -> RelFileLocator {
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    RelFileLocator {
        spc: word(0),
        db: word(4),
        rel: word(8),
    }
}

/// Whether the record surely does nothing but change blocks that it names, and use its transaction id.
#[inline]
fn names_all(record: &[u8], main_data: &[u8]) -> bool {
    let (Some(info), Some(rmgr)) = (record.get(16), record.get(17)) else {
        return false;
    };
    // Bits of the visibility map that are cleared, on a page that mostly is not named
    // (`rmgr::visibility::clears`): what the flag byte says of them, and where it stands.
    let clears = |at: usize, bits: u8| main_data.get(at).is_none_or(|flags| flags & bits != 0);
    match RmgrId::from_u8(*rmgr) {
        Some(RmgrId::BuiltIn(Rmgr::Heap)) => match info & OPCODE_MASK {
            // INSERT, DELETE, UPDATE, HOT_UPDATE, LOCK.
            0x00 => !clears(2, 0x01),
            0x10 => !clears(7, 0x01),
            0x20 | 0x40 => !clears(7, 0x03),
            0x60 => !clears(7, 0x01),
            _ => true,
        },
        Some(RmgrId::BuiltIn(Rmgr::Heap2)) => match info & OPCODE_MASK {
            // MULTI_INSERT, LOCK_UPDATED.
            0x50 => !clears(0, 0x01),
            0x60 => !clears(7, 0x01),
            _ => true,
        },
        // FPI_FOR_HINT, FPI.
        Some(RmgrId::BuiltIn(Rmgr::Xlog)) => matches!(info & 0xF0, 0xA0 | 0xB0),
        Some(
            RmgrId::BuiltIn(
                Rmgr::Btree
                | Rmgr::Hash
                | Rmgr::Gin
                | Rmgr::Gist
                | Rmgr::SpGist
                | Rmgr::Brin
                | Rmgr::Sequence
                | Rmgr::Generic,
            )
            | RmgrId::Custom(_),
        ) => true,
        _ => false,
    }
}
