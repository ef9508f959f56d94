//! What is being read: as long as it is, the window does not move past it, and WAL that it needs stays.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use walrecord::Lsn;

/// Who reads at which LSN, and from where on the reader needs WAL files.
#[derive(Default)]
pub(crate) struct Pins {
    held: Mutex<BTreeMap<(Lsn, Lsn), usize>>,
}

/// Holds an LSN until it is dropped, and the WAL that its reader needs.
pub(crate) struct Pin {
    pins: Arc<Pins>,
    lsn: Lsn,
    wal: Lsn,
}

impl Pins {
    /// Holds `lsn`, and all WAL as long as it is not said how much is needed.
    pub(crate) fn hold(self: &Arc<Pins>, lsn: Lsn) -> Pin {
        let pin = Pin {
            pins: Arc::clone(self),
            lsn,
            wal: Lsn::INVALID,
        };
        self.lock().add(&pin);
        pin
    }

    /// Gives `f` the lowest LSN at or above `from` that is held. Nobody begins to hold one until it returns: it
    /// must not do so itself.
    pub(crate) fn with_lowest_from<T>(&self, from: Lsn, f: impl FnOnce(Option<Lsn>) -> T) -> T {
        let held = self.lock();
        let lowest = held.0.range((from, Lsn::INVALID)..).next();
        f(lowest.map(|((lsn, _), _)| *lsn))
    }

    /// The LSNs that are held, ascending.
    pub(crate) fn lsns(&self) -> Vec<Lsn> {
        self.lock().0.keys().map(|(lsn, _)| *lsn).collect()
    }

    /// Where the WAL begins that readers need.
    pub(crate) fn lowest_wal(&self) -> Option<Lsn> {
        self.lock().0.keys().map(|(_, wal)| *wal).min()
    }

    fn lock(&self) -> Held<'_> {
        Held(self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Held<'a>(MutexGuard<'a, BTreeMap<(Lsn, Lsn), usize>>);

impl Held<'_> {
    fn add(&mut self, pin: &Pin) {
        *self.0.entry((pin.lsn, pin.wal)).or_default() += 1;
    }

    fn remove(&mut self, pin: &Pin) {
        if let Some(count) = self.0.get_mut(&(pin.lsn, pin.wal)) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&(pin.lsn, pin.wal));
            }
        }
    }
}

impl Pin {
    /// Lets the WAL below `from` go.
    pub(crate) fn needs_wal_from(&mut self, from: Lsn) {
        let pins = Arc::clone(&self.pins);
        let mut held = pins.lock();
        held.remove(self);
        self.wal = from;
        held.add(self);
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.pins.lock().remove(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_lsn_and_its_wal_are_held_until_the_last_that_holds_them_is_gone() {
        let pins = Arc::new(Pins::default());
        let lowest_from = |from| pins.with_lowest_from(Lsn::new(from), |lowest| lowest);
        let (low, high) = (Lsn::new(8), Lsn::new(16));
        let mut first = pins.hold(low);
        let second = pins.hold(low);
        let mut third = pins.hold(high);
        assert_eq!(pins.lowest_wal(), Some(Lsn::INVALID));
        first.needs_wal_from(Lsn::new(4));
        third.needs_wal_from(Lsn::new(3));
        assert_eq!(lowest_from(0), Some(low));
        drop(first);
        assert_eq!(lowest_from(0), Some(low));
        drop(second);
        assert_eq!(lowest_from(8), Some(high));
        assert_eq!((lowest_from(17), pins.lsns()), (None, vec![high]));
        assert_eq!(pins.lowest_wal(), Some(Lsn::new(3)));
        drop(third);
        assert_eq!((lowest_from(0), pins.lowest_wal()), (None, None));
    }
}
