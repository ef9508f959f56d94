//! A TCP proxy between a page server and its primary that knows the replication protocol just well enough
//! to do harm at a chosen byte of WAL or of a base backup.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};

use crate::PATIENCE;

/// No message of a server is longer; a WAL sender's are below 130 KiB.
const MAX_MESSAGE: usize = 64 << 20;

/// Bytes before the payload of a WAL message: type, start, end, time (`XLogSendPhysical`).
const WAL_HEADER: usize = 25;

/// The server's messages that begin a copy: of a backup, of WAL (`CopyOutResponse`, `CopyBothResponse`).
const COPY_OUT: u8 = b'H';
const COPY_BOTH: u8 = b'W';

/// WAL messages shorter than this are let through: a fault in the middle of a longer one hits a record,
/// not the padding between two.
const MIN_VICTIM: usize = 512;

/// What harm is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// The connection ends within a message.
    CutInMessage,
    /// The message is whole, but shorter than it was; then the connection ends. WAL then ends within a record.
    CutInRecord,
    /// One bit of the message's content is flipped.
    FlipBit,
}

/// Which bytes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// The payload of WAL messages.
    Wal,
    /// The files of a base backup.
    Backup,
}

/// Harm, and when.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What.
    pub harm: Harm,
    /// In which messages.
    pub traffic: Traffic,
    /// After so many bytes of them, counted from the fault before.
    pub after: u64,
}

/// A proxy on a port of loopback. Faults are taken from its queue one after the other.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: u16,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    faults: VecDeque<Fault>,
    counted: u64,
    done: usize,
    refusing: bool,
    stopping: bool,
    open: Vec<TcpStream>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// A proxy before the server on this port of loopback.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start(target: u16) -> Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            target,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Ok(Proxy { port, shared })
    }

    /// A connection string through the proxy, which reads along and therefore wants no encryption.
    pub fn conninfo(&self) -> String {
        format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres sslmode=disable",
            self.port
        )
    }

    /// Adds a fault to those that are to come.
    pub fn add(&self, fault: Fault) {
        self.shared.lock().faults.push_back(fault);
    }

    /// Faults that have happened.
    pub fn done(&self) -> usize {
        self.shared.lock().done
    }

    /// Waits until so many faults have happened.
    ///
    /// # Errors
    /// If they do not.
    pub fn wait_done(&self, count: usize) -> Result<()> {
        let state = self.shared.lock();
        let (state, late) = self
            .shared
            .changed
            .wait_timeout_while(state, PATIENCE, |state| state.done < count)
            .unwrap_or_else(PoisonError::into_inner);
        if late.timed_out() {
            bail!("{} of {count} faults have happened", state.done);
        }
        Ok(())
    }

    /// Refuses connections from now on, and ends those that are open.
    pub fn refuse(&self) {
        let mut state = self.shared.lock();
        state.refusing = true;
        for open in state.open.drain(..) {
            let _ = open.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
        self.shared.lock().stopping = true;
        // Wakes the accepting thread, which then sees that it is over.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let Ok(client) = client else { continue };
        {
            let state = shared.lock();
            if state.stopping {
                return;
            }
            if state.refusing {
                continue;
            }
        }
        // A server that is down looks like one that hangs up.
        let _ = connect(client, shared);
    }
}

fn connect(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.target))?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
        let other = socket.try_clone()?;
        shared.lock().open.push(other);
    }
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let _ = relay(&server, &client, &shared);
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// Carries the server's messages to the client until a fault ends that.
fn relay(mut server: &TcpStream, mut client: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut message = vec![0; 5];
    let mut traffic = Traffic::Wal;
    loop {
        message.truncate(5);
        server.read_exact(&mut message)?;
        let length = u32::from_be_bytes([message[1], message[2], message[3], message[4]]) as usize;
        if !(4..=MAX_MESSAGE).contains(&length) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        message.resize(1 + length, 0);
        server.read_exact(&mut message[5..])?;
        match message[0] {
            COPY_OUT => traffic = Traffic::Backup,
            COPY_BOTH => traffic = Traffic::Wal,
            _ => {}
        }
        let due = due(&message, traffic, shared);
        match due {
            None => client.write_all(&message)?,
            Some(Harm::FlipBit) => {
                let middle = 5 + (message.len() - 5) / 2;
                message[middle] ^= 1 << 4;
                client.write_all(&message)?;
            }
            Some(Harm::CutInMessage) => client.write_all(&message[..message.len() / 2])?,
            Some(Harm::CutInRecord) => {
                message.truncate(message.len() / 2);
                let length = (message.len() - 1) as u32;
                message[1..5].copy_from_slice(&length.to_be_bytes());
                client.write_all(&message)?;
            }
        }
        if due.is_some() {
            shared.lock().done += 1;
            shared.changed.notify_all();
        }
        if matches!(due, Some(Harm::CutInMessage | Harm::CutInRecord)) {
            return Ok(());
        }
    }
}

/// Counts a message, and says what is to be done to it.
fn due(message: &[u8], traffic: Traffic, shared: &Shared) -> Option<Harm> {
    let bytes = match (message[0], traffic, message.get(5)) {
        (b'd', Traffic::Wal, Some(b'w')) => message.len().saturating_sub(5 + WAL_HEADER),
        // From 15 on a byte says what follows; before, all is the archive's.
        (b'd', Traffic::Backup, Some(_)) => message.len() - 6,
        _ => return None,
    };
    let mut state = shared.lock();
    let fault = *state.faults.front()?;
    if fault.traffic != traffic {
        return None;
    }
    state.counted += bytes as u64;
    if state.counted < fault.after || bytes < MIN_VICTIM {
        return None;
    }
    state.counted = 0;
    state.faults.pop_front();
    Some(fault.harm)
}
