//! Base backups into the store: from a running primary, or from files.

mod files;
mod live;
mod wal_files;

pub(crate) use files::NEWEST_MINOR;
pub use files::{FilesImport, import_files};
pub use live::{LiveImport, import_live};

use anyhow::Result;
use datadir::{BackupSink, SinkError};
use pagecache::ImportWriter;
use walrecord::{
    BlockNumber, ForkNumber, Lsn, Oid, RelFileLocator, SlruKind, TenantId, TimelineId, Xid,
};

/// Hands the parts of a backup to the store.
struct StoreSink<'a>(&'a mut ImportWriter);

impl BackupSink for StoreSink<'_> {
    fn relation_pages(
        &mut self,
        rel: RelFileLocator,
        fork: ForkNumber,
        first: BlockNumber,
        bytes: &[u8],
    ) -> Result<(), SinkError> {
        Ok(self.0.relation_pages(rel, fork, first, bytes)?)
    }

    fn relation_blocks(&mut self, rel: RelFileLocator, fork: ForkNumber, blocks: BlockNumber) {
        self.0.relation_blocks(rel, fork, blocks);
    }

    fn slru_segment(
        &mut self,
        kind: SlruKind,
        segment: u32,
        bytes: &[u8],
    ) -> Result<(), SinkError> {
        Ok(self.0.slru_segment(kind, segment, bytes)?)
    }

    fn database_directory(&mut self, spc: Oid, db: Oid) {
        self.0.database_directory(spc, db);
    }

    fn relation_map(&mut self, spc: Oid, db: Oid, content: &[u8]) {
        self.0.relation_map(spc, db, content);
    }

    fn tablespace(&mut self, spc: Oid, path: &[u8]) {
        self.0.tablespace(spc, path);
    }

    fn two_phase(&mut self, xid: Xid, state: &[u8]) {
        self.0.two_phase(xid, state);
    }

    fn origin(&mut self, origin: u16, remote: Lsn) {
        self.0.origin(origin, remote);
    }

    fn config(&mut self, path: &str, content: &[u8]) {
        self.0.file(path, content);
    }
}

/// A new random tenant id.
fn new_tenant() -> Result<TenantId> {
    Ok(TenantId::from_bytes(random()?))
}

/// A new random timeline id.
pub(crate) fn new_timeline() -> Result<TimelineId> {
    Ok(TimelineId::from_bytes(random()?))
}

fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    Ok(bytes)
}

/// The path under which the store keeps the backup's control file: clones are made from it.
pub const CONTROL_FILE: &str = "global/pg_control";
