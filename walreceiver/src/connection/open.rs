//! Opening a connection: which address, encrypted or not, and the start-up packet. Follows
//! `PQconnectPoll` of libpq's fe-connect.c.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::ClientConnection;
use slog::{Logger, warn};

use super::authentication::{self, Credentials};
use super::error::{ConnectError, ConnectFailure};
use super::socket::Socket;
use super::{Connection, Interrupt, certificate, tls, transport, unexpected};
use crate::conninfo::{ConnInfo, DEFAULT_SOCKET_DIRECTORIES, Host, SslMode, Target};
use crate::error::{ConnectionError, ProtocolError, SqlState};

const START_UP: &str = "start-up";

/// Whether to ask for TLS on one attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Encryption {
    Never,
    IfOffered,
    Always,
}

#[derive(Debug)]
enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Tells whoever may want to stop us about each socket as soon as it exists.
pub(crate) type OnSocket<'a> = &'a mut dyn FnMut(Interrupt);

impl Connection {
    /// Connects to the first server of `info` that answers, as a physical replication client.
    ///
    /// Each address gets `connect_timeout`. A server that answers but refuses ends the search, as
    /// in libpq, unless it is merely starting up. Notices of the server go to `log`.
    ///
    /// # Errors
    /// Which server was tried last, and why it did not work.
    pub fn connect(info: &ConnInfo, log: &Logger) -> Result<Connection, ConnectError> {
        Connection::connect_guarded(info, log, &mut |_| {})
    }

    /// As [`Connection::connect`]; `on_socket` gets a handle that aborts the attempt.
    pub(crate) fn connect_guarded(
        info: &ConnInfo,
        log: &Logger,
        on_socket: OnSocket<'_>,
    ) -> Result<Connection, ConnectError> {
        Connection::open(info, Login::Physical, log, on_socket)
    }

    /// The same to the database `postgres`, where SQL works too.
    pub(crate) fn connect_to_database(
        info: &ConnInfo,
        log: &Logger,
        on_socket: OnSocket<'_>,
    ) -> Result<Connection, ConnectError> {
        Connection::open(info, Login::Database, log, on_socket)
    }

    fn open(
        info: &ConnInfo,
        login: Login,
        log: &Logger,
        on_socket: OnSocket<'_>,
    ) -> Result<Connection, ConnectError> {
        let mut last = None;
        for target in &info.targets {
            let mut attempt = Attempt {
                info,
                login,
                target,
                log,
                on_socket: &mut *on_socket,
            };
            let failure = match attempt.any_address() {
                Ok(connection) => return Ok(connection),
                Err(failure) => failure,
            };
            let next_host = another_host_may_do(&failure);
            last = Some(ConnectError {
                target: target.to_string(),
                source: failure,
            });
            if !next_host {
                break;
            }
        }
        Err(last.expect("a connection string names at least one server"))
    }
}

/// As what a replication client logs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Login {
    Physical,
    Database,
}

struct Attempt<'a> {
    info: &'a ConnInfo,
    login: Login,
    target: &'a Target,
    log: &'a Logger,
    on_socket: OnSocket<'a>,
}

impl Attempt<'_> {
    fn any_address(&mut self) -> Result<Connection, ConnectFailure> {
        let mut last = None;
        for address in resolve(self.target)? {
            match self.any_encryption(&address) {
                Err(ConnectFailure::Reach(error)) => last = Some(ConnectFailure::Reach(error)),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| {
            ConnectFailure::Resolve(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ))
        }))
    }

    /// `allow` and `prefer` have a second choice.
    fn any_encryption(&mut self, address: &Address) -> Result<Connection, ConnectFailure> {
        let (first, second) = match (address, self.info.tls.mode) {
            (Address::Unix(_), _) | (_, SslMode::Disable) => (Encryption::Never, None),
            (_, SslMode::Allow) => (Encryption::Never, Some(Encryption::Always)),
            (_, SslMode::Prefer) => (Encryption::IfOffered, Some(Encryption::Never)),
            _ => (Encryption::Always, None),
        };
        let failure = match self.once(address, first) {
            Ok(connection) => return Ok(connection),
            Err(failure) => failure,
        };
        match second {
            Some(second) if failure.plain_or_encrypted_matters(first) => self
                .once(address, second)
                .map_err(|other| more_telling(failure.cause, other.cause)),
            _ => Err(failure.cause),
        }
    }

    fn once(&mut self, address: &Address, encryption: Encryption) -> Result<Connection, Failed> {
        let unencrypted = |cause| Failed {
            cause,
            encrypted: false,
        };
        let deadline = self.info.connect_timeout.map(|t| Instant::now() + t);
        let socket = match address {
            Address::Tcp(address) => Socket::tcp(*address, &self.info.keepalive, deadline),
            Address::Unix(path) => Socket::unix(path, deadline),
        };
        let mut socket = socket.map_err(|e| unencrypted(ConnectFailure::Reach(e)))?;
        let interrupt = socket
            .try_clone()
            .and_then(|clone| {
                // A write may not outlast the attempt either.
                socket.set_write_timeout(self.info.connect_timeout)?;
                Ok(Interrupt(clone))
            })
            .map_err(|e| unencrypted(ConnectFailure::Reach(e)))?;
        (self.on_socket)(interrupt);

        let offered = encryption != Encryption::Never
            && ask_for_tls(&mut socket, encryption).map_err(unencrypted)?;
        let failed = |cause| Failed {
            cause,
            encrypted: offered,
        };
        let host = self.target.host.tls_name();
        let session = offered
            .then(|| -> Result<ClientConnection, ConnectFailure> {
                let mut session = tls::session(&self.info.tls, host.as_deref())?;
                handshake(&mut session, &mut socket)?;
                Ok(session)
            })
            .transpose()
            .map_err(failed)?;
        self.start(socket, session).map_err(failed)
    }

    /// From an open channel to `ReadyForQuery`.
    fn start(
        &self,
        socket: Socket,
        session: Option<ClientConnection>,
    ) -> Result<Connection, ConnectFailure> {
        let (password, ignored) = self.info.password_for(self.target);
        if let Some(ignored) = ignored {
            warn!(self.log, "a password file does not count"; "reason" => %ignored);
        }
        let certificate = session.as_ref().and_then(|s| s.peer_certificates());
        let credentials = Credentials {
            user: &self.info.user,
            password,
            channel_binding: self.info.channel_binding,
            end_point: certificate
                .and_then(<[_]>::first)
                .and_then(|c| certificate::end_point_binding(c)),
            encrypted: session.is_some(),
        };
        let halves = match session {
            None => transport::plain(socket),
            Some(session) => transport::encrypted(socket, session),
        };
        let (reader, writer) = halves.map_err(io_error)?;
        let target = self.target.to_string();
        let mut connection = Connection::new(reader, writer, target, self.log.clone());
        connection.receiver.timeout = self.info.connect_timeout.unwrap_or_default();
        connection.send(START_UP, &start_up_packet(self.info, self.login)?)?;
        authentication::log_in(&mut connection, &credentials)?;
        wait_until_ready(&mut connection)?;
        connection.receiver.set_deadline(None);
        connection.writer.set_timeout(None).map_err(io_error)?;
        Ok(connection)
    }
}

/// A failed attempt, and whether it got as far as an encrypted channel.
struct Failed {
    cause: ConnectFailure,
    encrypted: bool,
}

impl Failed {
    /// Whether the other kind of channel is worth a try. Falling back from TLS on anything else
    /// would give an attacker a lever that libpq does not give either.
    fn plain_or_encrypted_matters(&self, tried: Encryption) -> bool {
        match (&self.cause, tried) {
            (ConnectFailure::Refused(error), Encryption::Never) => {
                error.code != SqlState::CANNOT_CONNECT_NOW
            }
            (ConnectFailure::Refused(error), _) => {
                self.encrypted && error.code != SqlState::CANNOT_CONNECT_NOW
            }
            (ConnectFailure::TlsHandshake(_) | ConnectFailure::TlsSettings(_), _) => true,
            _ => false,
        }
    }
}

/// "No pg_hba.conf entry" says least: the other attempt met the entry that was meant.
fn more_telling(first: ConnectFailure, second: ConnectFailure) -> ConnectFailure {
    let no_entry = |failure: &ConnectFailure| match failure {
        ConnectFailure::Refused(error) => error.code == SqlState::INVALID_AUTHORIZATION,
        _ => false,
    };
    if no_entry(&second) && !no_entry(&first) {
        first
    } else {
        second
    }
}

fn another_host_may_do(failure: &ConnectFailure) -> bool {
    match failure {
        ConnectFailure::Resolve(_) | ConnectFailure::Reach(_) => true,
        ConnectFailure::Refused(error) => error.code == SqlState::CANNOT_CONNECT_NOW,
        ConnectFailure::Connection(error) => {
            matches!(error, ConnectionError::TimedOut { .. })
        }
        _ => false,
    }
}

fn resolve(target: &Target) -> Result<Vec<Address>, ConnectFailure> {
    let socket = |directory: &Path| directory.join(format!(".s.PGSQL.{}", target.port));
    Ok(match &target.host {
        Host::Address { address, .. } => vec![Address::Tcp((*address, target.port).into())],
        Host::SocketDirectory(directory) => vec![Address::Unix(socket(directory))],
        Host::DefaultSocket => {
            let paths = DEFAULT_SOCKET_DIRECTORIES.map(|d| socket(Path::new(d)));
            let existing: Vec<PathBuf> = paths.iter().filter(|p| p.exists()).cloned().collect();
            let chosen = if existing.is_empty() {
                paths.to_vec()
            } else {
                existing
            };
            chosen.into_iter().map(Address::Unix).collect()
        }
        Host::Name(name) => (name.as_str(), target.port)
            .to_socket_addrs()
            .map_err(ConnectFailure::Resolve)?
            .map(Address::Tcp)
            .collect(),
    })
}

impl Host {
    /// The name that a certificate must bear.
    fn tls_name(&self) -> Option<String> {
        match self {
            Host::Name(name)
            | Host::Address {
                name: Some(name), ..
            } => Some(name.clone()),
            Host::Address { address, .. } => Some(address.to_string()),
            Host::SocketDirectory(_) | Host::DefaultSocket => None,
        }
    }
}

/// `SSLRequest`: whether the server is willing. Exactly one byte is read, so nothing that somebody
/// slipped in before the handshake can pass for encrypted data.
fn ask_for_tls(socket: &mut Socket, encryption: Encryption) -> Result<bool, ConnectFailure> {
    let mut buffer = BytesMut::new();
    frontend::ssl_request(&mut buffer);
    socket.write_all(&buffer).map_err(io_error)?;
    let mut answer = [0];
    let count = socket.read(&mut answer).map_err(io_error)?;
    if count == 0 {
        return Err(ConnectionError::Closed { during: START_UP }.into());
    }
    match (answer[0], encryption) {
        (b'S', _) => Ok(true),
        (b'N', Encryption::Always) => Err(ConnectFailure::TlsRefused),
        (b'N', _) => Ok(false),
        (other, _) => Err(ProtocolError::BadValue {
            field: "the answer to SSLRequest",
            value: other.escape_ascii().to_string(),
            expected: "S or N",
        }
        .into()),
    }
}

fn handshake(session: &mut ClientConnection, socket: &mut Socket) -> Result<(), ConnectFailure> {
    while session.is_handshaking() {
        session
            .complete_io(socket)
            .map_err(ConnectFailure::TlsHandshake)?;
    }
    Ok(())
}

fn start_up_packet(info: &ConnInfo, login: Login) -> Result<BytesMut, ConnectFailure> {
    let (database, replication) = match login {
        // Ignored for physical replication, but a proxy may look at it.
        Login::Physical => ("replication", "true"),
        Login::Database => ("postgres", "database"),
    };
    let mut parameters = vec![
        ("user", info.user.as_str()),
        ("database", database),
        ("replication", replication),
        ("application_name", info.application_name.as_str()),
    ];
    if let Some(options) = &info.options {
        parameters.push(("options", options));
    }
    let mut buffer = BytesMut::new();
    frontend::startup_message(parameters, &mut buffer).map_err(io_error)?;
    Ok(buffer)
}

/// Parameters and the cancellation key, up to `ReadyForQuery`.
pub(super) fn wait_until_ready(connection: &mut Connection) -> Result<(), ConnectFailure> {
    loop {
        let message = match connection.receiver.receive(START_UP) {
            Err(ConnectionError::Server { source, .. }) => {
                return Err(ConnectFailure::Refused(source));
            }
            other => other?,
        };
        match message.tag {
            b'Z' => return Ok(()),
            b'K' => {}
            tag => return Err(unexpected(tag, START_UP).into()),
        }
    }
}

fn io_error(source: io::Error) -> ConnectFailure {
    if source.kind() == io::ErrorKind::TimedOut {
        return ConnectFailure::Reach(source);
    }
    ConnectionError::Io {
        during: START_UP,
        source,
    }
    .into()
}
