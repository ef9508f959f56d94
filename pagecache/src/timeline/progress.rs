//! How far a timeline has come, and waiting for it to come further.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use walrecord::Lsn;

use crate::error::StoreError;

/// Positions of a timeline. Invariant: `synced <= written`, `last_record <= written`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// End of the WAL bytes received.
    pub written: Lsn,
    /// End of the WAL bytes that survive a crash; may lie inside a record.
    pub synced: Lsn,
    /// End of the last record that is indexed: the newest readable LSN, once it is at or above
    /// `readable_from`.
    pub last_record: Lsn,
    /// The oldest readable LSN: the import's stop position, later that up to which garbage was collected.
    pub readable_from: Lsn,
    /// Up to here, everything is in layer files.
    pub disk_consistent: Lsn,
}

/// Why a wait ended without the LSN.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WaitError {
    /// The limit ran out.
    #[error("timed out after {waited:?} waiting for {wanted}; the last record is at {last_record}")]
    Timeout {
        /// What was waited for.
        wanted: Lsn,
        /// The newest readable LSN.
        last_record: Lsn,
        /// How long.
        waited: Duration,
    },
    /// The timeline is being closed.
    #[error("the timeline is shutting down")]
    Stopping,
    /// Indexing stopped on an error.
    #[error("{wanted} cannot arrive: {reason}")]
    Failed {
        /// What was waited for.
        wanted: Lsn,
        /// Why.
        reason: Arc<StoreError>,
    },
}

/// What a change is about, and what a waiter waits for: a thread is woken only for what it cares about, and WAL
/// comes in thousands of pieces per second. Whoever waits also hears of a failure, a rewind and the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// There is more WAL, or the thread that indexes it is asked for something.
    Wal,
    /// Positions that readers wait for: what is indexed, examined, synced, in layers.
    Records,
    /// The set of layers is another, or what is to be done with them.
    Layers,
    /// Nothing but the end.
    End,
}

const SORTS_OF_NEWS: usize = 4;

type Listener = Box<dyn Fn(&Progress) + Send + Sync>;

/// Shared positions with waiters. Listeners are called, outside the lock, after each change.
#[derive(Default)]
pub(crate) struct Tracker {
    state: Mutex<State>,
    /// By the news that is waited for.
    changed: [Condvar; SORTS_OF_NEWS],
    listeners: Mutex<Vec<Listener>>,
}

#[derive(Default)]
struct State {
    progress: Progress,
    /// How many wait, by the news that they wait for: telling nobody is a call of the system too.
    waiting: [usize; SORTS_OF_NEWS],
    /// End of the WAL that the indexer has looked at. At or above `last_record`: behind that may be the
    /// first part of a record.
    examined: Lsn,
    failure: Option<Arc<StoreError>>,
    /// Why the last attempt to write a layer failed.
    flush_failure: Option<Arc<StoreError>>,
    /// No rewind helps against `failure`.
    is_final: bool,
    stopping: bool,
}

impl Tracker {
    pub(crate) fn new(progress: Progress) -> Tracker {
        Tracker {
            state: Mutex::new(State {
                progress,
                examined: progress.last_record,
                ..State::default()
            }),
            ..Tracker::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn get(&self) -> Progress {
        self.lock().progress
    }

    pub(crate) fn failure(&self) -> Option<Arc<StoreError>> {
        self.lock().failure.clone()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Changes positions, and tells whoever waits for such news.
    pub(crate) fn update(&self, news: &[News], change: impl FnOnce(&mut Progress)) {
        let mut state = self.lock();
        change(&mut state.progress);
        self.tell(state, news);
    }

    /// Has those who wait for `news` look again.
    pub(crate) fn announce(&self, news: News) {
        self.tell(self.lock(), &[news]);
    }

    /// Notes a failure that a rewind heals.
    pub(crate) fn fail(&self, reason: StoreError) {
        let mut state = self.lock();
        state.failure.get_or_insert_with(|| Arc::new(reason));
        self.tell_all(state);
    }

    /// Notes a failure that only a restart heals.
    pub(crate) fn fail_for_good(&self, reason: StoreError) {
        let mut state = self.lock();
        if !state.is_final {
            state.failure = Some(Arc::new(reason));
            state.is_final = true;
        }
        self.tell_all(state);
    }

    /// What the last attempt to write a layer came to.
    pub(crate) fn set_flush_failure(&self, failure: Option<Arc<StoreError>>) {
        self.lock().flush_failure = failure;
    }

    pub(crate) fn flush_failure(&self) -> Option<Arc<StoreError>> {
        self.lock().flush_failure.clone()
    }

    /// The failure that no rewind heals, if there is one.
    pub(crate) fn final_failure(&self) -> Option<Arc<StoreError>> {
        let state = self.lock();
        state.failure.clone().filter(|_| state.is_final)
    }

    /// The WAL ends at `written` now, and what stands behind the last record is to be looked at anew.
    pub(crate) fn rewound(&self, written: Lsn, synced: Lsn) {
        let mut state = self.lock();
        state.progress.written = written;
        state.progress.synced = synced.min(written);
        state.examined = state.progress.last_record;
        if !state.is_final {
            state.failure = None;
        }
        self.tell_all(state);
    }

    pub(crate) fn set_examined(&self, examined: Lsn) {
        let mut state = self.lock();
        state.examined = examined;
        self.wake(&state, &[News::Records]);
    }

    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        self.tell_all(state);
    }

    pub(crate) fn listen(&self, listener: Listener) {
        self.listeners
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .push(listener);
    }

    fn tell_all(&self, state: MutexGuard<'_, State>) {
        self.tell(state, &[News::Wal, News::Records, News::Layers, News::End]);
    }

    /// Wakes those who wait for `news`.
    fn wake(&self, state: &State, news: &[News]) {
        for news in news {
            if state.waiting[*news as usize] > 0 {
                self.changed[*news as usize].notify_all();
            }
        }
    }

    /// The same, and tells the listeners.
    fn tell(&self, state: MutexGuard<'_, State>, news: &[News]) {
        self.wake(&state, news);
        let progress = state.progress;
        drop(state);
        let listeners = self
            .listeners
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        for listener in listeners.iter() {
            listener(&progress);
        }
    }

    /// Waits for `news`, no longer than `limit`, if there is one.
    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        news: News,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        let changed = &self.changed[news as usize];
        state.waiting[news as usize] += 1;
        let mut state = match limit {
            Some(limit) => {
                let waited = changed.wait_timeout(state, limit);
                waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0
            }
            None => changed
                .wait(state)
                .unwrap_or_else(|poisoned| poisoned.into_inner()),
        };
        state.waiting[news as usize] -= 1;
        state
    }

    /// Waits while `unready` says so, which looks again at each of `news`. Returns the positions, or none if the
    /// timeline stops.
    pub(crate) fn wait_while(
        &self,
        news: News,
        mut unready: impl FnMut(&Progress) -> bool,
    ) -> Option<Progress> {
        let mut state = self.lock();
        while !state.stopping && unready(&state.progress) {
            state = self.wait(state, news, None);
        }
        (!state.stopping).then_some(state.progress)
    }

    /// As [`Tracker::wait_while`], for no longer than `limit`.
    pub(crate) fn wait_while_within(
        &self,
        news: News,
        limit: Duration,
        mut unready: impl FnMut(&Progress) -> bool,
    ) {
        let begin = Instant::now();
        let mut state = self.lock();
        while !state.stopping && unready(&state.progress) {
            let left = limit.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return;
            }
            state = self.wait(state, news, Some(left));
        }
    }

    /// Waits for `limit`, less if the timeline stops. Returns whether it does.
    pub(crate) fn pause(&self, limit: Duration) -> bool {
        self.wait_while_within(News::End, limit, |_| true);
        self.is_stopping()
    }

    /// Waits until the indexer has looked at all WAL that is there, or stopped at damage in it.
    pub(crate) fn wait_examined(&self, limit: Duration) -> Result<Progress, WaitError> {
        let begin = Instant::now();
        let mut state = self.lock();
        loop {
            if state.failure.is_some() || state.examined >= state.progress.written {
                return Ok(state.progress);
            }
            let wanted = state.progress.written;
            state = self.wait_some(state, wanted, begin, limit)?;
        }
    }

    /// Waits until the record that ends at `wanted` is readable.
    pub(crate) fn wait_for(&self, wanted: Lsn, limit: Duration) -> Result<Progress, WaitError> {
        self.wait_until(wanted, limit, |progress| progress.last_record)
    }

    /// Waits until `position` reaches `wanted`.
    pub(crate) fn wait_until(
        &self,
        wanted: Lsn,
        limit: Duration,
        position: impl Fn(&Progress) -> Lsn,
    ) -> Result<Progress, WaitError> {
        let begin = Instant::now();
        let mut state = self.lock();
        loop {
            if position(&state.progress) >= wanted {
                return Ok(state.progress);
            }
            if let Some(reason) = &state.failure
                && !state.stopping
            {
                return Err(WaitError::Failed {
                    wanted,
                    reason: Arc::clone(reason),
                });
            }
            state = self.wait_some(state, wanted, begin, limit)?;
        }
    }

    /// Waits for records, at most until `limit` after `begin`.
    fn wait_some<'a>(
        &self,
        state: MutexGuard<'a, State>,
        wanted: Lsn,
        begin: Instant,
        limit: Duration,
    ) -> Result<MutexGuard<'a, State>, WaitError> {
        if state.stopping {
            return Err(WaitError::Stopping);
        }
        let left = limit.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return Err(WaitError::Timeout {
                wanted,
                last_record: state.progress.last_record,
                waited: limit,
            });
        }
        Ok(self.wait(state, News::Records, Some(left)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Runs `change` while a thread waits for `news`, and then `last`, which it must hear of. Returns how often it
    /// looked.
    fn looks(news: News, tracker: &Tracker, change: impl FnOnce(), last: impl FnOnce()) -> u64 {
        let looks = AtomicU64::new(0);
        let (begun, has_begun) = channel();
        let is_over = AtomicU64::new(0);
        thread::scope(|scope| {
            let (looks, is_over) = (&looks, &is_over);
            let waiter = scope.spawn(move || {
                tracker.wait_while(news, |_| {
                    looks.fetch_add(1, Ordering::SeqCst);
                    let _ = begun.send(());
                    is_over.load(Ordering::SeqCst) == 0
                })
            });
            has_begun.recv_timeout(LIMIT).unwrap();
            // It holds the lock from its look until it waits.
            drop(tracker.lock());
            change();
            is_over.store(1, Ordering::SeqCst);
            last();
            assert!(waiter.join().unwrap().is_some());
        });
        looks.load(Ordering::SeqCst)
    }

    #[test]
    fn a_waiter_is_woken_by_its_news_and_no_others() {
        let all = [News::Wal, News::Records, News::Layers, News::End];
        for news in all {
            let tracker = Tracker::default();
            let others: Vec<News> = all.into_iter().filter(|other| *other != news).collect();
            let change = || {
                for end in 0..1000 {
                    tracker.update(&others, |progress| progress.written = Lsn::new(end));
                }
            };
            let seen = looks(news, &tracker, change, || tracker.announce(news));
            // One more is allowed to the system, which may wake without a reason.
            assert!(seen <= 3, "{news:?}: {seen}");
        }
    }

    #[test]
    fn whoever_waits_hears_of_a_failure_and_of_a_rewind() {
        for news in [News::Wal, News::Records, News::Layers, News::End] {
            let tracker = Tracker::default();
            let failed = || tracker.fail(StoreError::Stopping);
            assert!(looks(news, &tracker, || {}, failed) >= 2);
            let failed = || tracker.fail_for_good(StoreError::Stopping);
            assert!(looks(news, &tracker, || {}, failed) >= 2);
            let rewound = || tracker.rewound(Lsn::new(8), Lsn::new(8));
            assert!(looks(news, &tracker, || {}, rewound) >= 2);
        }
    }

    #[test]
    fn listeners_are_told_the_positions_that_a_change_made() {
        let tracker = Tracker::default();
        let (tell, told) = channel();
        let tell = Mutex::new(tell);
        tracker.listen(Box::new(move |progress| {
            tell.lock().unwrap().send(*progress).unwrap();
        }));
        tracker.update(&[News::Wal], |progress| progress.written = Lsn::new(24));
        tracker.update(&[News::Records], |progress| {
            progress.last_record = Lsn::new(16);
        });
        let told: Vec<Progress> = told.try_iter().collect();
        let first = Progress {
            written: Lsn::new(24),
            ..Progress::default()
        };
        let second = Progress {
            last_record: Lsn::new(16),
            ..first
        };
        assert_eq!(told, [first, second]);
    }
}
