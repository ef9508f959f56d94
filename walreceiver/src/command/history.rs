//! `TIMELINE_HISTORY`, and what a history file says: where each earlier timeline ended.

use std::str::FromStr;

use thiserror::Error;
use walrecord::{Lsn, PgTimelineId};

use super::single_row;
use crate::connection::Connection;
use crate::error::{ConnectionError, ProtocolError};

/// The history of one timeline, as the file that Postgres keeps (`readTimeLineHistory` of
/// timeline.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineHistory {
    /// The timeline that the file is about.
    pub timeline: PgTimelineId,
    /// The file's bytes, to be kept unchanged.
    pub content: Vec<u8>,
    /// Its ancestors, oldest first.
    pub forks: Vec<TimelineFork>,
}

/// Where an ancestor was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelineFork {
    /// The ancestor.
    pub timeline: PgTimelineId,
    /// Its WAL counts below this position only.
    pub end: Lsn,
}

/// A history file that does not make sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HistoryError {
    /// A line that is not "timeline, switch point, reason".
    #[error("line {line} of the timeline history is not \"timeline <tab> switch point\"")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// Ancestors must have ascending numbers, below the timeline's own, and ascending ends.
    #[error("line {line} of the timeline history is out of order")]
    Order {
        /// Counted from 1.
        line: usize,
    },
}

impl TimelineHistory {
    /// The name of the history file of `timeline`.
    pub fn file_name(timeline: PgTimelineId) -> String {
        format!("{timeline:08X}.history")
    }

    /// Reads the content of a history file. Empty lines and comments do not count; neither does
    /// what follows the switch point.
    ///
    /// # Errors
    /// The first line that is malformed or out of order.
    pub fn parse(
        timeline: PgTimelineId,
        content: Vec<u8>,
    ) -> Result<TimelineHistory, HistoryError> {
        let mut forks: Vec<TimelineFork> = Vec::new();
        for (index, line) in content.split(|b| *b == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let number = index + 1;
            let fork = parse_line(line).ok_or(HistoryError::Line { line: number })?;
            let ascends = forks
                .last()
                .is_none_or(|last| last.timeline < fork.timeline && last.end <= fork.end);
            if !ascends || fork.timeline >= timeline {
                return Err(HistoryError::Order { line: number });
            }
            forks.push(fork);
        }
        Ok(TimelineHistory {
            timeline,
            content,
            forks,
        })
    }

    /// Where `ancestor` was left; none if it is not part of this history.
    pub fn end_of(&self, ancestor: PgTimelineId) -> Option<Lsn> {
        let fork = self.forks.iter().find(|fork| fork.timeline == ancestor);
        fork.map(|fork| fork.end)
    }
}

fn parse_line(line: &[u8]) -> Option<TimelineFork> {
    let mut fields = line
        .split(u8::is_ascii_whitespace)
        .filter(|field| !field.is_empty())
        .map(std::str::from_utf8);
    Some(TimelineFork {
        timeline: PgTimelineId::from_str(fields.next()?.ok()?).ok()?,
        end: Lsn::from_str(fields.next()?.ok()?).ok()?,
    })
}

impl Connection {
    /// `TIMELINE_HISTORY`: the history of a timeline above 1.
    ///
    /// # Errors
    /// As the server (`58P01` if it has no such file) or the connection fails.
    pub fn timeline_history(
        &mut self,
        timeline: PgTimelineId,
    ) -> Result<TimelineHistory, ConnectionError> {
        const COMMAND: &str = "TIMELINE_HISTORY";
        let sets = self.query(COMMAND, &format!("{COMMAND} {timeline}"))?;
        let row = single_row(COMMAND, &sets, 2)?;
        let content = row.bytes(1).unwrap_or_default().to_vec();
        TimelineHistory::parse(timeline, content).map_err(|error| {
            ProtocolError::BadValue {
                field: "the timeline history",
                value: error.to_string(),
                expected: "a list of ancestors",
            }
            .into()
        })
    }
}
