//! One connection's worth of following: check who answers, decide where to go on, stream through
//! as many timelines as there are.

use slog::{Logger, info};
use walrecord::{Lsn, PgTimelineId, PgVersion};

use super::error::Trouble;
use super::old_slot::OldSlot;
use super::{FollowError, FollowOptions, Peer, ReceiverStatus, resume_point};
use crate::command::{SystemIdentity, TimelineHistory};
use crate::connection::Connection;
use crate::control::Control;
use crate::error::{ConnectionError, SqlState};
use crate::stream::{
    NextTimeline, SinkError, StreamEnd, StreamError, StreamOptions, TimelineSwitch, WalSink, stream,
};

/// Connects and streams until the connection ends.
pub(super) fn run(
    options: &FollowOptions,
    sink: &mut dyn WalSink,
    control: &Control,
    status: &ReceiverStatus,
    log: &Logger,
) -> Result<StreamEnd, Trouble> {
    let mut connection = Connection::connect_guarded(&options.conninfo, log, &mut |socket| {
        control.guard(socket);
    })?;
    let identity = connection.identify_system()?;
    let server = connection.target().to_owned();
    status.identified(&server, identity.timeline, identity.flushed);
    check_identity(options, &mut connection, &identity)?;

    let mut session = Session {
        options,
        connection,
        identity,
        sink,
    };
    let mut start = session.start_position(control, log)?;
    loop {
        let timeline = session.sink.timeline();
        let stream_options = StreamOptions {
            start,
            timeline: (options.peer != Peer::Safekeeper).then_some(timeline),
            slot: options.slot.clone(),
            status_interval: options.status_interval,
            silence_timeout: options.silence_timeout,
        };
        info!(log, "streaming from the server";
            "server" => &server, "start" => %start, "timeline" => timeline,
            "server_end" => %identity.flushed);
        let end = stream(
            &mut session.connection,
            session.sink,
            &stream_options,
            control,
            status,
        );
        match end.map_err(|error| session.classify_stream(error, start))? {
            StreamEnd::TimelineEnded(next) => {
                // Commands again, which a stop has to interrupt.
                if let Ok(handle) = session.connection.interrupt_handle() {
                    control.guard(handle);
                }
                session.switch(timeline, next)?;
                info!(log, "went over to the next timeline";
                    "timeline" => next.timeline, "at" => %next.at);
                start = next.at;
            }
            end => return Ok(end),
        }
    }
}

/// Is it still the server that the timeline came from, and does its WAL still tell everything?
fn check_identity(
    options: &FollowOptions,
    connection: &mut Connection,
    identity: &SystemIdentity,
) -> Result<(), Trouble> {
    if identity.system_identifier != options.system_identifier {
        return Err(FollowError::SystemIdentifier {
            expected: options.system_identifier,
            found: identity.system_identifier,
        }
        .into());
    }
    let Peer::Postgres(expected) = options.peer else {
        return Ok(());
    };
    let found = connection.show("server_version_num")?;
    let major = found.parse::<u32>().ok().map(|number| number / 10_000);
    if major != Some(expected.major()) {
        let found = connection
            .parameter("server_version")
            .map(str::to_owned)
            .unwrap_or(found);
        return Err(FollowError::Version { expected, found }.into());
    }
    let found = connection.show("wal_level")?;
    if !matches!(found.as_str(), "replica" | "logical") {
        return Err(FollowError::WalLevel { found }.into());
    }
    Ok(())
}

struct Session<'a> {
    options: &'a FollowOptions,
    connection: Connection,
    identity: SystemIdentity,
    sink: &'a mut dyn WalSink,
}

impl Session<'_> {
    /// Where to go on. The sink is brought there when the server has agreed.
    fn start_position(&mut self, control: &Control, log: &Logger) -> Result<Lsn, Trouble> {
        let restart_lsn = self.slot_restart(control, log)?;
        let held = self.sink.held();
        let mut start = resume_point(held, restart_lsn);
        if let Peer::Postgres(_) = self.options.peer
            && let Some(fork) = self.check_timeline(held.valid_end, start)?
        {
            start = start.min(fork);
        }
        Ok(start)
    }

    /// From where the slot keeps WAL, if that can be known.
    fn slot_restart(&mut self, control: &Control, log: &Logger) -> Result<Option<Lsn>, Trouble> {
        let (Some(slot), Peer::Postgres(version)) = (&self.options.slot, self.options.peer) else {
            return Ok(None);
        };
        if version < PgVersion::V15 {
            let old = OldSlot {
                options: self.options,
                slot,
                sink: self.sink,
                flushed: self.identity.flushed,
                control,
                log,
            };
            return old.restart(&mut self.connection);
        }
        match self.connection.read_slot(slot)? {
            Some(position) => Ok(position.restart_lsn),
            None => Err(FollowError::SlotMissing { slot: slot.clone() }.into()),
        }
    }

    /// Is our history the beginning of the server's? Returns where the server left our timeline, if
    /// it did: WAL beyond is void, and there is none of it that was ever valid.
    fn check_timeline(&mut self, valid_end: Lsn, start: Lsn) -> Result<Option<Lsn>, Trouble> {
        let (ours, server) = (self.sink.timeline(), self.identity.timeline);
        if server < ours {
            return Err(Trouble::OlderTimeline { server, ours });
        }
        if server == ours {
            self.check_same_history(ours)?;
            if self.identity.flushed < start {
                return Err(Trouble::ServerBehind {
                    server: self.identity.flushed,
                    ours: start,
                });
            }
            return Ok(None);
        }
        let history = self.connection.timeline_history(server)?;
        let fork = history
            .end_of(ours)
            .ok_or(FollowError::NotInHistory { ours, server })?;
        if fork < valid_end {
            return Err(forked(ours, fork, valid_end));
        }
        Ok(Some(fork))
    }

    /// The same timeline number can come from two promotions.
    fn check_same_history(&mut self, timeline: PgTimelineId) -> Result<(), Trouble> {
        let Some(known) = self.sink.timeline_history() else {
            return Ok(());
        };
        let theirs = self.connection.timeline_history(timeline)?;
        match TimelineHistory::parse(timeline, known) {
            Ok(ours) if ours.forks == theirs.forks => Ok(()),
            _ => Err(FollowError::HistoryDiffers { timeline }.into()),
        }
    }

    /// Goes over to the timeline that the server names.
    fn switch(&mut self, from: PgTimelineId, next: NextTimeline) -> Result<(), Trouble> {
        let held = self.sink.held();
        if next.at < held.valid_end {
            return Err(forked(from, next.at, held.valid_end));
        }
        if next.at > held.file_end || next.timeline <= from {
            return Err(Trouble::SwitchElsewhere {
                timeline: next.timeline,
                at: next.at,
                end: held.file_end,
            });
        }
        let history = self.connection.timeline_history(next.timeline)?;
        if history.end_of(from) != Some(next.at) {
            return Err(FollowError::NotInHistory {
                ours: from,
                server: next.timeline,
            }
            .into());
        }
        if next.at < held.file_end {
            self.sink.rewind(next.at).map_err(sink_failed)?;
        }
        let switch = TimelineSwitch {
            from,
            to: next.timeline,
            at: next.at,
            history: &history,
        };
        self.sink.switch_timeline(switch).map_err(sink_failed)
    }

    /// Which refusals of the server no reconnect can cure.
    fn classify_stream(&self, error: StreamError, start: Lsn) -> Trouble {
        let error = match error {
            StreamError::Connection(ConnectionError::Server { command, source }) => {
                let slot = self.options.slot.clone();
                match (source.code, slot) {
                    (SqlState::UNDEFINED_FILE, _) => {
                        return FollowError::WalRemoved { start, source }.into();
                    }
                    (SqlState::UNDEFINED_OBJECT, Some(slot)) => {
                        return FollowError::SlotMissing { slot }.into();
                    }
                    (SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, Some(slot)) => {
                        return FollowError::SlotUnusable { slot, source }.into();
                    }
                    _ => StreamError::Connection(ConnectionError::Server { command, source }),
                }
            }
            StreamError::Sink(error) => return sink_failed(error),
            error => error,
        };
        error.into()
    }
}

fn forked(timeline: PgTimelineId, fork: Lsn, end: Lsn) -> Trouble {
    FollowError::Forked {
        timeline,
        fork,
        end,
    }
    .into()
}

fn sink_failed(error: SinkError) -> Trouble {
    match error {
        SinkError::Fatal(source) => FollowError::Sink(source).into(),
        retry => StreamError::Sink(retry).into(),
    }
}
