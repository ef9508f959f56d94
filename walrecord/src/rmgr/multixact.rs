//! Records of multixacts (access/multixact.h; redone by `multixact_redo`,
//! access/transam/multixact.c), and where the two areas keep what.

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError, LeArray, LeItem, u32_at};
use crate::rmgr::clog::read_page_number;
use crate::types::{Oid, PAGE_SIZE, SLRU_PAGES_PER_SEGMENT, Xid};

const RMGR: Rmgr = Rmgr::MultiXact;

/// Offsets on one page of the offsets area; each is a `u32`.
pub const OFFSETS_PER_PAGE: u32 = (PAGE_SIZE / 4) as u32;

/// Members in one group of the members area: four status bytes, then four transaction ids.
pub const MEMBERS_PER_GROUP: u32 = 4;

/// Bytes of one group.
pub const MEMBER_GROUP_SIZE: usize = 4 + 4 * MEMBERS_PER_GROUP as usize;

/// Members on one page of the members area; the last 12 bytes of a page are unused.
pub const MEMBERS_PER_PAGE: u32 = (PAGE_SIZE / MEMBER_GROUP_SIZE) as u32 * MEMBERS_PER_GROUP;

/// The first multixact id that is ever used (`FirstMultiXactId`); 0 is invalid.
pub const FIRST_MULTIXACT: u32 = 1;

/// A record of resource manager MultiXact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiXactRecord<'a> {
    /// A page of the offsets area is zeroed.
    ///
    /// `multixact_redo` of minors that write the next offset skips this record if it has just zeroed
    /// the page itself while redoing a CREATE_ID of an older minor: the zeroing would undo that
    /// CREATE_ID's write of the page's first entry. Taking the record at its word is equivalent from
    /// the next CREATE_ID on, the one of the page's first multixact, since that writes the same
    /// entry again; see [`CreateId`].
    ZeroOffsetPage(u32),
    /// A page of the members area is zeroed.
    ZeroMemberPage(u32),
    /// A multixact is made.
    CreateId(CreateId<'a>),
    /// Old multixacts are removed.
    TruncateId(TruncateId),
}

/// `xl_multixact_create`.
///
/// Redo (`RecordNewMultiXact`) stores `offset` as the multixact's entry of the offsets area and the
/// members from `offset` on in the members area. In newer minors
/// ([`RedoRules::multixact_writes_next_offset`]) it also stores [`CreateId::next_offset`] as the
/// entry of [`CreateId::next_multi`], which may be the first of the next page. WAL of such a minor
/// zeroes that page in an earlier record (offset pages are extended one multixact ahead). In WAL that
/// an older minor wrote the page may not exist yet: recovery zeroes it first, so a missing page
/// starts from zeros here. Recovery also starts from zeros for any missing page of these areas
/// (`SlruPhysicalReadPage`), so that holds for all pages that this record touches.
///
/// [`RedoRules::multixact_writes_next_offset`]: crate::RedoRules::multixact_writes_next_offset
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateId<'a> {
    /// The multixact.
    pub multi: u32,
    /// Where its members start.
    pub offset: u32,
    /// Its members.
    pub members: LeArray<'a, Member>,
}

/// A member of a multixact (`MultiXactMember`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The transaction.
    pub xid: Xid,
    /// Why it is a member, 0 to 5 (`MultiXactStatus`); one byte of the members area.
    pub status: u32,
}

/// `xl_multixact_truncate`. Ends are the first that stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TruncateId {
    /// The database that needs the oldest multixact.
    pub oldest_db: Oid,
    /// The first multixact removed.
    pub start_multi: u32,
    /// The new oldest multixact.
    pub end_multi: u32,
    /// The first member removed.
    pub start_member: u32,
    /// The oldest member that stays.
    pub end_member: u32,
}

impl LeItem for Member {
    const SIZE: usize = 8;

    #[inline]
    fn from_le(bytes: &[u8]) -> Member {
        Member {
            xid: u32_at(bytes, 0),
            status: u32_at(bytes, 4),
        }
    }
}

/// The page of the offsets area with the entry of `multi`.
pub const fn offset_page(multi: u32) -> u32 {
    multi / OFFSETS_PER_PAGE
}

/// The page of the members area with the member at `offset`.
pub const fn member_page(offset: u32) -> u32 {
    offset / MEMBERS_PER_PAGE
}

/// The segment of the members area with the member at `offset`.
pub const fn member_segment(offset: u32) -> u32 {
    member_page(offset) / SLRU_PAGES_PER_SEGMENT
}

/// The multixact after `multi`, which is never 0.
pub const fn next_multixact(multi: u32) -> u32 {
    match multi.wrapping_add(1) {
        0 => FIRST_MULTIXACT,
        next => next,
    }
}

/// The multixact before `multi` (`PreviousMultiXactId`).
pub const fn previous_multixact(multi: u32) -> u32 {
    match multi {
        FIRST_MULTIXACT => u32::MAX,
        _ => multi.wrapping_sub(1),
    }
}

impl<'a> MultiXactRecord<'a> {
    /// Decodes the main data of a MultiXact record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'a>) -> Result<MultiXactRecord<'a>, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let decoded = match record.info() {
            0x00 => MultiXactRecord::ZeroOffsetPage(read_page_number(body, record.version)?),
            0x10 => MultiXactRecord::ZeroMemberPage(read_page_number(body, record.version)?),
            0x20 => MultiXactRecord::CreateId(CreateId::read(body)?),
            0x30 => MultiXactRecord::TruncateId(TruncateId::read(body)?),
            info => return Err(BodyError::Opcode { rmgr: RMGR, info }),
        };
        body.finish("main data")?;
        Ok(decoded)
    }
}

impl<'a> CreateId<'a> {
    /// The multixact whose entry newer minors write, too.
    pub const fn next_multi(&self) -> u32 {
        next_multixact(self.multi)
    }

    /// Where the next multixact's members start, as its entry of the offsets area says: 0 means
    /// "unset" there and is skipped.
    pub const fn next_offset(&self) -> u32 {
        match self.offset.wrapping_add(self.members.len() as u32) {
            0 => 1,
            next => next,
        }
    }

    fn read(body: &mut Body<'a>) -> Result<CreateId<'a>, BodyError> {
        let multi = body.u32("multixact")?;
        let offset = body.u32("multixact offset")?;
        let count = body.i32("multixact member count")?;
        Ok(CreateId {
            multi,
            offset,
            members: body.array_i32("multixact members", count)?,
        })
    }
}

impl TruncateId {
    fn read(body: &mut Body<'_>) -> Result<TruncateId, BodyError> {
        Ok(TruncateId {
            oldest_db: body.u32("truncation database")?,
            start_multi: body.u32("truncation start")?,
            end_multi: body.u32("truncation end")?,
            start_member: body.u32("truncation first member")?,
            end_member: body.u32("truncation end member")?,
        })
    }
}
