//! Leaves of posting trees: compressed posting lists one behind the other, called segments
//! (`ginRedoRecompress`, ginxlog.c; "Posting tree leaf pages" in access/ginblock.h).

use walrecord::rmgr::ItemPointer;
use walrecord::rmgr::gin::{ActionKind, Recompression};
use walrecord::{PAGE_SIZE, Page};

use super::opaque::{self, COMPRESSED, DATA, LEAF};
use super::posting::{self, Segment};
use crate::error::Fault;
use crate::page::{self, HEADER_SIZE, max_align};

/// Bytes of a heap TID; the page's right bound, one of them, stands in front of the data.
const TID: usize = 6;
/// Where the data of a page of a posting tree starts (`GinDataPageGetData`).
pub(super) const DATA_START: usize = HEADER_SIZE + max_align(TID);
/// Bytes of data that such a page has room for (`GinDataPageMaxDataSize`).
pub(super) const MAX_DATA: usize = PAGE_SIZE - DATA_START - max_align(opaque::SIZE);

/// Makes the only page of a new posting tree.
pub(super) fn make(page: &mut Page, content: &[u8]) -> Result<(), Fault> {
    opaque::make(page, DATA | LEAF | COMPRESSED)?;
    let mut out = Writer {
        page,
        at: DATA_START,
    };
    out.put(content)?;
    out.finish();
    Ok(())
}

/// Changes segments as the actions say. Bytes that were content and are so no more stay as they are:
/// each byte is written once, and none behind the new end.
pub(super) fn recompress(page: &mut Page, actions: Recompression<'_>) -> Result<(), Fault> {
    opaque::expect_flags(page, DATA | LEAF, DATA | LEAF)?;
    if opaque::flags(page)? & COMPRESSED == 0 {
        compress(page)?;
    }
    let old: Page = *page;
    let mut rest = segments(&old)?;
    let mut number = 0;
    let mut out = Writer {
        page,
        at: DATA_START,
    };
    for action in actions {
        while number < action.segment {
            out.put(next(&mut rest)?.bytes())?;
            number += 1;
        }
        if number > action.segment {
            return Err(Fault::Value {
                what: "the segment that an action is for",
                found: u64::from(action.segment),
                expected: u64::from(number),
            });
        }
        match action.kind {
            ActionKind::Insert(list) => {
                out.put(list)?;
                continue;
            }
            ActionKind::Delete => {
                next(&mut rest)?;
            }
            ActionKind::Replace(list) => {
                next(&mut rest)?;
                out.put(list)?;
            }
            ActionKind::AddItems(items) => out.merge(next(&mut rest)?, items.iter())?,
        }
        number = number.saturating_add(1);
    }
    out.put(rest)?;
    out.finish();
    Ok(())
}

/// Takes the next segment off the front of `rest`.
fn next<'a>(rest: &mut &'a [u8]) -> Result<Segment<'a>, Fault> {
    let (segment, left) = Segment::split_first(rest)?;
    *rest = left;
    Ok(segment)
}

/// The segments of a compressed leaf.
fn segments(page: &Page) -> Result<&[u8], Fault> {
    let end = usize::from(page::lower(page));
    page.get(DATA_START..end).ok_or(Fault::Value {
        what: "the end of the segments",
        found: end as u64,
        expected: DATA_START as u64,
    })
}

/// Turns the array of heap TIDs of a leaf that comes from 9.3 or older into one segment.
fn compress(page: &mut Page) -> Result<(), Fault> {
    let old: Page = *page;
    let count = usize::from(opaque::count(page)?);
    let end = DATA_START + count * TID;
    if count * TID > MAX_DATA {
        return Err(no_room(count * TID, 0));
    }
    let tids = old[DATA_START..end].chunks_exact(TID);
    let mut items = tids.map(posting::item_from_bytes);
    let mut out = Writer {
        page,
        at: DATA_START,
    };
    if let Some(first) = items.next() {
        let room = &mut out.page[DATA_START..DATA_START + MAX_DATA];
        out.at += posting::encode(room, first, items.map(posting::to_number))?;
    }
    out.finish();
    opaque::set_flags(page, COMPRESSED)?;
    opaque::set_count(page, 0)
}

/// Writes `pd_lower` so that it says how many bytes of data there are (`GinDataPageSetDataSize`).
pub(super) fn set_data_size(page: &mut Page, size: usize) {
    page::set_lower(page, (DATA_START + size) as u16);
}

/// Fills a page of a posting tree with segments.
struct Writer<'p> {
    page: &'p mut Page,
    /// Where the next one goes; at most the end of the room for data.
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, segments: &[u8]) -> Result<(), Fault> {
        let room = &mut self.page[self.at..DATA_START + MAX_DATA];
        let left = room.len();
        let place = room.get_mut(..segments.len());
        place
            .ok_or(no_room(segments.len(), left))?
            .copy_from_slice(segments);
        self.at += segments.len();
        Ok(())
    }

    /// Adds a segment with more items.
    fn merge(
        &mut self,
        old: Segment<'_>,
        new: impl Iterator<Item = ItemPointer>,
    ) -> Result<(), Fault> {
        let room = &mut self.page[self.at..DATA_START + MAX_DATA];
        self.at += posting::merge(room, old, new)?;
        Ok(())
    }

    fn finish(self) {
        set_data_size(self.page, self.at - DATA_START);
    }
}

fn no_room(needed: usize, room: usize) -> Fault {
    Fault::ItemTotal {
        total: needed,
        room: room as u16,
    }
}
