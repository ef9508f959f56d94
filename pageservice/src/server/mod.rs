//! The Postgres-protocol port: accepts connections, a thread each, and stops them.

mod answer;
mod command;
mod connection;
mod io;
mod registry;
mod stream;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use slog::{Logger, debug, error, info, o, warn};

use crate::listen::{Listen, StartError};
use crate::source::PageSource;
use crate::stats::{Counters, PageServiceStats, StatsReader};
pub use command::MAX_NAME;
pub(crate) use command::is_name;
use connection::Connection;
use registry::Registry;
pub use stream::MAX_BATCH;

/// How the page service behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageServiceOptions {
    /// Connections at once; further ones are turned away with SQLSTATE 53300. Each takes a thread and
    /// up to 350 KiB of buffers while it reads many pages at once, 25 KiB at depth 1.
    pub max_connections: usize,
    /// How long a request waits for its LSN. A query that fails is worse than a slow one: keep it long.
    pub wait_lsn_timeout: Duration,
    /// A connection on which nothing arrived for so long is dropped.
    pub idle_timeout: Duration,
    /// A client that does not take an answer within this time is dropped.
    pub write_timeout: Duration,
    /// A client that has not finished its startup within this time is dropped.
    pub startup_timeout: Duration,
}

impl Default for PageServiceOptions {
    fn default() -> PageServiceOptions {
        PageServiceOptions {
            max_connections: 1000,
            wait_lsn_timeout: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(600),
            write_timeout: Duration::from_secs(60),
            startup_timeout: Duration::from_secs(30),
        }
    }
}

/// The running page service. Dropping it stops it.
pub struct PageService {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

/// What all connections share.
struct Shared {
    source: Arc<dyn PageSource>,
    options: PageServiceOptions,
    counters: Arc<Counters>,
    registry: Registry,
    stopping: AtomicBool,
    log: Logger,
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

impl PageService {
    /// Listens, and serves what `source` has until [`PageService::stop`].
    ///
    /// # Errors
    /// If the address may not or cannot be listened on, or no thread can be started.
    pub fn start(
        listen: Listen,
        source: Arc<dyn PageSource>,
        options: PageServiceOptions,
        log: &Logger,
    ) -> Result<PageService, StartError> {
        let listener = listen.bind()?;
        let address = listener.local_addr().map_err(|source| StartError::Bind {
            address: listen.address,
            source,
        })?;
        let log = log.new(o!("part" => "pageservice"));
        let shared = Arc::new(Shared {
            source,
            options,
            counters: Arc::default(),
            registry: Registry::default(),
            stopping: AtomicBool::new(false),
            log,
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("page-accept".to_owned())
                .spawn(move || accept(&shared, &listener))
                .map_err(StartError::Thread)?
        };
        info!(shared.log, "page service listens"; "address" => %address);
        Ok(PageService {
            shared,
            address,
            acceptor: Mutex::new(Some(acceptor)),
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What it counted since it started.
    pub fn stats(&self) -> PageServiceStats {
        self.shared.counters.snapshot()
    }

    /// Reads the same, and may outlive the service: for `/metrics`.
    pub fn stats_reader(&self) -> StatsReader {
        StatsReader::new(Arc::clone(&self.shared.counters))
    }

    /// Stops listening, tells every client that the server shuts down (SQLSTATE 57P01), and returns
    /// when all connections are closed: at the latest after a write time-out. Does nothing the
    /// second time.
    pub fn stop(&self) {
        let acceptor = self
            .acceptor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(acceptor) = acceptor else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor. If that fails it is not in `accept`, and sees the flag by itself.
        let _ = TcpStream::connect_timeout(&reachable(self.address), Duration::from_secs(1));
        // A panic was reported by the thread itself.
        let _ = acceptor.join();
        self.shared.registry.close_all();
        info!(self.shared.log, "page service stopped");
    }
}

impl Drop for PageService {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An address under which this machine reaches what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// How long to leave the listener alone when it fails (usually: no file descriptor is free).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    loop {
        let accepted = listener.accept();
        if shared.is_stopping() {
            return;
        }
        match accepted {
            Ok((stream, peer)) => serve(shared, stream, peer),
            Err(error) => {
                warn!(shared.log, "cannot accept a connection"; "error" => %error);
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }
}

/// Starts the thread of a connection, or turns it away.
fn serve(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    shared.counters.connections.add(1);
    let entry = match shared
        .registry
        .enter(&stream, shared.options.max_connections)
    {
        Ok(Some(entry)) => entry,
        Ok(None) => {
            shared.counters.connections_refused.add(1);
            warn!(shared.log, "too many connections, one turned away"; "peer" => %peer);
            return shared.registry.turn_away(stream);
        }
        Err(error) => {
            warn!(shared.log, "cannot serve a connection"; "peer" => %peer, "error" => %error);
            return;
        }
    };
    let log = shared.log.new(o!("peer" => peer.to_string()));
    let started = thread::Builder::new().name("page-conn".to_owned()).spawn({
        let shared = Arc::clone(shared);
        move || {
            // Declared first, dropped last: whoever waits for the registry waits for all of it.
            let _entry = entry;
            let _open = Open::new(&shared.counters, &log);
            let end = Connection::new(&shared, &stream, &log).and_then(|mut c| c.run());
            if let Err(hangup) = end {
                debug!(log, "connection closed"; "reason" => %hangup);
            }
        }
    });
    if let Err(error) = started {
        warn!(shared.log, "cannot start a thread for a connection"; "error" => %error);
    }
}

/// Counts a connection as open, and says so if it ends by a panic.
struct Open<'a> {
    counters: &'a Counters,
    log: &'a Logger,
}

impl<'a> Open<'a> {
    fn new(counters: &'a Counters, log: &'a Logger) -> Open<'a> {
        counters.connections_open.add(1);
        Open { counters, log }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.counters.connections_panicked.add(1);
            error!(
                self.log,
                "a connection's thread panicked: the connection is lost"
            );
        }
        self.counters.connections_open.subtract(1);
    }
}

/// For fuzzing: reads the text of a command. Names in it are ids or names, and a refusal is short.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_command(text: &str) {
    match command::Command::parse(text) {
        Ok(command::Command::PageStream {
            tenant, timeline, ..
        }) => assert!(is_name(&tenant) && is_name(&timeline)),
        Ok(_) => {}
        Err(error) => assert!(error.to_string().len() < 1000),
    }
}
