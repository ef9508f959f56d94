//! The errors of an open connection, grouped by what the reader does next: the server said no, the
//! peer broke the protocol, or the transport failed. Serves every module of this crate.

use std::fmt;
use std::io;
use std::time::Duration;

use thiserror::Error;
use walrecord::Lsn;

/// The five characters by which Postgres classifies an error (`errcodes.txt`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// Not an error. A safekeeper ends an idle stream with it.
    pub const SUCCESSFUL_COMPLETION: SqlState = SqlState(*b"00000");
    /// The replication slot is in use by another connection.
    pub const OBJECT_IN_USE: SqlState = SqlState(*b"55006");
    /// An invalidated slot, a slot of the wrong kind, a setting that forbids the command.
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: SqlState = SqlState(*b"55000");
    /// The slot does not exist.
    pub const UNDEFINED_OBJECT: SqlState = SqlState(*b"42704");
    /// A slot of that name exists already.
    pub const DUPLICATE_OBJECT: SqlState = SqlState(*b"42710");
    /// A requested WAL segment or history file is gone.
    pub const UNDEFINED_FILE: SqlState = SqlState(*b"58P01");
    /// No free connection or WAL sender.
    pub const TOO_MANY_CONNECTIONS: SqlState = SqlState(*b"53300");
    /// All replication slots are in use.
    pub const CONFIGURATION_LIMIT_EXCEEDED: SqlState = SqlState(*b"53400");
    /// The server is starting up, shutting down or recovering.
    pub const CANNOT_CONNECT_NOW: SqlState = SqlState(*b"57P03");
    /// The role lacks a privilege, such as REPLICATION.
    pub const INSUFFICIENT_PRIVILEGE: SqlState = SqlState(*b"42501");
    /// No matching `pg_hba.conf` entry, or an unknown role.
    pub const INVALID_AUTHORIZATION: SqlState = SqlState(*b"28000");
    /// Wrong password.
    pub const INVALID_PASSWORD: SqlState = SqlState(*b"28P01");
    /// The command is not understood.
    pub const SYNTAX_ERROR: SqlState = SqlState(*b"42601");
    /// What a message without a readable code gets.
    pub const INTERNAL_ERROR: SqlState = SqlState(*b"XX000");

    /// The code with this text; anything but five ASCII characters becomes `XX000`.
    pub fn from_text(text: &str) -> SqlState {
        match <[u8; 5]>::try_from(text.as_bytes()) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_alphanumeric) => SqlState(bytes),
            _ => SqlState::INTERNAL_ERROR,
        }
    }

    /// The five characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("five ASCII characters by construction")
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the server said in an `ErrorResponse` (or, for the log, a `NoticeResponse`).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ServerError {
    /// `ERROR`, `FATAL`, `PANIC`, `NOTICE`, ...; never localised when the server is 9.6 or newer.
    pub severity: String,
    /// The SQLSTATE.
    pub code: SqlState,
    /// The primary message, in the server's language.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What the server suggests.
    pub hint: Option<String>,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.severity, self.code, self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, " ({detail})")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

/// The type byte of a protocol message, printed as the protocol's documentation writes it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tag(
    /// The byte.
    pub u8,
);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.escape_ascii())
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The peer sent something that the replication protocol does not allow here. The connection is
/// useless afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// A message that does not belong here.
    #[error("message {tag} is not expected during {during}")]
    UnexpectedMessage {
        /// Its type.
        tag: Tag,
        /// What was going on.
        during: &'static str,
    },
    /// A length below the four bytes it counts itself, or above the ceiling.
    #[error("message {tag} claims {length} bytes; 4 to {ceiling} are allowed")]
    Length {
        /// The message's type.
        tag: Tag,
        /// The length it claims, in bytes.
        length: u32,
        /// The most that is accepted.
        ceiling: u32,
    },
    /// A message that ends inside a field.
    #[error("message {message} ends inside {field}")]
    Truncated {
        /// The message's type.
        message: Tag,
        /// The field.
        field: &'static str,
    },
    /// A text that is not UTF-8.
    #[error("{field} is not text")]
    NotText {
        /// The field.
        field: &'static str,
    },
    /// A field whose value makes no sense.
    #[error("{field} is {value:?}, not {expected}")]
    BadValue {
        /// The field.
        field: &'static str,
        /// What came, shortened.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A command's result that has another shape than documented.
    #[error("the result of {command} is not {expected}")]
    Shape {
        /// The command's name.
        command: &'static str,
        /// The documented shape.
        expected: &'static str,
    },
    /// More rows than any command of the replication protocol returns.
    #[error("the result of {command} exceeds {ceiling} bytes")]
    ResultTooLarge {
        /// The command's name.
        command: &'static str,
        /// The most that is accepted, in bytes.
        ceiling: usize,
    },
    /// A WAL message longer than a WAL sender ever sends.
    #[error("a WAL message at {lsn} carries {length} bytes; at most {ceiling} are allowed")]
    WalTooLong {
        /// Its start.
        lsn: Lsn,
        /// Bytes of WAL.
        length: usize,
        /// The most that is accepted.
        ceiling: usize,
    },
    /// WAL that does not continue where the last message ended.
    #[error("WAL continues at {found} instead of {expected}")]
    Gap {
        /// The end of what came before.
        expected: Lsn,
        /// The start that the message claims.
        found: Lsn,
    },
}

/// Why an open connection can no longer be used, or a command on it failed.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// The server reported an error.
    #[error("{command}: {source}")]
    Server {
        /// What was asked of it.
        command: &'static str,
        /// What it answered.
        source: Box<ServerError>,
    },
    /// The peer broke the protocol.
    #[error("protocol violation: {0}")]
    Protocol(#[from] ProtocolError),
    /// The peer closed the connection.
    #[error("the server closed the connection during {during}")]
    Closed {
        /// What was going on.
        during: &'static str,
    },
    /// Nothing came for too long.
    #[error("no answer from the server for {waited:?} during {during}")]
    TimedOut {
        /// What was going on.
        during: &'static str,
        /// How long was waited.
        waited: Duration,
    },
    /// Reading from or writing to the socket failed.
    #[error("connection lost during {during}: {source}")]
    Io {
        /// What was going on.
        during: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl ConnectionError {
    /// The server's own words, if it was the server that refused.
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            ConnectionError::Server { source, .. } => Some(source),
            _ => None,
        }
    }

    /// The server's SQLSTATE, if it was the server that refused.
    pub fn code(&self) -> Option<SqlState> {
        self.server().map(|error| error.code)
    }
}
