//! Pages that took many changes to rebuild, as they were then: a page that changes all the time is not built from
//! its last image again for each reader. Serves the readers of one timeline.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;
use walrecord::{Lsn, PAGE_SIZE, Page, PageKey};

/// A bounded number of pages, each at one LSN. The one that came first goes first.
pub(crate) struct HotPages {
    most: usize,
    /// How many there are, for those who need not look.
    count: AtomicUsize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    pages: FxHashMap<PageKey, HotPage>,
    order: VecDeque<PageKey>,
}

/// A page as it is from this LSN on, until it changes.
#[derive(Clone)]
pub(crate) struct HotPage {
    pub(crate) lsn: Lsn,
    pub(crate) page: Arc<Page>,
}

impl HotPages {
    /// Keeps as many as fit into so many bytes.
    pub(crate) fn new(bytes: usize) -> HotPages {
        HotPages {
            most: bytes / PAGE_SIZE,
            count: AtomicUsize::new(0),
            kept: Mutex::default(),
        }
    }

    /// The page as it was above `above`, at or below `at`, if it is kept.
    pub(crate) fn get(&self, key: &PageKey, above: Lsn, at: Lsn) -> Option<HotPage> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let kept = self.kept();
        let page = kept.pages.get(key)?;
        (page.lsn > above && page.lsn <= at).then(|| page.clone())
    }

    /// Keeps the page as it is at `lsn`, unless a later one is there: readers want the newest.
    pub(crate) fn put(&self, key: PageKey, lsn: Lsn, page: &Page) {
        if self.most == 0 {
            return;
        }
        let hot = HotPage {
            lsn,
            page: Arc::new(*page),
        };
        let mut kept = self.kept();
        if let Some(present) = kept.pages.get_mut(&key) {
            if present.lsn < lsn {
                *present = hot;
            }
            return;
        }
        if kept.order.len() == self.most
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.pages.remove(&oldest);
        }
        kept.order.push_back(key);
        kept.pages.insert(key, hot);
        self.count.store(kept.pages.len(), Ordering::Relaxed);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use walrecord::{SlruKind, SlruPage};

    use super::*;

    fn key(page: u32) -> PageKey {
        PageKey::Slru(SlruPage {
            kind: SlruKind::Clog,
            page,
        })
    }

    fn first_byte(pages: &HotPages, number: u32, above: u64, at: u64) -> Option<u8> {
        let hot = pages.get(&key(number), Lsn::new(above), Lsn::new(at))?;
        Some(hot.page[0])
    }

    #[test]
    fn a_page_serves_from_its_lsn_on_unless_its_past_is_void() {
        let pages = HotPages::new(2 * PAGE_SIZE);
        pages.put(key(1), Lsn::new(100), &[1; PAGE_SIZE]);
        assert_eq!(first_byte(&pages, 1, 0, 100), Some(1));
        assert_eq!(first_byte(&pages, 1, 99, 500), Some(1));
        assert_eq!(first_byte(&pages, 1, 0, 99), None, "it was another then");
        assert_eq!(first_byte(&pages, 1, 100, 500), None, "it was dropped");
        assert_eq!(first_byte(&pages, 2, 0, 500), None);
    }

    #[test]
    fn the_newest_stays_and_the_first_goes_when_there_are_too_many() {
        let pages = HotPages::new(2 * PAGE_SIZE);
        pages.put(key(1), Lsn::new(100), &[1; PAGE_SIZE]);
        pages.put(key(1), Lsn::new(50), &[9; PAGE_SIZE]);
        pages.put(key(2), Lsn::new(100), &[2; PAGE_SIZE]);
        assert_eq!(first_byte(&pages, 1, 0, 100), Some(1));
        pages.put(key(1), Lsn::new(200), &[3; PAGE_SIZE]);
        assert_eq!(first_byte(&pages, 1, 0, 200), Some(3));
        pages.put(key(3), Lsn::new(100), &[4; PAGE_SIZE]);
        assert_eq!(first_byte(&pages, 1, 0, 200), None);
        assert_eq!(first_byte(&pages, 2, 0, 200), Some(2));
        assert_eq!(first_byte(&pages, 3, 0, 200), Some(4));
    }

    #[test]
    fn without_memory_nothing_is_kept() {
        let pages = HotPages::new(PAGE_SIZE - 1);
        pages.put(key(1), Lsn::new(100), &[1; PAGE_SIZE]);
        assert_eq!(first_byte(&pages, 1, 0, 100), None);
    }
}
