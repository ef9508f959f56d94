//! What the page service needs of a store: the contract between the wire and whoever keeps pages.
//! The service owns these traits; the binary implements them over the store.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use walrecord::{BlockTag, ForkNumber, Lsn, Oid, Page, RelFileLocator, SlruKind};

/// Finds timelines. Called once for each command that opens a page stream.
pub trait PageSource: Send + Sync + 'static {
    /// The timeline that these texts name. Both come from the client: 32 hexadecimal digits, or a
    /// name. At most [`MAX_NAME`](crate::MAX_NAME) bytes of ASCII letters, digits, `_`, `-` and `.`.
    ///
    /// May wait a few seconds for a timeline that is just being opened.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none. Any error ends the command; the connection stays,
    /// unless the server is shutting down.
    fn open(&self, tenant: &str, timeline: &str) -> Result<Arc<dyn TimelineSource>, SourceError>;

    /// Holds an LSN of a timeline for a time: it stays readable, also when the window moves past it. Returns until
    /// when, in milliseconds since 1970-01-01 00:00:00 UTC. A source that gives no leases need not say so.
    ///
    /// # Errors
    /// [`ErrorKind::NotReadable`] if the LSN cannot be held.
    fn lease(&self, tenant: &str, timeline: &str, lsn: Lsn) -> Result<u64, SourceError> {
        let _ = (tenant, timeline, lsn);
        let text = "no leases are given here";
        Err(SourceError::new(ErrorKind::Unsupported, text))
    }
}

/// One timeline, at any LSN. Called from many threads at once; an `Arc` of it lives as long as the
/// connection that opened it.
pub trait TimelineSource: Send + Sync + 'static {
    /// The newest readable LSN: the end of the last record taken in. Never goes back, as far as one
    /// connection can tell. Called for each batch of requests: it should cost no more than a lock.
    fn last_record_lsn(&self) -> Lsn;

    /// The oldest readable LSN. Never goes back.
    fn oldest_lsn(&self) -> Lsn;

    /// Whether a lease keeps `lsn` readable, which lies below the oldest readable LSN. A source that gives no
    /// leases need not say so.
    fn is_leased(&self, lsn: Lsn) -> bool {
        let _ = lsn;
        false
    }

    /// Waits until [`last_record_lsn`](TimelineSource::last_record_lsn) is at or above `lsn`.
    /// Returns at once if it is. `limit` is short (under a second): the service calls again until
    /// its own limit is reached, and looks in between whether it should stop.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if `lsn` has not arrived within `limit`. Any other kind if it cannot
    /// arrive; the client gets that error.
    fn wait_for(&self, lsn: Lsn, limit: Duration) -> Result<(), SourceError>;

    /// Rebuilds pages. `at` lies between the oldest and the newest readable LSN, as they were a
    /// moment ago; there are 1 to [`MAX_BATCH`](crate::MAX_BATCH) tags, and a tag may come twice.
    ///
    /// Calls `out` once for each tag, *in the order of the tags*, with the tag's index and its page,
    /// ready for a client: tripwire passed, checksum set. A tag that is skipped is answered with an
    /// internal error. `out` copies the page and does not block.
    ///
    /// Errors concern one page each: [`ErrorKind::PastEnd`] for a block at or past the end of a fork
    /// that exists (the page stream answers it with a page of zeros), [`ErrorKind::NotFound`] if the
    /// fork does not exist, [`ErrorKind::Corrupt`] if the page cannot be rebuilt.
    fn pages(
        &self,
        at: Lsn,
        tags: &[BlockTag],
        out: &mut dyn FnMut(usize, Result<&Page, SourceError>),
    );

    /// The length of a fork in blocks; none if it does not exist.
    ///
    /// # Errors
    /// If the store fails or `at` is not readable.
    fn fork_blocks(
        &self,
        at: Lsn,
        rel: RelFileLocator,
        fork: ForkNumber,
    ) -> Result<Option<u32>, SourceError>;

    /// Bytes of all forks of all relations of a database in the default tablespace (1663), which is
    /// what the protocol's `DbSize` asks for. [`ErrorKind::NotFound`] if there is no such database.
    ///
    /// # Errors
    /// If the store fails or `at` is not readable.
    fn db_size(&self, at: Lsn, db: Oid) -> Result<u64, SourceError>;

    /// The pages of an SLRU segment, one after the other: 1 to 32 times 8192 bytes. None if there is
    /// no such segment.
    ///
    /// # Errors
    /// If the store fails or `at` is not readable.
    fn slru_segment(
        &self,
        at: Lsn,
        kind: SlruKind,
        segment: u32,
    ) -> Result<Option<Vec<u8>>, SourceError>;

    /// What ingest is doing, in one line for the text of a time-out: "disk consistent at 0/3000060;
    /// streaming from 10.0.0.5:5432, caught up". An empty text is left out.
    fn describe(&self) -> String;
}

/// What the one who asked should make of an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ErrorKind {
    /// There is no such tenant, timeline, relation, database, or segment. Asking again is of no use.
    NotFound,
    /// The block lies at or past the end of its fork.
    PastEnd,
    /// The request makes no sense as it stands; it must be changed.
    Invalid,
    /// The LSN lies outside what is readable: below the window, or above the last record.
    NotReadable,
    /// It did not arrive in time. Asking again may succeed.
    Timeout,
    /// What is stored is damaged, or does not yield a plausible page. A person must look.
    Corrupt,
    /// This server cannot do that, by design or yet (a custom resource manager, say).
    Unsupported,
    /// Something went wrong that is not the client's doing: a disk error, a bug.
    Internal,
    /// The server is going away. Reconnect.
    ShuttingDown,
}

/// An error of a source: its kind decides what the client is told to do, its cause what a person
/// reads.
#[derive(Debug)]
pub struct SourceError {
    kind: ErrorKind,
    cause: Box<dyn Error + Send + Sync>,
}

impl SourceError {
    /// An error of this kind. `cause` is the store's own error, or a text.
    pub fn new(kind: ErrorKind, cause: impl Into<Box<dyn Error + Send + Sync>>) -> SourceError {
        SourceError {
            kind,
            cause: cause.into(),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for SourceError {
    /// The cause prints as this error does, so the chain goes on behind it.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}
