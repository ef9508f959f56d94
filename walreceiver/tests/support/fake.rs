//! A scripted server on loopback: says what a test tells it, good or bad.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use walreceiver::{ConnInfo, Environment};

/// The server's side of one connection.
pub(crate) struct Peer {
    stream: TcpStream,
}

/// Runs `script` for one connection; returns how to connect, and the thread to join.
pub(crate) fn serve<T: Send + 'static>(
    script: impl FnOnce(&mut Peer) -> T + Send + 'static,
) -> (ConnInfo, JoinHandle<T>) {
    serve_each(1, move |_| {
        let script = std::sync::Mutex::new(Some(script));
        move |peer: &mut Peer| (script.lock().unwrap().take().unwrap())(peer)
    })
}

/// As [`serve`] for several connections in turn; the last one's result is returned.
pub(crate) fn serve_each<T: Send + 'static, S: Fn(&mut Peer) -> T>(
    connections: usize,
    script: impl FnOnce(()) -> S + Send + 'static,
) -> (ConnInfo, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let script = script(());
        let mut last = None;
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            last = Some(script(&mut Peer { stream }));
        }
        last.unwrap()
    });
    let text = format!("host=127.0.0.1 port={port} user=me sslmode=disable");
    let info = ConnInfo::parse(&text, &Environment::empty()).unwrap();
    (info, thread)
}

impl Peer {
    /// The same connection, to go on with in the script of a later one.
    pub(crate) fn keep(&self) -> Peer {
        let stream = self.stream.try_clone().unwrap();
        Peer { stream }
    }

    /// Says that nothing more comes, and takes what the client still sends: closing with that unread would make it
    /// lose what it has not read yet.
    pub(crate) fn hang_up(&mut self) {
        // The client may have gone already.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        let _ = std::io::copy(&mut self.stream, &mut std::io::sink());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        // The client may have gone already; then the test looks at what it found.
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn send(&mut self, tag: u8, body: &[u8]) {
        let length = (body.len() as u32 + 4).to_be_bytes();
        self.raw(&[&[tag], &length[..], body].concat());
    }

    /// The request for TLS that precedes a start-up packet.
    pub(crate) fn ssl_request(&mut self) {
        let mut request = [0; 8];
        self.stream.read_exact(&mut request).unwrap();
        assert_eq!(request, *b"\0\0\0\x08\x04\xd2\x16\x2f");
    }

    /// The start-up packet's parameters, as text.
    pub(crate) fn start_up(&mut self) -> String {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
        self.stream.read_exact(&mut body).unwrap();
        String::from_utf8_lossy(&body[4..]).replace('\0', " ")
    }

    /// The next message of the client; none at its end.
    pub(crate) fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 5];
        self.stream.read_exact(&mut header).ok()?;
        let length = u32::from_be_bytes(header[1..].try_into().unwrap());
        let mut body = vec![0; length as usize - 4];
        self.stream.read_exact(&mut body).ok()?;
        Some((header[0], body))
    }

    pub(crate) fn authentication(&mut self, code: i32, rest: &[u8]) {
        self.send(b'R', &[&code.to_be_bytes()[..], rest].concat());
    }

    /// Lets the client in without a password.
    pub(crate) fn welcome(&mut self) {
        self.start_up();
        self.authentication(0, b"");
        self.parameter("server_version", "15.99");
        self.ready();
    }

    pub(crate) fn parameter(&mut self, name: &str, value: &str) {
        self.send(b'S', format!("{name}\0{value}\0").as_bytes());
    }

    pub(crate) fn ready(&mut self) {
        self.send(b'Z', b"I");
    }

    pub(crate) fn error(&mut self, code: &str, message: &str) {
        let body = format!("SERROR\0VERROR\0C{code}\0M{message}\0\0");
        self.send(b'E', body.as_bytes());
    }

    /// A result set of one row.
    pub(crate) fn row(&mut self, columns: &[&str], values: &[Option<&str>]) {
        self.rows(columns, &[values]);
    }

    /// A result set with its `CommandComplete`.
    pub(crate) fn rows(&mut self, columns: &[&str], rows: &[&[Option<&str>]]) {
        let mut description = (columns.len() as i16).to_be_bytes().to_vec();
        for name in columns {
            description.extend(name.as_bytes());
            description.push(0);
            description.extend([0; 18]);
        }
        self.send(b'T', &description);
        for values in rows {
            let mut row = (values.len() as i16).to_be_bytes().to_vec();
            for value in *values {
                match value {
                    Some(text) => {
                        row.extend((text.len() as i32).to_be_bytes());
                        row.extend(text.as_bytes());
                    }
                    None => row.extend((-1i32).to_be_bytes()),
                }
            }
            self.send(b'D', &row);
        }
        self.send(b'C', b"SELECT\0");
    }

    /// Expects a query that begins like this.
    pub(crate) fn expect_query(&mut self, beginning: &str) -> String {
        let (tag, body) = self.receive().expect("a query");
        let text = String::from_utf8_lossy(&body)
            .trim_end_matches('\0')
            .to_owned();
        assert_eq!(tag, b'Q', "{text}");
        assert!(text.starts_with(beginning), "{text} instead of {beginning}");
        text
    }

    pub(crate) fn answer_identify(&mut self, system_identifier: u64, timeline: u32, end: &str) {
        self.expect_query("IDENTIFY_SYSTEM");
        let (system, timeline) = (system_identifier.to_string(), timeline.to_string());
        self.row(
            &["systemid", "timeline", "xlogpos", "dbname"],
            &[Some(&system), Some(&timeline), Some(end), None],
        );
        self.ready();
    }

    pub(crate) fn answer_show(&mut self, name: &str, value: &str) {
        self.expect_query(&format!("SHOW \"{name}\""));
        self.row(&[name], &[Some(value)]);
        self.ready();
    }

    /// `CopyBothResponse`.
    pub(crate) fn start_copy(&mut self) {
        self.expect_query("START_REPLICATION");
        self.send(b'W', &[0, 0, 0]);
    }

    pub(crate) fn wal(&mut self, start: u64, server_end: u64, bytes: &[u8]) {
        let mut body = vec![b'w'];
        for value in [start, server_end, 0] {
            body.extend(value.to_be_bytes());
        }
        body.extend(bytes);
        self.send(b'd', &body);
    }

    pub(crate) fn keepalive(&mut self, server_end: u64, reply_requested: bool) {
        let mut body = vec![b'k'];
        body.extend(server_end.to_be_bytes());
        body.extend([0; 8]);
        body.push(u8::from(reply_requested));
        self.send(b'd', &body);
    }

    /// The next status reply: written, flushed, applied, and whether an answer is wanted.
    pub(crate) fn status(&mut self) -> Option<(u64, u64, u64, bool)> {
        loop {
            let (tag, body) = self.receive()?;
            if tag == b'd' && body.first() == Some(&b'r') {
                let at = |n: usize| u64::from_be_bytes(body[n..n + 8].try_into().unwrap());
                return Some((at(1), at(9), at(17), body[33] != 0));
            }
        }
    }
}
