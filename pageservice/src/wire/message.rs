//! The messages of the Postgres protocol that the service exchanges around a page stream
//! (protocol 3.0; libpq/pqcomm.h and libpq/protocol.h).

use super::frame::message;

/// `ErrorResponse` codes that the service uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SqlState {
    ProtocolViolation,
    TooManyConnections,
    FeatureNotSupported,
    AdminShutdown,
    /// Whatever else: commands that are not understood, timelines that are not found.
    Other,
}

impl SqlState {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            SqlState::ProtocolViolation => "08P01",
            SqlState::TooManyConnections => "53300",
            SqlState::FeatureNotSupported => "0A000",
            SqlState::AdminShutdown => "57P01",
            SqlState::Other => "XX000",
        }
    }
}

/// What a client may open a connection with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StartupPacket {
    /// `SSLRequest` or `GSSENCRequest`: one byte is due in answer.
    Encryption,
    /// `CancelRequest`.
    Cancel,
    /// `StartupMessage` of major version 3.
    Startup(Startup),
}

/// What of a `StartupMessage` matters here. Its parameters are not used yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Startup {
    pub(crate) minor: u16,
    /// Protocol extensions that the client asks for (`_pq_.*`); none is known.
    pub(crate) extensions: Vec<String>,
    /// Shown in log lines.
    pub(crate) application_name: Option<String>,
}

/// A startup packet or message body that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("protocol {major}.{minor} is not supported; this server speaks 3.0")]
    Version { major: u16, minor: u16 },
    #[error(
        "the parameters of the startup packet are not pairs of texts that end with a zero byte"
    )]
    StartupParameters,
    #[error("{0} without the zero byte that ends a text")]
    Unterminated(&'static str),
    #[error("{0} with a text that is not UTF-8")]
    NotUtf8(&'static str),
}

const ENCRYPTION_MAJOR: u16 = 1234;
const CANCEL: u16 = 5678;
const SSL: u16 = 5679;
const GSSENC: u16 = 5680;

impl StartupPacket {
    /// Reads a startup packet, its length left out.
    pub(crate) fn decode(bytes: &[u8]) -> Result<StartupPacket, MessageError> {
        let [m0, m1, n0, n1, parameters @ ..] = bytes else {
            return Err(MessageError::StartupParameters);
        };
        let major = u16::from_be_bytes([*m0, *m1]);
        let minor = u16::from_be_bytes([*n0, *n1]);
        match (major, minor) {
            (ENCRYPTION_MAJOR, SSL | GSSENC) => Ok(StartupPacket::Encryption),
            (ENCRYPTION_MAJOR, CANCEL) => Ok(StartupPacket::Cancel),
            (3, minor) => Startup::decode(minor, parameters).map(StartupPacket::Startup),
            (major, minor) => Err(MessageError::Version { major, minor }),
        }
    }
}

impl Startup {
    fn decode(minor: u16, bytes: &[u8]) -> Result<Startup, MessageError> {
        let mut startup = Startup {
            minor,
            extensions: Vec::new(),
            application_name: None,
        };
        // "name\0value\0...\0": the last byte ends the list, the one before it the last value.
        let [list @ .., 0] = bytes else {
            return Err(MessageError::StartupParameters);
        };
        if list.is_empty() {
            return Ok(startup);
        }
        let [list @ .., 0] = list else {
            return Err(MessageError::StartupParameters);
        };
        let mut texts = list.split(|byte| *byte == 0);
        while let Some(name) = texts.next() {
            let value = texts.next().ok_or(MessageError::StartupParameters)?;
            if name.starts_with(b"_pq_.") {
                startup.extensions.push(lossy(name));
            } else if name == b"application_name" {
                startup.application_name = Some(lossy(value));
            }
        }
        Ok(startup)
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The text of a `Query`.
pub(crate) fn query_text(body: &[u8]) -> Result<&str, MessageError> {
    let (text, _) = text(body, "a Query")?;
    Ok(text)
}

/// The text of a `Parse`, its name and its parameter types left out.
pub(crate) fn parse_text(body: &[u8]) -> Result<&str, MessageError> {
    let (_, rest) = text(body, "a Parse")?;
    let (text, _) = text(rest, "a Parse")?;
    Ok(text)
}

fn text<'a>(bytes: &'a [u8], what: &'static str) -> Result<(&'a str, &'a [u8]), MessageError> {
    let end = bytes.iter().position(|byte| *byte == 0);
    let end = end.ok_or(MessageError::Unterminated(what))?;
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| MessageError::NotUtf8(what))?;
    Ok((text, &bytes[end + 1..]))
}

/// How bad an `ErrorResponse` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The command failed; the connection goes on.
    Error,
    /// The connection ends.
    Fatal,
}

/// What the server says, apart from CopyData.
pub(crate) enum Backend<'a> {
    AuthenticationOk,
    ParameterStatus(&'static str, &'a str),
    NegotiateProtocolVersion(&'a [String]),
    ReadyForQuery,
    Error(Severity, SqlState, &'a str),
    CommandComplete(&'static str),
    EmptyQuery,
    CopyBoth,
    /// One column of text, with its name.
    RowDescription(&'static str),
    /// Its value.
    DataRow(Option<&'a str>),
    ParseComplete,
    BindComplete,
    CloseComplete,
    NoParameters,
    NoData,
}

impl Backend<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let cstr = |out: &mut Vec<u8>, text: &str| {
            out.extend(text.bytes().filter(|byte| *byte != 0));
            out.push(0);
        };
        match *self {
            Backend::AuthenticationOk => message(out, b'R', |out| out.extend_from_slice(&[0; 4])),
            Backend::ParameterStatus(name, value) => message(out, b'S', |out| {
                cstr(out, name);
                cstr(out, value);
            }),
            // The newest minor version is 0; then the extensions that are not known.
            Backend::NegotiateProtocolVersion(extensions) => message(out, b'v', |out| {
                out.extend_from_slice(&[0; 4]);
                out.extend_from_slice(&(extensions.len() as u32).to_be_bytes());
                extensions.iter().for_each(|name| cstr(out, name));
            }),
            // Idle: there are no transactions.
            Backend::ReadyForQuery => message(out, b'Z', |out| out.push(b'I')),
            Backend::Error(severity, state, text) => message(out, b'E', |out| {
                out.push(b'S');
                cstr(out, severity.name());
                out.push(b'C');
                cstr(out, state.code());
                out.push(b'M');
                cstr(out, text);
                out.push(0);
            }),
            Backend::CommandComplete(tag) => message(out, b'C', |out| cstr(out, tag)),
            Backend::EmptyQuery => message(out, b'I', |_| ()),
            // Text format, no columns.
            Backend::CopyBoth => message(out, b'W', |out| out.extend_from_slice(&[0; 3])),
            Backend::RowDescription(name) => message(out, b'T', |out| {
                out.extend_from_slice(&1_u16.to_be_bytes());
                cstr(out, name);
                // Of no table; a text (type 25) of any length, without modifier, in text format.
                out.extend_from_slice(&[0; 6]);
                out.extend_from_slice(&25_u32.to_be_bytes());
                out.extend_from_slice(&(-1_i16).to_be_bytes());
                out.extend_from_slice(&(-1_i32).to_be_bytes());
                out.extend_from_slice(&[0; 2]);
            }),
            Backend::DataRow(value) => message(out, b'D', |out| {
                out.extend_from_slice(&1_u16.to_be_bytes());
                let length = value.map_or(-1, |value| value.len() as i32);
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(value.unwrap_or("").as_bytes());
            }),
            Backend::ParseComplete => message(out, b'1', |_| ()),
            Backend::BindComplete => message(out, b'2', |_| ()),
            Backend::CloseComplete => message(out, b'3', |_| ()),
            Backend::NoParameters => message(out, b't', |out| out.extend_from_slice(&[0; 2])),
            Backend::NoData => message(out, b'n', |_| ()),
        }
    }
}

impl Severity {
    const fn name(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        }
    }
}
