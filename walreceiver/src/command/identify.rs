//! `IDENTIFY_SYSTEM` and `SHOW`.

use std::str::FromStr;

use walrecord::{Lsn, PgTimelineId};

use super::{quote, single_row};
use crate::connection::Connection;
use crate::error::{ConnectionError, ProtocolError};

/// Who a server is, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemIdentity {
    /// The number that `initdb` drew for the cluster; copies of it share it.
    pub system_identifier: u64,
    /// The timeline it is on: that of its own writes, or of what a standby replays.
    pub timeline: PgTimelineId,
    /// Its WAL is durable (on a standby: received and replayable) up to here.
    pub flushed: Lsn,
}

impl Connection {
    /// `IDENTIFY_SYSTEM`.
    ///
    /// # Errors
    /// As the server or the connection fails.
    pub fn identify_system(&mut self) -> Result<SystemIdentity, ConnectionError> {
        const COMMAND: &str = "IDENTIFY_SYSTEM";
        let sets = self.query(COMMAND, COMMAND)?;
        let row = single_row(COMMAND, &sets, 3)?;
        Ok(SystemIdentity {
            system_identifier: number(row.required(0, "systemid")?, "systemid")?,
            timeline: number(row.required(1, "timeline")?, "timeline")?,
            flushed: lsn(row.required(2, "xlogpos")?, "xlogpos")?,
        })
    }

    /// `SHOW name`: a server setting as text, with its unit.
    ///
    /// # Errors
    /// As the server (no such setting, or it is hidden from the role) or the connection fails.
    pub fn show(&mut self, name: &str) -> Result<String, ConnectionError> {
        const COMMAND: &str = "SHOW";
        let text = format!("SHOW {}", quote::identifier(name));
        let sets = self.query(COMMAND, &text)?;
        let row = single_row(COMMAND, &sets, 1)?;
        Ok(row.required(0, "setting")?.to_owned())
    }
}

/// A decimal number of the type asked for.
pub(crate) fn number<T: FromStr>(text: &str, field: &'static str) -> Result<T, ProtocolError> {
    text.parse().map_err(|_| ProtocolError::BadValue {
        field,
        value: text.chars().take(40).collect(),
        expected: "a number in range",
    })
}

pub(crate) fn lsn(text: &str, field: &'static str) -> Result<Lsn, ProtocolError> {
    text.parse().map_err(|_| ProtocolError::BadValue {
        field,
        value: text.chars().take(40).collect(),
        expected: "an LSN",
    })
}
