//! What can be wrong with a stretch of WAL, each with the position where it was found. Serves the
//! stream decoder and the readers built on it.

use crate::page::PageError;
use crate::record::RecordError;
use crate::types::Lsn;

/// WAL that cannot be read on from where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WalError {
    /// Bytes that do not continue the ones before.
    #[error("WAL from {found} was handed in where {expected} comes next")]
    Gap {
        /// The position that comes next.
        expected: Lsn,
        /// The position that was handed in.
        found: Lsn,
    },
    /// A position so near the end of the 64-bit range that no WAL can be there.
    #[error("no WAL can stand at {0}, the end of all positions")]
    PositionRange(Lsn),
    /// A position where no record can start: not a multiple of 8, inside a page header, or inside
    /// another record.
    #[error("no record starts at {0}")]
    NotARecordStart(Lsn),
    /// The page header is wrong.
    #[error("WAL page at {at}: {error}")]
    Page {
        /// Where the page starts.
        at: Lsn,
        /// What is wrong with its header.
        error: PageError,
    },
    /// The page says that it begins with the rest of a record, but the record before it was whole.
    #[error("WAL page at {page} continues a record, but none is open there")]
    UnexpectedContinuation {
        /// Where the page starts.
        page: Lsn,
    },
    /// A record does not end in its page, and the next page does not continue it.
    #[error("record at {record} is not continued by the WAL page at {page}")]
    NoContinuation {
        /// Where the record starts.
        record: Lsn,
        /// Where the page starts.
        page: Lsn,
    },
    /// A page continues a record with another number of bytes than are missing.
    #[error(
        "record at {record} misses {expected} bytes, the WAL page at {page} announces {found} of it"
    )]
    ContinuationLength {
        /// Where the record starts; where the stream does, if the record began before it.
        record: Lsn,
        /// Where the page starts.
        page: Lsn,
        /// Bytes that are missing.
        expected: u32,
        /// Bytes that the page announces.
        found: u32,
    },
    /// The record's header is wrong.
    #[error("record at {at}: {error}")]
    Record {
        /// Where the record starts.
        at: Lsn,
        /// What is wrong with it.
        error: RecordError,
    },
    /// The record does not name the one before it.
    #[error("record at {at} names {found} as the record before it, which is {expected}")]
    PrevLink {
        /// Where the record starts.
        at: Lsn,
        /// The link in the record.
        found: Lsn,
        /// Where the record before it starts.
        expected: Lsn,
    },
    /// The record, the first that is read, names a record before it that is not before it.
    #[error("record at {at} names {found} as the record before it, which is not before it")]
    PrevNotBefore {
        /// Where the record starts.
        at: Lsn,
        /// The link in the record.
        found: Lsn,
    },
    /// The record's bytes are not the ones that were written.
    #[error("record at {at} has CRC {computed:#010x}, its header says {stored:#010x}")]
    Crc {
        /// Where the record starts.
        at: Lsn,
        /// The CRC in the header.
        stored: u32,
        /// The CRC of the bytes.
        computed: u32,
    },
    /// Decoding began inside a page, and the version was not given.
    #[error(
        "the version of the WAL at {0} is unknown: give it, or start where a page or segment does"
    )]
    VersionUnknown(Lsn),
    /// The record ends its segment, and the segments' size is neither given nor seen yet.
    #[error("record at {0} ends its segment, but the segment size is unknown")]
    SegmentSizeUnknown(Lsn),
}
