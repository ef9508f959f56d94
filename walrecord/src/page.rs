//! The header of a WAL page: read in full, then held against what the place demands
//! (access/xlog_internal.h; `XLogReaderValidatePageHeader` in access/transam/xlogreader.c).

use crate::reader::{Reader, Truncated};
use crate::types::{Lsn, PgTimelineId, PgVersion};

/// Bytes of one WAL page (`XLOG_BLCKSZ` of every supported build).
pub const WAL_PAGE_SIZE: usize = 8192;

/// Bytes of the header of most pages (`SizeOfXLogShortPHD`).
pub const SHORT_PAGE_HEADER_SIZE: usize = 24;

/// Bytes of the header of a segment's first page (`SizeOfXLogLongPHD`).
pub const LONG_PAGE_HEADER_SIZE: usize = 40;

const _: () = assert!(Lsn::new(WAL_PAGE_SIZE as u64 - 1).page_offset() == WAL_PAGE_SIZE as u64 - 1);
const _: () = assert!(Lsn::new(WAL_PAGE_SIZE as u64).page_offset() == 0);

const CONTINUES: u16 = 0x1;
const LONG: u16 = 0x2;
const REMOVABLE: u16 = 0x4;
const OVERWRITES: u16 = 0x8;
const INFO_OFFSET: usize = 2;

/// The header of a WAL page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHeader {
    /// The version whose magic the page carries.
    pub version: PgVersion,
    /// The Postgres timeline that wrote the page.
    pub timeline: PgTimelineId,
    /// The page's own position.
    pub address: Lsn,
    /// The page begins with this many bytes of a record that began earlier, counting those on later
    /// pages too. None: a record begins right after the header.
    pub continues: Option<u32>,
    /// The record that was to continue here was abandoned after a crash; what follows replaces it.
    pub overwrites: bool,
    /// Full page images in the page may be left out of an archive (informational).
    pub removable: bool,
    /// What only a segment's first page carries.
    pub segment: Option<SegmentHeader>,
}

/// The additional fields of a segment's first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The cluster that wrote the segment.
    pub system_identifier: u64,
    /// Bytes of a segment: a power of two from 1 MiB to 1 GiB.
    pub segment_size: u32,
}

/// What is known of the WAL that a page must be part of; what is not known is not checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageContext {
    /// The version.
    pub version: Option<PgVersion>,
    /// Bytes of a segment.
    pub segment_size: Option<u32>,
    /// The cluster.
    pub system_identifier: Option<u64>,
    /// The Postgres timeline of the page before; it never goes back.
    pub timeline: Option<PgTimelineId>,
}

/// A page header that cannot be one, or not one of this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Too few bytes.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// The magic number of no supported version.
    #[error("magic {0:#06x} belongs to no supported version (14 to 18)")]
    Magic(u16),
    /// The magic number of a supported version, its bytes in the other order.
    #[error("it was written by a machine with another byte order than x86 and most ARM")]
    ByteOrder,
    /// Unknown flag bits.
    #[error("flags {0:#06x} are not all known")]
    Flags(u16),
    /// The page continues a record by no bytes.
    #[error("it continues a record, but with no bytes")]
    EmptyContinuation,
    /// A page size of another build.
    #[error("WAL page size is {0}, this build reads {WAL_PAGE_SIZE}")]
    PageSize(u32),
    /// A segment size that cannot be.
    #[error("segment size {0} is not a power of two from 1 MiB to 1 GiB")]
    SegmentSize(u32),
    /// Another page's header: what is left in a segment file from its former use.
    #[error("it says that it is the page at {0}")]
    Address(Lsn),
    /// A segment's first page with the header of other pages, or the other way round.
    #[error("it has {}", header_kind(.long))]
    HeaderKind {
        /// The page carries the long header.
        long: bool,
    },
    /// Another version's.
    #[error("it is of version {found}, the WAL before of version {expected}")]
    Version {
        /// The page's version.
        found: PgVersion,
        /// The version of the WAL.
        expected: PgVersion,
    },
    /// Another cluster's.
    #[error("it is of the cluster with system identifier {found}, not {expected}")]
    SystemIdentifier {
        /// The page's system identifier.
        found: u64,
        /// The system identifier of the WAL.
        expected: u64,
    },
    /// Segments of another size than before.
    #[error("segment size is {found}, before it was {expected}")]
    SegmentSizeChanged {
        /// The page's segment size.
        found: u32,
        /// The segment size of the WAL.
        expected: u32,
    },
    /// The Postgres timeline went back.
    #[error("it is of Postgres timeline {found}, the page before of {before}")]
    Timeline {
        /// The page's timeline.
        found: PgTimelineId,
        /// The timeline of the page before.
        before: PgTimelineId,
    },
}

fn header_kind(long: &bool) -> &'static str {
    match long {
        true => "a segment's header inside a segment",
        false => "no segment's header at the start of one",
    }
}

/// Whether segments can have this size: a power of two from 1 MiB to 1 GiB (`IsValidWalSegSize`).
pub const fn is_segment_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && bytes >= 1 << 20 && bytes <= 1 << 30
}

impl PageHeader {
    /// Reads the header at the front of `bytes`, which may go on behind it.
    ///
    /// # Errors
    /// If there are too few bytes, or the fields cannot be those of a page of any place.
    pub fn parse(bytes: &[u8]) -> Result<PageHeader, PageError> {
        let mut r = Reader::new(bytes);
        let magic = r.u16("WAL page magic")?;
        let version =
            PgVersion::from_wal_magic(magic).map_err(|_| {
                match PgVersion::from_wal_magic(magic.swap_bytes()) {
                    Ok(_) => PageError::ByteOrder,
                    Err(_) => PageError::Magic(magic),
                }
            })?;
        let info = r.u16("WAL page flags")?;
        if info & !(CONTINUES | LONG | REMOVABLE | OVERWRITES) != 0 {
            return Err(PageError::Flags(info));
        }
        let timeline = r.u32("WAL page timeline")?;
        let address = r.lsn("WAL page address")?;
        let remaining = r.u32("WAL page continuation length")?;
        r.u32("WAL page padding")?;
        let continues = (info & CONTINUES != 0).then_some(remaining);
        if continues == Some(0) {
            return Err(PageError::EmptyContinuation);
        }
        let segment = match info & LONG {
            0 => None,
            _ => Some(SegmentHeader::parse(&mut r)?),
        };
        Ok(PageHeader {
            version,
            timeline,
            address,
            continues,
            overwrites: info & OVERWRITES != 0,
            removable: info & REMOVABLE != 0,
            segment,
        })
    }

    /// Reads the header of the page at `at` and checks it against the place and the WAL around it.
    ///
    /// # Errors
    /// As [`PageHeader::parse`]; and if the page is of another place, version, cluster or segment
    /// size, or the timeline went back.
    pub fn parse_at(at: Lsn, bytes: &[u8], context: &PageContext) -> Result<PageHeader, PageError> {
        let header = PageHeader::parse(bytes)?;
        header.check(at, context)?;
        Ok(header)
    }

    /// Bytes of this header.
    pub const fn size(&self) -> usize {
        match self.segment {
            Some(_) => LONG_PAGE_HEADER_SIZE,
            None => SHORT_PAGE_HEADER_SIZE,
        }
    }

    /// Where the first record that begins in this page begins; none if the page is filled by one that
    /// began earlier.
    pub fn first_record(&self) -> Option<Lsn> {
        let space = (WAL_PAGE_SIZE - self.size()) as u64;
        let rest = u64::from(self.continues.unwrap_or(0)).next_multiple_of(8);
        let begins = self.address.checked_add(self.size() as u64 + rest)?;
        (rest < space).then_some(begins)
    }

    /// The header's size, as far as its first bytes tell; none if more bytes are needed to know.
    pub(crate) fn size_of(bytes: &[u8]) -> Option<usize> {
        let info = bytes.get(INFO_OFFSET..SHORT_PAGE_HEADER_SIZE)?;
        let long = u16::from_le_bytes([info[0], info[1]]) & LONG != 0;
        Some(if long {
            LONG_PAGE_HEADER_SIZE
        } else {
            SHORT_PAGE_HEADER_SIZE
        })
    }

    fn check(&self, at: Lsn, context: &PageContext) -> Result<(), PageError> {
        if let Some(expected) = context.version.filter(|v| *v != self.version) {
            let found = self.version;
            return Err(PageError::Version { found, expected });
        }
        if self.address != at {
            return Err(PageError::Address(self.address));
        }
        if let Some(segment) = self.segment {
            segment.check(context)?;
        }
        let segment_size = self
            .segment
            .map(|segment| segment.segment_size)
            .or(context.segment_size);
        if let Some(size) = segment_size {
            let long = self.segment.is_some();
            if long != (at.segment_offset(size) == 0) {
                return Err(PageError::HeaderKind { long });
            }
        }
        if let Some(before) = context.timeline.filter(|before| self.timeline < *before) {
            let found = self.timeline;
            return Err(PageError::Timeline { found, before });
        }
        Ok(())
    }
}

impl SegmentHeader {
    fn parse(r: &mut Reader<'_>) -> Result<SegmentHeader, PageError> {
        let system_identifier = r.u64("WAL page system identifier")?;
        let segment_size = r.u32("WAL page segment size")?;
        if !is_segment_size(segment_size) {
            return Err(PageError::SegmentSize(segment_size));
        }
        let page_size = r.u32("WAL page size")?;
        if page_size as usize != WAL_PAGE_SIZE {
            return Err(PageError::PageSize(page_size));
        }
        Ok(SegmentHeader {
            system_identifier,
            segment_size,
        })
    }

    fn check(&self, context: &PageContext) -> Result<(), PageError> {
        let other = context.system_identifier;
        if let Some(expected) = other.filter(|id| *id != self.system_identifier) {
            let found = self.system_identifier;
            return Err(PageError::SystemIdentifier { found, expected });
        }
        let other = context.segment_size;
        if let Some(expected) = other.filter(|size| *size != self.segment_size) {
            let found = self.segment_size;
            return Err(PageError::SegmentSizeChanged { found, expected });
        }
        Ok(())
    }
}
