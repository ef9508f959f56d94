//! Logging in: trust, password, md5, SCRAM-SHA-256 with or without channel binding. Follows
//! `pg_fe_sendauth` of libpq's fe-auth.c; every other method is refused by name.

use bytes::BytesMut;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::frontend;

use super::error::{AuthenticationError, ConnectFailure};
use super::{Body, Connection, unexpected};
use crate::conninfo::{ChannelBinding, Secret};
use crate::error::{ConnectionError, ProtocolError};

const LOGIN: &str = "login";

/// What a login may use.
pub(super) struct Credentials<'a> {
    pub(super) user: &'a str,
    pub(super) password: Option<Secret>,
    pub(super) channel_binding: ChannelBinding,
    /// Hash of the server's certificate, if the connection is encrypted and the hash exists.
    pub(super) end_point: Option<Vec<u8>>,
    pub(super) encrypted: bool,
}

/// `AuthenticationXXX` request codes (libpq/pqcomm.h).
const OK: i32 = 0;
const CLEARTEXT: i32 = 3;
const MD5: i32 = 5;
const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

/// Answers the server until it is content. Leaves the connection before the parameters.
pub(super) fn log_in(
    connection: &mut Connection,
    credentials: &Credentials<'_>,
) -> Result<(), ConnectFailure> {
    let mut bound = false;
    loop {
        let (code, body) = request(connection)?;
        match code {
            OK if credentials.channel_binding == ChannelBinding::Require && !bound => {
                return Err(AuthenticationError::NoChannelBinding(
                    "the server let us in without SCRAM",
                )
                .into());
            }
            OK => return Ok(()),
            CLEARTEXT => send_password(connection, credentials.password()?.as_bytes())?,
            MD5 => {
                let salt = Body::new(b'R', &body).array::<4>("salt")?;
                let password = credentials.password()?.as_bytes();
                let hash = md5_hash(credentials.user.as_bytes(), password, salt);
                send_password(connection, hash.as_bytes())?;
            }
            SASL => bound = scram(connection, credentials, &body)?,
            code => {
                return Err(AuthenticationError::Unsupported {
                    method: method_name(code),
                }
                .into());
            }
        }
    }
}

impl Credentials<'_> {
    fn password(&self) -> Result<&str, AuthenticationError> {
        let password = self.password.as_ref().map(Secret::reveal);
        password
            .filter(|password| !password.is_empty())
            .ok_or(AuthenticationError::NoPassword)
    }
}

/// The next authentication request: its code, and what follows the code.
fn request(connection: &mut Connection) -> Result<(i32, Vec<u8>), ConnectFailure> {
    let message = match connection.receiver().receive(LOGIN) {
        Err(ConnectionError::Server { source, .. }) => {
            return Err(ConnectFailure::Refused(source));
        }
        other => other?,
    };
    if message.tag == b'v' {
        // The server speaks an older minor protocol, or does not know an option: neither exists here.
        return Err(unexpected(b'v', LOGIN).into());
    }
    if message.tag != b'R' {
        return Err(unexpected(message.tag, LOGIN).into());
    }
    let mut body = Body::new(message.tag, message.body);
    let code = body.i32("authentication method")?;
    Ok((code, body.rest().to_vec()))
}

/// A SCRAM exchange up to the server's proof; says whether it was bound to the TLS session.
fn scram(
    connection: &mut Connection,
    credentials: &Credentials<'_>,
    offer: &[u8],
) -> Result<bool, ConnectFailure> {
    let offered = mechanisms(offer)?;
    let (mechanism, binding) = choose(credentials, &offered)?;
    let bound = mechanism == sasl::SCRAM_SHA_256_PLUS;
    let password = credentials.password()?.as_bytes();
    let mut exchange = sasl::ScramSha256::new(password, binding);

    send(connection, |buffer| {
        frontend::sasl_initial_response(mechanism, exchange.message(), buffer)
    })?;
    let challenge = expect(connection, SASL_CONTINUE)?;
    exchange
        .update(&challenge)
        .map_err(AuthenticationError::Scram)?;
    send(connection, |buffer| {
        frontend::sasl_response(exchange.message(), buffer)
    })?;
    let proof = expect(connection, SASL_FINAL)?;
    exchange
        .finish(&proof)
        .map_err(AuthenticationError::Scram)?;
    Ok(bound)
}

/// The server's list: strings, then an empty one.
pub(super) fn mechanisms(offer: &[u8]) -> Result<Vec<String>, ProtocolError> {
    let mut body = Body::new(b'R', offer);
    let mut names = Vec::new();
    loop {
        let name = body.text("SASL mechanism")?;
        if name.is_empty() {
            return Ok(names);
        }
        names.push(name);
    }
}

/// The mechanism to use (`pg_SASL_init`). The flag inside the exchange tells the server whether we
/// could have bound the channel, so that nobody in between can hide its offer.
fn choose(
    credentials: &Credentials<'_>,
    offered: &[String],
) -> Result<(&'static str, sasl::ChannelBinding), AuthenticationError> {
    let offers = |name: &str| offered.iter().any(|offer| offer == name);
    let wanted = credentials.channel_binding;
    let end_point = credentials
        .end_point
        .as_ref()
        .filter(|_| wanted != ChannelBinding::Disable);
    if offers(sasl::SCRAM_SHA_256_PLUS)
        && credentials.encrypted
        && let Some(hash) = end_point
    {
        let binding = sasl::ChannelBinding::tls_server_end_point(hash.clone());
        return Ok((sasl::SCRAM_SHA_256_PLUS, binding));
    }
    if wanted == ChannelBinding::Require {
        return Err(AuthenticationError::NoChannelBinding(
            match (credentials.encrypted, end_point) {
                (false, _) => "the connection is not encrypted",
                (true, None) => "the server's certificate is signed by a method without a hash",
                (true, Some(_)) => "the server does not offer SCRAM-SHA-256-PLUS",
            },
        ));
    }
    if !offers(sasl::SCRAM_SHA_256) {
        return Err(AuthenticationError::NoMechanism(offered.join(", ")));
    }
    let binding = match end_point {
        Some(_) => sasl::ChannelBinding::unrequested(),
        None => sasl::ChannelBinding::unsupported(),
    };
    Ok((sasl::SCRAM_SHA_256, binding))
}

fn expect(connection: &mut Connection, wanted: i32) -> Result<Vec<u8>, ConnectFailure> {
    let (code, body) = request(connection)?;
    if code == wanted {
        return Ok(body);
    }
    Err(ProtocolError::BadValue {
        field: "authentication method",
        value: code.to_string(),
        expected: "the next step of SASL",
    }
    .into())
}

fn send_password(connection: &mut Connection, password: &[u8]) -> Result<(), ConnectFailure> {
    send(connection, |buffer| {
        frontend::password_message(password, buffer)
    })
}

fn send(
    connection: &mut Connection,
    write: impl FnOnce(&mut BytesMut) -> std::io::Result<()>,
) -> Result<(), ConnectFailure> {
    let mut buffer = BytesMut::new();
    write(&mut buffer).map_err(|source| ConnectionError::Io {
        during: LOGIN,
        source,
    })?;
    Ok(connection.send(LOGIN, &buffer)?)
}

/// What `pg_hba.conf` calls a method.
fn method_name(code: i32) -> String {
    match code {
        1 => "Kerberos 4".to_owned(),
        2 => "Kerberos 5".to_owned(),
        4 => "crypt".to_owned(),
        6 => "scm".to_owned(),
        7 | 8 => "gss".to_owned(),
        9 => "sspi".to_owned(),
        other => format!("unknown ({other})"),
    }
}
