//! Comparing a page with the version that a record expects.

use walrecord::rmgr::visibility::{map_byte, map_shift};
use walrecord::{BlockTag, ForkNumber, Page, Record, Rmgr};

use super::findings::Disagreement;
use crate::mask::mask;
use crate::vm;

/// How two pages compare.
pub(super) enum Verdict {
    Equal,
    Different(Disagreement),
    /// Equal where the record says something, and not elsewhere (visibility maps only).
    OtherBits {
        surplus: u32,
        missing: u32,
    },
}

/// Compares redo's page `actual` with the one that a record of `rmgr` expects. Both are masked.
pub(super) fn compare(
    actual: &mut Page,
    expected: &mut Page,
    record: &Record<'_>,
    tag: &BlockTag,
    rmgr: Rmgr,
) -> Verdict {
    mask(actual, tag, rmgr);
    mask(expected, tag, rmgr);
    if actual == expected {
        return Verdict::Equal;
    }
    if tag.fork == ForkNumber::Vm
        && let Some(bits) = other_bits(actual, expected, record, tag)
    {
        return bits;
    }
    Verdict::Different(Disagreement::between(actual, expected))
}

/// None if the pages differ in more than bits that the record is not about.
fn other_bits(
    actual: &Page,
    expected: &Page,
    record: &Record<'_>,
    map: &BlockTag,
) -> Option<Verdict> {
    for (heap_block, named) in vm::named_bits(record, map).ok()?.into_iter().flatten() {
        let bits = |page: &Page| page[map_byte(heap_block)] >> map_shift(heap_block) & named;
        if bits(actual) != bits(expected) {
            return None;
        }
    }
    let content = map_byte(0);
    if actual[..content] != expected[..content] {
        return None;
    }
    let (mut surplus, mut missing) = (0, 0);
    for (actual, expected) in actual[content..].iter().zip(&expected[content..]) {
        surplus += (actual & !expected).count_ones();
        missing += (expected & !actual).count_ones();
    }
    Some(Verdict::OtherBits { surplus, missing })
}
