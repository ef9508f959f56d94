//! The state of a database's directory in one tablespace.

use walrecord::{Lsn, Oid, Reader};

use super::{MetaError, finish};

/// A database directory at an LSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct DirectoryState {
    /// It exists.
    pub(crate) exists: bool,
    /// Whatever was in it at or below this LSN is void: it was dropped, or became a copy, there.
    pub(crate) barrier: Lsn,
    /// What it became a copy of at `barrier`: keys without a version above it read the source's there.
    pub(crate) source: Option<CopySource>,
}

/// The directory that another became a copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopySource {
    pub(crate) spc: Oid,
    pub(crate) db: Oid,
}

impl DirectoryState {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        let source = self.source.unwrap_or(CopySource { spc: 0, db: 0 });
        out.extend_from_slice(&[u8::from(self.exists), u8::from(self.source.is_some())]);
        out.extend_from_slice(&self.barrier.get().to_le_bytes());
        out.extend_from_slice(&source.spc.to_le_bytes());
        out.extend_from_slice(&source.db.to_le_bytes());
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<DirectoryState, MetaError> {
        let mut r = Reader::new(bytes);
        let exists = r.u8("directory exists")? != 0;
        let copied = r.u8("directory copied")? != 0;
        let barrier = r.lsn("directory barrier")?;
        let source = CopySource {
            spc: r.u32("source tablespace")?,
            db: r.u32("source database")?,
        };
        finish(&r)?;
        Ok(DirectoryState {
            exists,
            barrier,
            source: copied.then_some(source),
        })
    }
}
