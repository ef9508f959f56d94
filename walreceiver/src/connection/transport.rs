//! A socket or a TLS session on one, cut into a half that reads and a half that writes, so that
//! status replies leave while another thread is blocked in a read.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::ClientConnection;

use super::socket::Socket;

/// Ciphertext taken from the socket in one read.
const CIPHERTEXT_BUFFER: usize = 256 << 10;

/// The half that one thread reads from.
#[derive(Debug)]
pub(crate) struct ReadHalf {
    socket: Socket,
    tls: Option<TlsReader>,
}

/// The half that one thread writes to.
#[derive(Debug)]
pub(crate) struct WriteHalf {
    sender: Sender,
    /// A handle to set timeouts on and to shut down with.
    socket: Socket,
}

#[derive(Debug)]
enum Sender {
    Plain(Socket),
    Tls(Arc<TlsSession>),
}

#[derive(Debug)]
struct TlsReader {
    session: Arc<TlsSession>,
    /// Ciphertext not yet fed to the session: `buffer[start..end]`.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// Locked in the order `output`, `state`: records leave in the order in which they were encrypted,
/// and no lock but `output` is held while the network is waited for.
#[derive(Debug)]
struct TlsSession {
    output: Mutex<Output>,
    state: Mutex<ClientConnection>,
}

#[derive(Debug)]
struct Output {
    socket: Socket,
    ciphertext: Vec<u8>,
}

/// Two halves of a plain connection.
pub(crate) fn plain(socket: Socket) -> io::Result<(ReadHalf, WriteHalf)> {
    let writer = WriteHalf {
        sender: Sender::Plain(socket.try_clone()?),
        socket: socket.try_clone()?,
    };
    Ok((ReadHalf { socket, tls: None }, writer))
}

/// Two halves of a TLS session whose handshake is complete.
pub(crate) fn encrypted(
    socket: Socket,
    session: ClientConnection,
) -> io::Result<(ReadHalf, WriteHalf)> {
    let session = Arc::new(TlsSession {
        output: Mutex::new(Output {
            socket: socket.try_clone()?,
            ciphertext: Vec::new(),
        }),
        state: Mutex::new(session),
    });
    let writer = WriteHalf {
        sender: Sender::Tls(session.clone()),
        socket: socket.try_clone()?,
    };
    let tls = TlsReader {
        session,
        buffer: vec![0; CIPHERTEXT_BUFFER].into_boxed_slice(),
        start: 0,
        end: 0,
    };
    let reader = ReadHalf {
        socket,
        tls: Some(tls),
    };
    Ok((reader, writer))
}

impl ReadHalf {
    /// Reads fail with [`io::ErrorKind::TimedOut`] from `deadline` on.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.socket.set_deadline(deadline);
    }
}

impl Read for ReadHalf {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read(buffer),
            Some(tls) => tls.read(&mut self.socket, buffer),
        }
    }
}

impl WriteHalf {
    /// Sends all of `bytes`.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.sender {
            Sender::Plain(socket) => socket.write_all(bytes),
            Sender::Tls(session) => session.send(bytes),
        }
    }

    /// A write that takes longer fails.
    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_write_timeout(timeout)
    }

    /// Ends reads and writes of both halves.
    pub(crate) fn shutdown(&self) {
        self.socket.shutdown();
    }

    /// A handle that can shut the connection down from another thread.
    pub(crate) fn interrupt(&self) -> io::Result<Socket> {
        self.socket.try_clone()
    }
}

impl TlsReader {
    fn read(&mut self, socket: &mut Socket, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(count) = self.decrypted(buffer)? {
                return Ok(count);
            }
            if self.start == self.end {
                self.start = 0;
                self.end = socket.read(&mut self.buffer)?;
                if self.end == 0 {
                    return Ok(0);
                }
            }
            let has_output = self.feed()?;
            if has_output {
                // A key update or an alert that the session wants to answer.
                self.session.flush()?;
            }
        }
    }

    /// Plaintext that is ready; none if more ciphertext is needed, zero bytes at the end.
    fn decrypted(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.session.state().reader().read(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Hands one portion of ciphertext to the session; says whether it has something to send.
    fn feed(&mut self) -> io::Result<bool> {
        let mut state = self.session.state();
        let mut ciphertext = &self.buffer[self.start..self.end];
        let taken = state.read_tls(&mut ciphertext)?;
        self.start += taken;
        state
            .process_new_packets()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(state.wants_write())
    }
}

impl TlsSession {
    fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut output = self.output();
        while !bytes.is_empty() {
            let mut state = self.state();
            let taken = state.writer().write(bytes)?;
            bytes = &bytes[taken..];
            output.take_from(&mut state)?;
            drop(state);
            output.send()?;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut output = self.output();
        output.take_from(&mut self.state())?;
        output.send()
    }

    fn state(&self) -> MutexGuard<'_, ClientConnection> {
        // A panic inside rustls leaves a session that answers with errors, not with wrong bytes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    fn take_from(&mut self, state: &mut ClientConnection) -> io::Result<()> {
        while state.wants_write() {
            state.write_tls(&mut self.ciphertext)?;
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        let result = self.socket.write_all(&self.ciphertext);
        self.ciphertext.clear();
        result
    }
}
