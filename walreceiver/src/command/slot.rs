//! Physical replication slots: create, look at, drop.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use walrecord::{Lsn, PgTimelineId};

use super::identify::{lsn, number};
use super::quote::{identifier, literal};
use super::single_row;
use crate::connection::Connection;
use crate::error::{ConnectionError, ProtocolError};

/// The name of a replication slot: 1 to 63 lower-case letters, digits and underscores
/// (`ReplicationSlotValidateName` of Postgres's slot.c).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SlotName(String);

/// A text that cannot name a slot.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no name for a replication slot; use 1 to 63 lower-case letters, digits and underscores"
)]
pub struct SlotNameError(String);

impl SlotName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SlotName {
    type Err = SlotNameError;

    fn from_str(text: &str) -> Result<SlotName, SlotNameError> {
        /// `NAMEDATALEN` with the zero byte.
        const MAX: usize = 63;
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if (1..=MAX).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(SlotName(text.to_owned()))
        } else {
            Err(SlotNameError(text.to_owned()))
        }
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Whether a slot outlives the connection that creates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// It stays until it is dropped.
    Persistent,
    /// It goes with the connection.
    Temporary,
}

/// Whether a new slot holds WAL back from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalReservation {
    /// At once, from the last checkpoint's redo point (`RESERVE_WAL`).
    Now,
    /// When streaming first uses it.
    OnFirstUse,
}

/// What `CREATE_REPLICATION_SLOT` reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatedSlot {
    /// Zero for a physical slot, whether or not WAL is reserved.
    pub consistent_point: Lsn,
}

/// A physical slot, as `READ_REPLICATION_SLOT` describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotPosition {
    /// WAL is kept from here; none if nothing is reserved, or the slot was invalidated.
    pub restart_lsn: Option<Lsn>,
    /// The timeline of that position.
    pub restart_timeline: Option<PgTimelineId>,
}

impl Connection {
    /// `CREATE_REPLICATION_SLOT ... PHYSICAL`, in the keyword form that 14 to 18 all understand.
    ///
    /// # Errors
    /// As the server or the connection fails; `42710` if the slot exists, `53400` if
    /// `max_replication_slots` are in use.
    pub fn create_physical_slot(
        &mut self,
        name: &SlotName,
        reservation: WalReservation,
        persistence: Persistence,
    ) -> Result<CreatedSlot, ConnectionError> {
        const COMMAND: &str = "CREATE_REPLICATION_SLOT";
        let temporary = match persistence {
            Persistence::Persistent => "",
            Persistence::Temporary => " TEMPORARY",
        };
        let reserve = match reservation {
            WalReservation::Now => " RESERVE_WAL",
            WalReservation::OnFirstUse => "",
        };
        let text = format!(
            "{COMMAND} {}{temporary} PHYSICAL{reserve}",
            identifier(name.as_str())
        );
        let sets = self.query(COMMAND, &text)?;
        let row = single_row(COMMAND, &sets, 4)?;
        Ok(CreatedSlot {
            consistent_point: lsn(row.required(1, "consistent_point")?, "consistent_point")?,
        })
    }

    /// `DROP_REPLICATION_SLOT`. Fails at once if the slot is in use.
    ///
    /// # Errors
    /// As the server or the connection fails; `42704` if there is none.
    pub fn drop_slot(&mut self, name: &SlotName) -> Result<(), ConnectionError> {
        const COMMAND: &str = "DROP_REPLICATION_SLOT";
        self.query(COMMAND, &format!("{COMMAND} {}", identifier(name.as_str())))?;
        Ok(())
    }

    /// A slot's `restart_lsn`, asked with SQL; none if there is no such slot. Needs a connection to a database.
    pub(crate) fn select_slot(
        &mut self,
        name: &SlotName,
    ) -> Result<Option<Option<Lsn>>, ConnectionError> {
        const COMMAND: &str = "SELECT";
        let name = literal(name.as_str());
        let text = format!(
            "SELECT restart_lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = {name}"
        );
        let sets = self.query(COMMAND, &text)?;
        if sets.iter().all(|set| set.rows.is_empty()) {
            return Ok(None);
        }
        let row = single_row(COMMAND, &sets, 1)?;
        let restart_lsn = row.text(0, "restart_lsn")?;
        let restart_lsn = restart_lsn.map(|text| lsn(text, "restart_lsn"));
        Ok(Some(restart_lsn.transpose()?))
    }

    /// `READ_REPLICATION_SLOT` (15 and newer): none if there is no such slot.
    ///
    /// # Errors
    /// As the server or the connection fails; `0A000` from version 14, `55000` for a logical slot.
    pub fn read_slot(&mut self, name: &SlotName) -> Result<Option<SlotPosition>, ConnectionError> {
        const COMMAND: &str = "READ_REPLICATION_SLOT";
        let sets = self.query(COMMAND, &format!("{COMMAND} {}", identifier(name.as_str())))?;
        let row = single_row(COMMAND, &sets, 3)?;
        match row.text(0, "slot_type")? {
            None => return Ok(None),
            Some("physical") => {}
            Some(other) => {
                return Err(ProtocolError::BadValue {
                    field: "slot_type",
                    value: other.chars().take(40).collect(),
                    expected: "physical",
                }
                .into());
            }
        }
        let restart_lsn = row.text(1, "restart_lsn")?;
        let restart_timeline = row.text(2, "restart_tli")?;
        Ok(Some(SlotPosition {
            restart_lsn: restart_lsn
                .map(|text| lsn(text, "restart_lsn"))
                .transpose()?,
            restart_timeline: restart_timeline
                .map(|text| number(text, "restart_tli"))
                .transpose()?,
        }))
    }
}
