//! What a base backup is handed to.

use walrecord::{BlockNumber, ForkNumber, Lsn, Oid, RelFileLocator, SlruKind, Xid};

/// Why a sink refuses.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Takes the parts of a base backup, in the order in which they come. An error ends the import.
pub trait BackupSink {
    /// Whole pages of a fork, from block `first` on. Those of one segment file come in order.
    ///
    /// # Errors
    /// If they cannot be stored.
    fn relation_pages(
        &mut self,
        rel: RelFileLocator,
        fork: ForkNumber,
        first: BlockNumber,
        bytes: &[u8],
    ) -> Result<(), SinkError>;

    /// A segment file of a fork ends; the fork has at least this many blocks. Also told of empty files.
    fn relation_blocks(&mut self, rel: RelFileLocator, fork: ForkNumber, blocks: BlockNumber);

    /// A segment of an SLRU: at most 32 whole pages.
    ///
    /// # Errors
    /// If it cannot be stored.
    fn slru_segment(&mut self, kind: SlruKind, segment: u32, bytes: &[u8])
    -> Result<(), SinkError>;

    /// A database has a directory in a tablespace.
    fn database_directory(&mut self, spc: Oid, db: Oid);

    /// A relation map.
    fn relation_map(&mut self, spc: Oid, db: Oid, content: &[u8]);

    /// A tablespace, and its path on the primary (empty: inside the data directory).
    fn tablespace(&mut self, spc: Oid, path: &[u8]);

    /// The state of a prepared transaction, without the CRC at the file's end.
    fn two_phase(&mut self, xid: Xid, state: &[u8]);

    /// How far a replication origin is.
    fn origin(&mut self, origin: u16, remote: Lsn);

    /// A configuration file: its path below the data directory, and its content.
    fn config(&mut self, path: &str, content: &[u8]);
}
