//! Why no connection came about.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::error::{ConnectionError, ProtocolError, ServerError};

/// Why no server of a connection string could be used. Names the server that was tried last.
#[derive(Debug, Error)]
#[error("cannot connect to {target}: {source}")]
pub struct ConnectError {
    /// The server.
    pub target: String,
    /// What failed there.
    pub source: ConnectFailure,
}

/// What failed while connecting.
#[derive(Debug, Error)]
pub enum ConnectFailure {
    /// The host name does not resolve.
    #[error("the host name cannot be resolved: {0}")]
    Resolve(io::Error),
    /// Nobody answers there.
    #[error("{0}; is the server running there and accepting connections?")]
    Reach(io::Error),
    /// The TLS settings are unusable.
    #[error(transparent)]
    TlsSettings(#[from] TlsSettingsError),
    /// The server does not encrypt, but `sslmode` demands it.
    #[error("the server does not support TLS, but sslmode demands it")]
    TlsRefused,
    /// The TLS handshake failed, such as for a certificate that does not fit.
    #[error("the TLS handshake failed: {0}")]
    TlsHandshake(io::Error),
    /// The login failed on our side.
    #[error(transparent)]
    Authentication(#[from] AuthenticationError),
    /// The server refused.
    #[error("{0}")]
    Refused(Box<ServerError>),
    /// The peer does not speak the protocol, or the connection broke.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

impl From<ProtocolError> for ConnectFailure {
    fn from(error: ProtocolError) -> ConnectFailure {
        ConnectFailure::Connection(error.into())
    }
}

/// Why the `ssl*` settings cannot be used.
#[derive(Debug, Error)]
pub enum TlsSettingsError {
    /// Verification needs something to verify against.
    #[error(
        "sslmode={mode} needs trusted certificates: give sslrootcert= or create ~/.postgresql/root.crt"
    )]
    NoRootCertificates {
        /// The mode.
        mode: &'static str,
    },
    /// A file that cannot be read as PEM.
    #[error("{what} {} cannot be used: {reason}", path.display())]
    File {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A private key that others can read.
    #[error("private key {} is readable by others; its permissions should be 0600 or less", path.display())]
    KeyPermissions {
        /// The file.
        path: PathBuf,
    },
    /// A certificate without its key.
    #[error("a client certificate was given without its private key (sslkey)")]
    NoKey,
    /// The host cannot be a name in a certificate.
    #[error("{host:?} cannot be checked against a certificate")]
    HostName {
        /// The host.
        host: String,
    },
    /// The TLS library refuses the combination.
    #[error("the TLS settings are unusable: {0}")]
    Library(rustls::Error),
}

/// Why this client cannot log in as the server asks.
#[derive(Debug, Error)]
pub enum AuthenticationError {
    /// No password was given and none is in the password file.
    #[error(
        "the server asks for a password and none was given: set password=, PGPASSWORD or a line in ~/.pgpass for database \"replication\""
    )]
    NoPassword,
    /// A method that this client lacks.
    #[error(
        "the server asks for {method} authentication, which this client does not support; use scram-sha-256, md5, password, cert or trust in pg_hba.conf"
    )]
    Unsupported {
        /// Its name.
        method: String,
    },
    /// None of the server's SASL mechanisms is known.
    #[error("the server offers none of the SASL mechanisms that this client supports, only {0}")]
    NoMechanism(String),
    /// `channel_binding=require` cannot be met.
    #[error("channel_binding=require cannot be met: {0}")]
    NoChannelBinding(&'static str),
    /// The SCRAM exchange failed: the server does not know the password, or answered wrongly.
    #[error("the SCRAM exchange failed: {0}")]
    Scram(io::Error),
}
