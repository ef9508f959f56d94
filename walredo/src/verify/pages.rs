//! The pages that a verifier carries, within a bound: those not touched for longest go first.

use std::collections::BTreeMap;

use walrecord::{BlockTag, ForkNumber, Page};

type Map = BTreeMap<BlockTag, Box<Page>>;

/// Pages by their tags. Two generations approximate "not touched for longest": what is touched moves to
/// the younger one, and when that has half of all pages that may be kept, the older one is dropped.
#[derive(Debug)]
pub(super) struct Pages {
    young: Map,
    old: Map,
    /// Pages of visibility maps. Never dropped: records change them without carrying what is expected, and
    /// a page of them stands for 32,672 heap pages.
    maps: Map,
    limit: usize,
    dropped: u64,
}

impl Pages {
    /// No pages, and never more than `limit`, besides those of visibility maps.
    pub(super) const fn new(limit: usize) -> Pages {
        Pages {
            young: Map::new(),
            old: Map::new(),
            maps: Map::new(),
            limit,
            dropped: 0,
        }
    }

    /// Pages that were dropped for want of room.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len() + self.maps.len()
    }

    pub(super) fn get_mut(&mut self, tag: &BlockTag) -> Option<&mut Page> {
        if tag.fork == ForkNumber::Vm {
            return self.maps.get_mut(tag).map(|page| &mut **page);
        }
        if !self.old.is_empty()
            && let Some(page) = self.old.remove(tag)
        {
            self.insert(*tag, page);
        }
        self.young.get_mut(tag).map(|page| &mut **page)
    }

    pub(super) fn insert(&mut self, tag: BlockTag, page: Box<Page>) {
        if tag.fork == ForkNumber::Vm {
            self.maps.insert(tag, page);
            return;
        }
        if self.young.len() >= self.limit.div_ceil(2) {
            self.dropped += self.old.len() as u64;
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&tag);
        self.young.insert(tag, page);
    }

    pub(super) fn remove(&mut self, tag: &BlockTag) {
        for map in self.generations() {
            map.remove(tag);
        }
    }

    /// Removes all from `first` to `last`.
    pub(super) fn remove_range(&mut self, first: BlockTag, last: BlockTag) {
        for map in self.generations() {
            let gone: Vec<BlockTag> = map.range(first..=last).map(|(tag, _)| *tag).collect();
            for tag in gone {
                map.remove(&tag);
            }
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&BlockTag) -> bool) {
        for map in self.generations() {
            map.retain(|tag, _| keep(tag));
        }
    }

    /// All pages, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&BlockTag, &Page)> {
        let maps = [&self.young, &self.old, &self.maps];
        maps.into_iter().flatten().map(|(tag, page)| (tag, &**page))
    }

    fn generations(&mut self) -> [&mut Map; 3] {
        [&mut self.young, &mut self.old, &mut self.maps]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tag;
    use walrecord::ZERO_PAGE;

    #[test]
    fn what_was_not_touched_for_longest_goes_first_and_maps_stay() {
        let mut pages = Pages::new(4);
        let main = |block| tag(ForkNumber::Main, block);
        pages.insert(tag(ForkNumber::Vm, 0), Box::new(ZERO_PAGE));
        for block in 0..20 {
            pages.insert(main(block), Box::new(ZERO_PAGE));
            assert!(pages.get_mut(&main(0)).is_some(), "touched all the time");
        }
        assert_eq!(pages.len() as u64 + pages.dropped(), 21);
        assert!(pages.len() <= 5);
        assert!(pages.get_mut(&main(1)).is_none());
        assert!(pages.get_mut(&tag(ForkNumber::Vm, 0)).is_some());
    }

    #[test]
    fn a_range_goes_from_both_generations() {
        let mut pages = Pages::new(6);
        let main = |block| tag(ForkNumber::Main, block);
        (0..6).for_each(|block| pages.insert(main(block), Box::new(ZERO_PAGE)));
        pages.remove_range(main(2), main(4));
        let mut left: Vec<u32> = pages.iter().map(|(tag, _)| tag.block).collect();
        left.sort_unstable();
        assert_eq!(left, [0, 1, 5]);
    }
}
