//! Why following a server ends for good, and what is worth another try.

use std::error::Error;

use thiserror::Error;
use walrecord::{Lsn, PgTimelineId, PgVersion};

use crate::command::SlotName;
use crate::connection::ConnectError;
use crate::error::{ConnectionError, ServerError};
use crate::stream::StreamError;

/// Why a receiver gives up: trying again cannot help until somebody acts.
#[derive(Debug, Error)]
pub enum FollowError {
    /// Another cluster answers.
    #[error(
        "the server has system identifier {found}, but this timeline comes from {expected}: it is another cluster; correct the connection string"
    )]
    SystemIdentifier {
        /// That of the timeline.
        expected: u64,
        /// That of the server.
        found: u64,
    },
    /// The server was upgraded.
    #[error(
        "the server runs PostgreSQL {found}, but this timeline holds WAL of {expected}: import it anew"
    )]
    Version {
        /// That of the timeline.
        expected: PgVersion,
        /// That of the server.
        found: String,
    },
    /// WAL no longer describes every change.
    #[error(
        "the server has wal_level = {found}, which leaves changes out of the WAL; set wal_level = replica, restart it, and import it anew"
    )]
    WalLevel {
        /// Its value.
        found: String,
    },
    /// A failover lost WAL that we hold.
    #[error(
        "the server left timeline {timeline} at {fork}, but we hold that timeline's WAL up to {end}: the histories have forked"
    )]
    Forked {
        /// The timeline that both share.
        timeline: PgTimelineId,
        /// Where the server left it.
        fork: Lsn,
        /// The end of the last valid record here.
        end: Lsn,
    },
    /// The server's history does not contain ours.
    #[error(
        "the server is on timeline {server}, whose history does not contain our timeline {ours}"
    )]
    NotInHistory {
        /// Our timeline.
        ours: PgTimelineId,
        /// The server's.
        server: PgTimelineId,
    },
    /// Two servers were promoted to the same timeline number.
    #[error(
        "the server's history of timeline {timeline} differs from ours: two servers were promoted to the same timeline number"
    )]
    HistoryDiffers {
        /// The timeline.
        timeline: PgTimelineId,
    },
    /// The slot is gone.
    #[error(
        "replication slot {slot} does not exist on the server; WAL that it held may be gone, so import anew, or create it again if streaming can go on"
    )]
    SlotMissing {
        /// The slot.
        slot: SlotName,
    },
    /// The slot was invalidated or is of another kind.
    #[error("replication slot {slot} cannot be used: {source}")]
    SlotUnusable {
        /// The slot.
        slot: SlotName,
        /// The server's words.
        source: Box<ServerError>,
    },
    /// The server no longer has the WAL that comes next.
    #[error("the server has removed the WAL from {start} on that is needed next: {source}")]
    WalRemoved {
        /// Where we wanted to go on.
        start: Lsn,
        /// The server's words.
        source: Box<ServerError>,
    },
    /// The store cannot take WAL any more.
    #[error("the store cannot take WAL: {0}")]
    Sink(Box<dyn Error + Send + Sync>),
}

/// Why one attempt failed.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Fatal(#[from] FollowError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("the server is on timeline {server}, behind our timeline {ours}")]
    OlderTimeline {
        server: PgTimelineId,
        ours: PgTimelineId,
    },
    #[error("the server's WAL ends at {server}, before our end {ours}")]
    ServerBehind { server: Lsn, ours: Lsn },
    #[error("the server says that timeline {timeline} begins at {at}, but we ended at {end}")]
    SwitchElsewhere {
        timeline: PgTimelineId,
        at: Lsn,
        end: Lsn,
    },
}
