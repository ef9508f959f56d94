//! `global/pg_control` (`ControlFileData`, catalog/pg_control.h): read from backups, written for clones.

use walrecord::rmgr::xlog::{CheckPoint, ParameterChange};
use walrecord::{Lsn, PAGE_SIZE, PgVersion, Reader, Truncated, UnknownVersion};

/// Bytes of the file. What the structure does not fill is zero.
pub const CONTROL_FILE_SIZE: usize = 8192;

/// "Shut down" (`DB_SHUTDOWNED`).
const STATE_SHUT_DOWN: u32 = 1;

const CHECKPOINT_COPY: usize = 40;
const UNLOGGED_LSN: usize = CHECKPOINT_COPY + CheckPoint::SIZE;
const WAL_LEVEL: usize = 172;
const LAYOUT: usize = 204;
const CHECKSUM_VERSION: usize = 252;

/// Where the CRC stands: 18 put a byte before the authentication nonce.
pub(crate) const fn crc_offset(version: PgVersion) -> usize {
    match version {
        PgVersion::V18 => 292,
        _ => 288,
    }
}

/// A control file, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlFile {
    /// The version that wrote it.
    pub version: PgVersion,
    /// The cluster's system identifier.
    pub system_identifier: u64,
    /// The cluster was shut down cleanly.
    pub shut_down: bool,
    /// Where the record of the last checkpoint starts.
    pub checkpoint: Lsn,
    /// What that checkpoint recorded.
    pub checkpoint_copy: CheckPoint,
    /// Settings that WAL replay depends on.
    pub parameters: ParameterChange,
    /// Bytes of a WAL segment.
    pub segment_size: u32,
    /// The cluster has data checksums.
    pub data_checksums: bool,
    bytes: Box<[u8; CONTROL_FILE_SIZE]>,
}

/// A control file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// It is too short.
    #[error("the control file is cut off: {0}")]
    Truncated(#[from] Truncated),
    /// It is of a version that is not supported.
    #[error(transparent)]
    Version(#[from] UnknownVersion),
    /// Its checksum is wrong.
    #[error("the control file is damaged: its CRC is {found:#010x}, computed {computed:#010x}")]
    Crc {
        /// The CRC it carries.
        found: u32,
        /// The CRC of its content.
        computed: u32,
    },
    /// The cluster was built or initialised with something that is not supported.
    #[error("{what} is {found}; this page server supports {supported} only")]
    Layout {
        /// What.
        what: &'static str,
        /// Its value.
        found: u32,
        /// The only supported value.
        supported: u32,
    },
    /// Its checkpoint does not decode.
    #[error("the control file's checkpoint: {0}")]
    Checkpoint(String),
}

impl ControlFile {
    /// Reads and checks a control file.
    ///
    /// # Errors
    /// If it is cut off, damaged, or of a cluster that is not supported.
    pub fn parse(file: &[u8]) -> Result<ControlFile, ControlError> {
        let mut r = Reader::new(file);
        let system_identifier = r.u64("system identifier")?;
        r.u32("control file version")?;
        let version = PgVersion::from_catalog_version(r.u32("catalog version")?)?;
        let state = r.u32("state")?;
        let mut bytes = Box::new([0; CONTROL_FILE_SIZE]);
        let there = file.len().min(CONTROL_FILE_SIZE);
        let end = crc_offset(version) + 4;
        Reader::new(file).take("control file", end)?;
        bytes[..there].copy_from_slice(&file[..there]);
        check_crc(&bytes, version)?;
        check_layout(&bytes)?;
        let checkpoint_copy = CheckPoint::decode(&bytes[CHECKPOINT_COPY..UNLOGGED_LSN], version)
            .map_err(|error| ControlError::Checkpoint(error.to_string()))?;
        let mut r = Reader::new(&bytes[32..]);
        let checkpoint = r.lsn("checkpoint")?;
        Ok(ControlFile {
            version,
            system_identifier,
            shut_down: state == STATE_SHUT_DOWN,
            checkpoint,
            checkpoint_copy,
            parameters: parameters(&bytes)?,
            segment_size: word(&bytes, LAYOUT + 24),
            data_checksums: word(&bytes, CHECKSUM_VERSION) != 0,
            bytes,
        })
    }

    /// The control file of a clone: shut down cleanly, with `checkpoint` as its last record, which
    /// starts at `at` and holds `copy`. What belongs to recovery is cleared.
    pub fn for_clone(
        &self,
        at: Lsn,
        copy: &CheckPoint,
        parameters: &ParameterChange,
    ) -> Box<[u8; CONTROL_FILE_SIZE]> {
        let mut file = self.bytes.clone();
        file[16..20].copy_from_slice(&STATE_SHUT_DOWN.to_le_bytes());
        file[24..32].copy_from_slice(&copy.time.to_le_bytes());
        file[32..40].copy_from_slice(&at.get().to_le_bytes());
        file[CHECKPOINT_COPY..UNLOGGED_LSN].copy_from_slice(&copy.encode());
        // minRecoveryPoint, its timeline, backup start and end points, and whether an end is required.
        file[UNLOGGED_LSN + 8..WAL_LEVEL].fill(0);
        let numbers = [
            parameters.wal_level,
            i32::from(parameters.wal_log_hints),
            parameters.max_connections,
            parameters.max_worker_processes,
            parameters.max_wal_senders,
            parameters.max_prepared_xacts,
            parameters.max_locks_per_xact,
        ];
        for (index, number) in numbers.into_iter().enumerate() {
            let at = WAL_LEVEL + 4 * index;
            file[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        file[WAL_LEVEL + 28] = u8::from(parameters.track_commit_timestamp);
        let crc_at = crc_offset(self.version);
        let crc = crc32c::crc32c(&file[..crc_at]);
        file[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
        file
    }

    /// The file as it was read.
    pub fn bytes(&self) -> &[u8; CONTROL_FILE_SIZE] {
        &self.bytes
    }
}

fn word(bytes: &[u8; CONTROL_FILE_SIZE], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn check_crc(bytes: &[u8; CONTROL_FILE_SIZE], version: PgVersion) -> Result<(), ControlError> {
    let at = crc_offset(version);
    let (found, computed) = (word(bytes, at), crc32c::crc32c(&bytes[..at]));
    if found == computed {
        Ok(())
    } else {
        Err(ControlError::Crc { found, computed })
    }
}

fn check_layout(bytes: &[u8; CONTROL_FILE_SIZE]) -> Result<(), ControlError> {
    let rules = [
        ("maximum data alignment", LAYOUT, 8),
        ("block size", LAYOUT + 12, PAGE_SIZE as u32),
        (
            "blocks per relation segment",
            LAYOUT + 16,
            walrecord::RELSEG_BLOCKS,
        ),
        ("WAL block size", LAYOUT + 20, 8192),
    ];
    for (what, at, supported) in rules {
        let found = word(bytes, at);
        if found != supported {
            return Err(ControlError::Layout {
                what,
                found,
                supported,
            });
        }
    }
    Ok(())
}

fn parameters(bytes: &[u8; CONTROL_FILE_SIZE]) -> Result<ParameterChange, ControlError> {
    let mut r = Reader::new(&bytes[WAL_LEVEL..]);
    let wal_level = r.i32("wal_level")?;
    let wal_log_hints = r.i32("wal_log_hints")? & 0xFF != 0;
    Ok(ParameterChange {
        wal_level,
        wal_log_hints,
        max_connections: r.i32("max_connections")?,
        max_worker_processes: r.i32("max_worker_processes")?,
        max_wal_senders: r.i32("max_wal_senders")?,
        max_prepared_xacts: r.i32("max_prepared_transactions")?,
        max_locks_per_xact: r.i32("max_locks_per_transaction")?,
        track_commit_timestamp: r.u8("track_commit_timestamp")? != 0,
    })
}
