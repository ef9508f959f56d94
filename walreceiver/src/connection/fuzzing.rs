//! What fuzz targets need of a connection's inside.

use std::os::unix::net::UnixStream;

use slog::Logger;

use super::authentication::{self, Credentials};
use super::error::ConnectFailure;
use super::message::{data_row, row_description, server_error};
use super::socket::Socket;
use super::{Body, Connection, Message, open, transport};
use crate::conninfo::{ChannelBinding, Secret};

/// A connection over one end of a socket pair, not logged in.
pub(crate) fn over(stream: UnixStream, log: Logger) -> Connection {
    let (reader, writer) = transport::plain(Socket::from(stream)).expect("a handle");
    Connection::new(reader, writer, "a fuzzer".to_owned(), log)
}

/// Logs in; the bits of `means` say what the client has and wants.
pub(crate) fn log_in(connection: &mut Connection, means: u8) -> Result<(), ConnectFailure> {
    let credentials = Credentials {
        user: "user",
        password: (means & 1 != 0).then(|| Secret::new("password".to_owned())),
        channel_binding: match means >> 1 & 3 {
            0 => ChannelBinding::Disable,
            1 => ChannelBinding::Require,
            _ => ChannelBinding::Prefer,
        },
        end_point: (means & 8 != 0).then(|| vec![7; 32]),
        encrypted: means & 16 != 0,
    };
    authentication::log_in(connection, &credentials)?;
    open::wait_until_ready(connection)
}

/// Reads a message as each kind of message.
pub(crate) fn read_as_anything(message: Message<'_>) {
    let body = || Body::new(message.tag, message.body);
    let _ = server_error(body());
    let _ = authentication::mechanisms(message.body);
    if let Ok(columns) = row_description(body()) {
        assert!(columns.len() <= message.body.len());
    }
    if let Ok(values) = data_row(body()) {
        assert!(values.iter().flatten().map(Vec::len).sum::<usize>() <= message.body.len());
    }
}
