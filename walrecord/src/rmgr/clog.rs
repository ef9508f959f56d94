//! Records of the commit log (access/clog.h; redone by `clog_redo`, access/transam/clog.c), and where
//! it keeps what.

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError};
use crate::types::{Oid, PAGE_SIZE, PgVersion, Xid};

const RMGR: Rmgr = Rmgr::Clog;

/// Transactions on one page: two bits each, four in a byte, the lowest bits first.
pub const XIDS_PER_PAGE: u32 = PAGE_SIZE as u32 * 4;

/// The page with the status of `xid`.
pub const fn page(xid: Xid) -> u32 {
    xid / XIDS_PER_PAGE
}

/// A record of resource manager CLOG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClogRecord {
    /// A page is zeroed.
    ZeroPage(u32),
    /// Segments of transactions that nobody needs are removed.
    Truncate(Truncate),
}

/// `xl_clog_truncate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// The oldest page that must stay.
    pub cutoff: u32,
    /// The oldest transaction with a commit status.
    pub oldest_xid: Xid,
    /// The database that needs it.
    pub oldest_db: Oid,
}

impl ClogRecord {
    /// Decodes the main data of a CLOG record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'_>) -> Result<ClogRecord, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let decoded = match record.info() {
            0x00 => ClogRecord::ZeroPage(read_page_number(body, record.version)?),
            0x10 => ClogRecord::Truncate(Truncate {
                cutoff: read_page_number(body, record.version)?,
                oldest_xid: body.u32("oldest xid")?,
                oldest_db: body.u32("oldest xid database")?,
            }),
            info => return Err(BodyError::Opcode { rmgr: RMGR, info }),
        };
        body.finish("main data")?;
        Ok(decoded)
    }
}

/// The number of an SLRU page: a C `int` up to 16, an `int64` since. None of the areas that WAL
/// describes has more than 2^32 pages.
pub(crate) fn read_page_number(body: &mut Body<'_>, version: PgVersion) -> Result<u32, BodyError> {
    const FIELD: &str = "page number";
    let page = match version >= PgVersion::V17 {
        true => body.i64(FIELD)?,
        false => i64::from(body.i32(FIELD)?),
    };
    u32::try_from(page).map_err(|_| body.value(FIELD, page))
}
