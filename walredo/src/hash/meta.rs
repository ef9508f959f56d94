//! The metapage of a hash index (`HashMetaPageData`, access/hash.h; `_hash_init_metabuffer`,
//! hashpage.c): counters, and where overflow and bitmap pages are.

use walrecord::rmgr::hash::{InitMetaPage, SplitMeta};
use walrecord::{BlockNumber, PAGE_SIZE, Page};

use super::opaque::{self, META_PAGE, NO_BLOCK, NO_BUCKET, Opaque};
use crate::error::Fault;
use crate::page::{self, HEADER_SIZE};

/// What a metapage starts with (`HASH_MAGIC`).
const MAGIC: u32 = 0x0644_0640;
/// The layout (`HASH_VERSION`).
const VERSION: u32 = 4;

/// Steps in which the number of bucket pages grows (`HASH_MAX_SPLITPOINTS`).
const MAX_SPLIT_POINTS: u32 = (32 - SINGLE_PHASE_GROUPS) * PHASES + SINGLE_PHASE_GROUPS;
/// The first doublings happen in one step each (`HASH_SPLITPOINT_GROUPS_WITH_ONE_PHASE`).
const SINGLE_PHASE_GROUPS: u32 = 10;
/// Later ones in this many (`HASH_SPLITPOINT_PHASES_PER_GRP`).
const PHASES: u32 = 1 << PHASE_BITS;
const PHASE_BITS: u32 = 2;
/// `HASH_MAX_BITMAPS`.
const MAX_BITMAPS: u32 = 1024;
/// The most buckets that an index is made with.
const MAX_INITIAL_BUCKETS: u32 = 0x4000_0000;

/// Bytes for a bitmap on its page (`HashGetMaxBitmapSize`), of which a power of two is used.
const BITMAP_ROOM: u16 = (PAGE_SIZE - HEADER_SIZE - opaque::SIZE) as u16;
const BITMAP_SHIFT: u32 = BITMAP_ROOM.ilog2();

const MAGIC_AT: usize = HEADER_SIZE;
const VERSION_AT: usize = MAGIC_AT + 4;
const TUPLES: usize = VERSION_AT + 4;
const FILL_FACTOR: usize = TUPLES + 8;
const BITMAP_ROOM_AT: usize = FILL_FACTOR + 2;
const BITMAP_SIZE: usize = BITMAP_ROOM_AT + 2;
const BITMAP_BITS_SHIFT: usize = BITMAP_SIZE + 2;
const MAX_BUCKET: usize = BITMAP_BITS_SHIFT + 2;
const HIGH_MASK: usize = MAX_BUCKET + 4;
const LOW_MASK: usize = HIGH_MASK + 4;
const SPLIT_POINT: usize = LOW_MASK + 4;
const FIRST_FREE: usize = SPLIT_POINT + 4;
const BITMAP_COUNT: usize = FIRST_FREE + 4;
const HASH_FUNCTION: usize = BITMAP_COUNT + 4;
const SPARES: usize = HASH_FUNCTION + 4;
const BITMAPS: usize = SPARES + MAX_SPLIT_POINTS as usize * 4;
/// With the padding that a structure with a double ends in.
const END: usize = (BITMAPS + MAX_BITMAPS as usize * 4).next_multiple_of(8);
const _: () = assert!(MAX_SPLIT_POINTS == 98 && END == HEADER_SIZE + 4544);

/// Makes the metapage of an index for as many tuples as are expected.
pub(super) fn make(page: &mut Page, init: &InitMetaPage) -> Result<(), Fault> {
    let buckets = initial_buckets(init)?;
    let split_point = split_point_of(buckets);
    Opaque {
        prev: NO_BLOCK,
        next: NO_BLOCK,
        bucket: NO_BUCKET,
        flags: META_PAGE,
    }
    .make(page)?;
    let high_mask = (buckets + 1).next_power_of_two() - 1;
    for (at, word) in [
        (MAGIC_AT, MAGIC),
        (VERSION_AT, VERSION),
        (MAX_BUCKET, buckets - 1),
        (HIGH_MASK, high_mask),
        (LOW_MASK, high_mask >> 1),
        (SPLIT_POINT, split_point),
        (HASH_FUNCTION, init.procid),
        (SPARES + split_point as usize * 4, 1),
    ] {
        page::put_u32(page, at, word);
    }
    for (at, half) in [
        (FILL_FACTOR, init.fill_factor),
        (BITMAP_ROOM_AT, BITMAP_ROOM),
        (BITMAP_SIZE, 1 << BITMAP_SHIFT),
        (BITMAP_BITS_SHIFT, BITMAP_SHIFT as u16 + 3),
    ] {
        page::put_u16(page, at, half);
    }
    page::set_lower(page, END as u16);
    Ok(())
}

fn initial_buckets(init: &InitMetaPage) -> Result<u32, Fault> {
    let wanted = init.tuples / f64::from(init.fill_factor);
    if wanted.is_nan() {
        return Err(Fault::Value {
            what: "the fill factor of a hash index",
            found: u64::from(init.fill_factor),
            expected: 1,
        });
    }
    Ok(if wanted <= 2.0 {
        2
    } else if wanted >= f64::from(MAX_INITIAL_BUCKETS) {
        MAX_INITIAL_BUCKETS
    } else {
        buckets_up_to(split_point_of(wanted as u32))
    })
}

/// The split point at which the bucket with this number, counted from 1, is made
/// (`_hash_spareindex`, hashutil.c).
fn split_point_of(bucket: u32) -> u32 {
    let group = bucket.next_power_of_two().ilog2();
    if group < SINGLE_PHASE_GROUPS {
        return group;
    }
    let phase = ((bucket - 1) >> (group - (PHASE_BITS + 1))) & (PHASES - 1);
    SINGLE_PHASE_GROUPS + (group - SINGLE_PHASE_GROUPS) * PHASES + phase
}

/// How many buckets there are once a split point is reached (`_hash_get_totalbuckets`, hashutil.c).
fn buckets_up_to(split_point: u32) -> u32 {
    let Some(phases) = split_point.checked_sub(SINGLE_PHASE_GROUPS) else {
        return 1 << split_point;
    };
    let before = 1 << (SINGLE_PHASE_GROUPS + phases / PHASES - 1);
    before + before / PHASES * (phases % PHASES + 1)
}

/// Changes the number of tuples in the index.
pub(super) fn change_tuples(page: &mut Page, change: impl FnOnce(f64) -> f64) -> Result<(), Fault> {
    check(page)?;
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&page[TUPLES..FILL_FACTOR]);
    let tuples = change(f64::from_le_bytes(bytes));
    page[TUPLES..FILL_FACTOR].copy_from_slice(&tuples.to_le_bytes());
    Ok(())
}

/// Sets from which bit on overflow pages may be free.
pub(super) fn set_first_free(page: &mut Page, bit: u32) -> Result<(), Fault> {
    check(page)?;
    page::put_u32(page, FIRST_FREE, bit);
    Ok(())
}

/// Counts one more page behind the buckets of the current split point.
pub(super) fn add_spare(page: &mut Page) -> Result<(), Fault> {
    check(page)?;
    let spares = spares_at(page::get_u32(page, SPLIT_POINT))?;
    let count = page::get_u32(page, spares).wrapping_add(1);
    page::put_u32(page, spares, count);
    Ok(())
}

/// Lists the first bitmap page, which lies behind the bucket pages.
pub(super) fn add_first_bitmap(page: &mut Page) -> Result<(), Fault> {
    check(page)?;
    let block = page::get_u32(page, MAX_BUCKET).wrapping_add(2);
    add_bitmap(page, block)
}

/// Lists one more bitmap page.
pub(super) fn add_bitmap(page: &mut Page, block: BlockNumber) -> Result<(), Fault> {
    check(page)?;
    let count = page::get_u32(page, BITMAP_COUNT);
    if count >= MAX_BITMAPS {
        return Err(Fault::Value {
            what: "the number of bitmap pages",
            found: u64::from(count),
            expected: u64::from(MAX_BITMAPS),
        });
    }
    page::put_u32(page, BITMAPS + count as usize * 4, block);
    page::put_u32(page, BITMAP_COUNT, count + 1);
    Ok(())
}

/// Counts a new bucket.
pub(super) fn split(page: &mut Page, new_bucket: u32, meta: SplitMeta) -> Result<(), Fault> {
    check(page)?;
    page::put_u32(page, MAX_BUCKET, new_bucket);
    if let Some((low, high)) = meta.masks {
        page::put_u32(page, LOW_MASK, low);
        page::put_u32(page, HIGH_MASK, high);
    }
    if let Some((split_point, count)) = meta.split_point {
        page::put_u32(page, spares_at(split_point)?, count);
        page::put_u32(page, SPLIT_POINT, split_point);
    }
    Ok(())
}

/// Where `hashm_spares` has its entry for a split point.
fn spares_at(split_point: u32) -> Result<usize, Fault> {
    if split_point < MAX_SPLIT_POINTS {
        return Ok(SPARES + split_point as usize * 4);
    }
    Err(Fault::Value {
        what: "a split point",
        found: u64::from(split_point),
        expected: u64::from(MAX_SPLIT_POINTS),
    })
}

/// It is a metapage, and its metadata lies in front of the special area.
fn check(page: &Page) -> Result<(), Fault> {
    opaque::expect_type(page, META_PAGE)?;
    if usize::from(page::special(page)) >= END {
        return Ok(());
    }
    Err(Fault::Special {
        special: page::special(page),
        needed: opaque::SIZE as u16,
    })
}
