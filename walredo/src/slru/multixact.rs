//! Multixacts: where each one's members start, and the members (access/transam/multixact.c,
//! `RecordNewMultiXact`).

use walrecord::rmgr::multixact::{
    CreateId, MEMBER_GROUP_SIZE, MEMBERS_PER_GROUP, MEMBERS_PER_PAGE, Member, OFFSETS_PER_PAGE,
    member_page, offset_page,
};
use walrecord::{Page, RedoRules};

use crate::page;

/// Stores the multixact's offset if it lies on page `number`, and in newer minor releases that of the
/// multixact after it: the last one of a page thereby touches the next page. Returns whether
/// anything lay on this page.
pub(super) fn set_offsets(
    page: &mut Page,
    number: u32,
    create: &CreateId<'_>,
    rules: &RedoRules,
) -> bool {
    let own = set_offset(page, number, create.multi, create.offset);
    let next = rules.multixact_writes_next_offset()
        && set_offset(page, number, create.next_multi(), create.next_offset());
    own || next
}

fn set_offset(page: &mut Page, number: u32, multi: u32, offset: u32) -> bool {
    let here = offset_page(multi) == number;
    if here {
        let at = (multi % OFFSETS_PER_PAGE) as usize * size_of::<u32>();
        page::put_u32(page, at, offset);
    }
    here
}

/// Stores those members that lie on page `number`. Returns whether any did.
pub(super) fn set_members(page: &mut Page, number: u32, create: &CreateId<'_>) -> bool {
    // The index of the first member on the page: 0 if the multixact starts here. The area is circular
    // and its last page is a partial one, hence the wrapping difference.
    let first = if member_page(create.offset) == number {
        0
    } else {
        number
            .wrapping_mul(MEMBERS_PER_PAGE)
            .wrapping_sub(create.offset)
    };
    let mut touched = false;
    for index in first..=u32::MAX {
        let place = create.offset.wrapping_add(index);
        match create.members.get(index as usize) {
            Some(member) if member_page(place) == number => set_member(page, place, member),
            _ => break,
        }
        touched = true;
    }
    touched
}

/// A group holds its members' status bytes first, then their transaction ids.
fn set_member(page: &mut Page, place: u32, member: Member) {
    let on_page = (place % MEMBERS_PER_PAGE) as usize;
    let per_group = MEMBERS_PER_GROUP as usize;
    let group = on_page / per_group * MEMBER_GROUP_SIZE;
    let slot = on_page % per_group;
    page[group + slot] = member.status as u8;
    let at = group + per_group + slot * 4;
    page::put_u32(page, at, member.xid);
}

#[cfg(test)]
mod tests {
    use super::*;
    use walrecord::rmgr::LeArray;
    use walrecord::{PgVersion, ZERO_PAGE};

    const OLDER: RedoRules = rules(15);
    const NEWER: RedoRules = rules(16);

    const fn rules(minor: u16) -> RedoRules {
        RedoRules {
            version: PgVersion::V15,
            minor,
            hint_bits_logged: false,
        }
    }

    /// Member `i` is transaction 100 + i with status i % 6.
    fn members(count: u32) -> Vec<u8> {
        (0..count)
            .flat_map(|i| [(100 + i).to_le_bytes(), (i % 6).to_le_bytes()].concat())
            .collect()
    }

    fn create(multi: u32, offset: u32, members: &[u8]) -> CreateId<'_> {
        CreateId {
            multi,
            offset,
            members: LeArray::new(members).unwrap(),
        }
    }

    fn entry(page: &Page, index: usize) -> u32 {
        u32::from_le_bytes(page[index * 4..index * 4 + 4].try_into().unwrap())
    }

    #[test]
    fn older_minors_store_one_offset_newer_ones_two() {
        let members = members(3);
        let create = create(2048 + 5, 77, &members);
        let mut page = ZERO_PAGE;
        assert!(set_offsets(&mut page, 1, &create, &OLDER));
        assert_eq!((entry(&page, 5), entry(&page, 6)), (77, 0));
        assert!(set_offsets(&mut page, 1, &create, &NEWER));
        assert_eq!((entry(&page, 5), entry(&page, 6)), (77, 80));
    }

    #[test]
    fn the_last_multixact_of_a_page_sets_the_first_offset_of_the_next() {
        let members = members(9);
        let last = create(2047, 500, &members);
        let mut page = ZERO_PAGE;
        assert!(set_offsets(&mut page, 0, &last, &NEWER));
        assert_eq!(entry(&page, 2047), 500);
        let mut page = ZERO_PAGE;
        assert!(set_offsets(&mut page, 1, &last, &NEWER));
        assert_eq!(entry(&page, 0), 509);
        assert!(!set_offsets(&mut page, 1, &last, &OLDER));
        assert!(!set_offsets(&mut page, 2, &last, &NEWER));
    }

    #[test]
    fn ids_wrap_to_one_and_offsets_skip_zero() {
        let members = members(2);
        let last = create(u32::MAX, u32::MAX - 1, &members);
        let mut page = ZERO_PAGE;
        assert!(set_offsets(&mut page, 0, &last, &NEWER));
        assert_eq!((entry(&page, 0), entry(&page, 1)), (0, 1));
    }

    #[test]
    fn members_come_in_groups_of_four_status_bytes_and_four_ids() {
        let members = members(4);
        let mut page = ZERO_PAGE;
        page[20] = 0xEE;
        page[21] = 0xEE;
        assert!(set_members(&mut page, 0, &create(1, 5, &members)));
        assert_eq!(page[20..24], [0xEE, 0, 1, 2]);
        assert_eq!(page[28..40], [100, 0, 0, 0, 101, 0, 0, 0, 102, 0, 0, 0]);
        assert_eq!(page[40..48], [3, 0, 0, 0, 103, 0, 0, 0]);
    }

    #[test]
    fn members_that_span_pages_are_each_stored_on_their_own() {
        let members = members(1636 + 20);
        let many = create(1, 1630, &members);
        let stored = |number| {
            let mut page = ZERO_PAGE;
            let touched = set_members(&mut page, number, &many);
            let xid = |m: u32| entry(&page, (m / 4 * 5 + 1 + m % 4) as usize);
            let xids = (0..MEMBERS_PER_PAGE).map(xid).filter(|xid| *xid != 0);
            (touched, xids.collect::<Vec<_>>())
        };
        assert_eq!(stored(0), (true, (100..106).collect()));
        assert_eq!(stored(1), (true, (106..1742).collect()));
        assert_eq!(stored(2), (true, (1742..1756).collect()));
        assert_eq!(stored(3), (false, vec![]));
        assert_eq!(stored(u32::MAX), (false, vec![]));
    }

    #[test]
    fn members_wrap_around_the_end_of_the_area() {
        let members = members(5);
        let wrapped = create(1, u32::MAX - 1, &members);
        let mut page = ZERO_PAGE;
        assert!(set_members(&mut page, 0, &wrapped));
        assert_eq!(entry(&page, 1), 102);
        let mut page = ZERO_PAGE;
        assert!(set_members(&mut page, member_page(u32::MAX), &wrapped));
        let xid = |m: u32| entry(&page, (m % 1636 / 4 * 5 + 1 + m % 4) as usize);
        assert_eq!((xid(u32::MAX - 1), xid(u32::MAX)), (100, 101));
    }
}
