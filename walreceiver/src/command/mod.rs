//! The commands of the replication protocol that answer with rows. Streaming and base backup have
//! modules of their own. Follows the grammar in Postgres's repl_gram.y and walsender.c.

mod history;
mod identify;
pub(crate) mod quote;
mod slot;

pub use history::{HistoryError, TimelineFork, TimelineHistory};
pub use identify::SystemIdentity;
pub use slot::{CreatedSlot, Persistence, SlotName, SlotNameError, SlotPosition, WalReservation};

pub(crate) use identify::{lsn, number};
pub(crate) use quote::literal;

use crate::connection::ResultSet;
use crate::error::ProtocolError;

/// One row of a result, by column position.
pub(crate) struct Row<'a> {
    command: &'static str,
    values: &'a [Option<Vec<u8>>],
}

/// The only row of the only result set, with at least `columns` columns (later versions may add
/// some).
pub(crate) fn single_row<'a>(
    command: &'static str,
    sets: &'a [ResultSet],
    columns: usize,
) -> Result<Row<'a>, ProtocolError> {
    match sets {
        [set] if set.rows.len() == 1 && set.columns.len() >= columns => Ok(Row {
            command,
            values: &set.rows[0],
        }),
        _ => Err(ProtocolError::Shape {
            command,
            expected: "one row of the documented columns",
        }),
    }
}

impl<'a> Row<'a> {
    pub(crate) fn new(command: &'static str, values: &'a [Option<Vec<u8>>]) -> Row<'a> {
        Row { command, values }
    }

    /// A value, or none for NULL.
    pub(crate) fn bytes(&self, column: usize) -> Option<&'a [u8]> {
        self.values.get(column)?.as_deref()
    }

    /// A text, or none for NULL.
    pub(crate) fn text(
        &self,
        column: usize,
        field: &'static str,
    ) -> Result<Option<&'a str>, ProtocolError> {
        self.bytes(column)
            .map(|bytes| std::str::from_utf8(bytes).map_err(|_| ProtocolError::NotText { field }))
            .transpose()
    }

    /// A text that is not NULL.
    pub(crate) fn required(
        &self,
        column: usize,
        field: &'static str,
    ) -> Result<&'a str, ProtocolError> {
        self.text(column, field)?.ok_or(ProtocolError::Shape {
            command: self.command,
            expected: "free of NULL where a value is documented",
        })
    }
}
