//! Why following a server ends for good, and what is worth another try.

use std::error::Error;

use thiserror::Error;
use walrecord::{Lsn, PgTimelineId, PgVersion};

use super::Origin;
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
        "our history and the server's part on timeline {timeline} at {fork}, but we hold WAL up to {end}: the histories have forked"
    )]
    Forked {
        /// The last timeline that both share.
        timeline: PgTimelineId,
        /// Up to here they have the same.
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
    /// The server is no clone that was made where we begin.
    #[error("{}", not_our_clone(*.server, *.left, .origin))]
    NotOurClone {
        /// The server's timeline.
        server: PgTimelineId,
        /// Where its history left the timeline that we left, if it did.
        left: Option<Lsn>,
        /// Where it should have.
        origin: Origin,
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

fn not_our_clone(server: PgTimelineId, left: Option<Lsn>, origin: &Origin) -> String {
    let Origin { timeline, lsn } = origin;
    let is = match left {
        _ if server == *timeline => {
            format!("the server is on timeline {timeline} itself, which was left at {lsn} here")
        }
        Some(left) => format!(
            "the server is on timeline {server}, whose history left timeline {timeline} at {left}, not at {lsn}"
        ),
        None => format!(
            "the server is on timeline {server}, whose history does not contain timeline {timeline}"
        ),
    };
    format!("{is}: only a clone that was checked out at {lsn} can be followed")
}

/// Why a server was not found fit to be followed.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// It cannot be followed.
    #[error(transparent)]
    Unfit(FollowError),
    /// It could not be asked, or is not ready; later it may be.
    #[error(transparent)]
    Unready(Box<dyn Error + Send + Sync>),
}

impl From<Trouble> for ProbeError {
    fn from(trouble: Trouble) -> ProbeError {
        match trouble {
            Trouble::Fatal(error) => ProbeError::Unfit(error),
            other => ProbeError::Unready(other.into()),
        }
    }
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
