//! Effects on pages of the transaction-status logs. One effect a page, however many entries change.

use super::{Effect, EffectContext, PageTouch};
use crate::rmgr::LeArray;
use crate::rmgr::multixact::{CreateId, MEMBERS_PER_PAGE, member_page, offset_page};
use crate::types::{SlruKind, SlruPage, Xid};

/// The pages with the entries of a transaction and its subtransactions in an area with `page_of` for
/// geometry: the parent's first, then the others in order.
pub(super) fn transaction_tree<'a, F>(
    kind: SlruKind,
    page_of: impl Fn(Xid) -> u32,
    xid: Xid,
    subxids: LeArray<'a, Xid>,
    sink: &mut F,
) where
    F: FnMut(Effect<'a>) + ?Sized,
{
    let mut last = page_of(xid);
    touch(kind, last, sink);
    if !ascend(xid, subxids) {
        // No server writes that. Sorting finds what is equal, however long the list is.
        let mut pages: Vec<u32> = subxids.iter().map(page_of).collect();
        pages.sort_unstable();
        pages.dedup();
        let others = pages.into_iter().filter(|page| *page != last);
        others.for_each(|page| touch(kind, page, sink));
        return;
    }
    for page in subxids.iter().map(page_of) {
        if page != last {
            touch(kind, page, sink);
            last = page;
        }
    }
}

/// Whether subtransactions follow their parent in ascending circular order, all within half the
/// circle, as `xactGetCommittedChildren` (access/transam/xact.c) promises: then equal pages are
/// neighbours.
fn ascend(xid: Xid, subxids: LeArray<'_, Xid>) -> bool {
    let mut previous = 0;
    subxids.iter().all(|subxid| {
        let distance = subxid.wrapping_sub(xid);
        let ascends = distance >= previous && distance < 1 << 31;
        previous = distance;
        ascends
    })
}

/// The pages that a new multixact changes: its offset's, the next one's if the rules say so, and those
/// of its members. See [`CreateId`] for why none of them needs to exist.
pub(super) fn new_multixact<'a, F>(create: &CreateId<'a>, context: &EffectContext, sink: &mut F)
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    let page = offset_page(create.multi);
    touch(SlruKind::MultiXactOffsets, page, sink);
    let next_page = offset_page(create.next_multi());
    if context.rules.multixact_writes_next_offset() && next_page != page {
        touch(SlruKind::MultiXactOffsets, next_page, sink);
    }
    let mut offset = create.offset;
    // A record holds fewer than 2^27 members, so that the pages below never repeat.
    let mut left = create.members.len() as u32;
    while left > 0 {
        let page = member_page(offset);
        touch(SlruKind::MultiXactMembers, page, sink);
        let to_page_end = MEMBERS_PER_PAGE - offset % MEMBERS_PER_PAGE;
        // The last page ends where offsets wrap around.
        let to_wrap = offset.wrapping_neg();
        let step = match to_wrap {
            0 => to_page_end,
            _ => to_page_end.min(to_wrap),
        };
        let step = step.min(left);
        offset = offset.wrapping_add(step);
        left -= step;
    }
}

/// A page is zeroed and written.
pub(super) fn zero<'a, F>(kind: SlruKind, page: u32, sink: &mut F)
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    sink(Effect::Page {
        key: SlruPage { kind, page }.into(),
        touch: PageTouch::Init,
    });
}

fn touch<'a, F>(kind: SlruKind, page: u32, sink: &mut F)
where
    F: FnMut(Effect<'a>) + ?Sized,
{
    sink(Effect::Page {
        key: SlruPage { kind, page }.into(),
        touch: PageTouch::Implicit,
    });
}
