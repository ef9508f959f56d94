//! What HTTP needs of the server around it: states to show and actions to start, as typed values.
//! The types also deserialize, for clients of `/v1`.

use serde::{Deserialize, Serialize};
use walrecord::Lsn;

use super::maintenance::LeaseDone;
use crate::source::SourceError;

/// Shows and steers the server. Called on a small pool of threads that may block.
pub trait StatusSource: Send + Sync + 'static {
    /// The server as a whole.
    fn status(&self) -> ServerStatus;

    /// The tenants, in order of their ids.
    fn tenants(&self) -> Vec<TenantStatus>;

    /// The timelines of a tenant (32 hexadecimal digits, or a name), in order of their names.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is no such tenant.
    fn timelines(&self, tenant: &str) -> Result<Vec<TimelineStatus>, SourceError>;

    /// One timeline.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is no such timeline.
    fn timeline(&self, tenant: &str, timeline: &str) -> Result<TimelineStatus, SourceError>;

    /// Writes everything up to the last record into layer files, and returns when that is durable.
    ///
    /// # Errors
    /// If there is no such timeline, or it cannot be done.
    fn checkpoint(&self, tenant: &str, timeline: &str) -> Result<CheckpointDone, SourceError>;

    /// Writes a data directory, and returns when it is complete. The JSON that comes back describes
    /// it; the service passes it through.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the directory cannot take it;
    /// [`ErrorKind::NotReadable`](crate::ErrorKind::NotReadable) if the LSN is outside the window.
    fn checkout(
        &self,
        tenant: &str,
        timeline: &str,
        request: &CheckoutRequest,
    ) -> Result<serde_json::Value, SourceError>;

    /// Appends the metrics of everything but the page service and HTTP themselves to `out`, in the
    /// text format of Prometheus: whole lines, names that begin with `zenith_`.
    fn metrics(&self, out: &mut String);
}

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// The server's version.
    pub version: String,
    /// Where the Postgres-protocol port listens.
    pub listen_pg: String,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Timelines that are open.
    pub timelines: u64,
}

/// A tenant, in `GET /v1/tenant`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantStatus {
    /// Its id.
    pub id: String,
    /// Names of its timelines.
    pub timelines: Vec<String>,
}

/// A timeline, in `GET /v1/tenant/{tenant}/timeline` and below it. LSNs are in Postgres's notation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineStatus {
    /// The tenant's id.
    pub tenant_id: String,
    /// The timeline's id.
    pub timeline_id: String,
    /// Its name.
    pub name: String,
    /// The major version of Postgres.
    pub pg_version: u32,
    /// The cluster's system identifier, in decimal digits (it does not fit a JSON number).
    pub system_identifier: String,
    /// The Postgres timeline that it follows.
    pub pg_timeline: u32,
    /// The id of the timeline that it branches from; absent if it is no branch.
    #[serde(default)]
    pub ancestor_timeline_id: Option<String>,
    /// Where it branches from that; absent if it is no branch.
    #[serde(with = "optional_lsn_text", default)]
    pub ancestor_lsn: Option<Lsn>,
    /// The oldest readable LSN.
    #[serde(with = "lsn_text")]
    pub oldest_lsn: Lsn,
    /// Bytes of WAL below the last record in which every LSN stays readable; absent if there is no such window.
    #[serde(default)]
    pub history_bytes: Option<u64>,
    /// Seconds before now in which every LSN stays readable; absent if there is no such window.
    #[serde(default)]
    pub history_seconds: Option<u64>,
    /// LSNs that readers hold for a time, ascending.
    #[serde(default)]
    pub leases: Vec<LeaseDone>,
    /// The newest readable LSN.
    #[serde(with = "lsn_text")]
    pub last_record_lsn: Lsn,
    /// The end of the WAL that survives a crash.
    #[serde(with = "lsn_text")]
    pub flush_lsn: Lsn,
    /// Up to here, everything is in layer files.
    #[serde(with = "lsn_text")]
    pub disk_consistent_lsn: Lsn,
    /// Up to here, everything is in object storage; absent if there is none.
    #[serde(with = "optional_lsn_text", default)]
    pub remote_consistent_lsn: Option<Lsn>,
    /// Runs of layer files: so many a read looks through at most.
    #[serde(default)]
    pub runs: u64,
    /// Layer files.
    pub layers: u64,
    /// Bytes in them.
    pub layer_bytes: u64,
    /// Bytes of WAL files.
    pub wal_bytes: u64,
    /// The primary that it follows whenever the server starts; absent if it was told none.
    #[serde(default)]
    pub upstream: Option<UpstreamState>,
    /// The id of the timeline whose place it took when the primary failed over below that one's end; absent if it
    /// took none.
    #[serde(default)]
    pub replaces: Option<String>,
    /// What took its place then, and what it is itself since: kept, and read-only; absent if nothing did.
    #[serde(default)]
    pub superseded: Option<SupersededState>,
    /// The replication client; absent if the timeline follows no primary now.
    pub receiver: Option<ReceiverState>,
    /// Why ingest stopped for good; absent if it did not.
    pub failure: Option<String>,
    /// Why the timeline could not be opened; absent if it was. Nothing but its ids is known then.
    #[serde(default)]
    pub refused: Option<String>,
    /// Layer files that are damaged, each with what was found first.
    #[serde(default)]
    pub damage: Vec<String>,
    /// What reads of pages took since the start.
    #[serde(default)]
    pub reads: ReadState,
}

/// What reads of a timeline's pages took since the start. Quantiles are bounds of a histogram's buckets: at most so
/// much. Absent as long as there were none, or if it is more than the histogram tells apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadState {
    /// Pages that were read.
    pub pages: u64,
    /// Layer files looked into for a page: the median.
    pub layers_p50: Option<u64>,
    /// The 99th percentile.
    pub layers_p99: Option<u64>,
    /// Records applied for a page: the median.
    pub records_p50: Option<u64>,
    /// The 99th percentile.
    pub records_p99: Option<u64>,
}

/// The primary that a timeline was told to follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamState {
    /// How it is reached, without a password.
    pub conninfo: String,
    /// The replication slot there.
    pub slot: String,
}

/// What took the place of a timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupersededState {
    /// The id of the timeline that did.
    pub by: String,
    /// What the superseded one has above here is nowhere else.
    #[serde(with = "lsn_text")]
    pub fork_lsn: Lsn,
}

/// How a timeline's replication client is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverState {
    /// What it is at: "connecting", "streaming", ...
    pub phase: String,
    /// The server that it is or was connected to.
    pub server: Option<String>,
    /// The server's WAL ended here when it last said so.
    #[serde(with = "lsn_text")]
    pub server_end_lsn: Lsn,
    /// Bytes of WAL that the server has and we do not.
    pub lag_bytes: u64,
    /// Everything that the server had was received at least once on this connection.
    pub caught_up: bool,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// The answer to `POST .../checkpoint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointDone {
    /// Up to here, everything is in layer files.
    #[serde(with = "lsn_text")]
    pub disk_consistent_lsn: Lsn,
    /// Where that was before.
    #[serde(with = "lsn_text")]
    pub previous_lsn: Lsn,
    /// Layer files written meanwhile.
    pub layers_written: u64,
    /// Bytes in them.
    pub bytes_written: u64,
}

/// The body of `POST .../checkout`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckoutRequest {
    /// The directory to make, on the server's machine; an absolute path.
    pub dir: String,
    /// The LSN; the newest if absent.
    #[serde(
        with = "optional_lsn_text",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub lsn: Option<Lsn>,
    /// Keep the primary's configuration instead of writing a harmless one.
    #[serde(default)]
    pub keep_config: bool,
    /// The port that the configuration names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// The body of every answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One sentence for a person.
    pub msg: String,
}

pub(super) mod lsn_text {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use walrecord::Lsn;

    pub(in crate::http) fn serialize<S: Serializer>(lsn: &Lsn, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(lsn)
    }

    pub(in crate::http) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Lsn, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

pub(super) mod optional_lsn_text {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use walrecord::Lsn;

    pub(in crate::http) fn serialize<S: Serializer>(
        lsn: &Option<Lsn>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match lsn {
            Some(lsn) => to.collect_str(lsn),
            None => to.serialize_none(),
        }
    }

    pub(in crate::http) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Lsn>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(de::Error::custom))
            .transpose()
    }
}
