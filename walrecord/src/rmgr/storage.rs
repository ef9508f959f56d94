//! Records of the storage manager (catalog/storage_xlog.h; redone by `smgr_redo`, catalog/storage.c).

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError};
use crate::types::{BlockNumber, ForkNumber, RelFileLocator};

const RMGR: Rmgr = Rmgr::Storage;

/// A record of resource manager Storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageRecord {
    /// A fork's file is created.
    Create(Create),
    /// Forks are cut.
    Truncate(Truncate),
}

/// `xl_smgr_create`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Create {
    /// The relation.
    pub rel: RelFileLocator,
    /// The fork.
    pub fork: ForkNumber,
}

/// `xl_smgr_truncate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// The relation.
    pub rel: RelFileLocator,
    /// Blocks of the main fork that stay; what stays of the maps follows from it.
    pub blocks: BlockNumber,
    /// `SMGR_TRUNCATE_*`: which forks are cut.
    pub flags: u32,
}

impl StorageRecord {
    /// Decodes the main data of a Storage record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'_>) -> Result<StorageRecord, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let decoded = match record.info() {
            0x10 => StorageRecord::Create(Create::read(body)?),
            0x20 => {
                let blocks = body.u32("truncate blocks")?;
                StorageRecord::Truncate(Truncate {
                    rel: body.locator("truncate relation")?,
                    blocks,
                    flags: body.u32("truncate flags")?,
                })
            }
            info => return Err(BodyError::Opcode { rmgr: RMGR, info }),
        };
        body.finish("main data")?;
        Ok(decoded)
    }
}

impl Create {
    fn read(body: &mut Body<'_>) -> Result<Create, BodyError> {
        const FIELD: &str = "create fork";
        let rel = body.locator("create relation")?;
        let number = body.i32(FIELD)?;
        let fork = u8::try_from(number).ok().and_then(ForkNumber::from_u8);
        Ok(Create {
            rel,
            fork: fork.ok_or_else(|| body.value(FIELD, i64::from(number)))?,
        })
    }
}

impl Truncate {
    /// The main fork is cut.
    pub const fn cuts_main(&self) -> bool {
        self.flags & 0x01 != 0
    }

    /// The visibility map is cut.
    pub const fn cuts_vm(&self) -> bool {
        self.flags & 0x02 != 0
    }

    /// The free space map is cut.
    pub const fn cuts_fsm(&self) -> bool {
        self.flags & 0x04 != 0
    }
}
