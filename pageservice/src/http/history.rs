//! What HTTP needs of the server to answer questions about the past: times and LSNs, the versions of a page,
//! and whether all of it is whole. The types also deserialize, for clients of `/v1`.

use serde::{Deserialize, Serialize};
use walrecord::{BlockTag, Lsn};

use super::source::{lsn_text, optional_lsn_text};
use crate::source::SourceError;

/// The most versions that one answer lists.
pub const MAX_VERSIONS: u32 = 10_000;

/// Answers questions about the past of timelines. Called on a small pool of threads that may block.
pub trait HistorySource: Send + Sync + 'static {
    /// The LSN that recovery to a time would stop at. How times are written is for the source to know.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the text is no time,
    /// [`ErrorKind::NotReadable`](crate::ErrorKind::NotReadable) if nothing is known of that time.
    fn lsn_of_time(
        &self,
        tenant: &str,
        timeline: &str,
        time: &str,
    ) -> Result<LsnOfTime, SourceError>;

    /// The time of the last commit or abort at or below an LSN (default: the last record).
    ///
    /// # Errors
    /// [`ErrorKind::NotReadable`](crate::ErrorKind::NotReadable) if the LSN is outside the window,
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if no commit or abort is known there.
    fn time_of_lsn(
        &self,
        tenant: &str,
        timeline: &str,
        lsn: Option<Lsn>,
    ) -> Result<TimeOfLsn, SourceError>;

    /// The versions of a page, newest first.
    ///
    /// # Errors
    /// If what is stored cannot be read.
    fn page_history(
        &self,
        tenant: &str,
        timeline: &str,
        request: HistoryRequest,
    ) -> Result<PageHistory, SourceError>;

    /// Reads everything that is stored, and rebuilds every page at an LSN (default: the last record).
    ///
    /// # Errors
    /// If it cannot begin. Damage that it finds is no error.
    fn verify(
        &self,
        tenant: &str,
        timeline: &str,
        lsn: Option<Lsn>,
    ) -> Result<VerifyDone, SourceError>;
}

/// How a time lies to what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeKind {
    /// A transaction ended later: the answer stays what it is.
    Present,
    /// No transaction that is known ended later: recovery would wait for more WAL, and so may the answer change.
    Future,
}

/// The answer to `GET .../get_lsn_by_timestamp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LsnOfTime {
    /// The end of the last record that recovery to the time would apply.
    #[serde(with = "lsn_text")]
    pub lsn: Lsn,
    /// How the time lies to what is known.
    pub kind: TimeKind,
    /// The commit or abort that it would stop before, if one is known.
    pub stops_before: Option<TransactionEnd>,
}

/// A commit or abort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionEnd {
    /// When, by the primary's clock.
    pub time: String,
    /// The end of its record.
    #[serde(with = "lsn_text")]
    pub lsn: Lsn,
    /// The transaction.
    pub xid: u32,
    /// Whether it committed.
    pub committed: bool,
}

/// The answer to `GET .../get_timestamp_of_lsn`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOfLsn {
    /// The LSN that was asked for.
    #[serde(with = "lsn_text")]
    pub lsn: Lsn,
    /// The time of the last commit or abort at or below it.
    pub timestamp: String,
    /// That commit or abort.
    pub transaction: TransactionEnd,
}

/// What `GET .../history` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRequest {
    /// The page.
    pub tag: BlockTag,
    /// Versions above this LSN are left out; none are if absent.
    pub lsn: Option<Lsn>,
    /// About how many versions; all of one LSN are listed, or none.
    pub limit: u32,
}

/// The answer to `GET .../history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageHistory {
    /// The page.
    pub page: String,
    /// Its versions, newest first.
    pub versions: Vec<PageVersion>,
    /// The list goes on: ask again with this LSN.
    #[serde(with = "optional_lsn_text", default)]
    pub next_lsn: Option<Lsn>,
}

/// A version of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageVersion {
    /// The end of the record that made it.
    #[serde(with = "lsn_text")]
    pub lsn: Lsn,
    /// `image`, `delta`, `init` (starts the page anew), `implicit` (creates it if it is missing); or what made
    /// all that is older void: `dropped`, `truncated`, `database dropped`, `database copied`.
    pub kind: String,
    /// Where it is kept: `wal`, or the name of a layer file.
    pub origin: Option<String>,
    /// The page as it was called then, if otherwise than now: its database was copied.
    pub page: Option<String>,
    /// The resource manager of the record.
    pub rmgr: Option<String>,
    /// The record, as `pg_waldump` calls it.
    pub record: Option<String>,
    /// What `pg_waldump` says about it, as far as what is kept of the record tells.
    pub description: Option<String>,
    /// The transaction that wrote it; 0 if none did.
    pub xid: Option<u32>,
    /// How the transaction ended, if that is known.
    pub transaction: Option<TransactionEnd>,
}

/// Something that is wrong in a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The file, below the data directory; absent if no single file explains it.
    pub file: Option<String>,
    /// Where in the file.
    pub offset: Option<u64>,
    /// The page, or the first key of the damaged block.
    pub key: Option<String>,
    /// The LSN of the record, or the one that the page was read at.
    #[serde(with = "optional_lsn_text", default)]
    pub lsn: Option<Lsn>,
    /// What is wrong.
    pub problem: String,
}

/// The answer to `POST .../verify`.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VerifyDone {
    /// What is wrong: the first thousand findings.
    pub findings: Vec<Finding>,
    /// How many there are.
    pub finding_count: u64,
    /// Layer files read.
    pub layers: u64,
    /// Bytes in them.
    pub layer_bytes: u64,
    /// Bytes of WAL read.
    pub wal_bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Relation forks and segments of SLRUs.
    pub forks: u64,
    /// Pages rebuilt.
    pub pages: u64,
    /// Pages that could not be.
    pub pages_lost: u64,
}
