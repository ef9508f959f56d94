//! Which connections are open: bounds their number, and ends them all. Serves the acceptor and
//! `stop`; a connection only enters and leaves.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::wire::message::{Backend, Severity, SqlState};

/// Clients that were turned away and may still be reading why.
const LINGERING: usize = 32;

#[derive(Clone, Default)]
pub(super) struct Registry(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    open: HashMap<u64, TcpStream>,
    /// Closing a socket that holds unread bytes resets it, and the client loses what was sent to
    /// it. So the last few stay open, with the sending side shut.
    lingering: VecDeque<TcpStream>,
}

/// A place among the open connections; dropping it gives it back.
pub(super) struct Entry {
    registry: Registry,
    id: u64,
}

impl Registry {
    /// A place for `stream`; none if there are `limit` already.
    pub(super) fn enter(&self, stream: &TcpStream, limit: usize) -> io::Result<Option<Entry>> {
        let mut state = self.lock();
        if state.open.len() >= limit {
            return Ok(None);
        }
        let id = state.next;
        state.next += 1;
        state.open.insert(id, stream.try_clone()?);
        Ok(Some(Entry {
            registry: self.clone(),
            id,
        }))
    }

    /// Tells the client that there are too many connections. Never waits for it.
    pub(super) fn turn_away(&self, mut stream: TcpStream) {
        let mut text = Vec::new();
        let state = SqlState::TooManyConnections;
        Backend::Error(Severity::Fatal, state, "too many connections").encode(&mut text);
        // The socket's buffer is empty and takes a hundred bytes at once, or the client is gone.
        let sent = stream
            .set_nonblocking(true)
            .and_then(|()| stream.write_all(&text))
            .and_then(|()| stream.shutdown(Shutdown::Write));
        if sent.is_ok() {
            let mut state = self.lock();
            state.lingering.truncate(LINGERING - 1);
            state.lingering.push_front(stream);
        }
    }

    /// Makes every connection see the end of its input, and waits until all are gone.
    pub(super) fn close_all(&self) {
        let mut state = self.lock();
        state.lingering.clear();
        for stream in state.open.values() {
            // Fails if the client is gone, and then the connection knows already.
            let _ = stream.shutdown(Shutdown::Read);
        }
        while !state.open.is_empty() {
            state = self
                .0
                .left
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.lock().open.remove(&self.id);
        self.registry.0.left.notify_all();
    }
}
