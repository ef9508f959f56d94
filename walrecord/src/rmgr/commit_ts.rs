//! Records of commit times (access/commit_ts.h; redone by `commit_ts_redo`,
//! access/transam/commit_ts.c), and where they are kept.

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError};
use crate::rmgr::clog::read_page_number;
use crate::types::{PAGE_SIZE, Xid};

const RMGR: Rmgr = Rmgr::CommitTs;

/// Bytes of one entry: the time (`i64`) and the replication origin (`u16`).
pub const ENTRY_SIZE: usize = 10;

/// Transactions on one page.
pub const XIDS_PER_PAGE: u32 = (PAGE_SIZE / ENTRY_SIZE) as u32;

/// The page with the commit time of `xid`.
pub const fn page(xid: Xid) -> u32 {
    xid / XIDS_PER_PAGE
}

/// A record of resource manager CommitTs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitTsRecord {
    /// A page is zeroed.
    ZeroPage(u32),
    /// Segments of transactions that nobody needs are removed.
    Truncate(Truncate),
}

/// `xl_commit_ts_truncate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// The oldest page that must stay.
    pub cutoff: u32,
    /// The oldest transaction with a commit time.
    pub oldest_xid: Xid,
}

impl CommitTsRecord {
    /// Decodes the main data of a CommitTs record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'_>) -> Result<CommitTsRecord, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let decoded = match record.info() {
            0x00 => CommitTsRecord::ZeroPage(read_page_number(body, record.version)?),
            0x10 => CommitTsRecord::Truncate(Truncate {
                cutoff: read_page_number(body, record.version)?,
                oldest_xid: body.u32("oldest xid")?,
            }),
            info => return Err(BodyError::Opcode { rmgr: RMGR, info }),
        };
        body.finish("main data")?;
        Ok(decoded)
    }
}
