//! Records of relation maps (utils/relmapper.h; redone by `relmap_redo`, utils/cache/relmapper.c).

use crate::record::Record;
use crate::rmgr::Rmgr;
use crate::rmgr::body::{Body, BodyError};
use crate::types::{Oid, PgVersion};

const RMGR: Rmgr = Rmgr::RelMap;

/// The record of resource manager RelMap (`xl_relmap_update`): `pg_filenode.map` is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelMapUpdate<'a> {
    /// The database, or 0 for the shared map.
    pub db: Oid,
    /// The database's tablespace, or `pg_global`.
    pub spc: Oid,
    /// The new file, whole.
    pub content: &'a [u8],
}

/// Bytes of a relation map (`RelMapFile`): 62 entries, CRC and padding in 14 and 15; 64 entries and
/// CRC since.
pub const fn map_size(version: PgVersion) -> usize {
    match version {
        PgVersion::V14 | PgVersion::V15 => 512,
        _ => 524,
    }
}

impl<'a> RelMapUpdate<'a> {
    /// Decodes the main data of a RelMap record.
    ///
    /// # Errors
    /// If the opcode is unknown or the data is not what it should be.
    pub fn decode(record: &Record<'a>) -> Result<RelMapUpdate<'a>, BodyError> {
        const SIZE: &str = "map size";
        if record.info() != 0 {
            return Err(BodyError::Opcode {
                rmgr: RMGR,
                info: record.info(),
            });
        }
        let mut body = Body::main(RMGR, record);
        let db = body.u32("map database")?;
        let spc = body.u32("map tablespace")?;
        let size = body.i32(SIZE)?;
        let expected = map_size(record.version);
        if usize::try_from(size) != Ok(expected) {
            return Err(body.value(SIZE, i64::from(size)));
        }
        let content = body.take("map content", expected)?;
        body.finish("map content")?;
        Ok(RelMapUpdate { db, spc, content })
    }
}
