//! Where received WAL goes. The trait is owned here, because the receiver is the side that needs
//! it; the store implements it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use walrecord::{Lsn, PgTime, PgTimelineId};

use crate::command::TimelineHistory;

/// How far received WAL has come. Each is the end of a range (the position after its last byte);
/// [`Lsn::INVALID`] means "do not report yet": the server then neither advances the slot nor
/// counts this receiver as a synchronous standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Positions {
    /// Handed to the operating system. `remote_write` waits for it, and a server that shuts down
    /// does while `flushed` is not reported.
    pub written: Lsn,
    /// Durable. May lie inside a record. The slot's `restart_lsn` follows it; a synchronous commit
    /// waits for it. A position reported here must never be lost.
    pub flushed: Lsn,
    /// The end of the last record that can be read. `remote_apply` waits for it.
    pub applied: Lsn,
}

/// Bytes of WAL, see [`Positions::matter_beside`].
const APPLIED_STEP: u64 = 1 << 20;

impl Positions {
    /// Whether the server is to hear of the difference at once: slots and commits follow what is durable or
    /// applied. While much that is durable is yet to be applied, it hears of that in steps of [`APPLIED_STEP`]: a
    /// sink that catches up would otherwise answer thousands of times per second.
    pub fn matter_beside(&self, earlier: &Positions) -> bool {
        let has_caught_up = self.applied >= self.flushed;
        let applied = self.applied.get().abs_diff(earlier.applied.get());
        self.flushed != earlier.flushed || applied >= APPLIED_STEP || (applied > 0 && has_caught_up)
    }
}

/// The part of a sink that other threads may ask while WAL is being written.
pub trait Progress: Send + Sync {
    /// The truth at this moment. Called from the status thread for every reply, so it must be
    /// quick and must not wait for a write in progress. No position may ever move back, except
    /// after [`WalSink::rewind`].
    fn positions(&self) -> Positions;
}

/// What the store holds when streaming begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Every record below was decoded and found valid; the next record starts here or later.
    pub valid_end: Lsn,
    /// Bytes exist up to here; those from `valid_end` on are not (all) verified, and may be the
    /// first part of a record. Equal to `valid_end` or later.
    pub file_end: Lsn,
}

/// The end of one Postgres timeline and the start of the next.
#[derive(Debug, Clone, Copy)]
pub struct TimelineSwitch<'a> {
    /// The timeline that ends.
    pub from: PgTimelineId,
    /// The timeline that follows.
    pub to: PgTimelineId,
    /// Where: the last byte of `from` is the one before, the next byte written belongs to `to`.
    /// WAL that was received beyond it on the old timeline is void.
    pub at: Lsn,
    /// The history file of `to`, to be kept as `pg_wal` would.
    pub history: &'a TimelineHistory,
}

/// Takes the WAL that arrives.
///
/// One thread calls all methods but [`Progress::positions`]. WAL comes in order and without gaps:
/// the first [`write`](WalSink::write) after the start, a [`rewind`](WalSink::rewind) or a
/// [`switch_timeline`](WalSink::switch_timeline) begins at the position that these named, each
/// further one at the end of the one before. Cuts are arbitrary: a call may start and end inside a
/// record, and spans up to one MiB.
///
/// When a position of [`Progress`] advances in some other thread (a group `fdatasync`), that thread
/// calls [`Control::wake`](crate::Control::wake): the reply leaves at once, and with it a waiting
/// synchronous commit returns.
pub trait WalSink: Send {
    /// What the store holds. Asked at each connect; streaming starts at
    /// [`resume_point`](crate::resume_point) of it.
    fn held(&self) -> Held;

    /// The timeline that the store's end belongs to.
    fn timeline(&self) -> PgTimelineId;

    /// The content of that timeline's history file, if it is kept. A server on the same timeline
    /// number must have the same history. None skips that check, which is right on timeline 1.
    fn timeline_history(&self) -> Option<Vec<u8>> {
        None
    }

    /// The server is the right one, and runs this minor release (the 18 of 15.18): what follows was, or will be,
    /// written by it. Called at each connect to a PostgreSQL server, before anything is streamed; does nothing by
    /// default.
    ///
    /// # Errors
    /// As [`write`](WalSink::write).
    fn server_release(&mut self, minor: u16) -> Result<(), SinkError> {
        let _ = minor;
        Ok(())
    }

    /// Forgets WAL from `to` on, because the server sends it again. `to` is between `valid_end` and
    /// `file_end`; [`Held::file_end`] is `to` afterwards. Called at each connect, also with `file_end`
    /// itself: what a crash left behind the last record is settled by it.
    ///
    /// # Errors
    /// As [`write`](WalSink::write).
    fn rewind(&mut self, to: Lsn) -> Result<(), SinkError>;

    /// Appends `bytes`, the first of which is at `lsn`. May block: that is the back-pressure, and
    /// status replies go on meanwhile.
    ///
    /// # Errors
    /// [`SinkError::Fatal`] ends [`follow`](crate::follow()) (the store is broken, or the WAL cannot
    /// be accepted); [`SinkError::Retry`] makes it reconnect and send again from what
    /// [`held`](WalSink::held) then says.
    fn write(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), SinkError>;

    /// Goes over to the next Postgres timeline at `switch.at`, where exactly the store's file ends. May be the
    /// first call of a connection, without a [`rewind`](WalSink::rewind) before: a server that has nothing more
    /// to send of the old timeline names the next at once.
    ///
    /// # Errors
    /// As [`write`](WalSink::write).
    fn switch_timeline(&mut self, switch: TimelineSwitch<'_>) -> Result<(), SinkError>;

    /// The shared view of how far this sink is. Asked once per connection.
    fn progress(&self) -> Arc<dyn Progress>;

    /// The server's WAL ended at `wal_end` when it sent a message at `sent_at`. Called after the
    /// WAL of that message was written; does nothing by default.
    fn server_position(&mut self, wal_end: Lsn, sent_at: PgTime) {
        let _ = (wal_end, sent_at);
    }
}

/// Why a sink did not take WAL.
#[derive(Debug)]
pub enum SinkError {
    /// Trying again later can help (a full disk).
    Retry(Box<dyn Error + Send + Sync>),
    /// It cannot help.
    Fatal(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SinkError::Retry(source) | SinkError::Fatal(source) => {
                write!(f, "the store did not take the WAL: {source}")
            }
        }
    }
}

impl Error for SinkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SinkError::Retry(source) | SinkError::Fatal(source) => Some(&**source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(flushed: u64, applied: u64) -> Positions {
        Positions {
            written: Lsn::new(1 << 40),
            flushed: Lsn::new(flushed),
            applied: Lsn::new(applied),
        }
    }

    #[test]
    fn what_is_durable_and_the_last_that_is_applied_is_told_at_once_a_way_behind_in_steps() {
        let before = at(10 << 20, 1 << 20);
        assert!(!before.matter_beside(&before));
        assert!(at((10 << 20) + 1, 1 << 20).matter_beside(&before));
        assert!(!at(10 << 20, (2 << 20) - 1).matter_beside(&before));
        assert!(at(10 << 20, 2 << 20).matter_beside(&before));

        let nearly = at(10 << 20, (10 << 20) - 8);
        assert!(at(10 << 20, 10 << 20).matter_beside(&nearly));
        // Nothing new.
        let caught_up = at(10 << 20, 10 << 20);
        assert!(!caught_up.matter_beside(&caught_up));
        // Handing over to the system alone moves nobody.
        let written = Positions {
            written: Lsn::MAX,
            ..caught_up
        };
        assert!(!written.matter_beside(&caught_up));
        // After a rewind.
        assert!(at(9 << 20, 9 << 20).matter_beside(&caught_up));
    }
}
