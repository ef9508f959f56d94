//! The store as a sink of streamed WAL.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pagecache::{StoreError, Timeline};
use walreceiver::{Control, Held, Positions, Progress, SinkError, TimelineSwitch, WalSink};
use walrecord::{Lsn, PgTimelineId};

/// How long indexing may take to catch up with the WAL that is there, before a connection is made.
pub const EXAMINE_LIMIT: Duration = Duration::from_secs(600);

/// What the primary is told of our positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// Nothing: an import that is not complete must neither advance the slot nor count as a standby.
    Nothing,
    /// The truth.
    Truth,
}

impl Acknowledge {
    fn positions(self, progress: &pagecache::Progress) -> Positions {
        match self {
            // A server that shuts down waits until what it sent is at least written.
            Acknowledge::Nothing => Positions {
                written: progress.written,
                ..Positions::default()
            },
            Acknowledge::Truth => Positions {
                written: progress.written,
                flushed: progress.synced,
                applied: progress.last_record.min(progress.synced),
            },
        }
    }
}

/// Appends streamed WAL to a timeline.
pub struct TimelineSink {
    timeline: Timeline,
    acknowledge: Acknowledge,
}

impl TimelineSink {
    /// A sink that wakes `control` when the timeline's positions advance as far as the server is to know.
    pub fn new(timeline: &Timeline, acknowledge: Acknowledge, control: &Control) -> TimelineSink {
        let control = control.clone();
        let told = Mutex::new(Positions::default());
        timeline.on_progress(Box::new(move |progress| {
            let positions = acknowledge.positions(progress);
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if positions.matter_beside(&told) {
                *told = positions;
                drop(told);
                control.wake();
            }
        }));
        TimelineSink {
            timeline: timeline.clone(),
            acknowledge,
        }
    }
}

impl WalSink for TimelineSink {
    fn held(&self) -> Held {
        if self.acknowledge == Acknowledge::Nothing {
            // Before an import is complete nothing is decoded; what was written came from this server.
            let written = self.timeline.progress().written;
            return Held {
                valid_end: written,
                file_end: written,
            };
        }
        // The end of the last good record must stand still until the rewind to it.
        let progress = self
            .timeline
            .wait_examined(EXAMINE_LIMIT)
            .unwrap_or_else(|_| self.timeline.progress());
        let valid_end = progress
            .last_record
            .max(self.timeline.rewind_floor())
            .min(progress.written);
        Held {
            valid_end,
            // What is damaged of it has to come again, even if it was acknowledged.
            file_end: match self.timeline.failure() {
                Some(failure) if !failure.is_damage() => valid_end,
                _ => progress.written,
            },
        }
    }

    fn timeline(&self) -> PgTimelineId {
        self.timeline.info().pg_timeline
    }

    fn timeline_history(&self) -> Option<Vec<u8>> {
        // One that cannot be read now is not a reason to refuse the server; the next connect looks again.
        let file = self.timeline.pg_history_file(self.timeline());
        file.unwrap_or_default()
    }

    fn server_release(&mut self, minor: u16) -> Result<(), SinkError> {
        match self.acknowledge {
            // An import was told.
            Acknowledge::Nothing => Ok(()),
            // Redo differs between minor releases.
            Acknowledge::Truth => self.timeline.set_minor(minor).map_err(refused),
        }
    }

    fn rewind(&mut self, to: Lsn) -> Result<(), SinkError> {
        self.timeline.rewind(to).map_err(refused)
    }

    fn write(&mut self, lsn: Lsn, bytes: &[u8]) -> Result<(), SinkError> {
        self.timeline.append(lsn, bytes).map_err(refused)
    }

    fn switch_timeline(&mut self, switch: TimelineSwitch<'_>) -> Result<(), SinkError> {
        if self.acknowledge == Acknowledge::Nothing {
            let text = format!(
                "the server went over from timeline {} to {} at {} while it was being imported: import it again",
                switch.from, switch.to, switch.at
            );
            return Err(SinkError::Fatal(text.into()));
        }
        if self.timeline.progress().written == switch.at {
            // A server that has nothing more to send of the old timeline agreed to no stream, and so nothing
            // has settled our end yet.
            self.timeline.rewind(switch.at).map_err(refused)?;
        }
        self.timeline
            .switch_pg_timeline(switch.to, switch.at, &switch.history.content)
            .map_err(refused)
    }

    fn progress(&self) -> Arc<dyn Progress> {
        Arc::new(TimelineProgress {
            timeline: self.timeline.clone(),
            acknowledge: self.acknowledge,
        })
    }
}

/// Damage in what was received heals when it is sent again; so does a full disk when it is emptied.
fn refused(error: StoreError) -> SinkError {
    let fatal = match &error {
        StoreError::Failed(cause) => is_fatal(cause),
        other => is_fatal(other),
    };
    if fatal {
        SinkError::Fatal(Box::new(error))
    } else {
        SinkError::Retry(Box::new(error))
    }
}

fn is_fatal(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::WalLevelMinimal { .. }
            | StoreError::SwitchElsewhere { .. }
            | StoreError::SwitchBack { .. }
            | StoreError::ReadOnly(_)
            | StoreError::ThreadPanicked(_)
            | StoreError::Stopping
    )
}

struct TimelineProgress {
    timeline: Timeline,
    acknowledge: Acknowledge,
}

impl Progress for TimelineProgress {
    fn positions(&self) -> Positions {
        self.acknowledge.positions(&self.timeline.progress())
    }
}
