//! The store as the page service sees it.

use std::sync::Arc;
use std::time::Duration;

use pagecache::{ReadError, Snapshot, Store, StoreError, Timeline, WaitError};
use pageservice::http::DEFAULT_LEASE_SECONDS;
use pageservice::{ErrorKind, PageSource, SourceError, TimelineSource};
use walrecord::{
    BlockTag, DEFAULT_TABLESPACE, ForkNumber, Lsn, Oid, Page, PageKey, RelFileLocator,
    SLRU_PAGES_PER_SEGMENT, SlruKind, SlruPage,
};
use walredo::RedoError;

use crate::maintain;
use crate::moment::Moment;
use crate::receivers::Receivers;

/// All timelines of a store.
pub struct StoreSource {
    store: Arc<Store>,
    receivers: Receivers,
}

impl StoreSource {
    /// Serves this store; the receivers are those that stream WAL into it.
    pub fn new(store: Arc<Store>, receivers: Receivers) -> StoreSource {
        StoreSource { store, receivers }
    }
}

impl PageSource for StoreSource {
    fn open(&self, tenant: &str, timeline: &str) -> Result<Arc<dyn TimelineSource>, SourceError> {
        let found = find(&self.store, tenant, timeline).map_err(store_error)?;
        Ok(Arc::new(OpenTimeline {
            timeline: found,
            receivers: self.receivers.clone(),
        }))
    }

    fn lease(&self, tenant: &str, timeline: &str, lsn: Lsn) -> Result<u64, SourceError> {
        let found = find(&self.store, tenant, timeline).map_err(store_error)?;
        let length = Duration::from_secs(DEFAULT_LEASE_SECONDS);
        let lease = maintain::lease(&found, lsn, length)?;
        Ok(Moment::new(lease.until).unix_millis())
    }
}

/// The timeline that a client names. A tenant has no name of its own: its id, or the name of any of its
/// timelines when the store has but one tenant.
///
/// # Errors
/// If there is none.
pub fn find(store: &Store, tenant: &str, timeline: &str) -> Result<Timeline, StoreError> {
    match tenant.parse() {
        Ok(id) => store.timeline(Some(id), timeline),
        Err(_) => store.timeline(None, timeline),
    }
}

struct OpenTimeline {
    timeline: Timeline,
    receivers: Receivers,
}

impl OpenTimeline {
    fn snapshot(&self, at: Lsn) -> Result<Snapshot, SourceError> {
        self.timeline.snapshot(at).map_err(read_error)
    }
}

impl TimelineSource for OpenTimeline {
    fn last_record_lsn(&self) -> Lsn {
        self.timeline.progress().last_record
    }

    fn oldest_lsn(&self) -> Lsn {
        self.timeline.progress().readable_from
    }

    fn is_leased(&self, lsn: Lsn) -> bool {
        self.timeline.is_leased(lsn)
    }

    fn wait_for(&self, lsn: Lsn, limit: Duration) -> Result<(), SourceError> {
        match self.timeline.wait_for(lsn, limit) {
            Ok(_) => Ok(()),
            Err(error @ WaitError::Timeout { .. }) => {
                Err(SourceError::new(ErrorKind::Timeout, error))
            }
            Err(error @ WaitError::Stopping) => {
                Err(SourceError::new(ErrorKind::ShuttingDown, error))
            }
            // What arrived is damaged. It is being asked for again, but when it comes nobody knows.
            Err(error @ WaitError::Failed { .. }) => {
                Err(SourceError::new(ErrorKind::Internal, error))
            }
        }
    }

    fn pages(
        &self,
        at: Lsn,
        tags: &[BlockTag],
        out: &mut dyn FnMut(usize, Result<&Page, SourceError>),
    ) {
        let snapshot = match self.timeline.snapshot(at) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                let text = error.to_string();
                let kind = kind_of(&error);
                for index in 0..tags.len() {
                    out(index, Err(SourceError::new(kind, text.clone())));
                }
                return;
            }
        };
        for (index, tag) in tags.iter().enumerate() {
            match snapshot.page(PageKey::Block(*tag)) {
                Ok((page, _)) => out(index, Ok(&page)),
                Err(error) => out(index, Err(read_error(error))),
            }
        }
    }

    fn fork_blocks(
        &self,
        at: Lsn,
        rel: RelFileLocator,
        fork: ForkNumber,
    ) -> Result<Option<u32>, SourceError> {
        self.snapshot(at)?
            .fork_blocks(rel, fork)
            .map_err(read_error)
    }

    fn db_size(&self, at: Lsn, db: Oid) -> Result<u64, SourceError> {
        let snapshot = self.snapshot(at)?;
        let known = snapshot
            .database_directories()
            .contains(&(DEFAULT_TABLESPACE, db));
        if !known {
            let text = format!("database {db} does not exist at {at}");
            return Err(SourceError::new(ErrorKind::NotFound, text));
        }
        let forks = snapshot
            .forks_in(DEFAULT_TABLESPACE, db)
            .map_err(read_error)?;
        let blocks: u64 = forks.iter().map(|fork| u64::from(fork.blocks)).sum();
        Ok(blocks * walrecord::PAGE_SIZE as u64)
    }

    fn slru_segment(
        &self,
        at: Lsn,
        kind: SlruKind,
        segment: u32,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let snapshot = self.snapshot(at)?;
        let segments = snapshot.slru_segments(kind).map_err(read_error)?;
        let Some((_, pages)) = segments.into_iter().find(|(number, _)| *number == segment) else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(pages as usize * walrecord::PAGE_SIZE);
        let first = segment * SLRU_PAGES_PER_SEGMENT;
        for page in first..first + pages {
            let key = SlruPage { kind, page };
            let (page, _) = snapshot.page(key.into()).map_err(read_error)?;
            bytes.extend_from_slice(&page);
        }
        Ok(Some(bytes))
    }

    fn describe(&self) -> String {
        let progress = self.timeline.progress();
        let info = self.timeline.info();
        let receiver = self.receivers.status_of(info.timeline);
        let receiver = receiver.map(|status| status.snapshot()).unwrap_or_default();
        let from = match (info.superseded, &receiver.server) {
            (Some(superseded), _) => format!(
                "kept as the primary's failover at {} left it; timeline {} took its name and goes on",
                superseded.fork, superseded.by
            ),
            (None, Some(server)) => format!(
                "receiving from {server}, whose WAL ends at {}",
                receiver.server_end
            ),
            (None, None) => "not connected to a primary".to_owned(),
        };
        format!("disk consistent at {}; {from}", progress.disk_consistent)
    }
}

/// A timeline that is not given as the page service tells it.
pub fn store_error(error: StoreError) -> SourceError {
    let kind = match &error {
        StoreError::NoTimeline(_) => ErrorKind::NotFound,
        StoreError::Refused { .. } => ErrorKind::Corrupt,
        StoreError::AmbiguousTimeline(_) => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    };
    SourceError::new(kind, error)
}

/// The kind that tells a client what to make of a failed read.
pub fn kind_of(error: &ReadError) -> ErrorKind {
    match error {
        ReadError::NotReadable { .. } | ReadError::AncestorBehind { .. } => ErrorKind::NotReadable,
        ReadError::NoRelation { .. } => ErrorKind::NotFound,
        ReadError::PastEnd { .. } => ErrorKind::PastEnd,
        ReadError::Redo { source, .. } if matches!(**source, RedoError::Unsupported { .. }) => {
            ErrorKind::Unsupported
        }
        ReadError::Redo { .. } | ReadError::NoBase { .. } | ReadError::Implausible { .. } => {
            ErrorKind::Corrupt
        }
        ReadError::Store(error) => match **error {
            StoreError::BadRecord { .. } => ErrorKind::Corrupt,
            _ if error.is_damage() => ErrorKind::Corrupt,
            StoreError::Stopping => ErrorKind::ShuttingDown,
            _ => ErrorKind::Internal,
        },
    }
}

/// A failed read as the page service tells it.
pub fn read_error(error: ReadError) -> SourceError {
    SourceError::new(kind_of(&error), error)
}
