//! The circular order of SLRU pages (`SlruMayDeleteSegment` in access/transam/slru.c and the
//! `PagePrecedes` function of each area).

use walrecord::{SLRU_PAGES_PER_SEGMENT, SlruKind};

/// The first transaction id, and the first multixact id, that are not special.
const fn first_normal(kind: SlruKind) -> u32 {
    match kind {
        SlruKind::Clog | SlruKind::CommitTs => 3,
        SlruKind::MultiXactOffsets => 1,
        SlruKind::MultiXactMembers => 0,
    }
}

const fn entries_per_page(kind: SlruKind) -> u32 {
    match kind {
        SlruKind::Clog => 32_768,
        SlruKind::CommitTs => 819,
        SlruKind::MultiXactOffsets => 2_048,
        SlruKind::MultiXactMembers => 1_636,
    }
}

const fn precedes(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// Whether page `a` lies before page `b`, all of it.
fn page_precedes(kind: SlruKind, a: u32, b: u32) -> bool {
    let per_page = entries_per_page(kind);
    let first = |page: u32| {
        page.wrapping_mul(per_page)
            .wrapping_add(first_normal(kind))
            .wrapping_add(1)
    };
    let (a, b) = (first(a), first(b));
    precedes(a, b) && precedes(a, b.wrapping_add(per_page - 1))
}

/// Whether all of `segment` lies before page `cutoff`.
pub(super) fn wholly_before(kind: SlruKind, segment: u32, cutoff: u32) -> bool {
    let first = segment.wrapping_mul(SLRU_PAGES_PER_SEGMENT);
    let last = first.wrapping_add(SLRU_PAGES_PER_SEGMENT - 1);
    page_precedes(kind, first, cutoff) && page_precedes(kind, last, cutoff)
}

/// Whether `segment` is one of `first..end`, going round the end of the numbers if `end < first`.
pub(super) const fn in_circle(first: u32, end: u32, segment: u32) -> bool {
    if first <= end {
        first <= segment && segment < end
    } else {
        segment >= first || segment < end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_goes_only_when_its_last_page_is_before_the_cutoff() {
        assert!(!wholly_before(SlruKind::Clog, 0, 31));
        assert!(wholly_before(SlruKind::Clog, 0, 32));
        assert!(!wholly_before(SlruKind::Clog, 1, 32));
    }

    #[test]
    fn order_goes_round() {
        let last_segment = (u32::MAX / 32_768) / SLRU_PAGES_PER_SEGMENT;
        assert!(wholly_before(SlruKind::Clog, last_segment, 10));
        assert!(!wholly_before(SlruKind::Clog, 10, last_segment * 32));
        assert!(in_circle(5, 2, 7) && in_circle(5, 2, 1) && !in_circle(5, 2, 3));
    }
}
