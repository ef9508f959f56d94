//! Records out of a live stream of WAL bytes, checked: how records lie in pages, over pages and segments
//! (`XLogDecodeNextRecord` in access/transam/xlogreader.c). Serves the readers too, which are built on
//! it. What lies in one page of WAL at hand also goes without: `WalSlice::record_in_page`.

use std::ops::Range;

use crate::crc;
use crate::error::WalError;
use crate::page::{
    PageContext, PageHeader, SHORT_PAGE_HEADER_SIZE, WAL_PAGE_SIZE, is_segment_size,
};
use crate::record::{MAX_RECORD_SIZE, RECORD_HEADER_SIZE, RawRecord, RecordError, RecordHeader};
use crate::types::{Lsn, PgTimelineId, PgVersion};

/// Positions above this are refused, so that sums of a position and a record's or a segment's size
/// cannot leave the 64-bit range.
const MAX_POSITION: u64 = u64::MAX - (4 << 30);

/// A window that grew larger for a long record is not kept for short ones.
const KEPT_CAPACITY: usize = 1 << 20;

/// What is known of a stream of WAL before it is read. What is not given is taken from the first
/// page that tells, and held against all later pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecoderOptions {
    /// Bytes of a segment.
    pub segment_size: Option<u32>,
    /// The cluster that writes the WAL.
    pub system_identifier: Option<u64>,
    /// The version that writes the WAL. Needed if decoding starts inside a page.
    pub version: Option<PgVersion>,
}

/// Turns a stream of WAL bytes, cut anywhere, into records.
///
/// Checked: page headers, that a record goes on where its page ends, lengths, resource manager, link
/// to the record before, CRC. Not looked at: the body, see [`RawRecord::decode`].
///
/// Bytes are held until the record they belong to is out, and a record's length is believed only as
/// far as its bytes have arrived.
#[derive(Debug)]
pub struct StreamDecoder {
    known: PageContext,
    /// Up to `filled` it ends with the bytes from `cursor` to `received`; what stands before those is
    /// done with. Behind `filled` it is room to read into, which is zeroed only once.
    window: Vec<u8>,
    filled: usize,
    /// The next byte to look at. Beyond `received` when padding or the unused rest of a segment is
    /// yet to come.
    cursor: Lsn,
    /// The end of the bytes handed in.
    received: Lsn,
    place: Place,
    /// Where in the window the first bytes of the record are that crosses pages: in one piece, the
    /// headers of pages taken out from among them. It ends where the bytes from the cursor on begin, or
    /// before. Empty unless the place is inside a record.
    open: Range<usize>,
    /// Where the last record starts, if that is known.
    previous: Option<Lsn>,
    position: Lsn,
    /// No page was entered and no record begun yet.
    fresh: bool,
    /// Zeros stand where a record or page header should.
    ended: bool,
    /// What was found wrong. Decoding does not go on behind it.
    failed: Option<WalError>,
    /// The record that [`StreamDecoder::advance`] moved to. Here, and not handed from call to call: that
    /// would be a third of the cost of a small record.
    framed: Framed,
}

/// What stands at the cursor, behind a page header if the cursor is at a page boundary.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// A record.
    Record,
    /// More of the record at `start`, whose first bytes are in `open`.
    Inside { start: Lsn, total: u32 },
    /// The last `left` bytes of a record whose start was not seen.
    Skipping { left: u32 },
}

/// Where a record that is whole and checked lies: in the WAL, where it ends at the decoder's position,
/// and in the window.
#[derive(Debug)]
struct Framed {
    start: Lsn,
    version: PgVersion,
    from: usize,
    length: u32,
}

/// Who checks the CRC of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Crc {
    Checked,
    Left,
}

/// A record of which all is checked but its CRC.
#[derive(Clone, Copy, Debug)]
pub struct UnverifiedRecord<'a>(RawRecord<'a>);

impl<'a> UnverifiedRecord<'a> {
    /// The record as it stands there, for deciding whether it is worth [`UnverifiedRecord::verify`].
    #[inline]
    pub const fn unverified(&self) -> RawRecord<'a> {
        self.0
    }

    /// The record, once its CRC is found right.
    ///
    /// # Errors
    /// If it is not.
    #[inline]
    pub fn verify(&self) -> Result<RawRecord<'a>, WalError> {
        let RawRecord { start, bytes, .. } = self.0;
        RecordHeader::parse(bytes)
            .map_err(|error| WalError::Record { at: start, error })?
            .check_crc(start, bytes)?;
        Ok(self.0)
    }
}

impl StreamDecoder {
    /// A decoder for the WAL that starts at `start`: where a record starts, or at the boundary of a
    /// page (a segment's start is one). If a page starts inside a record, the rest of that record is
    /// skipped unseen.
    ///
    /// # Panics
    /// If a segment size is given that segments cannot have, see [`is_segment_size`].
    pub fn new(start: Lsn, options: DecoderOptions) -> StreamDecoder {
        assert!(
            options.segment_size.is_none_or(is_segment_size),
            "impossible segment size {:?}",
            options.segment_size
        );
        StreamDecoder {
            known: PageContext {
                version: options.version,
                segment_size: options.segment_size,
                system_identifier: options.system_identifier,
                timeline: None,
            },
            window: Vec::new(),
            filled: 0,
            cursor: start,
            received: start,
            place: Place::Record,
            open: 0..0,
            previous: None,
            position: start,
            fresh: true,
            ended: false,
            failed: None,
            framed: Framed {
                start,
                version: PgVersion::V15,
                from: 0,
                length: 0,
            },
        }
    }

    /// Says where the record before the start begins, which the first record's link is then held
    /// against. Without it, that link must only point backwards.
    #[must_use]
    pub fn with_previous(mut self, previous: Lsn) -> StreamDecoder {
        self.previous = Some(previous);
        self
    }

    /// Takes the next bytes of the stream, which start at `lsn`. Take out the records before pushing
    /// more: bytes are kept until then.
    ///
    /// # Errors
    /// If the bytes do not continue those before; they are not taken then.
    pub fn push(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), WalError> {
        if lsn != self.received {
            return Err(WalError::Gap {
                expected: self.received,
                found: lsn,
            });
        }
        let end = lsn
            .checked_add(bytes.len() as u64)
            .filter(|end| end.get() <= MAX_POSITION)
            .ok_or(WalError::PositionRange(lsn))?;
        let unused = self.cursor.saturating_sub(lsn).min(bytes.len() as u64) as usize;
        self.drop_consumed(bytes.len());
        self.window.truncate(self.filled);
        self.window.extend_from_slice(&bytes[unused..]);
        self.filled = self.window.len();
        self.take_in(end);
        Ok(())
    }

    /// Reads up to `count` more bytes through `read` right into the decoder, which saves the copy that
    /// [`StreamDecoder::push`] makes; gives how many. `read` is told from which position: unused
    /// bytes up to there (behind the record that ends a segment) are passed over.
    ///
    /// # Errors
    /// What `read` gives; no bytes are taken then.
    pub fn fill<E>(
        &mut self,
        count: usize,
        read: impl FnOnce(Lsn, &mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        self.received = self.received.max(self.cursor);
        let room = MAX_POSITION.saturating_sub(self.received.get());
        let count = count.min(usize::try_from(room).unwrap_or(usize::MAX));
        self.drop_consumed(count);
        let end = self.filled + count;
        if self.window.len() < end {
            self.window.resize(end, 0);
        }
        let got = read(self.received, &mut self.window[self.filled..end])?.min(count);
        self.filled += got;
        self.take_in(self.received + got as u64);
        Ok(got)
    }

    /// The next record, or none until more bytes are pushed.
    ///
    /// Zeros where a record or a page header should stand are the end of the WAL: it gives no record
    /// from then on, see [`StreamDecoder::ended`].
    ///
    /// # Errors
    /// If the bytes are not WAL, or not the WAL that continues what came before. Further calls give
    /// the same error.
    #[inline]
    pub fn next_record(&mut self) -> Result<Option<RawRecord<'_>>, WalError> {
        Ok(self.advance()?.then(|| self.record()))
    }

    /// As [`StreamDecoder::next_record`], but leaves the CRC to the caller. For several who read the same WAL and
    /// each need some of its records.
    ///
    /// # Errors
    /// As [`StreamDecoder::next_record`], but for a wrong CRC.
    #[inline]
    pub fn next_unverified(&mut self) -> Result<Option<UnverifiedRecord<'_>>, WalError> {
        let found = self.advance_with(Crc::Left)?;
        Ok(found.then(|| UnverifiedRecord(self.record())))
    }

    /// Starts anew at `start`, as [`StreamDecoder::new`] does, keeping what was learned of the WAL: version,
    /// segment size and cluster, not the timeline.
    pub fn restart(&mut self, start: Lsn) {
        self.filled = 0;
        self.cursor = start;
        self.received = start;
        self.close();
        self.previous = None;
        self.position = start;
        self.fresh = true;
        self.ended = false;
        self.failed = None;
        // Positions may go back, and with them timelines.
        self.known.timeline = None;
    }

    /// The end of the last record that was given, and so the place to start from again; the start if
    /// there was none. At a page boundary it is the boundary, as in Postgres's `EndRecPtr`.
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// Where the last record that was given starts, if there was one.
    pub fn previous(&self) -> Option<Lsn> {
        self.previous
    }

    /// The end of the bytes handed in: what the next push must start with.
    pub fn received(&self) -> Lsn {
        self.received
    }

    /// Zeros stand where the next record or page should: this WAL ends at [`StreamDecoder::position`].
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Bytes of a segment, if known.
    pub fn segment_size(&self) -> Option<u32> {
        self.known.segment_size
    }

    /// The cluster that writes the WAL, if known.
    pub fn system_identifier(&self) -> Option<u64> {
        self.known.system_identifier
    }

    /// The version that writes the WAL, if known.
    pub fn version(&self) -> Option<PgVersion> {
        self.known.version
    }

    /// The Postgres timeline of the last page begun, if one was.
    pub fn timeline(&self) -> Option<PgTimelineId> {
        self.known.timeline
    }
}

/// For the readers that are built on the decoder.
impl StreamDecoder {
    /// Forgets bytes that were read but lead to no record, so that they can be read again.
    pub(crate) fn unread(&mut self) {
        self.filled = self.open.end;
        self.received = self.cursor;
        self.ended = false;
    }

    /// Takes over what the header of the page around a start inside that page tells.
    pub(crate) fn learn_page(&mut self, at: Lsn, bytes: &[u8]) -> Result<(), WalError> {
        self.check_page(at, bytes).map(|header| self.learn(&header))
    }

    /// Moves on to the next whole record, if there is one: [`StreamDecoder::record`].
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<bool, WalError> {
        self.advance_with(Crc::Checked)
    }

    #[inline]
    fn advance_with(&mut self, crc: Crc) -> Result<bool, WalError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.frame_plain(crc) {
            return Ok(true);
        }
        self.try_advance(crc)
            .inspect_err(|error| self.failed = Some(*error))
    }

    /// Frames the record at the cursor if there is nothing special about it: it lies in its page, as most
    /// do, is there and is sound. Whatever else it is, [`StreamDecoder::begin_record`] finds.
    #[inline]
    fn frame_plain(&mut self, crc: Crc) -> bool {
        let (Place::Record, Some(previous), Some(version)) =
            (self.place, self.previous, self.known.version)
        else {
            return false;
        };
        let start = self.cursor;
        let rest = self.rest();
        let Ok(header) = RecordHeader::parse(rest) else {
            return false;
        };
        let special = self.fresh
            || start.page_offset() == 0
            || header.total_length as usize > self.bytes_left_in_page()
            || header.prev != previous
            || header.is_switch();
        let Some(record) = rest
            .get(..header.total_length as usize)
            .filter(|_| !special)
        else {
            return false;
        };
        if crc == Crc::Checked && crc::of_record(record) != header.crc {
            return false;
        }
        self.framed = Framed {
            start,
            version,
            from: self.filled - rest.len(),
            length: header.total_length,
        };
        let end = (start + u64::from(header.total_length)).align_up();
        self.cursor = end;
        self.position = end;
        self.previous = Some(start);
        true
    }

    #[inline(never)]
    fn try_advance(&mut self, crc: Crc) -> Result<bool, WalError> {
        loop {
            if self.ended || (self.cursor.page_offset() == 0 && !self.enter_page()?) {
                return Ok(false);
            }
            match self.place {
                Place::Record => match self.begin_record(crc)? {
                    Begun::Whole => return Ok(true),
                    Begun::Crossing => {}
                    Begun::Wait => return Ok(false),
                },
                Place::Inside { start, total } => {
                    if self.continue_record(start, total, crc)? {
                        return Ok(true);
                    }
                    if self.cursor.page_offset() != 0 {
                        return Ok(false);
                    }
                }
                Place::Skipping { left } => {
                    self.skip(left);
                    if matches!(self.place, Place::Skipping { .. })
                        && self.cursor.page_offset() != 0
                    {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// The record that was moved to.
    #[inline]
    pub(crate) fn record(&self) -> RawRecord<'_> {
        let framed = &self.framed;
        RawRecord {
            start: framed.start,
            end: self.position,
            version: framed.version,
            bytes: &self.window[framed.from..][..framed.length as usize],
        }
    }
}

/// What came of looking at the start of a record.
enum Begun {
    /// It lies in one page and is checked.
    Whole,
    /// It goes on in the next page.
    Crossing,
    /// Too little of it is there, or it is the end.
    Wait,
}

impl StreamDecoder {
    /// The bytes from the cursor on.
    #[inline]
    fn rest(&self) -> &[u8] {
        &self.window[self.filled - self.ahead()..self.filled]
    }

    /// How many bytes there are from the cursor on.
    #[inline]
    fn ahead(&self) -> usize {
        self.received.saturating_sub(self.cursor) as usize
    }

    /// The window ends at `received` now.
    fn take_in(&mut self, received: Lsn) {
        self.received = received;
        if self.ended || self.failed.is_some() {
            // Nothing behind the end is looked at, so nothing is kept.
            self.filled = 0;
            self.cursor = self.cursor.max(received);
            self.close();
        }
    }

    /// No record is open any more.
    fn close(&mut self) {
        self.place = Place::Record;
        self.open = 0..0;
    }

    /// Drops what is done with, if that is worth moving the rest, before `more` bytes come.
    fn drop_consumed(&mut self, more: usize) {
        let consumed = match self.place {
            Place::Inside { .. } => self.open.start,
            Place::Record | Place::Skipping { .. } => self.filled - self.ahead(),
        };
        let kept = self.filled - consumed;
        // Moving at most as many bytes as are dropped keeps the cost per byte constant.
        if consumed >= kept {
            let to = self.slack_before(kept);
            if self.window.len() < to + kept {
                self.window.resize(to + kept, 0);
            }
            self.window.copy_within(consumed..self.filled, to);
            self.filled = to + kept;
            self.open = to..to + self.open.len();
        }
        let wanted = self.filled.saturating_add(more).max(KEPT_CAPACITY);
        if self.window.capacity() / 4 > wanted {
            self.window.truncate(self.filled);
            self.window.shrink_to(wanted);
        }
    }

    /// How much to leave free before `kept` bytes so that what comes next lies in memory as in its file, by the
    /// processor's cache line: what the kernel copies elsewhere takes some processors twice the time.
    fn slack_before(&self, kept: usize) -> usize {
        const LINE: usize = 64;
        let next = self.window.as_ptr().addr() + kept;
        (self.received.get() as usize).wrapping_sub(next) % LINE
    }

    fn bytes_left_in_page(&self) -> usize {
        WAL_PAGE_SIZE - self.cursor.page_offset() as usize
    }

    fn check_page(&self, at: Lsn, bytes: &[u8]) -> Result<PageHeader, WalError> {
        PageHeader::parse_at(at, bytes, &self.known).map_err(|error| WalError::Page { at, error })
    }

    fn learn(&mut self, header: &PageHeader) {
        self.known.version = Some(header.version);
        self.known.timeline = Some(header.timeline);
        if let Some(segment) = header.segment {
            self.known.segment_size = Some(segment.segment_size);
            self.known.system_identifier = Some(segment.system_identifier);
        }
    }

    /// Reads the page header at the cursor and moves behind it; false if it is not there yet.
    fn enter_page(&mut self) -> Result<bool, WalError> {
        let page = self.cursor;
        let rest = self.rest();
        if let Some(zeros) = rest.get(..SHORT_PAGE_HEADER_SIZE)
            && zeros.iter().all(|byte| *byte == 0)
        {
            self.ended = true;
            return Ok(false);
        }
        if PageHeader::size_of(rest).is_none_or(|size| rest.len() < size) {
            return Ok(false);
        }
        let header = self.check_page(page, rest)?;
        self.place = self.place_behind(&header, page)?;
        if !matches!(self.place, Place::Inside { .. }) {
            self.open = 0..0;
        }
        self.learn(&header);
        self.fresh = false;
        self.cursor = page + header.size() as u64;
        Ok(true)
    }

    /// What stands behind a page's header, given what stood before it.
    fn place_behind(&self, header: &PageHeader, page: Lsn) -> Result<Place, WalError> {
        let (record, expected) = match self.place {
            Place::Inside { start, total } if !header.overwrites => {
                (start, total - self.open.len() as u32)
            }
            Place::Skipping { left } if !header.overwrites => (self.position, left),
            // Between records, or the open one is abandoned here.
            _ => {
                return match header.continues {
                    None => Ok(Place::Record),
                    Some(left) if self.fresh => Ok(Place::Skipping { left }),
                    Some(_) => Err(WalError::UnexpectedContinuation { page }),
                };
            }
        };
        match header.continues {
            None => Err(WalError::NoContinuation { record, page }),
            Some(found) if found != expected => Err(WalError::ContinuationLength {
                record,
                page,
                expected,
                found,
            }),
            Some(_) => Ok(self.place),
        }
    }

    /// Looks at the record that starts at the cursor.
    #[inline]
    fn begin_record(&mut self, crc: Crc) -> Result<Begun, WalError> {
        let start = self.cursor;
        if self.fresh {
            self.check_start(start)?;
        }
        let rest = self.rest();
        let Some(length) = rest.first_chunk::<4>() else {
            return Ok(Begun::Wait);
        };
        let total = u32::from_le_bytes(*length);
        if total == 0 {
            self.ended = true;
            return Ok(Begun::Wait);
        }
        if !(RECORD_HEADER_SIZE as u32..=MAX_RECORD_SIZE).contains(&total) {
            let error = RecordError::Length(total);
            return Err(WalError::Record { at: start, error });
        }
        let in_page = self.bytes_left_in_page();
        if total as usize > in_page {
            let from = self.filled - rest.len();
            self.place = Place::Inside { start, total };
            self.open = from..from;
            self.fresh = false;
            return Ok(Begun::Crossing);
        }
        let Some(bytes) = rest.get(..total as usize) else {
            return Ok(Begun::Wait);
        };
        let header = self.check_header(start, bytes)?;
        if crc == Crc::Checked {
            header.check_crc(start, bytes)?;
        }
        let from = self.filled - rest.len();
        self.framed.from = from;
        self.framed.length = total;
        self.finish(start, header.is_switch(), start + u64::from(total))?;
        Ok(Begun::Whole)
    }

    /// Adds what is there to the record that crosses pages.
    fn continue_record(&mut self, start: Lsn, total: u32, crc: Crc) -> Result<bool, WalError> {
        let missing = total as usize - self.open.len();
        let in_page = missing.min(self.bytes_left_in_page());
        let take = in_page.min(self.ahead());
        self.join(take, in_page);
        if self.open.len() < RECORD_HEADER_SIZE {
            return Ok(false);
        }
        // Early, so that nobody waits for the rest of a record that is none. Cheap enough to repeat
        // once a page.
        let record = &self.window[self.open.clone()];
        let header = self.check_header(start, record)?;
        if take < missing {
            return Ok(false);
        }
        if crc == Crc::Checked {
            header.check_crc(start, record)?;
        }
        self.framed.from = self.open.start;
        self.framed.length = total;
        self.open = 0..0;
        self.finish(start, header.is_switch(), self.cursor)?;
        Ok(true)
    }

    /// Makes the next `take` bytes part of the open record, of which `in_page` more stand in this page.
    fn join(&mut self, take: usize, in_page: usize) {
        if take == 0 {
            return;
        }
        let next = self.filled - self.ahead();
        if self.open.end != next {
            // A page header stands between. The shorter side is moved: what is open may be long, and
            // what is in a page never is.
            if self.open.len() <= in_page {
                let from = next - self.open.len();
                self.window.copy_within(self.open.clone(), from);
                self.open = from..next;
            } else {
                self.window.copy_within(next..next + take, self.open.end);
            }
        }
        self.open.end += take;
        self.cursor = self.cursor + take as u64;
    }

    /// Passes over bytes of the record whose start was not seen.
    fn skip(&mut self, left: u32) {
        let there = self.rest().len().min(self.bytes_left_in_page());
        if there < left as usize {
            self.cursor = self.cursor + there as u64;
            self.place = Place::Skipping {
                left: left - there as u32,
            };
        } else {
            self.cursor = (self.cursor + u64::from(left)).align_up();
            self.place = Place::Record;
        }
    }

    /// Moves behind a whole record whose last byte stands before `behind`, and notes it but for its
    /// bytes.
    #[inline]
    fn finish(&mut self, start: Lsn, is_switch: bool, behind: Lsn) -> Result<(), WalError> {
        let mut end = behind.align_up();
        if is_switch {
            let size = self.known.segment_size;
            let size = u64::from(size.ok_or(WalError::SegmentSizeUnknown(start))?);
            end = Lsn::new(end.get().next_multiple_of(size));
        }
        self.framed.version = self.version_at(start)?;
        self.framed.start = start;
        self.cursor = end;
        self.position = end;
        self.previous = Some(start);
        self.place = Place::Record;
        self.fresh = false;
        Ok(())
    }

    /// Whether decoding can begin at a place inside a page.
    fn check_start(&self, start: Lsn) -> Result<(), WalError> {
        if !start.get().is_multiple_of(8) || start.page_offset() < SHORT_PAGE_HEADER_SIZE as u64 {
            return Err(WalError::NotARecordStart(start));
        }
        self.version_at(start).map(|_| ())
    }

    fn version_at(&self, start: Lsn) -> Result<PgVersion, WalError> {
        self.known.version.ok_or(WalError::VersionUnknown(start))
    }

    #[inline]
    fn check_header(&self, start: Lsn, bytes: &[u8]) -> Result<RecordHeader, WalError> {
        let header =
            RecordHeader::parse(bytes).map_err(|error| WalError::Record { at: start, error })?;
        let found = header.prev;
        match self.previous {
            Some(expected) if found != expected => Err(WalError::PrevLink {
                at: start,
                found,
                expected,
            }),
            None if found >= start => Err(WalError::PrevNotBefore { at: start, found }),
            _ => Ok(header),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Lsn = Lsn::new(0x300_0000);

    /// The header of the page at `at`, which continues a record by `left` bytes.
    fn page_header(at: Lsn, left: u32) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend_from_slice(&PgVersion::V15.wal_magic().to_le_bytes());
        header.extend_from_slice(&u16::from(left > 0).to_le_bytes());
        header.extend_from_slice(&1u32.to_le_bytes());
        header.extend_from_slice(&at.get().to_le_bytes());
        header.extend_from_slice(&left.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header
    }

    #[test]
    fn a_length_is_believed_only_as_far_as_bytes_arrive() {
        let mut decoder = StreamDecoder::new(START, DecoderOptions::default());
        let mut bytes = page_header(START, 0);
        bytes.extend_from_slice(&MAX_RECORD_SIZE.to_le_bytes());
        bytes.extend_from_slice(&[0; 4000]);
        decoder.push(START, &bytes).unwrap();
        assert!(decoder.next_record().unwrap().is_none());
        assert!(decoder.window.capacity() < 16 << 10);
    }

    #[test]
    fn what_is_done_with_is_not_kept() {
        let mut decoder = StreamDecoder::new(START, DecoderOptions::default());
        let (mut at, mut left) = (START, MAX_RECORD_SIZE);
        for _ in 0..1000 {
            let mut page = page_header(at, left);
            left -= (WAL_PAGE_SIZE - page.len()) as u32;
            page.resize(WAL_PAGE_SIZE, 1);
            for part in page.chunks(3000) {
                decoder.push(at, part).unwrap();
                at = at + part.len() as u64;
                assert!(decoder.next_record().unwrap().is_none());
            }
        }
        assert!(decoder.window.capacity() < 16 << 10);
        // Nor is anything taken in behind an end or an error.
        decoder.push(at, &[0; 24]).unwrap();
        assert!(decoder.next_record().unwrap().is_none() && decoder.ended());
        for _ in 0..1000 {
            decoder.push(decoder.received(), &[0; 8192]).unwrap();
        }
        assert!(decoder.window.capacity() < 16 << 10);
    }

    /// A page with one small record, whose CRC is off by `crc_error`.
    fn page_with_record(crc_error: u32) -> Vec<u8> {
        let mut bytes = page_header(START, 0);
        let mut header = RecordHeader {
            total_length: RECORD_HEADER_SIZE as u32 + 4,
            ..RecordHeader::EMPTY
        };
        let body = [255, 2, 7, 7];
        let record = [&header.encode()[..], &body].concat();
        header.crc = crc::of_record(&record) ^ crc_error;
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(&body);
        bytes
    }

    #[test]
    fn a_wrong_crc_is_found_by_the_decoder_or_by_who_verifies() {
        for (crc_error, sound) in [(0, true), (1, false)] {
            let bytes = page_with_record(crc_error);
            let mut decoder = StreamDecoder::new(START, DecoderOptions::default());
            decoder.push(START, &bytes).unwrap();
            let found = decoder.next_unverified().unwrap().unwrap();
            assert_eq!(found.unverified().bytes, &bytes[24..]);
            assert_eq!(found.verify().is_ok(), sound);
            decoder.restart(START);
            decoder.push(START, &bytes).unwrap();
            assert_eq!(decoder.next_record().is_ok(), sound);
        }
    }

    #[test]
    fn bytes_that_are_read_lie_in_memory_as_in_their_file() {
        let mut decoder = StreamDecoder::new(START, DecoderOptions::default());
        let mut page = page_header(START, MAX_RECORD_SIZE);
        page.resize(WAL_PAGE_SIZE, 1);
        for (from, upto) in [(0, 100), (100, 333), (333, 4000)] {
            let part = &page[from..upto];
            let read = |lsn: Lsn, buf: &mut [u8]| {
                let apart = (buf.as_ptr().addr() as u64).wrapping_sub(lsn.get());
                // The window grows with the first.
                assert!(from == 0 || apart.is_multiple_of(64));
                buf[..part.len()].copy_from_slice(part);
                Ok::<usize, ()>(part.len())
            };
            decoder.fill(4096, read).unwrap();
            assert!(decoder.next_record().unwrap().is_none());
        }
    }
}
