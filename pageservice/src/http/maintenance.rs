//! What HTTP starts on timelines besides reading: branches, compaction, garbage collection, deletion.

use serde::{Deserialize, Serialize};
use walrecord::Lsn;

use super::source::{TimelineStatus, lsn_text, optional_lsn_text};
use crate::source::SourceError;

/// Changes timelines. Called on a small pool of threads that may block.
pub trait MaintenanceSource: Send + Sync + 'static {
    /// Makes a branch, durably.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is no such timeline to branch from;
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the name is taken or no name;
    /// [`ErrorKind::NotReadable`](crate::ErrorKind::NotReadable) if the LSN is outside the window.
    fn branch(&self, tenant: &str, request: &BranchRequest) -> Result<TimelineStatus, SourceError>;

    /// Removes a timeline and all that only it has.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if others branch from it or a primary is followed into
    /// it.
    fn delete(&self, tenant: &str, timeline: &str) -> Result<DeleteDone, SourceError>;

    /// Lets a timeline follow a primary, now and whenever the server starts.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if it is no primary for it, or it follows one already;
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if the primary cannot be asked now.
    fn follow(
        &self,
        tenant: &str,
        timeline: &str,
        request: &FollowRequest,
    ) -> Result<TimelineStatus, SourceError>;

    /// Lets a timeline follow no primary any more. The slot on the primary stays.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if it follows that of the command line.
    fn unfollow(&self, tenant: &str, timeline: &str) -> Result<TimelineStatus, SourceError>;

    /// Merges layers: as far as the background work would, or all of them into one sorted run.
    ///
    /// # Errors
    /// If a layer cannot be read or written; what was done until then counts.
    fn compact(&self, tenant: &str, timeline: &str, full: bool)
    -> Result<CompactDone, SourceError>;

    /// Holds an LSN for a time: it stays readable, also when the window moves past it.
    ///
    /// # Errors
    /// [`ErrorKind::NotReadable`](crate::ErrorKind::NotReadable) if the LSN is neither in the window nor held;
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if that is too long, or too many are held.
    fn lease(
        &self,
        tenant: &str,
        timeline: &str,
        request: LeaseRequest,
    ) -> Result<LeaseDone, SourceError>;

    /// Moves the window on to where the settings have it, or to `cutoff`, and removes the WAL files below.
    ///
    /// # Errors
    /// If the disk refuses.
    fn gc(&self, tenant: &str, timeline: &str, cutoff: Option<Lsn>) -> Result<GcDone, SourceError>;
}

/// The body of `POST /v1/tenant/{tenant}/timeline`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BranchRequest {
    /// The new timeline's name.
    pub name: String,
    /// The timeline to branch from, by name or id.
    pub ancestor: String,
    /// Where; the newest if absent.
    #[serde(
        with = "optional_lsn_text",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub lsn: Option<Lsn>,
}

/// The body of `POST .../follow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FollowRequest {
    /// How the primary is reached: keywords or a URL, as libpq takes them. It is kept, without a password.
    pub conninfo: String,
    /// The replication slot there, made if it is missing; `zenith_` and the timeline's name if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
}

/// The answer to `DELETE /v1/tenant/{tenant}/timeline/{timeline}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteDone {
    /// The name of what was removed.
    pub deleted: String,
}

/// The answer to `POST .../compact`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactDone {
    /// Merges that were done.
    pub merges: u64,
    /// Sorted runs of layers before.
    pub runs_before: u64,
    /// Sorted runs of layers after.
    pub runs_after: u64,
    /// Layer files before.
    pub layers_before: u64,
    /// Layer files after.
    pub layers_after: u64,
    /// Bytes of layer files before.
    pub bytes_before: u64,
    /// Bytes of layer files after.
    pub bytes_after: u64,
    /// Layer files that were left as they are because they are damaged.
    pub damaged_layers: u64,
}

/// How long an LSN is held if the request does not say, in seconds.
pub const DEFAULT_LEASE_SECONDS: u64 = 600;

/// The body of `POST .../lsn_lease`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRequest {
    /// The LSN.
    #[serde(with = "lsn_text")]
    pub lsn: Lsn,
    /// For how long; [`DEFAULT_LEASE_SECONDS`] if absent.
    #[serde(default = "default_lease_seconds")]
    pub seconds: u64,
}

fn default_lease_seconds() -> u64 {
    DEFAULT_LEASE_SECONDS
}

/// The answer to `POST .../lsn_lease`; also a lease in a timeline's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseDone {
    /// The LSN that is held.
    #[serde(with = "lsn_text")]
    pub lsn: Lsn,
    /// Until when, as RFC 3339 has it, in UTC.
    pub valid_until: String,
}

/// The answer to `POST .../do_gc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcDone {
    /// The oldest LSN at which everything was readable before.
    #[serde(with = "lsn_text")]
    pub oldest_lsn_before: Lsn,
    /// The oldest LSN at which everything is readable now.
    #[serde(with = "lsn_text")]
    pub oldest_lsn: Lsn,
    /// Bytes of WAL files removed.
    pub wal_bytes_removed: u64,
    /// What kept the window from beginning later, as a person reads it: "the window of 7 days".
    pub held_by: String,
    /// Single LSNs below the window that stay readable, ascending.
    pub points: Vec<HeldPoint>,
}

/// An LSN that stays readable alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPoint {
    /// The LSN.
    #[serde(with = "lsn_text")]
    pub lsn: Lsn,
    /// What holds it, as a person reads it: "branch try".
    pub held_by: String,
}
