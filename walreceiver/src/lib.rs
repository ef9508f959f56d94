//! Replication client: attach to a stock PostgreSQL server, take a base backup, stream its WAL.
//!
//! Blocking I/O and threads, no runtime: a status reply leaves within one thread switch of the
//! `fdatasync` that it reports. Speaks the physical replication protocol of PostgreSQL 14 to 18, and
//! that of a WAL safekeeper.
//!
//! What it is not: it does not know how WAL or pages are stored. WAL goes to a [`WalSink`], which
//! the store implements; a base backup comes out as archives to [read](std::io::Read).
//!
//! The pieces, in the order in which an import uses them:
//!
//! 1. [`ConnInfo`]: a libpq keyword string or URL, with libpq's environment and password file.
//! 2. [`Connection::connect`]: TCP or Unix socket, TLS by `sslmode`, login.
//! 3. [`Primary::check`]: may this server be attached at all?
//! 4. [`Connection::create_physical_slot`], then [`BaseBackup::start`] and
//!    [`BaseBackup::next_archive`].
//! 5. [`follow()`]: streams from where the sink is, reconnects, changes timelines, until
//!    [`Control::stop`]. [`ReceiverStatus`] shows how it is doing. [`stream()`] is one connection's
//!    worth of it.
//!
//! ```no_run
//! use walreceiver::{ConnInfo, Connection, Primary};
//!
//! fn attach(conninfo: &str) -> Result<Primary, Box<dyn std::error::Error>> {
//!     let log = slog::Logger::root(slog::Discard, slog::o!());
//!     let conninfo: ConnInfo = conninfo.parse()?;
//!     let mut connection = Connection::connect(&conninfo, &log)?;
//!     Ok(Primary::check(&mut connection)?)
//! }
//! ```
#![forbid(unsafe_code)]

mod attach;
mod backup;
mod command;
mod connection;
mod conninfo;
mod control;
mod error;
mod follow;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod stream;

pub use attach::{AttachError, Primary};
pub use backup::{
    Archive, ArchiveKind, BackupEnd, BackupError, BackupOptions, BackupProgress, BackupStart,
    BaseBackup, CheckpointSpeed, Manifest, Tablespace, Tee,
};
pub use command::{
    CreatedSlot, HistoryError, Persistence, SlotName, SlotNameError, SlotPosition, SystemIdentity,
    TimelineFork, TimelineHistory, WalReservation,
};
pub use connection::{
    AuthenticationError, ConnectError, ConnectFailure, Connection, Interrupt, TlsSettingsError,
};
pub use conninfo::{
    ChannelBinding, ConnInfo, ConnInfoError, Environment, Host, KeepAlive, PgpassIgnored, Secret,
    SslMode, Target, TlsSettings,
};
pub use control::Control;
pub use error::{ConnectionError, ProtocolError, ServerError, SqlState, Tag};
pub use follow::{
    Backoff, FollowError, FollowOptions, Origin, Peer, Phase, ProbeError, ReceiverStatus,
    StatusSnapshot, SystemTiming, Timing, follow, probe, resume_point,
};
/// The log that notices and events go to appears in signatures.
pub use slog;
pub use stream::{
    Held, NextTimeline, Positions, Progress, SinkError, StreamEnd, StreamError, StreamOptions,
    TimelineSwitch, WalSink, stream,
};
