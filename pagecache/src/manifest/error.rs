//! What can be wrong with a manifest.

use std::io;
use std::path::{Path, PathBuf};

use walrecord::{Lsn, PgTimelineId, TimelineId};

use crate::layer::{LayerId, RunId};

/// A manifest, or a file that it names, is not what it has to be.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file system refused.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The file is no manifest that can be used.
    #[error("{} is damaged: {damage}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        damage: ManifestDamage,
    },
    /// The manifest is of another tenant or timeline than its place says: files were moved by hand.
    #[error("{} is the manifest of {found}", .path.display())]
    Misplaced {
        /// The file.
        path: PathBuf,
        /// The id in it.
        found: String,
    },
    /// A tenant's directory has timelines and no manifest. No crash leaves that behind.
    #[error("{} is missing, though the tenant has timelines", .path.display())]
    TenantManifestMissing {
        /// The file.
        path: PathBuf,
    },
}

impl ManifestError {
    /// Makes a [`ManifestError::Io`] from an error, for `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ManifestError {
        let path = path.to_owned();
        move |source| ManifestError::Io {
            action,
            path,
            source,
        }
    }
}

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestDamage {
    /// Fewer bytes than the header has.
    #[error("{found} bytes are fewer than a header's")]
    TooShort {
        /// Bytes there.
        found: usize,
    },
    /// More bytes than a manifest may have.
    #[error("{found} bytes are more than the {limit} that a manifest may have")]
    TooLong {
        /// Bytes there.
        found: u64,
        /// The most that are allowed.
        limit: u64,
    },
    /// It begins like no manifest of this kind.
    #[error("it begins with {found:02x?}, not with {expected:02x?}")]
    Magic {
        /// The first bytes.
        found: [u8; 8],
        /// What they have to be.
        expected: [u8; 8],
    },
    /// The header does not match its checksum.
    #[error("header checksum is {found:08x}, the header says {expected:08x}")]
    HeaderChecksum {
        /// The checksum in the file.
        expected: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// The format is of a version that this program does not know.
    #[error("format version {found} is not known, only {oldest} to {newest} are")]
    Version {
        /// The version in the file.
        found: u32,
        /// The oldest version that this program reads.
        oldest: u32,
        /// The newest version that this program reads; it writes no other.
        newest: u32,
    },
    /// The payload has another length than the header says.
    #[error("the header announces {said} payload bytes, {found} are there")]
    Length {
        /// The length in the header.
        said: u32,
        /// Bytes after the header.
        found: usize,
    },
    /// The payload does not match its checksum.
    #[error("payload checksum is {found:08x}, the header says {expected:08x}")]
    PayloadChecksum {
        /// The checksum in the file.
        expected: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// The payload is no JSON of the expected shape.
    #[error("the payload cannot be read")]
    Payload(#[source] serde_json::Error),
    /// The content contradicts itself.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
}

/// A manifest that contradicts itself. Checked before it is written and after it is read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// The name of a timeline is empty, too long, or has other characters than letters, digits and
    /// `._-`.
    #[error("{0:?} cannot be the name of a timeline")]
    Name(String),
    /// WAL segments cannot have that size.
    #[error("{0} bytes is no WAL segment size")]
    SegmentSize(u32),
    /// The history of Postgres timelines is empty, or not in ascending order.
    #[error("the history of Postgres timelines is empty or out of order at {0:?}")]
    History(Option<PgTimelineId>),
    /// The import stops before it starts.
    #[error("the import goes from {start} back to {stop}")]
    Import {
        /// Where it starts.
        start: Lsn,
        /// Where it stops.
        stop: Lsn,
    },
    /// WAL from before the import would have to be indexed.
    #[error("WAL from {lsn} is still to be indexed, though the import starts at {start}")]
    DiskConsistent {
        /// Where indexing has to go on.
        lsn: Lsn,
        /// Where the import starts.
        start: Lsn,
    },
    /// The layers are not in ascending order of id, or one is named twice.
    #[error("layer {0} is out of order")]
    LayerOrder(LayerId),
    /// A layer has an id that has not been given out yet.
    #[error("layer {id} is not below {next}, the next to be given out")]
    LayerId {
        /// The layer.
        id: LayerId,
        /// The next id to be given out.
        next: LayerId,
    },
    /// A layer's first key or LSN is above its last.
    #[error("layer {0} ends before it begins")]
    LayerRange(LayerId),
    /// The runs that are rewritten are out of order, or among them is the one that they become.
    #[error("the runs that become run {0} are missing or out of order")]
    Rewrite(RunId),
    /// The leases are not in ascending order, or an LSN is held twice.
    #[error("the lease of {0} is out of order")]
    Lease(Lsn),
    /// More LSNs are held than may be.
    #[error("{0} leases are more than a timeline may have")]
    Leases(usize),
    /// There are no rules of redo, or they are not in ascending order.
    #[error("the rules of redo are missing or out of order at {0:?}")]
    Rules(Option<Lsn>),
    /// A timeline took its own place.
    #[error("timeline {0} is said to have taken its own place")]
    Succession(TimelineId),
    /// The Postgres timelines given out to clones are out of order, or not below the next.
    #[error("clone timeline {0:#x} is out of order")]
    Clone(PgTimelineId),
}
