//! Connection strings as libpq reads them: keywords, URLs, environment, password file.
//!
//! Text becomes pairs ([`keyword`], [`url`]), pairs and the environment become a checked
//! [`ConnInfo`]. What libpq knows and this crate does not support is refused by name; what libpq
//! does not know is refused as there.

mod environment;
mod keyword;
mod pgpass;
mod secret;
mod settings;
mod url;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

pub use environment::Environment;
pub use pgpass::PgpassIgnored;
pub(crate) use pgpass::Wanted;
#[cfg(any(test, fuzzing))]
pub(crate) use pgpass::match_line;
pub use secret::Secret;

/// How to reach and log in to a server: everything libpq would know after reading the same string
/// in the same environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnInfo {
    /// Servers to try, in order; at least one.
    pub targets: Vec<Target>,
    /// The role.
    pub user: String,
    /// The password, if one was given outright.
    pub password: Option<Secret>,
    /// Where to look for one otherwise.
    pub passfile: Option<PathBuf>,
    /// Whether and how to encrypt.
    pub tls: TlsSettings,
    /// Whether a SCRAM login must be bound to the TLS session.
    pub channel_binding: ChannelBinding,
    /// The longest that connecting to one address may take; none means for ever (`connect_timeout=0`).
    pub connect_timeout: Option<Duration>,
    /// Server settings for the session, as `-c name=value`.
    pub options: Option<String>,
    /// What the server shows in `pg_stat_replication` and matches with `synchronous_standby_names`.
    pub application_name: String,
    /// How a dead peer is noticed on TCP.
    pub keepalive: KeepAlive,
}

/// One server to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it is.
    pub host: Host,
    /// TCP port, or the number in a Unix socket's name.
    pub port: u16,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name or address to resolve.
    Name(String),
    /// An address to connect to, and the name to check certificates and passwords against.
    Address {
        /// `hostaddr`.
        address: IpAddr,
        /// `host`, if given too.
        name: Option<String>,
    },
    /// The directory of a Unix socket.
    SocketDirectory(PathBuf),
    /// Neither was given: the socket in the usual directories.
    DefaultSocket,
}

/// `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never encrypt.
    Disable,
    /// Encrypt only if the server refuses otherwise.
    Allow,
    /// Encrypt if the server can.
    Prefer,
    /// Encrypt, but believe any certificate (unless a root certificate file exists).
    Require,
    /// Encrypt, and check who signed the certificate.
    VerifyCa,
    /// Encrypt, check who signed the certificate and that it names the host.
    VerifyFull,
}

/// The `ssl*` settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// `sslmode`.
    pub mode: SslMode,
    /// Certificates that are trusted, as PEM. Whether the path was given or is the default decides
    /// whether its absence is an error.
    pub root_certificates: Option<PathBuf>,
    /// The client's certificate chain, as PEM.
    pub certificate: Option<PathBuf>,
    /// Its private key, as unencrypted PEM.
    pub key: Option<PathBuf>,
    /// Whether to send the host name in the handshake.
    pub send_host_name: bool,
    /// Whether TLS 1.2 is too old (`ssl_min_protocol_version=TLSv1.3`).
    pub require_tls13: bool,
}

/// `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Do not use it.
    Disable,
    /// Use it if the server offers it.
    Prefer,
    /// Refuse to log in without.
    Require,
}

/// The `keepalives*` settings and `tcp_user_timeout`; none leaves the system's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepAlive {
    /// `keepalives`.
    pub enabled: bool,
    /// Idle time before the first probe.
    pub idle: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
    /// Probes without answer before the connection counts as dead.
    pub count: Option<u32>,
    /// How long sent data may stay unacknowledged.
    pub user_timeout: Option<Duration>,
}

/// Why a connection string is refused. Values are shown only where they cannot be passwords.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConnInfoError {
    /// A keyword without a value.
    #[error("missing \"=\" after {after} in the connection string")]
    MissingEquals {
        /// The keyword.
        after: String,
    },
    /// A quoted value that does not end.
    #[error("the quoted value of {keyword} in the connection string does not end")]
    UnterminatedQuote {
        /// The keyword.
        keyword: String,
    },
    /// A URL that libpq would refuse.
    #[error("the connection URL is malformed: {0}")]
    BadUrl(&'static str),
    /// A percent sign without two hexadecimal digits, an encoded zero byte, or no UTF-8.
    #[error("the percent encoding of {part} in the connection URL is invalid")]
    BadPercentEncoding {
        /// The part of the URL.
        part: &'static str,
    },
    /// A keyword that libpq does not know either.
    #[error("unknown connection option {keyword}")]
    UnknownKeyword {
        /// The keyword.
        keyword: String,
    },
    /// Something that libpq can and this client cannot.
    #[error("connection option {keyword}={value:?} is not supported by this client; leave it out")]
    Unsupported {
        /// The keyword.
        keyword: &'static str,
        /// Its value.
        value: String,
    },
    /// A value out of range, or not a number or word of the list.
    #[error("connection option {keyword} is {value:?}, which is not {expected}")]
    BadValue {
        /// The keyword.
        keyword: &'static str,
        /// Its value.
        value: String,
        /// What would be.
        expected: &'static str,
    },
    /// Lists of different lengths.
    #[error("{ports} ports were given for {hosts} hosts; give one port, or one for each host")]
    PortCount {
        /// Number of hosts.
        hosts: usize,
        /// Number of ports.
        ports: usize,
    },
    /// Lists of different lengths.
    #[error("{hosts} hosts were given with {addresses} values of hostaddr; give as many of each")]
    AddressCount {
        /// Number of hosts.
        hosts: usize,
        /// Number of addresses.
        addresses: usize,
    },
    /// A zero byte would end the value early on the wire.
    #[error("connection option {keyword} contains a zero byte")]
    ZeroByte {
        /// The keyword.
        keyword: String,
    },
    /// No role, and the system does not know who runs this process.
    #[error("no role name: give user= or set PGUSER")]
    NoUser,
}

impl ConnInfo {
    /// Reads a keyword string or URL, with defaults from `environment`.
    ///
    /// # Errors
    /// What libpq refuses, and what this client does not support.
    pub fn parse(text: &str, environment: &Environment) -> Result<ConnInfo, ConnInfoError> {
        settings::resolve(pairs(text)?, environment)
    }

    /// The same connection string, as keywords, without what nobody should find in a file: passwords. They come
    /// from the environment or the password file then.
    ///
    /// # Errors
    /// If it is neither a keyword string nor a URL. What is in it is not looked at.
    pub fn without_secrets(text: &str) -> Result<String, ConnInfoError> {
        let mut pairs = pairs(text)?;
        pairs.retain(|(keyword, _)| !SECRETS.contains(&keyword.as_str()));
        Ok(keyword::write(&pairs))
    }
}

/// Keywords whose values are secrets.
const SECRETS: [&str; 5] = [
    "password",
    "sslpassword",
    "oauth_client_secret",
    "scram_client_key",
    "scram_server_key",
];

fn pairs(text: &str) -> Result<Vec<(String, String)>, ConnInfoError> {
    match url::strip_scheme(text) {
        Some(url) => url::parse(url),
        None => keyword::parse(text),
    }
}

impl FromStr for ConnInfo {
    type Err = ConnInfoError;

    /// As [`ConnInfo::parse`] in the environment of this process.
    fn from_str(text: &str) -> Result<ConnInfo, ConnInfoError> {
        ConnInfo::parse(text, &Environment::of_process())
    }
}

impl ConnInfo {
    /// The password for `target`: the one given, or the password file's.
    pub(crate) fn password_for(&self, target: &Target) -> (Option<Secret>, Option<PgpassIgnored>) {
        if let Some(password) = &self.password {
            return (Some(password.clone()), None);
        }
        let Some(passfile) = &self.passfile else {
            return (None, None);
        };
        let host = target.host.password_name();
        let wanted = Wanted {
            host: &host,
            port: target.port,
            user: &self.user,
        };
        match pgpass::look_up(passfile, wanted) {
            Ok(password) => (password, None),
            Err(ignored) => (None, Some(ignored)),
        }
    }
}

impl Host {
    /// What a line of the password file must name. A default socket directory counts as `localhost`.
    fn password_name(&self) -> String {
        match self {
            Host::Name(name) => name.clone(),
            Host::Address {
                name: Some(name), ..
            } => name.clone(),
            Host::Address { address, .. } => address.to_string(),
            Host::SocketDirectory(path)
                if DEFAULT_SOCKET_DIRECTORIES
                    .iter()
                    .any(|d| path.as_os_str() == *d) =>
            {
                "localhost".to_owned()
            }
            Host::SocketDirectory(path) => path.display().to_string(),
            Host::DefaultSocket => "localhost".to_owned(),
        }
    }
}

/// Where builds of libpq look for the server's socket: distributions', then upstream's.
pub(crate) const DEFAULT_SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address {
                address,
                name: Some(name),
            } => write!(f, "{name} ({address}):{}", self.port),
            Host::Address { address, .. } => write!(f, "{address}:{}", self.port),
            Host::SocketDirectory(path) => {
                write!(f, "{}/.s.PGSQL.{}", path.display(), self.port)
            }
            Host::DefaultSocket => write!(f, "the local socket of port {}", self.port),
        }
    }
}

/// A word in the place of a keyword, for a message: nothing that looks like anything else.
fn shown_keyword(text: &str) -> String {
    let plain = text.len() <= 32 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if plain && !text.is_empty() {
        format!("\"{text}\"")
    } else {
        "text that is no keyword".to_owned()
    }
}
