//! One connection's worth of following: check who answers, decide where to go on, stream through
//! as many timelines as there are.

use slog::{Logger, info};
use walrecord::{Lsn, PgTimelineId, PgVersion};

use super::ancestry::{Kinship, Lineage, compare};
use super::error::Trouble;
use super::old_slot::OldSlot;
use super::{FollowError, FollowOptions, Peer, ReceiverStatus, resume_point};
use crate::command::{Persistence, SystemIdentity, TimelineFork, TimelineHistory, WalReservation};
use crate::connection::Connection;
use crate::control::Control;
use crate::error::{ConnectionError, SqlState};
use crate::stream::{
    NextTimeline, SinkError, StreamEnd, StreamError, StreamOptions, TimelineSwitch, WalSink,
    can_send, stream,
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
    let minor = check_identity(options, &mut connection, &identity)?;

    let mut session = Session {
        options,
        connection,
        identity,
        sink,
    };
    let mut start = session.start_position(control, log)?;
    if let Some(minor) = minor {
        session.sink.server_release(minor).map_err(sink_failed)?;
    }
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

/// Is it still the server that the timeline came from, and does its WAL still tell everything? Returns its minor
/// release, if it is a PostgreSQL.
fn check_identity(
    options: &FollowOptions,
    connection: &mut Connection,
    identity: &SystemIdentity,
) -> Result<Option<u16>, Trouble> {
    if identity.system_identifier != options.system_identifier {
        return Err(FollowError::SystemIdentifier {
            expected: options.system_identifier,
            found: identity.system_identifier,
        }
        .into());
    }
    let Peer::Postgres(expected) = options.peer else {
        return Ok(None);
    };
    let found = connection.show("server_version_num")?;
    let number: Option<u32> = found.parse().ok();
    if number.map(|number| number / 10_000) != Some(expected.major()) {
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
    Ok(number.and_then(|number| u16::try_from(number % 10_000).ok()))
}

/// Asks a server, on connections of its own, whether it could be followed and has the WAL that comes next. Changes
/// nothing there or here.
pub(super) fn probe(
    options: &FollowOptions,
    sink: &mut dyn WalSink,
    log: &Logger,
) -> Result<(), Trouble> {
    let mut connection = Connection::connect(&options.conninfo, log)?;
    let identity = connection.identify_system()?;
    check_identity(options, &mut connection, &identity)?;
    let mut session = Session {
        options,
        connection,
        identity,
        sink,
    };
    let start = session.sink.held().valid_end;
    let left = session.check_timeline(start, start)?;
    let timeline = match left {
        Some(left) if left == start => session.identity.timeline,
        _ => session.sink.timeline(),
    };
    // Without WAL there it would not answer before there is some.
    if start < session.identity.flushed {
        let mut wanted = StreamOptions::new(start);
        wanted.timeline = Some(timeline);
        let sends = can_send(&mut session.connection, &wanted);
        sends.map_err(|error| session.classify_stream(error.into(), start))?;
    }
    Ok(())
}

/// What a server keeps for our slot.
#[derive(Clone, Copy)]
enum Kept {
    /// We have no slot.
    Unnamed,
    /// It does not have our slot.
    Missing,
    /// It has our slot, and keeps WAL from here on if it keeps any.
    From(Option<Lsn>),
    /// As far as can be told.
    PerhapsFrom(Option<Lsn>),
}

impl Kept {
    fn restart_lsn(self) -> Option<Lsn> {
        match self {
            Kept::Unnamed | Kept::Missing => None,
            Kept::From(restart_lsn) | Kept::PerhapsFrom(restart_lsn) => restart_lsn,
        }
    }
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
        let kept = self.slot(control, log)?;
        let held = self.sink.held();
        let mut start = resume_point(held, kept.restart_lsn());
        if let Peer::Postgres(_) = self.options.peer {
            let left = self.check_timeline(held.valid_end, start)?;
            if let Some(left) = left {
                start = start.min(left);
            }
            self.make_slot(kept, left.is_some(), log)?;
        }
        Ok(start)
    }

    /// What the server keeps for our slot, if that can be known.
    fn slot(&mut self, control: &Control, log: &Logger) -> Result<Kept, Trouble> {
        let (Some(slot), Peer::Postgres(version)) = (&self.options.slot, self.options.peer) else {
            return Ok(Kept::Unnamed);
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
            return Ok(Kept::PerhapsFrom(old.restart(&mut self.connection)?));
        }
        Ok(match self.connection.read_slot(slot)? {
            Some(position) => Kept::From(position.restart_lsn),
            None => Kept::Missing,
        })
    }

    /// Makes the slot on a server that was promoted since, or is a clone: it cannot have ours. That a server has it
    /// no more which had it is for a person to judge.
    fn make_slot(&mut self, kept: Kept, is_new: bool, log: &Logger) -> Result<(), Trouble> {
        let Some(slot) = &self.options.slot else {
            return Ok(());
        };
        match kept {
            Kept::Missing if !is_new => {
                return Err(FollowError::SlotMissing { slot: slot.clone() }.into());
            }
            Kept::Missing => {}
            Kept::PerhapsFrom(_) if is_new => {}
            _ => return Ok(()),
        }
        let (reserve, persist) = (WalReservation::Now, Persistence::Persistent);
        match self.connection.create_physical_slot(slot, reserve, persist) {
            Ok(_) => info!(log, "slot created on a server that is new to us"),
            Err(ConnectionError::Server { source, .. })
                if source.code == SqlState::DUPLICATE_OBJECT => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Is our history the beginning of the server's? Returns where the server left our timeline, if
    /// it did: WAL beyond is void, and there is none of it that was ever valid.
    fn check_timeline(&mut self, valid_end: Lsn, start: Lsn) -> Result<Option<Lsn>, Trouble> {
        let (ours, server) = (self.sink.timeline(), self.identity.timeline);
        let known = self.sink.timeline_history();
        let origin = self.options.origin;
        // One that is on our timeline can only have another history of it if we know ours.
        let theirs = match server {
            1 => None,
            _ if server > ours || known.is_some() || origin.is_some() => {
                Some(self.connection.timeline_history(server)?)
            }
            _ => None,
        };
        let theirs = theirs.as_ref();
        if let Some(origin) = origin {
            let left = theirs.and_then(|history| history.end_of(origin.timeline));
            if left != Some(origin.lsn) {
                return Err(FollowError::NotOurClone {
                    server,
                    left,
                    origin,
                }
                .into());
            }
        }
        if server < ours {
            return Err(Trouble::OlderTimeline { server, ours });
        }
        // One that makes no sense is like none.
        let known = known.and_then(|content| TimelineHistory::parse(ours, content).ok());
        let none: &[TimelineFork] = &[];
        let before = known.as_ref().map(|history| &history.forks[..]);
        let kinship = compare(
            Lineage {
                before: before.or((ours == 1).then_some(none)),
                last: TimelineFork {
                    timeline: ours,
                    end: valid_end,
                },
            },
            Lineage {
                before: theirs.map(|history| &history.forks[..]),
                last: TimelineFork {
                    timeline: server,
                    end: self.identity.flushed,
                },
            },
        );
        match kinship {
            Kinship::Continues(None) if self.identity.flushed < start => {
                Err(Trouble::ServerBehind {
                    server: self.identity.flushed,
                    ours: start,
                })
            }
            Kinship::Continues(left) => Ok(left),
            Kinship::Forked { timeline, fork } => Err(forked(timeline, fork, valid_end)),
            Kinship::Unrelated => Err(FollowError::NotInHistory { ours, server }.into()),
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
