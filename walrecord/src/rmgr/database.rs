//! Records of databases (commands/dbcommands_xlog.h; redone by `dbase_redo`,
//! commands/dbcommands.c). Opcode 0x10 changed its meaning in 15.

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError, LeArray};
use crate::types::{Oid, PgVersion};

const RMGR: Rmgr = Rmgr::Database;

/// A record of resource manager Database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseRecord<'a> {
    /// A directory becomes a copy of another, whose files are read as they are on disk.
    CreateFileCopy(CreateFileCopy),
    /// A directory is created; its files follow in other records (15 and newer).
    CreateWalLog(DatabaseDirectory),
    /// Directories are removed.
    Drop(Drop<'a>),
}

/// The directory of a database in a tablespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseDirectory {
    /// The database.
    pub db: Oid,
    /// The tablespace.
    pub spc: Oid,
}

/// `xl_dbase_create_file_copy_rec`; `xl_dbase_create_rec` in 14.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateFileCopy {
    /// The new directory. What was there before is removed.
    pub target: DatabaseDirectory,
    /// The directory that is copied.
    pub source: DatabaseDirectory,
}

/// `xl_dbase_drop_rec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drop<'a> {
    /// The database.
    pub db: Oid,
    /// The tablespaces in which its directory is removed.
    pub tablespaces: LeArray<'a, Oid>,
}

impl<'a> DatabaseRecord<'a> {
    /// Decodes the main data of a Database record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'a>) -> Result<DatabaseRecord<'a>, BodyError> {
        let body = &mut Body::main(RMGR, record);
        let drop_info = match record.version {
            PgVersion::V14 => 0x10,
            _ => 0x20,
        };
        let decoded = match record.info() {
            0x00 => DatabaseRecord::CreateFileCopy(CreateFileCopy {
                target: DatabaseDirectory::read(body)?,
                source: DatabaseDirectory::read(body)?,
            }),
            info if info == drop_info => DatabaseRecord::Drop(Drop::read(body)?),
            0x10 => DatabaseRecord::CreateWalLog(DatabaseDirectory::read(body)?),
            info => return Err(BodyError::Opcode { rmgr: RMGR, info }),
        };
        body.finish("main data")?;
        Ok(decoded)
    }
}

impl DatabaseDirectory {
    fn read(body: &mut Body<'_>) -> Result<DatabaseDirectory, BodyError> {
        Ok(DatabaseDirectory {
            db: body.u32("database")?,
            spc: body.u32("database tablespace")?,
        })
    }
}

impl<'a> Drop<'a> {
    fn read(body: &mut Body<'a>) -> Result<Drop<'a>, BodyError> {
        let db = body.u32("dropped database")?;
        let count = body.i32("dropped tablespace count")?;
        Ok(Drop {
            db,
            tablespaces: body.array_i32("dropped tablespaces", count)?,
        })
    }
}
