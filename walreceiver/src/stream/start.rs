//! `START_REPLICATION`, and the row that says which timeline comes next (`StartReplication` of
//! walsender.c).

use std::fmt::Write;

use super::{NextTimeline, StreamOptions};
use crate::command::{lsn, number, quote, single_row};
use crate::connection::{Connection, Receiver, unexpected};
use crate::error::ConnectionError;

pub(super) const START: &str = "START_REPLICATION";

/// What the server did.
#[derive(Debug)]
pub(super) enum Started {
    /// WAL follows.
    Streaming,
    /// There is no WAL from the start position on: the timeline ends exactly there.
    AtEnd(NextTimeline),
}

pub(super) fn start_replication(
    connection: &mut Connection,
    options: &StreamOptions,
) -> Result<Started, ConnectionError> {
    connection.send_query(START, &command(options))?;
    let receiver = connection.receiver();
    receiver.set_deadline(Some(options.silence_timeout));
    let started = match receiver.peek(START)? {
        b'W' => {
            receiver.receive(START)?;
            Started::Streaming
        }
        b'T' => Started::AtEnd(next_timeline(receiver)?),
        tag => return Err(unexpected(tag, START).into()),
    };
    receiver.set_deadline(None);
    Ok(started)
}

/// Asks for WAL, and returns when the first of it, or anything but an error, has come. The connection is then of no
/// more use.
pub(crate) fn can_send(
    connection: &mut Connection,
    options: &StreamOptions,
) -> Result<(), ConnectionError> {
    if let Started::Streaming = start_replication(connection, options)? {
        let receiver = connection.receiver();
        receiver.set_deadline(Some(options.silence_timeout));
        receiver.peek(START)?;
    }
    Ok(())
}

fn command(options: &StreamOptions) -> String {
    let mut text = START.to_owned();
    if let Some(slot) = &options.slot {
        let _ = write!(text, " SLOT {}", quote::identifier(slot.as_str()));
    }
    let _ = write!(text, " PHYSICAL {}", options.start);
    if let Some(timeline) = options.timeline {
        let _ = write!(text, " TIMELINE {timeline}");
    }
    text
}

/// What follows the end of a timeline's copy, up to `ReadyForQuery`.
pub(super) fn next_timeline(receiver: &mut Receiver) -> Result<NextTimeline, ConnectionError> {
    let sets = receiver.read_results(START)?;
    let row = single_row(START, &sets, 2)?;
    Ok(NextTimeline {
        timeline: number(row.required(0, "next_tli")?, "next_tli")?,
        at: lsn(row.required(1, "next_tli_startpos")?, "next_tli_startpos")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use walrecord::Lsn;

    #[test]
    fn the_command_names_what_was_given() {
        let mut options = StreamOptions::new(Lsn::new(0x3000000));
        assert_eq!(command(&options), "START_REPLICATION PHYSICAL 0/3000000");
        options.slot = Some("page_server".parse().unwrap());
        options.timeline = Some(2);
        assert_eq!(
            command(&options),
            "START_REPLICATION SLOT \"page_server\" PHYSICAL 0/3000000 TIMELINE 2"
        );
    }
}
