//! TCP and Unix sockets alike: timeouts, keep-alives, and ending a read from another thread.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};

use crate::conninfo::KeepAlive;

/// Bytes the kernel may queue for us: a burst of WAL arrives while the sink writes.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A connected stream socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    /// When reads give up; none waits for ever.
    deadline: Option<Instant>,
    /// Whether the socket has a read timeout set, so that the common case costs no system call.
    timeout_set: bool,
}

#[cfg(any(test, fuzzing))]
impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Socket {
        Socket::new(Stream::Unix(stream), None)
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub(crate) fn tcp(
        address: SocketAddr,
        keepalive: &KeepAlive,
        deadline: Option<Instant>,
    ) -> io::Result<Socket> {
        let stream = match deadline {
            Some(deadline) => TcpStream::connect_timeout(&address, left(deadline)?)?,
            None => TcpStream::connect(address)?,
        };
        // A status reply is one small write that a synchronous commit waits for.
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        // Only a wish: the kernel's limit may be lower.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        apply_keepalive(&socket, keepalive)?;
        Ok(Socket::new(Stream::Tcp(stream), deadline))
    }

    pub(crate) fn unix(path: &Path, deadline: Option<Instant>) -> io::Result<Socket> {
        let stream = UnixStream::connect(path)?;
        Ok(Socket::new(Stream::Unix(stream), deadline))
    }

    fn new(stream: Stream, deadline: Option<Instant>) -> Socket {
        Socket {
            stream,
            deadline,
            timeout_set: false,
        }
    }

    /// A second handle of the same socket, for another thread.
    pub(crate) fn try_clone(&self) -> io::Result<Socket> {
        let stream = match &self.stream {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone()?),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone()?),
        };
        Ok(Socket::new(stream, None))
    }

    /// Reads fail with [`io::ErrorKind::TimedOut`] from then on.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// A write that takes longer fails.
    pub(crate) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_write_timeout(timeout),
            Stream::Unix(stream) => stream.set_write_timeout(timeout),
        }
    }

    /// Ends reads and writes on every handle of the socket.
    pub(crate) fn shutdown(&self) {
        // Fails only if the peer has gone already.
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    fn prepare_read(&mut self) -> io::Result<()> {
        let timeout = self.deadline.map(left).transpose()?;
        if timeout.is_none() && !self.timeout_set {
            return Ok(());
        }
        match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(timeout)?,
            Stream::Unix(stream) => stream.set_read_timeout(timeout)?,
        }
        self.timeout_set = timeout.is_some();
        Ok(())
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.prepare_read()?;
            let result = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(buffer),
                Stream::Unix(stream) => stream.read(buffer),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What a read timeout is called on Unix; the deadline decides at the next turn.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Time until `deadline`, never zero.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

fn apply_keepalive(socket: &SockRef<'_>, wanted: &KeepAlive) -> io::Result<()> {
    if wanted.enabled {
        let mut settings = TcpKeepalive::new();
        if let Some(idle) = wanted.idle {
            settings = settings.with_time(idle);
        }
        if let Some(interval) = wanted.interval {
            settings = settings.with_interval(interval);
        }
        if let Some(count) = wanted.count {
            settings = settings.with_retries(count);
        }
        socket.set_tcp_keepalive(&settings)?;
    }
    if wanted.user_timeout.is_some() {
        socket.set_tcp_user_timeout(wanted.user_timeout)?;
    }
    Ok(())
}
