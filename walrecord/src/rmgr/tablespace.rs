//! Records of tablespaces (commands/tablespace.h; redone by `tblspc_redo`, commands/tablespace.c).

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError};
use crate::types::Oid;

const RMGR: Rmgr = Rmgr::Tablespace;

/// A record of resource manager Tablespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TablespaceRecord<'a> {
    /// A tablespace is created.
    Create(Create<'a>),
    /// An empty tablespace is removed.
    Drop(Oid),
}

/// `xl_tblspc_create_rec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Create<'a> {
    /// The tablespace.
    pub spc: Oid,
    /// Where it lies on the primary; empty for one inside the data directory (15 and newer).
    pub path: &'a [u8],
}

impl<'a> TablespaceRecord<'a> {
    /// Decodes the main data of a Tablespace record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'a>) -> Result<TablespaceRecord<'a>, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let decoded = match record.info() {
            0x00 => TablespaceRecord::Create(Create {
                spc: body.u32("tablespace")?,
                path: body.cstr("tablespace path")?,
            }),
            0x10 => TablespaceRecord::Drop(body.u32("tablespace")?),
            info => return Err(BodyError::Opcode { rmgr: RMGR, info }),
        };
        body.finish("main data")?;
        Ok(decoded)
    }
}
